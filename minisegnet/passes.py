"""How a graph runs: one pass forward, node by node, and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from minisegnet.backends import backend
from minisegnet.cuda.arrays import clear, is_array, place_of
from minisegnet.errors import BackendError, DtypeError, GraphError, ShapeError
from minisegnet.in_place import add_to, added
from minisegnet.layers.base import Layer
from minisegnet.nodes import Node, check_count, located, one_or_several, output_size
from minisegnet.shapes import Shape

if TYPE_CHECKING:
    from minisegnet.graph import Graph


@dataclass(frozen=True)
class Step:
    """One layer at work, as `Graph.steps` shows it.

    node        the node's name
    direction   "forward" or "backward"
    inputs      the arrays that the node reads
    output      the array it makes, or the tuple of them
    gradients   on the way back: "dy" by the output; "dx" by the input, a tuple where the node reads several (None for
                indices); and what this step adds to the parameters, "dweight", "dbias"
    """

    node: str
    layer: Layer
    direction: str
    inputs: tuple[np.ndarray, ...]
    output: Any
    gradients: dict[str, Any] = field(default_factory=dict)


def computing_on(device: str) -> AbstractContextManager:
    """The backend in force inside the block is that of a network on this device; see `Graph.to`."""
    return backend("emulator") if device == "emulator" else nullcontext()


class Pass:
    """One pass through a graph. It holds on to the nodes and not to the graph, so that neither outlives the other.

    values      the outputs of each node, as long as a node ahead reads them
    shapes      the shape of each node's (first) output
    dtype       the float type of them all
    caches      what each layer needs on the way back
    gradients   on the way back: the sum of what the nodes gone through give to each node's (first) output
    """

    def __init__(self, graph: Graph, inputs: tuple[np.ndarray, ...]) -> None:
        graph.check_built()
        self.name, self.device = graph.name, graph.device
        self.nodes, self.inputs, self.outputs = graph.layer_nodes(), tuple(graph.inputs), tuple(graph.outputs)
        self.values: dict[str, tuple[np.ndarray, ...]] = {}
        self.shapes: dict[str, Shape] = {}
        self.caches: dict[str, Any] = {}
        self.gradients: dict[str, np.ndarray] = {}
        check_count(self.name, "inputs", len(inputs), self.inputs)
        for node, x in zip(self.inputs, inputs, strict=True):
            check_input(graph, node, x)
            self.values[node.name], self.shapes[node.name] = (x,), x.shape
        self.dtype = graph.dtype or inputs[0].dtype  # of the parameters; a graph may have none

    # -------------------------------------------------------------------------------------------------- forward

    def forward(self, keep_caches: bool = True) -> Any:
        """Run every node, letting go of each value after its last use; return the output or outputs."""
        last_reader = {node.name: node for node in self.nodes}  # itself, where nothing reads it
        last_reader |= {handle.node.name: node for node in self.nodes for handle in node.inputs}
        kept = {output.name for output in self.outputs}
        for node in self.nodes:
            self.forward_node(node)
            if not keep_caches:
                self.caches.clear()
            for name in {node.name, *(handle.node.name for handle in node.inputs)} - kept:
                if last_reader[name] is node:
                    del self.values[name]
        answer = self.answer()
        self.values.clear()
        return answer

    def forward_steps(self) -> Iterator[Step]:
        """Run every node, keeping each value."""
        for node in self.nodes:
            self.forward_node(node)
            yield self.step(node, "forward", {})

    def forward_node(self, node: Node) -> None:
        with located(self.name, node), computing_on(self.device):
            inputs = [self.values[handle.node.name][handle.position] for handle in node.inputs]
            answer = node.layer.forward(*inputs, **output_size(node, self.shapes))
            self.values[node.name], self.caches[node.name] = results(node, answer, self.dtype)
            self.shapes[node.name] = self.values[node.name][0].shape

    def answer(self) -> Any:
        """The graph's output, or the tuple of its outputs."""
        return one_or_several([self.values[node.name][0] for node in self.outputs])

    def step(self, node: Node, direction: str, gradients: dict[str, Any]) -> Step:
        inputs = tuple(self.values[handle.node.name][handle.position] for handle in node.inputs)
        return Step(node.name, node.layer, direction, inputs, one_or_several(self.values[node.name]), gradients)

    # ------------------------------------------------------------------------------------------------- backward

    def backward(self, dy: Any, to_inputs: bool = True) -> Any:
        """Go back through every node that the gradient reaches; return the inputs' gradients.

        to_inputs   False: only as far back as there are parameters to train; returns None
        """
        wanted = None if to_inputs else nodes_with_training_behind(self.nodes)
        for node in self.nodes_back(dy):
            if wanted is not None and node.name not in wanted:
                del self.gradients[node.name]
            else:
                self.backward_node(node)
        gradients = [self.gradients.pop(node.name, None) for node in self.inputs]
        return one_or_several(gradients) if to_inputs else None

    def backward_steps(self, dy: Any) -> Iterator[Step]:
        """The same, showing each node's gradients; those of its parameters apart from what was there before."""
        for node in self.nodes_back(dy):
            parameters = node.layer.parameters
            before = {name: parameter.grad.copy() for name, parameter in parameters.items()}
            for parameter in parameters.values():
                clear(parameter.grad)
            by_output, dxs = self.backward_node(node)
            gradients = {"dy": by_output, "dx": one_or_several(dxs)}
            for name, parameter in parameters.items():
                gradients[f"d{name}"] = parameter.grad.copy()
                with computing_on(self.device):
                    add_to(parameter.grad, before[name])
            yield self.step(node, "backward", gradients)

    def nodes_back(self, dy: Any) -> Iterator[Node]:
        """The nodes from last to first, without those that no gradient reaches."""
        self.gradients = {}
        dys = dy if isinstance(dy, tuple | list) else (dy,)
        check_count(self.name, "gradients, one for each output,", len(dys), self.outputs)
        for node, gradient in zip(self.outputs, dys, strict=True):
            if gradient is not None:
                what = f"{self.name}: dy of output {node.name!r}"
                check_gradient(gradient, self.shapes[node.name], self.dtype, what)
                self.add_gradient(node.name, gradient)
        for node in reversed(self.nodes):
            if node.name in self.gradients:
                yield node

    def backward_node(self, node: Node) -> tuple[np.ndarray, tuple]:
        """Turn the gradient by a node's output, not needed after, into those by its inputs; return both."""
        with located(self.name, node), computing_on(self.device):
            dy = self.gradients.pop(node.name)
            dxs = gradients(node, node.layer.backward(dy, self.caches[node.name]), self.shapes, self.dtype)
            for handle, dx in zip(node.inputs, dxs, strict=True):
                if dx is not None:
                    self.add_gradient(handle.node.name, dx)
            return dy, dxs

    def add_gradient(self, name: str, gradient: np.ndarray) -> None:
        """Add to the gradient by a node's output."""
        # Not in place: a layer may hand on the very array it was given, or one array to two inputs.
        self.gradients[name] = added(self.gradients[name], gradient) if name in self.gradients else gradient


def nodes_with_training_behind(nodes: Sequence[Node], also: Iterable[str] = ()) -> set[str]:
    """The nodes that have a trainable parameter, or read a value that depends on one, or on those named in `also`."""
    found = set(also)
    for node in nodes:
        own = any(parameter.trainable for parameter in node.layer.parameters.values())
        if own or any(handle.node.name in found for handle in node.inputs):
            found.add(node.name)
    return found


def results(node: Node, answer: Any, dtype: np.dtype) -> tuple[tuple, Any]:
    """The arrays that a node's layer makes, and its cache, out of what forward returned.

    Raises GraphError, DtypeError for an answer that is not as `Layer` says.
    """
    if not isinstance(answer, tuple) or len(answer) != 2:
        given = f"a tuple of {len(answer)}" if isinstance(answer, tuple) else type(answer).__name__
        raise GraphError(f"forward must return two things, the output and a cache for backward; got {given}")
    output, cache = answer
    arrays = output if isinstance(output, tuple) else (output,)
    if len(arrays) != node.layer.outputs:
        raise GraphError(f"forward must return {node.layer.outputs} arrays, as `outputs` says; got {len(arrays)}")
    check_floats(arrays[0], dtype, "the output that forward returns")
    return arrays, cache


def gradients(node: Node, answer: Any, shapes: Mapping[str, Shape], dtype: np.dtype) -> tuple:
    """A gradient or None for each of a node's inputs, out of what backward returned; those by indices may be left out.

    Raises GraphError, ShapeError, DtypeError for an answer that is not as `Layer` says.
    """
    given = tuple(answer) if isinstance(answer, tuple | list) else (answer,)
    floats = [handle for handle in node.inputs if handle.position == 0]
    if len(given) == len(node.inputs):
        given = tuple(dx for handle, dx in zip(node.inputs, given, strict=True) if handle.position == 0)
    if len(given) != len(floats):
        raise GraphError(f"backward must return a gradient for each input, {len(floats)} in all; got {len(given)}")
    for handle, dx in zip(floats, given, strict=True):
        if dx is not None:
            name = handle.node.name
            check_gradient(dx, shapes[name], dtype, f"the gradient that backward returns by {name!r}")
    rest = iter(given)
    return tuple(None if handle.position else next(rest) for handle in node.inputs)


def check_input(graph: Graph, node: Node, x: Any) -> None:
    """An array of the type that the parameters have, where they lie, with the channels promised."""
    if not is_array(x):
        raise DtypeError(f"{graph.name}: input {node.name!r} must be a NumPy array; got {type(x).__name__}")
    weights = next((parameter.data for parameter in graph.parameters.values()), x)
    if place_of(x) != place_of(weights):
        raise BackendError(
            f"{graph.name}: input {node.name!r} lies {place_of(x)} and the parameters {place_of(weights)}; give "
            f"graph.placed({node.name}), or move the network by graph.to"
        )
    dtype = graph.dtype
    if x.dtype.kind != "f" or (dtype is not None and x.dtype != dtype):
        raise DtypeError(
            f"{graph.name}: input {node.name!r} is {x.dtype} and the parameters are {dtype or 'float32'}; "
            f"give {node.name}.astype('{dtype or 'float32'}') (images scaled to 0..1), or use graph.astype"
        )
    graph.check_input(node, x.shape)


def check_gradient(gradient: Any, shape: Shape, dtype: np.dtype, what: str) -> None:
    """An array of the shape and the float type of the value it belongs to."""
    if np.shape(gradient) != shape:
        raise ShapeError(f"{what} must have its shape {shape}; got {np.shape(gradient)}")
    check_floats(gradient, dtype, what)


def check_floats(array: Any, dtype: np.dtype, what: str) -> None:
    """An array, or a single number, of the network's float type."""
    if not is_array(array) and not isinstance(array, np.generic):
        raise DtypeError(f"{what} must be a NumPy array; got {type(array).__name__}")
    if array.dtype != dtype:
        raise DtypeError(f"{what} must be {dtype}, as the network is; got {array.dtype}; use .astype('{dtype}')")
