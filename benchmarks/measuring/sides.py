"""The sides: what runs a graph, ours and PyTorch's, behind one interface of NumPy arrays.

A side is made from a graph, images (N, C, H, W), labels (N, H', W') to train on or None, and a number of cores.

    step()                    a step of training with SGD; returns the loss
    predict()                 the scores
    forward(), backward(dy)   the passes one by one: return the output, the gradient by the images
    zero_grad()               before a backward pass, since gradients add up
    gradients()               those by the parameters, by name, after a first step or the passes
    close()                   lets go of workers
"""

import shutil

from minisegnet.layers import CrossEntropyLoss
from minisegnet.memory import keep_freed_memory
from minisegnet.training import SGD

NAMES = {
    "engine": "minisegnet",
    "plain": "minisegnet, layer by layer",
    "pytorch": "PyTorch as it comes",
    "kept_memory": "PyTorch, freed memory kept",
    "channels_last": "PyTorch, channels last",
    "compiled": "PyTorch, channels last, torch.compile",
    "frozen": "PyTorch, channels last, torch.compile on frozen weights",
    "prototype": "prototype",
}
OURS = "engine"
TUNED = ("kept_memory", "channels_last", "compiled", "frozen")  # all keep freed memory, see `processes.KEPT_MEMORY`
SGD_OPTIONS = {"lr": 1e-4, "momentum": 0.9}  # so low that no network's loss runs away, which would time infinities


def make_side(name, graph, images, labels, training, cores):
    """The side of this name, in training or evaluation mode."""
    if name == "plain":
        return Plain(graph, images, labels, training)
    if name == "engine":
        return Engine(graph, images, labels, training, cores)
    return PyTorch(name, graph, images, labels, training, cores)


class Plain:
    """Our layers one after another, as a student reads them."""

    def __init__(self, graph, images, labels, training):
        keep_freed_memory()  # as our command line does
        self.graph, self.images, self.labels, self.loss = graph, images, labels, CrossEntropyLoss()
        self.optimiser = None if labels is None else SGD(graph.parameters, **SGD_OPTIONS)

    def step(self):
        self.optimiser.zero_grad()
        loss, cache = self.loss.forward(self.graph.forward(self.images), self.labels)
        self.graph.backward(self.loss.backward(1.0, cache), to_inputs=False)
        self.optimiser.step()
        return float(loss)

    def predict(self):
        return self.graph.predict(self.images)

    def forward(self):
        return self.graph.forward(self.images)

    def backward(self, dy):
        return self.graph.backward(dy)

    def zero_grad(self):
        self.graph.zero_grad()

    def gradients(self):
        return {name: p.grad for name, p in self.graph.parameters.items() if p.trainable}

    def close(self):
        pass


class Engine(Plain):
    """Our graph compiled, with one worker a core, on the same parameters."""

    def __init__(self, graph, images, labels, training, cores):
        loss, to_inputs = (CrossEntropyLoss(), False) if labels is not None else (None, training)
        self.plan = graph.compile(images.shape, loss=loss, training=training, workers=cores, to_inputs=to_inputs)
        super().__init__(graph, images, labels, training)  # the optimiser, on parameters that workers share

    def step(self):
        return float(self.plan.step(self.images, self.labels, optimiser=self.optimiser))

    def gradients(self):
        if self.optimiser is None:
            return super().gradients()
        # One worker keeps them nowhere; after the first step the momentum is the gradient.
        return {name: self.optimiser.state[f"momentum/{name}"] for name in super().gradients()}

    def predict(self):
        return self.plan.predict(self.images)

    def forward(self):
        return self.plan.forward(self.images)

    def backward(self, dy):
        return self.plan.backward(dy)

    def close(self):
        self.plan.close()


class PyTorch:
    """The graph's twin. Tuned: SGD in one kernel; channels last besides; compiled besides, loss and all."""

    def __init__(self, name, graph, images, labels, training, cores):
        import torch
        from torch.nn import functional as F

        from measuring.twin import Twin

        torch.set_num_threads(cores)
        self.torch, tuned = torch, name in TUNED
        channels_first = name in ("pytorch", "kept_memory")
        self.layout = torch.contiguous_format if channels_first else torch.channels_last
        self.model = Twin(graph, images.shape).train(training).to(memory_format=self.layout)
        self.images = self.given(images)
        self.scores, self.y, self.dy = self.model, None, None
        self.loss = lambda images, labels: F.cross_entropy(self.model(images), labels)
        if labels is not None:
            self.labels = torch.from_numpy(labels)
            self.optimiser = torch.optim.SGD(self.model.parameters(), **SGD_OPTIONS, fused=tuned)
        elif training:  # the passes one by one
            self.images.requires_grad_()
        if name in ("compiled", "frozen"):
            from torch._inductor import config

            if not shutil.which("g++"):
                raise RuntimeError("torch.compile needs a C++ compiler, and no g++ is on the path")
            config.freezing = name == "frozen"  # folds batch normalisation into convolutions, lays out their weights
            self.loss, self.scores = torch.compile(self.loss), torch.compile(self.model)

    def given(self, array):
        return self.torch.from_numpy(array).contiguous(memory_format=self.layout)

    def step(self):
        self.optimiser.zero_grad()
        loss = self.loss(self.images, self.labels)
        loss.backward()
        self.optimiser.step()
        return loss.item()

    def predict(self):
        with self.torch.inference_mode():
            return self.scores(self.images).numpy()

    def forward(self):
        self.y = self.model(self.images)
        return self.y.detach().numpy()

    def backward(self, dy):
        if self.dy is None:  # in this side's layout from the second call on, as it would be within a network
            self.dy = self.given(dy)
        self.y.backward(self.dy)
        return self.images.grad.numpy()

    def zero_grad(self):
        self.model.zero_grad()
        self.images.grad = None

    def gradients(self):
        return self.model.gradients()

    def close(self):
        pass
