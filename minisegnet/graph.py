"""A network as named nodes: built by naming them, run forward, backward, or step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from minisegnet.cuda import arrays
from minisegnet.errors import GraphError, OptionError, ShapeError
from minisegnet.layers.base import Layer, Parameter, copies, fill
from minisegnet.layers.dropout import Dropout
from minisegnet.nodes import Handle, Node, check_count, check_layer, check_reads, located, one_or_several, output_size
from minisegnet.passes import Pass, Step, computing_on, results
from minisegnet.shapes import Shape, images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from minisegnet.engine.compiled import Compiled
    from minisegnet.engine.engine import Engine
    from minisegnet.layers.loss import CrossEntropyLoss

DEVICES = ("cpu", "emulator", "cuda")


class Graph:
    """A network of named nodes.

        graph = Graph("two convolutions")
        x = graph.input("image", channels=3)
        x = graph.chain("body", x, Conv2d(3, 16, 3, padding=1), ReLU())   # nodes body.0 and body.1
        graph.output("score", Conv2d(16, 2, 1), x)

        score = graph.forward(images)
        dimages = graph.backward(dscore)                                  # adds to every parameter's .grad

    A value may be read by several nodes: its gradients add up. A layer may stand at several nodes: its parameters are
    shared, and appear once in `parameters` and `state_dict`, under its first node's name. Gradients accumulate until
    `zero_grad()`. `forward` keeps what `backward` needs until the next forward pass; change no parameter in between.
    Every error inside a node names it.
    """

    def __init__(self, name: str = "Graph") -> None:
        self.name = name
        self.nodes: dict[str, Node] = {}  # each after the nodes it reads
        self.inputs: list[Node] = []
        self.outputs: list[Node] = []
        self.training = True
        self.device = "cpu"  # see `to`
        self._pass: Pass | None = None
        self._engine: Engine | None = None  # that predicts in place of a pass

    # ------------------------------------------------------------------------------------------------ building

    def input(self, name: str, channels: int | None = None, check: Callable[[Shape], None] | None = None) -> Handle:
        """Add an input, an array of floats (N, channels, ...); channels None takes any number.

        check   a function of the input's shape that raises ShapeError for sizes which the network cannot take
        """
        node = self._add_node(Node(name, None, channels=channels, check=check))
        self.inputs.append(node)
        return Handle(node)

    def add(self, name: str, layer: Layer, *inputs: Handle, size_of: Handle | None = None) -> Any:
        """Add a node and return the handle of its output, or a tuple of handles for a layer with several.

        size_of   a value whose height and width the layer's output shall have (unpooling, upsampling, cropping)

        Raises GraphError for a name taken, a handle of another graph, or inputs that the layer does not take.
        """
        node = Node(name, layer, inputs, size_of)
        with located(self.name, node):
            check_layer(layer)
            for handle in (*inputs, size_of):
                if handle is not None:
                    self._check_handle(handle)
            check_reads(layer, len(inputs), size_of is not None)
        self._add_node(node)
        layer.training = self.training and not layer.frozen
        layer.rebind(self.placed)
        return Handle(node) if layer.outputs == 1 else tuple(Handle(node, i) for i in range(layer.outputs))

    def chain(self, name: str, x: Handle, *layers: Layer) -> Handle:
        """Add layers one after another as nodes name.0, name.1, ... and return the last one's handle."""
        if not layers:
            raise GraphError(f"{self.name}: chain {name!r} has no layers; give at least one")
        for i, layer in enumerate(layers):
            x = self.add(f"{name}.{i}", layer, x)
        return x

    def output(self, name: str, layer: Layer, *inputs: Handle, size_of: Handle | None = None) -> Graph:
        """Add a node whose (first) value is an output of the graph, and return the graph."""
        self.add(name, layer, *inputs, size_of=size_of)
        self.outputs.append(self.nodes[name])
        return self

    def handle(self, name: str) -> Handle:
        """The (first) value of the node of this name, to build on. Raises GraphError for a name there is not."""
        if name not in self.nodes:
            raise GraphError(f"{self.name} has no node {name!r}; its nodes are {', '.join(self.nodes)}")
        return Handle(self.nodes[name])

    def _add_node(self, node: Node) -> Node:
        if not isinstance(node.name, str) or not node.name:
            raise GraphError(f"{self.name}: a node's name is a string that is not empty; got {node.name!r}")
        if node.name in self.nodes:
            raise GraphError(f"{self.name} already has a node {node.name!r}; give each node a name of its own")
        self.nodes[node.name] = node
        return node

    def _check_handle(self, handle: Any) -> None:
        if not isinstance(handle, Handle):
            hint = "; take the handles of a layer with several outputs apart" if isinstance(handle, tuple) else ""
            raise GraphError(f"a node reads what input() and add() return; got {type(handle).__name__}{hint}")
        if self.nodes.get(handle.node.name) is not handle.node:
            raise GraphError(f"the value {handle.node.name!r} belongs to another graph; build both on {self.name}")

    def check_built(self) -> None:
        """Raise GraphError for a graph without an input or output."""
        if not self.inputs:
            raise GraphError(f"{self.name} has no input; begin it with x = graph.input(name, channels)")
        if not self.outputs:
            raise GraphError(f"{self.name} has no output; end it with graph.output(name, layer, x)")

    def check_input(self, node: Node, shape: Shape) -> None:
        """Raise ShapeError for an input of other channels than promised, or of a size that the network refuses."""
        if node.channels is not None and (len(shape) < 2 or shape[1] != node.channels):
            raise ShapeError(
                f"{self.name}: input {node.name!r} has {node.channels} channels, (N, {node.channels}, H, W); "
                f"got shape {tuple(shape)}"
            )
        if node.check is not None:
            node.check(images(shape, node.name))

    # ----------------------------------------------------------------------------------------------- parameters

    @property
    def layers(self) -> dict[str, Layer]:
        """Every layer once, under the name of its first node."""
        first: dict[int, str] = {}
        for node in self.layer_nodes():
            first.setdefault(id(node.layer), node.name)
        return {name: self.nodes[name].layer for name in first.values()}

    def layer_nodes(self) -> list[Node]:
        """The nodes that compute, each after those it reads."""
        return [node for node in self.nodes.values() if node.layer is not None]

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Every parameter once, as "node.weight"."""
        return {f"{node}.{name}": p for node, layer in self.layers.items() for name, p in layer.parameters.items()}

    @property
    def buffers(self) -> dict[str, np.ndarray]:
        """Every buffer once, as "node.running_mean"."""
        return {f"{node}.{name}": b for node, layer in self.layers.items() for name, b in layer.buffers.items()}

    @property
    def dtype(self) -> np.dtype | None:
        """The float type of the parameters, None where there are none."""
        return next((parameter.data.dtype for parameter in self.parameters.values()), None)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays themselves that make up the network's state, by name."""
        return {f"{node}.{name}": a for node, layer in self.layers.items() for name, a in layer.arrays().items()}

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of the parameters and buffers in the computer's memory, under PyTorch's names."""
        return copies(self.arrays())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Fill the parameters and buffers from such a copy.

        Raises CheckpointError, having loaded nothing, with every key that is missing, unexpected or of another shape.
        """
        fill(self.arrays(), state, self.name)

    def initialise(self, seed: int) -> Graph:
        """Draw every layer's parameters anew, from the seed and the name of its first node alone; return the graph.

        Raises GraphError for a graph on a device: weights are drawn in the computer's memory.
        """
        if self.device == "cuda":
            raise GraphError(f"{self.name}: initialise it before to('cuda'), or bring it back by to('cpu')")
        for name, layer in self.layers.items():
            layer.initialise(generator(seed, name))
        return self

    def reseed(self, seed: int) -> None:
        """Set each dropout's seed from this one and its node's name, and its calls to 0: the masks follow from that."""
        for name, layer in self.layers.items():
            if isinstance(layer, Dropout):
                layer.initialise(generator(seed, name))

    def astype(self, dtype: Any) -> Graph:
        """Turn every layer into another float type (see `Layer.astype`), and return the graph."""
        self._pass = None
        for layer in self.layers.values():
            layer.astype(dtype)
        return self

    def to(self, device: str) -> Graph:
        """Choose where the network computes, and return the graph.

        device   "cpu": on NumPy arrays, by the backend in force.
                 "emulator": on NumPy arrays, by our CUDA kernels in the emulator, whatever the backend in force.
                 "cuda": by our CUDA kernels on a GPU. Parameters, gradients and statistics move into its memory, taken
                 from CuPy's pool; inputs, gradients and outputs lie there too (`placed`, `cuda.arrays.to_host`). Make
                 the optimiser afterwards; the loss computes where its arrays lie.

        As with `astype`, whoever holds the old arrays holds some that the graph has left.
        Raises OptionError for another name, BackendError without CuPy, KernelError without a device or a C++ compiler.
        """
        if device not in DEVICES:
            raise OptionError(f"{self.name}: a device is one of {', '.join(DEVICES)}; got {device!r}")
        if device == "cuda":
            arrays.check_device()
        elif device == "emulator":
            from minisegnet.emulator.compiler import compiler

            compiler()
        self._pass = None
        self.device = device
        for layer in self.layers.values():
            layer.rebind(self.placed)
        return self

    def placed(self, array: Any) -> Any:
        """The array where the network computes: on the device after `to("cuda")`, else in the computer's memory."""
        return arrays.to_device(array) if self.device == "cuda" else arrays.to_host(array)

    def computing(self) -> AbstractContextManager:
        """The backend in force inside the block is the network's: the emulator after `to("emulator")`.

        For what goes with the network and is no part of it: the loss, the optimiser's step.
        """
        return computing_on(self.device)

    def freeze(self, beginning: str) -> list[str]:
        """Keep every layer as it is whose node's name begins so (see `Layer.freeze`); return those names.

        Raises GraphError if there is none with anything to freeze.
        """
        weighted = [name for name, layer in self.layers.items() if layer.arrays()]
        frozen = [name for name in weighted if name.startswith(beginning)]
        if not frozen:
            firsts = ", ".join(dict.fromkeys(name.partition(".")[0] for name in weighted))
            raise GraphError(f"{self.name} has no layers with weights under {beginning!r}; names begin with {firsts}")
        for name in frozen:
            self.layers[name].freeze()
        return frozen

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        for parameter in self.parameters.values():
            arrays.clear(parameter.grad)

    def train(self) -> Graph:
        """Use batch statistics, and drop values."""
        return self._set_training(True)

    def eval(self) -> Graph:
        """Use running statistics, and drop nothing."""
        return self._set_training(False)

    def _set_training(self, training: bool) -> Graph:
        self.training = training
        for layer in self.layers.values():
            layer.train() if training else layer.eval()
        return self

    # -------------------------------------------------------------------------------------------------- running

    def forward(self, *inputs: np.ndarray) -> Any:
        """The output for these inputs (a tuple where there are several outputs), keeping what `backward` needs.

        Raises GraphError for another number of inputs, ShapeError for other channels, DtypeError for arrays that are
        not of the parameters' float type.
        """
        self._pass = None  # lets go of the last pass's caches before this one fills the memory
        run = Pass(self, inputs)
        output = run.forward()
        self._pass = run
        return output

    def backward(self, dy: Any, to_inputs: bool = True) -> Any:
        """Go back through the last forward pass: add to every parameter's `.grad`, return the inputs' gradients.

        dy          gradient of the loss by the output; a tuple where there are several outputs, None for one without
        to_inputs   False: stop where nothing behind is trained, and return None (a frozen encoder then costs nothing)

        Returns dx, or a tuple where there are several inputs; None for an input that the gradient does not reach.
        Raises GraphError before any forward pass. Going back twice adds the gradients twice.
        """
        if self._pass is None:
            raise GraphError(f"{self.name}: backward needs a forward pass first (predict leaves nothing to go back by)")
        return self._pass.backward(dy, to_inputs)

    def predict(self, *inputs: np.ndarray) -> Any:
        """The output in evaluation mode, with every value let go after its last use.

        The mode is put back afterwards, and a forward pass made before can still go backward.
        """
        if self._engine is not None:
            return self._engine.predict(*inputs)
        with self.evaluating():
            return Pass(self, inputs).forward(keep_caches=False)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode inside the block; afterwards each layer is as it was."""
        training = [layer for layer in self.layers.values() if layer.training]
        for layer in training:
            layer.eval()
        try:
            yield
        finally:
            for layer in training:
                layer.train()

    def compile(
        self,
        *input_shapes: Shape,
        loss: CrossEntropyLoss | None = None,
        training: bool = True,
        workers: int | None = 1,
        to_inputs: bool = False,
        algorithms: Mapping[str, str] | None = None,
    ) -> Compiled:
        """The fast path for inputs of these shapes: same parameters, same numbers up to rounding; see `engine.Engine`.

            plan = graph.compile((4, 3, 256, 256), loss=CrossEntropyLoss(), workers=4)
            print(plan.explain())
            loss = plan.step(images, labels, optimiser=SGD(graph.parameters, 0.01))

        training   False: a plan for `predict` alone
        """
        from minisegnet.engine.compiled import Compiled
        from minisegnet.engine.engine import Engine

        return Compiled(Engine(self, loss, workers, to_inputs, algorithms), input_shapes, training)

    @contextmanager
    def accelerated(self, engine: Engine | None) -> Iterator[None]:
        """Let `predict` go through an engine of this graph inside the block; None changes nothing."""
        before, self._engine = self._engine, engine or self._engine
        try:
            yield
        finally:
            self._engine = before

    def steps(self, *inputs: np.ndarray, dy: Any = None) -> Iterator[Step]:
        """The same passes one layer at a time: yields each `Step` forward and, given dy, each one back.

        dy   as for `backward`, or a function that takes the output (or their tuple) and returns it; by name or last

        Leaves everything as forward (and backward) does, to the bit.
        """
        if dy is None and len(inputs) == len(self.inputs) + 1:
            *inputs, dy = inputs  # type: ignore[assignment]
        self._pass = None
        run = Pass(self, inputs)
        yield from run.forward_steps()
        self._pass = run
        if dy is not None:
            yield from run.backward_steps(dy(run.answer()) if callable(dy) else dy)
        run.values.clear()

    # -------------------------------------------------------------------------------------------------- showing

    def shapes(self, *input_shapes: Shape) -> dict[str, Shape]:
        """Shape of every node's (first) output for inputs of these shapes.

        Nothing is computed, but by a layer that has no `output_shape`: a copy of it is run on zeros.
        """
        check_count(self.name, "input shapes", len(input_shapes), self.inputs)
        shapes = {node.name: tuple(shape) for node, shape in zip(self.inputs, input_shapes, strict=True)}
        for node in self.inputs:
            self.check_input(node, shapes[node.name])
        for node in self.layer_nodes():
            with located(self.name, node):
                shapes[node.name] = self._output_shape(node, shapes)
        return {name: shapes[name] for name in self.nodes}

    def _output_shape(self, node: Node, shapes: dict[str, Shape]) -> Shape:
        layer, size = node.layer, output_size(node, shapes)
        if getattr(layer.output_shape, "__func__", None) is not Layer.output_shape:
            return layer.output_shape(*(shapes[handle.node.name] for handle in node.inputs), **size)
        dtype = self.dtype or np.dtype(np.float32)
        zeros = (np.zeros(shapes[h.node.name], np.int64 if h.position else dtype) for h in node.inputs)
        with computing_on(self.device), np.errstate(all="ignore"):
            arrays, _ = results(node, deepcopy(layer).forward(*map(self.placed, zeros), **size), dtype)
        return arrays[0].shape

    def output_shape(self, *input_shapes: Shape) -> Any:
        """Shape of the output for inputs of these shapes, or a tuple of shapes where there are several outputs."""
        self.check_built()
        shapes = self.shapes(*input_shapes)
        return one_or_several([shapes[node.name] for node in self.outputs])

    def summary(self, input_shape: Any) -> str:
        """A table of the nodes with output shape, parameters, multiply-adds and memory; see `minisegnet.summary`.

        input_shape   (N, C, H, W), or a sequence of shapes where there are several inputs
        """
        from minisegnet.summary import table

        return table(self, input_shape)

    def draw(self, path: Any = None, input_shape: Any = None) -> Figure:
        """A picture of the network, saved where a path is given; see `minisegnet.drawing`. Needs matplotlib.

        input_shape   as for summary; with it, the boxes tell their shapes
        """
        from minisegnet.drawing import draw

        return draw(self, path, input_shape)

    def __repr__(self) -> str:
        count = sum(parameter.data.size for parameter in self.parameters.values())
        return f"Graph({self.name!r}, {len(self.nodes)} nodes, {count:,} parameters)"


def generator(seed: int, name: str) -> np.random.Generator:
    """A random generator that is a function of the seed and a node's name. Raises OptionError for a negative seed."""
    try:
        whole_seed = index(seed)
    except TypeError:
        whole_seed = -1
    if whole_seed < 0:
        raise OptionError(f"a seed is a whole number of at least 0; got {seed!r}")
    return np.random.default_rng(np.random.SeedSequence(whole_seed, spawn_key=tuple(name.encode())))
