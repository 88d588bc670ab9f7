"""The few mistakes that a wrong gradient gives away by its numbers."""

from __future__ import annotations

from itertools import combinations
from math import prod

import numpy as np

CLOSE = 1e-5  # relative: what is wrong in one of these ways is so to rounding


def of_elements(
    positions: np.ndarray,
    analytic: np.ndarray,
    numeric: np.ndarray,
    wrong: np.ndarray,
    shape: tuple[int, ...],
    batch: int,
    others: dict[str, np.ndarray],
) -> list[str]:
    """At most one hint, from the elements that were moved one by one.

    positions          (elements,) in the flat array
    analytic, numeric  (elements,) their slopes
    wrong              (elements,) bool, whether the two differ
    shape              of the array
    batch              how many images went in together
    others             the numeric slopes of the other arrays
    """
    if len(analytic) < 2 or not np.isfinite(numeric).all():
        return []
    if not analytic.any():
        return ["backward gives zeros: is this gradient computed, and added where it belongs?"]
    owners = [name for name, slopes in others.items() if len(slopes) == len(analytic) and same(analytic, slopes)]
    if owners:
        return [f"this is the gradient of {owners[0]}: return the gradients in the order of the inputs"]
    told = factor(analytic, numeric, batch)
    if not told and len(analytic) == prod(shape):
        told = rearranged(analytic.reshape(shape), numeric.reshape(shape))
    told = told or places(positions, wrong, shape)
    return [told] if told else []


def factor(analytic: np.ndarray, numeric: np.ndarray, batch: int) -> str:
    """A constant between the two, where there is one."""
    if not numeric.any():
        return ""
    constant = float(analytic @ numeric / (numeric @ numeric))
    if not same(analytic, constant * numeric):
        return ""
    if near(constant, -1):
        return "the sign is flipped everywhere"
    told = f"backward gives {constant:.6g} times the right value everywhere"
    if batch > 1 and near(constant, 1 / batch):
        return f"{told}: is it divided by the batch size {batch} once too often?"
    if batch > 1 and near(constant, batch):
        return f"{told}: is a division by the batch size {batch} missing?"
    return told


def rearranged(analytic: np.ndarray, numeric: np.ndarray) -> str:
    """Right values at the wrong places, where that is all."""
    for first, second in combinations(range(analytic.ndim), 2):
        if analytic.shape[first] == analytic.shape[second] and same(analytic, numeric.swapaxes(first, second)):
            return f"the values are right but transposed: dimensions {first} and {second} are exchanged"
    if analytic.ndim >= 2 and same(analytic, numeric[..., ::-1, ::-1]):
        return "the values are right but turned by 180 degrees in the last two dimensions"
    return ""


def places(positions: np.ndarray, wrong: np.ndarray, shape: tuple[int, ...]) -> str:
    """Which rows, columns, channels or images are wrong, where the others are right."""
    for dimension, along in enumerate(np.unravel_index(positions, shape)):
        bad, good = set(along[wrong].tolist()), set(along[~wrong].tolist())
        if bad and good and not bad & good:
            word, fewer = ("wrong", bad) if len(bad) <= len(good) else ("right", good)
            told = ", ".join(str(index) for index in sorted(fewer))
            return f"it is {word} only where the index in dimension {dimension} is {told}"
    count = int(wrong.sum())
    return f"{count} of the {len(wrong)} elements looked at are wrong" if 0 < count < len(wrong) else ""


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal to rounding, relative to the largest of them."""
    return bool(np.abs(a - b).max(initial=0) <= CLOSE * np.abs(b).max(initial=0))


def near(a: float, b: float) -> bool:
    """Equal to rounding."""
    return abs(a - b) <= CLOSE * abs(b)
