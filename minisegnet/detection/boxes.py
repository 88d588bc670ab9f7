"""Boxes as arrays: how large they are, how far two of them overlap, and how one is told from another.

A box is (x1, y1, x2, y2) in pixels of the image, x to the right, y down, pixel i from i to i + 1: a box around all of
an image of H x W is (0, 0, W, H). Arrays of boxes are (R, 4), float32 or float64, in the computer's memory, and what
is computed from them has their type. R may be 0.

Every function raises ShapeError or DtypeError for arrays that do not fit.
"""

from __future__ import annotations

import math

import numpy as np

from minisegnet import checks
from minisegnet.cuda.arrays import is_device
from minisegnet.errors import BoxError, DtypeError, ShapeError

# No box grows by more than this at a time: exp of what an untrained network says can be anything.
LARGEST_GROWTH = math.log(1000 / 16)

Weights = tuple[float, float, float, float]


def areas(boxes: np.ndarray) -> np.ndarray:
    """Width times height of boxes (..., 4), in square pixels: an array (...)."""
    check(boxes=boxes)
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def sides_of_at_least(boxes: np.ndarray, least: float) -> np.ndarray:
    """Which of boxes (..., 4) have a width and a height of at least `least` pixels: a bool array (...)."""
    check(boxes=boxes)
    return (boxes[..., 2] - boxes[..., 0] >= least) & (boxes[..., 3] - boxes[..., 1] >= least)


def with_area(boxes: np.ndarray) -> np.ndarray:
    """Which of boxes (..., 4) hold anything at all: a bool array (...)."""
    check(boxes=boxes)
    return (boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1])


def intersection_over_union(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far each box of one array overlaps each of another, from 0 to 1.

    a  (A, 4)
    b  (B, 4)

    Returns (A, B): the area that two boxes share, divided by the area that they cover together. Two boxes without an
    area overlap by 0, also where they are the same.
    """
    check(a=a, b=b)
    _check_lists(a=a, b=b)
    shared = _shared_sides(a, b, 0)
    shared *= _shared_sides(a, b, 1)
    together = areas(a)[:, None] + areas(b)[None, :]
    together -= shared
    return np.divide(shared, together, out=shared, where=together > 0)


def clip(boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """The part of each box that lies inside an image.

    boxes       (..., 4)
    image_size  (H, W)

    A box that lies outside altogether becomes one without an area, on the border.
    """
    check(boxes=boxes)
    H, W = image_size
    return np.clip(boxes, 0, np.array([W, H, W, H], boxes.dtype))


def encode(boxes: np.ndarray, references: np.ndarray, weights: Weights = (1.0, 1.0, 1.0, 1.0)) -> np.ndarray:
    """Deltas that tell each box from its reference: what a network is to answer.

    dx = wx (x - x_r) / w_r,  dw = ww log(w / w_r),  and y and h alike; x and y are centres, w and h sides.

    boxes, references  (R, 4), all with a width and a height
    weights            (wx, wy, ww, wh), which bring the deltas to a like size

    Returns deltas (R, 4), as (dx, dy, dw, dh). Raises BoxError for a box without a width or height: its logarithm
    does not exist.
    Source: Girshick et al. 2014, R-CNN, appendix C, equations 6 to 9.
    """
    check(boxes=boxes, references=references)
    _check_lists(boxes=boxes, references=references)
    checks.same_shape("references", references, boxes=boxes)
    _check_areas(boxes=boxes, references=references)
    centres, sides = _centres_and_sides(boxes)
    reference_centres, reference_sides = _centres_and_sides(references)
    w = np.asarray(weights, boxes.dtype)
    moved = w[:2] * (centres - reference_centres) / reference_sides
    grown = w[2:] * np.log(sides / reference_sides)
    return np.concatenate([moved, grown], axis=1)


def decode(deltas: np.ndarray, references: np.ndarray, weights: Weights = (1.0, 1.0, 1.0, 1.0)) -> np.ndarray:
    """The boxes that deltas tell from their references: `encode` read backwards.

    deltas      (R, 4 k), k times (dx, dy, dw, dh): as many boxes from each reference, one a class
    references  (R, 4)
    weights     those of `encode`

    Returns boxes (R, k, 4). No box is more than 1000 / 16 times as wide or high as its reference.
    """
    check(references=references)
    checks.floats(deltas=deltas, references=references)
    _check_lists(references=references)
    if deltas.ndim != 2 or len(deltas) != len(references) or deltas.shape[1] % 4 or deltas.shape[1] == 0:
        raise ShapeError(f"deltas must be (R, 4 k) for {len(references)} references; got {deltas.shape}")
    deltas = deltas.reshape(len(deltas), deltas.shape[1] // 4, 4) / np.asarray(weights, deltas.dtype)
    centres, sides = (part[:, None] for part in _centres_and_sides(references))
    centres = deltas[..., :2] * sides + centres
    half = np.exp(np.minimum(deltas[..., 2:], LARGEST_GROWTH)) * sides * 0.5
    return np.concatenate([centres - half, centres + half], axis=2)


def of_masks(masks: np.ndarray, dtype: type = np.float32) -> np.ndarray:
    """The smallest box around each mask.

    masks  (G, H, W)  bool

    Returns boxes (G, 4), from the first column and row that the mask touches to the ends of the last; (0, 0, 0, 0)
    where it is empty.
    """
    check_masks(masks)
    masks = np.asarray(masks)
    x1, x2 = _extent(np.any(masks, axis=1))
    y1, y2 = _extent(np.any(masks, axis=2))
    return np.stack([x1, y1, x2, y2], axis=1).astype(dtype)


def check(**arrays: np.ndarray) -> None:
    """Arrays (..., 4) of one float type, in the computer's memory."""
    checks.floats((), **arrays)
    for name, array in arrays.items():
        if is_device(array):
            raise DtypeError(f"{name} lie on a device, and boxes are not computed with there; use cuda.arrays.to_host")
        if array.ndim < 1 or array.shape[-1] != 4:
            raise ShapeError(f"{name} must have four numbers a box, (x1, y1, x2, y2); got shape {array.shape}")


def check_masks(masks: np.ndarray) -> None:
    """An array (G, H, W) of bool, or what is indexed like one and makes each mask when asked (`data.objects`)."""
    if getattr(masks, "dtype", None) != np.dtype(bool):
        given = getattr(masks, "dtype", type(masks).__name__)
        raise DtypeError(f"masks must be a NumPy array of bool; got {given}; use masks.astype(bool)")
    if masks.ndim != 3:
        raise ShapeError(f"masks must be (G, H, W), one an object; got {masks.shape}")


def _check_lists(**arrays: np.ndarray) -> None:
    for name, array in arrays.items():
        if array.ndim != 2:
            raise ShapeError(f"{name} must be (R, 4), one row a box; got {array.shape}")


def _check_areas(**arrays: np.ndarray) -> None:
    for name, array in arrays.items():
        empty = ~with_area(array)
        if empty.any():
            first = int(np.argmax(empty))
            raise BoxError(
                f"{name}: number {first}, {tuple(array[first].tolist())}, has no width or no height, so no logarithm; "
                "leave out such boxes (see with_area)"
            )


def _centres_and_sides(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes[:, :2] + 0.5 * sides, sides


def _shared_sides(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
    """(A, B): the length along one axis, 0 for x and 1 for y, that both boxes hold."""
    start = np.maximum(a[:, None, axis], b[None, :, axis])
    shared = np.minimum(a[:, None, axis + 2], b[None, :, axis + 2])
    shared -= start
    return np.maximum(shared, 0, out=shared)


def _extent(touched: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From where to where each row (G, L) of bool is true: the first, and one after the last; 0 and 0 for none."""
    if touched.shape[1] == 0:
        return np.zeros(len(touched)), np.zeros(len(touched))
    some = touched.any(axis=1)
    first, last = touched.argmax(axis=1), touched.shape[1] - touched[:, ::-1].argmax(axis=1)
    return first * some, last * some
