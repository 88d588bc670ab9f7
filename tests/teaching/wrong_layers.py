"""Wrong backward passes of losses, layers and networks, for the bank."""

import numpy as np
from wrong_answers import IMAGE, labels, normal, wrong
from wrong_operations import softmax_forward

from minisegnet import functional as F
from minisegnet.graph import Graph
from minisegnet.layers import (
    BatchNorm2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    CrossEntropyLoss,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
)
from minisegnet.models.unet import unet
from minisegnet.teaching import check_graph, check_layer, check_loss

# --------------------------------------------------------------------------------------------------------- losses


def cross_entropy_forward(logits, labels, class_weight=None, ignore_index=None):
    weight = np.ones(logits.shape[1], logits.dtype) if class_weight is None else class_weight
    y, _ = softmax_forward(logits)
    kept = labels != ignore_index
    safe = np.where(kept, labels, 0)
    factor = weight[safe] * kept
    nll = -np.log(np.take_along_axis(y, safe[:, None], 1)[:, 0])
    return (factor * nll).sum() / factor.sum(), (y, safe, factor)


def cross_entropy_backward(dy, cache, dloss=True, weighted=True, leak=False, count=None):
    y, safe, factor = cache
    one_hot = (np.arange(y.shape[1]).reshape(1, -1, 1, 1) == safe[:, None]).astype(y.dtype)
    used = factor if weighted else (factor > 0).astype(y.dtype)
    used = np.ones_like(used) if leak else used
    dx = (y - one_hot) * used[:, None] / (factor.sum() if count is None else count)
    return dx * dy if dloss else dx


LOGITS, LABELS = normal(2, 3, 4, 5), labels(2, 4, 5)


def loss(wrong_backward, forward=cross_entropy_forward, target=LABELS, **options):
    """A bank entry's check of a loss."""

    def check(rng, seed):
        return check_loss(forward, wrong_backward, LOGITS(rng), target(rng), upstream_seed=seed, **options)

    return check


def of_count(**wrongly):
    return lambda dy, cache: cross_entropy_backward(dy, cache, **wrongly)


wrong("loss that ignores dloss", "logits", "the same for every dy")(loss(of_count(dloss=False)))
wrong("loss divided by the images, not the pixels", "logits", "20 times")(loss(of_count(count=2)))
wrong("loss divided by the batch size twice", "logits", "batch size 2 once too often")(loss(of_count(count=80)))
wrong("loss without its class weights", "logits")(
    loss(of_count(weighted=False), class_weight=np.array([0.2, 1.0, 3.0]))
)
wrong("loss with a gradient at ignored pixels", "logits")(loss(of_count(leak=True), ignore_index=1))


def smooth_l1_forward(x, target):
    d = x - target
    return np.where(np.abs(d) < 1, d * d / 2, np.abs(d) - 0.5).mean(), d


wrong("smooth L1 without its bound", "x")(loss(lambda dy, d: dy * d / d.size, smooth_l1_forward, normal(2, 3, 4, 5)))
wrong("L1 with the slope of a square", "x")(
    loss(lambda dy, d: dy * d, lambda x, target: (np.abs(x - target).sum(), x - target), normal(2, 3, 4, 5))
)


def dice_without_union(dy, cache):
    return 0.5 * F.dice_backward(dy, cache) + 0.01 * dy


wrong("dice off by a constant", "logits")(loss(dice_without_union, F.dice_forward))


class DividesTwice(CrossEntropyLoss):
    def backward(self, dloss, cache):
        return super().backward(dloss, cache) / 2


@wrong("loss layer divided by N twice", "logits", "batch size 2 once too often")
def loss_layer(rng, seed):
    return check_loss(DividesTwice(), LOGITS(rng), LABELS(rng), upstream_seed=seed)


# --------------------------------------------------------------------------------------------------------- layers


class Overwrites(Conv2d):
    def backward(self, dy, cache):
        dx, dweight, dbias = F.conv2d_backward(dy, cache)
        self.weight.grad[...] = dweight
        self.bias.accumulate(dbias)
        return dx


class Rebinds(Conv2d):
    def backward(self, dy, cache):
        dx, dweight, dbias = F.conv2d_backward(dy, cache)
        self.weight.grad = self.weight.grad + dweight
        self.bias.accumulate(dbias)
        return dx


class ForgetsBias(Conv2d):
    def backward(self, dy, cache):
        dx, dweight, _ = F.conv2d_backward(dy, cache)
        self.weight.accumulate(dweight)
        return dx


class KeepsCacheOnSelf(Conv2d):
    def forward(self, x):
        y, self.cache = super().forward(x)
        return y, None

    def backward(self, dy, cache):
        return super().backward(dy, self.cache)


class SwapsParameters(BatchNorm2d):
    def backward(self, dy, cache):
        dx, dweight, dbias = F.batch_norm2d_backward(dy, cache)
        self.weight.accumulate(dbias)
        self.bias.accumulate(dweight)
        return dx


class NormalisesItsWeights(Linear):
    def forward(self, x):
        self.weight.data /= np.sqrt((self.weight.data**2).sum())
        return super().forward(x)


class LeavesTwo(Layer):
    """A sum of two inputs whose backward remembers one."""

    def forward(self, x, other):
        return x + other, None

    def backward(self, dy, cache):
        return dy, None

    def output_shape(self, x, other):
        return x


class WrongPool(MaxPool2d):
    def backward(self, dy, cache):
        return np.abs(super().backward(dy, cache))


def layer(build, *inputs):
    """A bank entry's check of a layer."""

    def check(rng, seed):
        made = build()
        for parameter in made.parameters.values():
            parameter.data[...] = rng.standard_normal(parameter.data.shape)
        return check_layer(made, *(draw(rng) for draw in inputs), upstream_seed=seed)

    return check


wrong("layer overwrites its gradient", (), "the gradient of weight does not add up")(
    layer(lambda: Overwrites(3, 2, 3), IMAGE)
)
wrong("layer rebinds its gradient", (), "rebinds the gradient of weight")(layer(lambda: Rebinds(3, 2, 3), IMAGE))
wrong("layer without dbias", "bias", "backward gives zeros")(layer(lambda: ForgetsBias(3, 2, 3), IMAGE))
wrong("layer keeps its cache on self", (), "last forward pass")(layer(lambda: KeepsCacheOnSelf(3, 2, 3), IMAGE))
wrong("layer exchanges its parameters", ("weight", "bias"), "this is the gradient of bias")(
    layer(lambda: SwapsParameters(3), IMAGE)
)
wrong("layer changes its weights", (), "forward changes its argument weight")(
    layer(lambda: NormalisesItsWeights(5, 3), normal(4, 5))
)
wrong("layer forgets an input", "other", "None")(layer(LeavesTwo, IMAGE, IMAGE))
wrong("layer with absolute gradients", "x")(layer(lambda: WrongPool(2), IMAGE))


# --------------------------------------------------------------------------------------------------------- networks


class HalvesDx(BatchNorm2d):
    def backward(self, dy, cache):
        return super().backward(dy, cache) / 2


class OneWrongElement(Conv2d):
    def backward(self, dy, cache):
        dx = super().backward(dy, cache)
        self.weight.grad[1, 2, 0, 1] += 0.01
        return dx


class ExchangesGradients(Concat):
    def backward(self, dy, cache):
        return super().backward(dy, cache)[::-1]


def network(middle, join=Concat):
    """A bank entry's check of a small U-Net."""

    def check(rng, seed):
        graph = Graph("small")
        x = skip = graph.chain("encoder", graph.input("image", channels=2), Conv2d(2, 3, 3, padding=1), ReLU())
        x = graph.chain("bottom", graph.add("pool", MaxPool2d(2), x), *middle())
        x = graph.add("up", ConvTranspose2d(4, 3, 2, stride=2), x)
        graph.output("score", Conv2d(6, 2, 1), graph.add("join", join(), skip, x))
        graph.initialise(seed)
        return check_graph(graph, rng.standard_normal((2, 2, 6, 6)), upstream_seed=seed)

    return check


def plain_middle():
    return Conv2d(3, 4, 3, padding=1), BatchNorm2d(4), ReLU()


wrong(
    "a wrong dx in the middle of a network",
    ("image", "encoder.0.weight", "encoder.0.bias", "bottom.0.weight"),
    "bottom.1 HalvesDx(4): x",
)(network(lambda: (Conv2d(3, 4, 3, padding=1), HalvesDx(4), ReLU())))
wrong("one wrong element in a network", "bottom.0.weight", "at [1, 2, 0, 1]")(
    network(lambda: (OneWrongElement(3, 4, 3, padding=1), BatchNorm2d(4), ReLU()))
)
wrong(
    "a join that exchanges its gradients",
    ("image", "encoder.0.weight", "encoder.0.bias", "bottom.0.weight", "bottom.1.weight", "bottom.1.bias",
     "up.weight", "up.bias"),
    "join ExchangesGradients(): xs[0]; xs[1]",
)(network(plain_middle, ExchangesGradients))  # fmt: skip


class LosesAPart(Graph):
    """As if a value's gradient were taken from one of its two readers."""

    def backward(self, dy):
        return super().backward(dy) / 2


@wrong("a network that loses a part of the gradient", ("image",), "every layer is right by itself")
def loses_a_part(rng, seed):
    graph = unet(2, in_channels=2, width=2, depth=1, seed=seed)
    graph.__class__ = LosesAPart
    return check_graph(graph, rng.standard_normal((1, 2, 4, 4)), upstream_seed=seed)
