"""What happens to arrays between operations, gradients that add up and running averages: by NumPy, or by kernels."""

from __future__ import annotations

from typing import Any

from minisegnet.backends import backend_in_force
from minisegnet.cuda.arrays import is_device


def kernels_compute(array: Any) -> bool:
    """Whether kernels compute on this array here: it lies on a device, or the emulator is the backend in force."""
    return is_device(array) or backend_in_force() == "emulator"


def added(a: Any, b: Any) -> Any:
    """a + b, two arrays of one shape, in a new array."""
    if not kernels_compute(a):
        return a + b
    from minisegnet.cuda.arrangement import add_forward

    return add_forward(a, b)[0]


def add_to(total: Any, more: Any) -> None:
    """total = total + more, two arrays of one shape."""
    if not kernels_compute(total):
        total += more
        return
    from minisegnet.cuda.arrangement import add_to

    add_to(total, more)


def average_in(running: Any, batch: Any, weight: float, scale: float = 1.0) -> None:
    """running = (1 - weight) running + weight scale batch."""
    if not kernels_compute(running):
        running *= 1 - weight
        running += weight * (scale * batch)
        return
    from minisegnet.cuda.normalisation import average_in

    average_in(running, batch, weight, scale)
