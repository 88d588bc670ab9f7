"""What the passes must do besides computing: leave their arguments alone, repeat themselves, return fit arrays."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Fault(Exception):
    """What is wrong with a pass as such, so that there is no gradient to look at."""


class Subject(Protocol):
    """What is examined.

    title          its name in the report
    arrays         float64 arrays whose gradients are checked; the examination moves them in place
    watched        every array that the passes are given and must leave as it is
    batch          how many images go in together
    several_kinks  one output may depend on several kinks (a whole network)
    """

    title: str
    arrays: dict[str, np.ndarray]
    watched: dict[str, np.ndarray]
    batch: int
    several_kinks: bool

    def forward(self) -> tuple[list[np.ndarray], Any]:
        """The outputs that have gradients, and the cache. Raises Fault."""

    def backward(self, upstream: list[np.ndarray], cache: Any) -> dict[str, Any]:
        """Whatever backward says the gradient of each array is. Raises Fault."""

    def faults(self, upstream: list[np.ndarray]) -> list[str]:
        """What only this kind of subject can do wrong."""

    def remarks(self, upstream: list[np.ndarray]) -> list[str]:
        """What is no mistake here, but will be one elsewhere."""


def watched_forward(subject: Subject) -> list[np.ndarray]:
    """Copies of the outputs. Raises Fault for a forward pass that no gradient can be checked of."""
    before = copies(subject.watched)
    outputs = [output.copy() for output in subject.forward()[0]]
    changed = restore(subject.watched, before)
    if changed:
        raise Fault(f"forward changes its argument {', '.join(changed)}: work on a copy")
    for output in outputs:
        if output.dtype != np.float64:
            raise Fault(f"forward returns {output.dtype} for float64 inputs: make arrays with dtype=x.dtype")
        bad = int((~np.isfinite(output)).sum())
        if bad:
            raise Fault(f"forward returns NaN or infinity in {bad} of {output.size} values")
    again = subject.forward()[0]
    if not all(np.array_equal(one, other) for one, other in zip(outputs, again, strict=True)):
        raise Fault("forward gives another answer for the same inputs: fix the seed of what it draws")
    return outputs


def watched_backward(subject: Subject, upstream: list[np.ndarray]) -> tuple[dict[str, Any], list[str]]:
    """Copies of the gradients as backward returns them, and what it does wrong besides. Raises Fault."""
    _, cache = subject.forward()
    before, dy = copies(subject.watched), [part.copy() for part in upstream]
    gradients = {name: copied(gradient) for name, gradient in subject.backward(dy, cache).items()}
    changed = restore(subject.watched, before)
    if not all(np.array_equal(one, other) for one, other in zip(dy, upstream, strict=True)):
        changed.append("dy")
    if changed:
        return gradients, [f"backward changes its argument {', '.join(changed)}: work on a copy"]
    again = subject.backward([part.copy() for part in upstream], cache)
    if not all(equal(again[name], gradients[name]) for name in gradients):
        return gradients, ["a second backward pass with the same cache gives another answer: leave the cache as it is"]
    return gradients, subject.faults(upstream)


def unfit(gradient: Any, array: np.ndarray, batch: int) -> str:
    """Why this cannot be the gradient of the array, or nothing."""
    if gradient is None:
        return "backward gives no gradient for it (None)"
    if not isinstance(gradient, np.ndarray | np.generic):
        return f"the gradient must be a NumPy array; got {type(gradient).__name__}"
    if gradient.shape != array.shape:
        told = f"the gradient must have the array's shape {array.shape}; got {gradient.shape}"
        if gradient.shape == (batch, *array.shape):
            return f"{told}: sum over the batch"
        return f"{told}: transpose it" if gradient.shape == array.shape[::-1] else told
    if gradient.dtype != np.float64:
        return f"the gradient must be float64, as the inputs are; got {gradient.dtype}: make arrays with dtype=x.dtype"
    if not np.isfinite(gradient).all():
        index = [int(i) for i in np.argwhere(~np.isfinite(gradient))[0]]
        return f"the gradient holds NaN or infinity, first at {index}"
    return ""


def copied(value: Any) -> Any:
    """The value, out of reach of whoever keeps the original."""
    return value.copy() if isinstance(value, np.ndarray) else value


def copies(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A copy of each."""
    return {name: array.copy() for name, array in arrays.items()}


def restore(arrays: dict[str, np.ndarray], before: dict[str, np.ndarray]) -> list[str]:
    """Put the arrays back to what they were; returns the names of those that had changed."""
    changed = [name for name, array in arrays.items() if not np.array_equal(array, before[name])]
    for name in changed:
        arrays[name][...] = before[name]
    return changed


def equal(first: Any, second: Any) -> bool:
    """The same numbers to rounding (sums may run in another order), or the same kind of nothing."""
    if not isinstance(first, np.ndarray | np.generic) or not isinstance(second, np.ndarray | np.generic):
        return type(first) is type(second)
    if first.shape != second.shape:
        return False
    room = 1e-8 * np.abs(second)[np.isfinite(second)].max(initial=1e-3)
    return bool(np.allclose(first, second, rtol=0, atol=room, equal_nan=True))
