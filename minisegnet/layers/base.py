"""What every layer is: parameters, buffers, a mode, and the pair `forward`, `backward`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from operator import index
from typing import Any

import numpy as np

from minisegnet.cuda import arrays as places
from minisegnet.errors import CheckpointError, OptionError, ShapeError
from minisegnet.in_place import add_to
from minisegnet.layers.footprint import POINT, Footprints
from minisegnet.memory import shared, shared_zeros
from minisegnet.shapes import Shape


class Parameter:
    """An array that training changes, with the gradient of the loss by it.

    data       the values, float32 unless the layer was made another type by `astype`
    grad       like data; backward passes add to it until `zero_grad`
    trainable  False: backward passes leave `grad` alone, and an optimiser leaves `data` alone

    Both arrays are filled, never rebound, so that an optimiser or a worker may hold on to them. They lie in memory that
    processes forked from this one share: a worker sees every update. (A deep copy lies in ordinary memory.)
    """

    def __init__(self, shape: Shape, trainable: bool = True) -> None:
        self.data = shared_zeros(shape, np.float32)
        self.grad = shared_zeros(shape, np.float32)
        self.trainable = trainable

    def accumulate(self, gradient: np.ndarray) -> None:
        """Add one backward pass's gradient."""
        if self.trainable:
            add_to(self.grad, gradient)

    def __repr__(self) -> str:
        frozen = "" if self.trainable else ", frozen"
        return f"Parameter({self.data.shape}, {self.data.dtype}{frozen})"


class Layer:
    """A pair of functions with parameters:

        y, cache = layer.forward(x)
        dx = layer.backward(dy, cache)

    The caller holds the cache, so one layer may stand at several places. `backward` adds the parameters' gradients to
    their `.grad` and returns the gradient of each differentiable input, a tuple where there are several.
    A layer of your own gives `forward`, `backward` and, lest a copy be run on zeros whenever a graph is asked for its
    shapes, `output_shape`.

    parameters   name -> Parameter: what training changes
    buffers      name -> array: what a forward pass in training keeps besides (running statistics). Those of floats go
                 with the parameters to a device; counts stay where Python reads them
    training     the mode, which batch normalisation and dropout ask for
    frozen       True after `freeze`: nothing about the layer changes in training
    """

    pointwise = False  # True: each output value depends on the inputs at its own place alone
    frozen = False
    outputs = 1  # arrays that forward returns; those after the first are integers of its shape, without gradient

    def __init__(self) -> None:
        self.parameters: dict[str, Parameter] = {}
        self.buffers: dict[str, np.ndarray] = {}
        self.training = True

    # Annotated by name alone: each layer takes the arrays that its operation takes.
    forward: Any
    backward: Any

    def initialise(self, rng: np.random.Generator) -> None:
        """Draw fresh parameters, and put the buffers back to their start. Here: a layer that has neither."""

    def output_shape(self, *input_shapes: Any, **sizes: Any) -> Shape:
        """Shape of the (first) output for inputs of these shapes, without computing; `output_size` as for forward."""
        raise ShapeError(f"{type(self).__name__} does not say its output's shape: give it a method output_shape")

    def footprints(self, input_shape: Shape, output_shape: Shape) -> Footprints:
        """Where in its input the layer looks, vertically and horizontally; see `Footprint`.

        input_shape   of the (first) input, (N, C, H, W); the others have its height and width
        """
        if not self.pointwise:
            raise ShapeError(f"{type(self).__name__} does not say where it looks: give it a method footprints")
        return POINT, POINT

    def multiply_adds(self, input_shapes: tuple[Shape, ...], output_shape: Shape) -> int:
        """Multiplications, each with its addition, of one forward pass. Here: a layer with none worth counting."""
        return 0

    def train(self) -> Layer:
        """Use the batch's own statistics, and drop values; a frozen layer stays as it is."""
        self.training = not self.frozen
        return self

    def eval(self) -> Layer:
        """Use the running statistics, and drop nothing."""
        self.training = False
        return self

    def freeze(self) -> Layer:
        """Keep the parameters and the running statistics as they are from now on, whatever mode is asked for."""
        self.frozen = True
        for parameter in self.parameters.values():
            parameter.trainable = False
        return self.eval()

    def zero_grad(self) -> None:
        """Set the gradients to zero."""
        for parameter in self.parameters.values():
            places.clear(parameter.grad)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays themselves that make up the layer's state: parameters, then buffers, by name."""
        return {name: parameter.data for name, parameter in self.parameters.items()} | self.buffers

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of the parameters and buffers in the computer's memory, under PyTorch's names."""
        return copies(self.arrays())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Fill the parameters and buffers from such a copy. Raises CheckpointError, see `fill`."""
        fill(self.arrays(), state, self.describe())

    def astype(self, dtype: Any) -> Layer:
        """Turn the layer into another float type, float64 for a gradient check, and return it; see `rebind`."""
        return self.rebind(lambda array: array.astype(dtype))

    def rebind(self, changed: Callable[[Any], Any]) -> Layer:
        """Put in the place of every array of floats what `changed` makes of it, and return the layer.

        The one place where arrays are rebound: whoever holds the old ones holds arrays that the layer has left.
        """

        def anew(array: Any) -> Any:
            other = changed(array)
            return shared(other) if isinstance(other, np.ndarray) else other

        for parameter in self.parameters.values():
            parameter.data, parameter.grad = anew(parameter.data), anew(parameter.grad)
        for name, buffer in self.buffers.items():
            if buffer.dtype.kind == "f":
                self.buffers[name] = anew(buffer)
        return self

    def describe(self) -> str:
        """The call that builds this layer, without the options left at their defaults: "Conv2d(3, 16, 3, padding=1)".

        Options are read from the attributes of the constructor's argument names.
        """
        words = []
        for name, argument in inspect.signature(type(self)).parameters.items():
            if name in ("rng", "seed") or argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
                continue
            value = getattr(self, name, argument.default)
            if name == "bias":  # given as a yes or no, kept as the parameter or None
                value = value is not None
            told = f"<{value.size} values>" if places.is_array(value) else repr(value)
            if argument.default is argument.empty:
                words.append(told)
            elif told != repr(argument.default):
                words.append(f"{name}={told}")
        return f"{type(self).__name__}({', '.join(words)})"

    def __repr__(self) -> str:
        return self.describe()


def copies(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Copies of the arrays by name, in the computer's memory."""
    return {name: places.to_host(array) if places.is_device(array) else array.copy() for name, array in arrays.items()}


def fill(arrays: Mapping[str, Any], state: Mapping[str, Any], whose: str) -> None:
    """Copy each value of `state` into the array of its name; nothing is changed unless all of them fit.

    Raises CheckpointError naming every key that is missing, unexpected, or of another shape or kind of number.
    """
    given = {name: np.asarray(places.to_host(state[name])) for name in state if name in arrays}
    missing = [name for name in arrays if name not in state]
    unexpected = [str(name) for name in state if name not in arrays]
    misfits = []
    for name, value in given.items():
        wanted = arrays[name]
        if value.shape != wanted.shape:
            misfits.append(f"{name} is {value.shape}, wanted {wanted.shape}")
        elif not np.can_cast(value.dtype, wanted.dtype, "same_kind"):
            misfits.append(f"{name} holds {value.dtype}, wanted {wanted.dtype}")
    faults = {"missing": missing, "unexpected": unexpected, "of another shape or type": misfits}
    if missing or unexpected or misfits:
        told = "; ".join(f"{len(names)} {fault}: {', '.join(names)}" for fault, names in faults.items() if names)
        raise CheckpointError(f"this state does not fit {whose}, so nothing was loaded ({told}); build the same model")
    for name, value in given.items():
        places.fill(arrays[name], value)


def whole(name: str, value: Any) -> int:
    """A size given to a layer, a whole number of at least 1. Raises OptionError."""
    try:
        number = index(value)
    except TypeError:
        number = 0
    if number < 1 or isinstance(value, bool):
        raise OptionError(f"{name} must be a whole number of at least 1; got {value!r}")
    return number


def he_normal(parameter: Parameter, fan_in: float, rng: np.random.Generator) -> None:
    """Fill with normal numbers of variance 2 / fan_in, which keeps the variance of activations through ReLU layers.

    fan_in   how many values of the input one value of the output sums over
    Source: He et al. 2015, Delving deep into rectifiers, equation 10.
    """
    parameter.data[...] = rng.standard_normal(parameter.data.shape, np.float32)
    parameter.data *= np.sqrt(2.0 / fan_in)
