"""Optimisers: SGD, Adam and AdamW, with PyTorch's names and numbers, updating the parameters in place."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from minisegnet import checks
from minisegnet.cuda import arrays as places
from minisegnet.errors import BackendError, OptionError
from minisegnet.in_place import kernels_compute
from minisegnet.layers.base import Parameter, copies, fill
from minisegnet.numpy_ops.threads import side_by_side

# Elements updated at once. A step goes through a piece's weights, gradient, state and scratch several times, which then
# lie in the cache; smaller pieces would have threads wait for the interpreter.
PIECE = 2**18

_scratch = threading.local()  # of each float type three arrays


class Optimiser:
    """What the optimisers share: the parameters, the state kept for each of them, and scratch memory.

    parameters   name to Parameter, as `graph.parameters`; one whose `trainable` is False is left as it is
    lr           learning rate; set `optimiser.lr` before a step to change it (see `training.schedules`)
    state_names  what a subclass remembers of each parameter, as arrays of its shape

    `state_dict()` names each array "<state name>/<parameter name>".

    The state lies where the parameters do: bring a network to a device first, then make its optimiser. There, and where
    the emulator is the backend in force, `launch` changes a parameter by one kernel; elsewhere `update` does by NumPy.
    """

    state_names: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def __init__(self, parameters: Mapping[str, Parameter], lr: float, weight_decay: float) -> None:
        if not parameters:
            raise OptionError(f"{type(self).__name__} needs at least one parameter; got none")
        checks.not_negative(type(self).__name__, lr=lr, weight_decay=weight_decay)
        self.parameters = dict(parameters)
        self.lr = lr
        self.weight_decay = weight_decay
        self.state = {
            f"{state_name}/{name}": places.zeros(parameter.data.shape, parameter.data.dtype, like=parameter.data)
            for state_name in self.state_names
            for name, parameter in self.parameters.items()
        }
        # How often each parameter was updated: one that was frozen for a while starts to count later.
        self.state |= {f"steps/{name}": np.zeros((), np.int64) for name in self.parameters}

    def step(self, besides: Collection[str] = ()) -> None:
        """Update every trainable parameter by its gradient, besides those named, which `update_part` has updated."""
        pieces: list[tuple] = []  # of all parameters that NumPy updates, which threads share
        for name, parameter in self.parameters.items():
            if parameter.trainable and name not in besides:
                steps = self.count(name)
                w, state = parameter.data, self._state_of(name)
                if kernels_compute(w):
                    self.launch(w, parameter.grad, steps, *state)
                else:
                    arrays = w, parameter.grad, *state
                    if not all(array.flags.c_contiguous for array in arrays):  # their rows would be copies
                        raise OptionError(
                            f"{type(self).__name__} changes parameters in place: the data and grad of {name} must be "
                            f"contiguous (see np.ascontiguousarray); got strides {w.strides}, {parameter.grad.strides}"
                        )
                    rows = [array.reshape(-1) for array in arrays]
                    for start in range(0, w.size, PIECE):
                        pieces.append((steps, *(row[start : start + PIECE] for row in rows)))
        side_by_side(self._update, pieces)

    def count(self, name: str) -> int:
        """Count one more update of a parameter, before `update_part` has its parts; returns which it is."""
        steps = self.state[f"steps/{name}"]
        steps += 1
        return int(steps)

    def update_part(self, name: str, part: Any, gradient: np.ndarray) -> None:
        """Update a part of a parameter, its array's [part], by a gradient of that shape; its `grad` is not looked at.

        So a whole parameter is updated without its gradient ever being kept: `count`, then every part once, with the
        numbers of `step`. Only by NumPy.
        """
        steps = int(self.state[f"steps/{name}"])
        arrays = [array[part] for array in (self.parameters[name].data, *self._state_of(name))]
        rows = max(1, PIECE // max(1, arrays[0][:1].size))
        arrays.insert(1, gradient)
        pieces = [slice(start, start + rows) for start in range(0, len(gradient), rows)]
        side_by_side(self._update, [(steps, *(array[piece] for array in arrays)) for piece in pieces])

    def _state_of(self, name: str) -> list[np.ndarray]:
        """What is remembered of a parameter, `state_names` in order."""
        state = [self.state[f"{state_name}/{name}"] for state_name in self.state_names]
        for array in state:
            self._check_place(name, self.parameters[name].data, array)
        return state

    def _update(self, steps: int, w: np.ndarray, gradient: np.ndarray, *state: np.ndarray) -> None:
        """Update a piece of a parameter, with scratch that the thread keeps for the next."""
        kept = vars(_scratch)
        if w.dtype.char not in kept or kept[w.dtype.char].shape[1] < w.size:
            kept[w.dtype.char] = np.empty((3, max(w.size, PIECE)), w.dtype)
        *scratch, copy = (array[: w.size].reshape(w.shape) for array in kept[w.dtype.char])
        if not gradient.flags.c_contiguous:  # of transformed kernels, say: read once, not by every pass
            np.copyto(copy, gradient)
            gradient = copy
        self.update(w, gradient, steps, *state, *scratch)

    def _check_place(self, name: str, w: Any, array: Any) -> None:
        if places.place_of(w) != places.place_of(array):
            raise BackendError(
                f"{type(self).__name__} keeps its state {places.place_of(array)} and {name} lies {places.place_of(w)}: "
                "make the optimiser after graph.to(...), and load its state into it"
            )

    def update(self, w: np.ndarray, gradient: np.ndarray, steps: int, *arrays: np.ndarray) -> None:
        """Change the weights w, and the state arrays, which come first in `arrays`; two scratch arrays follow.

        All are pieces of the whole, of one shape: an update may not depend on a weight's neighbours.
        """
        raise NotImplementedError

    def launch(self, w: Any, gradient: Any, steps: int, *state: Any) -> None:
        """Change the weights w and the state arrays by a kernel."""
        raise BackendError(
            f"{type(self).__name__} has no kernel: give it a method launch (see minisegnet.cuda.optimisers), or train "
            "on the CPU by the numpy backend"
        )

    def zero_grad(self) -> None:
        """Set the gradients, which add up over backward passes, to zero."""
        for parameter in self.parameters.values():
            places.clear(parameter.grad)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the state's arrays by name in the computer's memory, flat, for a checkpoint."""
        return copies(self.state)

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over a state that `state_dict` gave.

        Raises CheckpointError, changing nothing, for another optimiser's state or that of other parameters.
        """
        fill(self.state, state, f"{type(self).__name__} and its parameters")

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.options)
        return f"{type(self).__name__}({options})"


class SGD(Optimiser):
    """Gradient descent with momentum.

        g = gradient + weight_decay w
        v = momentum v + g
        w = w - lr v                      with nesterov: w - lr (g + momentum v)

    Raises OptionError for a value outside its range.
    Source: Sutskever et al. 2013, in the form of torch.optim.SGD (lr outside of v).
    """

    state_names = ("momentum",)
    options = ("momentum", "weight_decay", "nesterov")

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        checks.not_negative("SGD", momentum=momentum)
        if nesterov and momentum == 0:
            raise OptionError("SGD: nesterov looks ahead along the momentum; give a momentum above 0")
        self.momentum = momentum
        self.nesterov = nesterov
        super().__init__(parameters, lr, weight_decay)

    def update(self, w, gradient, steps, v, g, ahead):
        if self.weight_decay:
            np.multiply(w, self.weight_decay, out=g)
            g += gradient
        else:
            g = gradient
        v *= self.momentum
        v += g
        if self.nesterov:
            np.multiply(v, self.momentum, out=ahead)
            ahead += g
            ahead *= self.lr
        else:
            np.multiply(v, self.lr, out=ahead)
        w -= ahead

    def launch(self, w, gradient, steps, v):
        from minisegnet.cuda.optimisers import sgd_step

        sgd_step(w, gradient, v, self.lr, self.momentum, self.weight_decay, self.nesterov)


class Adam(Optimiser):
    """Steps of about lr in each weight, whatever the gradient's scale: the mean gradient over its root mean square.

        g = gradient + weight_decay w
        m = beta1 m + (1 - beta1) g                 v = beta2 v + (1 - beta2) g^2
        w = w - lr m' / (sqrt(v') + eps)            m' = m / (1 - beta1^steps), v' = v / (1 - beta2^steps)

    Raises OptionError for a value outside its range.
    Source: Kingma and Ba 2015, algorithm 1.
    """

    state_names = ("mean", "square")
    options = ("betas", "eps", "weight_decay")
    decoupled = False  # whether weight decay stays out of m and v

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        checks.not_negative(type(self).__name__, eps=eps)
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise OptionError(f"{type(self).__name__}: betas are two numbers from 0 to below 1; got {betas!r}")
        self.betas = tuple(betas)
        self.eps = eps
        super().__init__(parameters, lr, weight_decay)

    def update(self, w, gradient, steps, m, v, g, change):
        self.decay(w, gradient, g)
        beta1, beta2 = self.betas
        np.subtract(g, m, out=change)  # m + (1 - beta1) (g - m)
        change *= 1 - beta1
        m += change
        np.multiply(g, g, out=change)
        change *= 1 - beta2
        v *= beta2
        v += change
        root_mean_square = np.sqrt(v, out=g)
        root_mean_square /= (1 - beta2**steps) ** 0.5
        root_mean_square += self.eps
        np.divide(m, root_mean_square, out=change)
        change *= self.lr / (1 - beta1**steps)
        w -= change

    def launch(self, w, gradient, steps, m, v):
        from minisegnet.cuda.optimisers import adam_step

        options = self.lr, self.betas, self.eps, self.weight_decay, self.decoupled
        adam_step(w, gradient, m, v, steps, *options)

    def decay(self, w: np.ndarray, gradient: np.ndarray, g: np.ndarray) -> None:
        """Set g to the gradient with the weight decay's part."""
        np.multiply(w, self.weight_decay, out=g)
        g += gradient


class AdamW(Adam):
    """Adam whose weight decay shrinks the weights themselves, w = w - lr weight_decay w, and stays out of m and v.

    Source: Loshchilov and Hutter 2019, algorithm 2.
    """

    decoupled = True

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def decay(self, w: np.ndarray, gradient: np.ndarray, g: np.ndarray) -> None:
        w *= 1 - self.lr * self.weight_decay
        g[...] = gradient
