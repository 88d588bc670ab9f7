"""An operation, a layer and a network, each as the gradient check's examination wants it: arrays, forward, backward."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minisegnet import functional
from minisegnet.errors import OptionError
from minisegnet.graph import Graph
from minisegnet.layers.base import Layer, Parameter
from minisegnet.teaching.conduct import Fault, equal

Places = list[tuple[str, Any]]  # the inputs by name, the arrays of a list one by one


class OperationSubject:
    """A pair of functions and its inputs."""

    several_kinks = False

    def __init__(
        self, forward: Callable, backward: Callable, inputs: tuple, options: dict, differentiable: Sequence[str] | None
    ) -> None:
        name = getattr(forward, "__name__", type(forward).__name__)
        self.title = name.removesuffix("_forward")
        self.pair = forward, backward
        ours = getattr(functional, name, None) is forward
        if ours:  # its arrays may be given by name, too
            call = inspect.signature(forward).bind(*inputs, **options)
            inputs, options = call.args, call.kwargs
        self.inputs = each(doubled, inputs)
        self.options = dict(zip(options, each(doubled, tuple(options.values())), strict=True))
        self.places = places(argument_names(forward, len(inputs)), self.inputs)
        self.wanted = wanted_names(self.places, differentiable)
        if ours and differentiable is None:
            _, cache = forward(*each(np.copy, self.inputs), **self.options)  # it knows how many have gradients
            self.wanted = [place for place, _ in self.places[: len(cache.inputs)]]
        watched = arrays_of(self.places)
        self.arrays = {name: array for name, array in watched.items() if name in self.wanted}
        self.watched = watched | arrays_of(places(list(options), tuple(self.options.values())))
        self.batch = batch_of(self.watched)

    def forward(self) -> tuple[list[np.ndarray], Any]:
        return first_output(self.pair[0](*self.inputs, **self.options))

    def backward(self, upstream: list[np.ndarray], cache: Any) -> dict[str, Any]:
        return assigned(self.pair[1](upstream[0], cache), self.places, self.wanted)

    def faults(self, upstream: list[np.ndarray]) -> list[str]:
        """Arrays in another memory order must give the same."""
        (y,), cache = self.forward()
        gradients = self.backward([upstream[0].copy()], cache)
        try:
            other, theirs = self._again(strided, upstream[0])
        except Exception as problem:
            return [f"arrays that are not C-contiguous raise {type(problem).__name__}: {problem}"]
        differing = [name for name in gradients if not equal(theirs[name], gradients[name])]
        if equal(other, y) and not differing:
            return []
        what = f"the gradient of {', '.join(differing)}" if equal(other, y) else "y"
        return [f"{what} differs when the arrays are not C-contiguous: never write through a reshaped array"]

    def remarks(self, upstream: list[np.ndarray]) -> list[str]:
        """Arrays that do not keep the inputs' type: no mistake of the gradient, but training is in float32."""
        try:
            y, gradients = self._again(single, upstream[0])
        except Exception:  # a pair that holds float64 arrays of its own takes no others
            return []
        found = {"y": y} | {f"the gradient of {name}": gradient for name, gradient in gradients.items()}
        double = [name for name, array in found.items() if getattr(array, "dtype", None) == np.float64]
        return [f"for float32 inputs {name} is float64: make arrays with dtype=x.dtype" for name in double]

    def _again(self, change: Callable, upstream: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        """The output and the gradients for inputs, options and dy changed in form."""
        options = dict(zip(self.options, each(change, tuple(self.options.values())), strict=True))
        (y,), cache = first_output(self.pair[0](*each(change, self.inputs), **options))
        dy = change(upstream).astype(y.dtype, copy=False)
        return y, assigned(self.pair[1](dy, cache), self.places, self.wanted)


class LayerSubject:
    """A copy of a layer in float64, and its inputs."""

    several_kinks = False

    def __init__(self, layer: Layer, inputs: tuple, options: dict, differentiable: Sequence[str] | None) -> None:
        if not isinstance(layer, Layer):
            raise OptionError(f"check_layer takes a layer, an object of a class made from Layer; got {layer!r}")
        self.title = layer.describe()
        self.layer = in_double(copy.deepcopy(layer))
        self.held = Held([self.layer])
        self.inputs = each(doubled, inputs)
        self.options = dict(zip(options, each(doubled, tuple(options.values())), strict=True))
        self.places = places(argument_names(layer.forward, len(inputs)), self.inputs)
        self.wanted = wanted_names(self.places, differentiable)
        given = arrays_of(self.places)
        self.moved = {name: array for name, array in given.items() if name in self.wanted}
        self.parameters = {
            f"parameter {name}" if name in given else name: parameter
            for name, parameter in unfrozen(self.layer.parameters).items()
        }
        values = {name: parameter.data for name, parameter in self.parameters.items()}
        self.arrays = self.moved | values
        self.watched = given | arrays_of(places(list(options), tuple(self.options.values()))) | values
        self.batch = batch_of(self.watched)

    def forward(self) -> tuple[list[np.ndarray], Any]:
        self.held.put_back()
        return first_output(self.layer.forward(*self.inputs, **self.options))

    def backward(self, upstream: list[np.ndarray], cache: Any) -> dict[str, Any]:
        for parameter in self.parameters.values():
            parameter.grad.fill(0)
        gradients = assigned(self.layer.backward(upstream[0], cache), self.places, self.wanted)
        return gradients | {name: parameter.grad.copy() for name, parameter in self.parameters.items()}

    def faults(self, upstream: list[np.ndarray]) -> list[str]:
        """Gradients must add up, and the cache must hold all that backward needs."""
        _, cache = self.forward()
        told = not_added_up(self.parameters, lambda: self.layer.backward(upstream[0].copy(), cache))
        _, cache = self.forward()
        before = self.backward([upstream[0].copy()], cache)
        self.layer.forward(*each(otherwise, self.inputs), **self.options)  # as at another place of a network
        after = self.backward([upstream[0].copy()], cache)
        if not all(equal(after[name], before[name]) for name in before):
            told.append("backward depends on the last forward pass, not on its cache alone: keep nothing on self")
        return told

    def remarks(self, upstream: list[np.ndarray]) -> list[str]:
        return []


class GraphSubject:
    """A copy of a network in float64, and its inputs."""

    several_kinks = True

    def __init__(self, graph: Graph, inputs: tuple) -> None:
        self.title = graph.name
        self.graph = copy.deepcopy(graph)
        for layer in self.graph.layers.values():
            in_double(layer)
        self.held = Held(list(self.graph.layers.values()))
        self.inputs = each(doubled, inputs)
        self.moved = dict(zip((node.name for node in graph.inputs), self.inputs, strict=False))
        self.parameters = unfrozen(self.graph.parameters)
        self.arrays = self.moved | {name: parameter.data for name, parameter in self.parameters.items()}
        self.watched = self.arrays
        self.batch = batch_of(self.watched)

    def forward(self) -> tuple[list[np.ndarray], Any]:
        self.held.put_back()
        outputs = self.graph.forward(*self.inputs)
        return (list(outputs) if isinstance(outputs, tuple) else [outputs]), None

    def backward(self, upstream: list[np.ndarray], cache: Any) -> dict[str, Any]:
        self.graph.zero_grad()
        gradients = self._backward(upstream)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        found = {}
        for (name, x), dx in zip(self.moved.items(), gradients, strict=True):
            found[name] = np.zeros_like(x) if dx is None else dx  # None: nothing with a gradient reads it
        return found | {name: parameter.grad.copy() for name, parameter in self.parameters.items()}

    def _backward(self, upstream: list[np.ndarray]) -> Any:
        return self.graph.backward(tuple(upstream) if len(upstream) > 1 else upstream[0])

    def faults(self, upstream: list[np.ndarray]) -> list[str]:
        """Gradients must add up."""
        self.forward()
        return not_added_up(self.parameters, lambda: self._backward([dy.copy() for dy in upstream]))

    def remarks(self, upstream: list[np.ndarray]) -> list[str]:
        return []


class Held:
    """Layers' running statistics and dropout counts, to begin every forward pass from the same."""

    def __init__(self, layers: list[Layer]) -> None:
        self.buffers = [(array, array.copy()) for layer in layers for array in layer.buffers.values()]
        self.calls = [(layer, layer.calls) for layer in layers if hasattr(layer, "calls")]

    def put_back(self) -> None:
        for array, value in self.buffers:
            array[...] = value
        for layer, calls in self.calls:
            layer.calls = calls  # type: ignore[attr-defined]


def not_added_up(parameters: dict[str, Parameter], backward: Callable[[], Any]) -> list[str]:
    """Parameters whose gradient is not twice as large after two backward passes."""
    for parameter in parameters.values():
        parameter.grad.fill(0)
    backward()
    once = {name: (parameter.grad, parameter.grad.copy()) for name, parameter in parameters.items()}
    backward()
    told = []
    for name, (array, value) in once.items():
        if parameters[name].grad is not array:
            told.append(f"backward rebinds the gradient of {name}: fill it in place, grad += ...")
        elif not equal(array, 2 * value):
            told.append(f"the gradient of {name} does not add up over two backward passes: use grad += ...")
    return told


def argument_names(function: Callable, count: int) -> list[str]:
    """Names of the first `count` positional arguments."""
    try:
        arguments = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a built-in function tells no names
        arguments = []
    names: list[str] = []
    for argument in arguments:
        if argument.kind is argument.VAR_POSITIONAL:
            names += [f"{argument.name}[{i}]" for i in range(count - len(names))]
        elif argument.kind in (argument.POSITIONAL_ONLY, argument.POSITIONAL_OR_KEYWORD):
            names.append(argument.name)
    return [names[i] if i < len(names) else f"input {i}" for i in range(count)]


def places(names: list[str], values: tuple) -> Places:
    """The values by name, the arrays of a list one by one."""
    found: Places = []
    for name, value in zip(names, values, strict=True):
        if is_list(value):
            found += [(f"{name}[{i}]", array) for i, array in enumerate(value)]
        else:
            found.append((name, value))
    return found


def wanted_names(inputs: Places, differentiable: Sequence[str] | None) -> list[str]:
    """Names of the inputs that have gradients: those given, else every float array (or None in place of one)."""
    values = dict(inputs)
    if differentiable is None:
        return [name for name, value in inputs if value is None or is_float(value)]
    names = [differentiable] if isinstance(differentiable, str) else list(differentiable)
    for name in names:
        if not is_float(values.get(name)):
            floats = ", ".join(name for name, value in inputs if is_float(value))
            raise OptionError(f"differentiable names {name!r}, which is no float array of the inputs ({floats} are)")
    return names


def assigned(gradients: Any, inputs: Places, wanted: list[str]) -> dict[str, Any]:
    """Which gradient belongs to which input: one for each wanted, or for each array, or for each input."""
    given = flattened(gradients)
    while len(given) > len(inputs) and given[-1] is None:  # of an input left at its default
        given.pop()
    values = dict(inputs)
    arrays = [name for name, value in inputs if value is None or isinstance(value, np.ndarray)]
    present = [name for name in wanted if values[name] is not None]
    for names in (wanted, present, arrays, list(values)):
        if len(names) == len(given):
            found = dict(zip(names, given, strict=True))
            return {name: found.get(name) for name in present}
    raise Fault(
        f"backward must return {len(present)} gradients, of {', '.join(present)} in this order; got {len(given)} "
        "(differentiable=[...] names the inputs that have one, if not all float arrays have)"
    )


def flattened(gradients: Any) -> list[Any]:
    """The gradients in one list."""
    if isinstance(gradients, tuple | list):
        return [one for several in gradients for one in flattened(several)]
    return [gradients]


def first_output(answer: Any) -> tuple[list[np.ndarray], Any]:
    """The first array of what a forward pass returns, and its cache. Raises Fault."""
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise Fault(f"forward must return two things, the output and a cache; got {type(answer).__name__}")
    output, cache = answer
    first = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(first, np.ndarray | np.generic | float):
        raise Fault(f"forward must return a NumPy array; got {type(first).__name__}")
    return [np.asarray(first)], cache


def arrays_of(inputs: Places) -> dict[str, np.ndarray]:
    return {name: value for name, value in inputs if isinstance(value, np.ndarray)}


def is_list(value: Any) -> bool:
    """Whether this is a list of arrays."""
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(array, np.ndarray) for array in value)


def is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def each(change: Callable, values: tuple) -> tuple:
    """The values with every array changed, those in lists too."""

    def changed(value: Any) -> Any:
        if is_list(value):
            return [change(array) for array in value]
        return change(value) if isinstance(value, np.ndarray) else value

    return tuple(changed(value) for value in values)


def doubled(array: np.ndarray) -> np.ndarray:
    """A copy, floats as float64."""
    return np.array(array, np.float64 if array.dtype.kind == "f" else array.dtype, order="C")


def single(array: np.ndarray) -> np.ndarray:
    """The same in float32, integers as they are."""
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def strided(array: np.ndarray) -> np.ndarray:
    """The same values in another memory order."""
    return np.asfortranarray(array) if array.ndim > 1 else np.repeat(array, 2)[::2] if array.ndim else array


def otherwise(array: np.ndarray) -> np.ndarray:
    """Other floats of the same kind, integers as they are."""
    return array[..., ::-1] / 2 if array.dtype.kind == "f" and array.ndim else array


def in_double(layer: Layer) -> Layer:
    """The layer in float64."""
    arrays = [array for array in layer.arrays().values() if array.dtype.kind == "f"]
    return layer if all(array.dtype == np.float64 for array in arrays) else layer.astype(np.float64)


def unfrozen(parameters: dict[str, Parameter]) -> dict[str, Parameter]:
    """The parameters, each of which now takes its gradient."""
    for parameter in parameters.values():
        parameter.trainable = True
    return parameters


def batch_of(arrays: dict[str, np.ndarray]) -> int:
    """How many images go in together: the length of the first array."""
    return next((array.shape[0] for array in arrays.values() if array.ndim), 1)
