"""The objects of one image as an evaluation takes them: the true ones, and those that a detector found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minisegnet import checks
from minisegnet.data.run_length import RunLength
from minisegnet.errors import BoxError, DtypeError, ShapeError

Masks = np.ndarray | Sequence[RunLength]


@dataclass(frozen=True, eq=False)
class TrueObjects:
    """The objects that are in an image; any number of them, none too.

    labels  (G,)    int, their classes
    boxes   (G, 4)  x1, y1, x2, y2 in pixels; None if not known
    masks   (G, H, W) bool, or G `RunLength`s; None if not known
    crowd   (G,)    bool, outlines of many objects together (COCO's iscrowd): what is found there is neither right nor
                    wrong. By default none is
    areas   (G,)    in pixels, which make an object small, medium or large; by default those of the masks, without masks
                    those of the boxes

    Raises ShapeError, DtypeError for arrays that do not fit, BoxError for boxes or areas that are none.
    """

    labels: np.ndarray
    boxes: np.ndarray | None = None
    masks: Masks | None = None
    crowd: np.ndarray | None = None
    areas: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check("true objects", self.labels, self.boxes, self.masks, crowd=self.crowd, areas=self.areas)
        if self.areas is not None:
            _check_finite("areas of true objects", self.areas)


@dataclass(frozen=True, eq=False)
class DetectedObjects:
    """What a detector found in an image; in any order, any number, none too.

    labels  (D,)    int, their classes
    scores  (D,)    the larger the surer
    boxes   (D, 4)  x1, y1, x2, y2 in pixels; or None
    masks   (D, H, W) bool, or D `RunLength`s; or None

    Raises ShapeError, DtypeError for arrays that do not fit, BoxError for boxes that are none and scores that are NaN.
    """

    labels: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray | None = None
    masks: Masks | None = None

    def __post_init__(self) -> None:
        _check("detected objects", self.labels, self.boxes, self.masks, scores=self.scores)
        _check_finite("scores of detected objects", self.scores)


def _check(whose: str, labels: np.ndarray, boxes: np.ndarray | None, masks: Masks | None, **each: Any) -> None:
    """Arrays of one value for each object."""
    checks.integers(f"labels of {whose}", labels)
    if labels.ndim != 1:
        raise ShapeError(f"labels of {whose} have shape (number of objects,); got {labels.shape}")
    count = len(labels)
    for name, values in each.items():
        if values is not None and np.shape(values) != (count,):
            raise ShapeError(f"{name} of {whose} must have shape ({count},), as the labels; got {np.shape(values)}")
    if boxes is not None:
        if np.shape(boxes) != (count, 4):
            raise ShapeError(f"boxes of {whose} must have shape ({count}, 4), as many as labels; got {np.shape(boxes)}")
        _check_finite(f"boxes of {whose}", boxes)
        inverted = np.flatnonzero((boxes[:, 2:] < boxes[:, :2]).any(axis=1))
        if len(inverted):
            raise BoxError(
                f"boxes of {whose} are x1, y1, x2, y2 with x1 <= x2 and y1 <= y2; number {inverted[0]} is "
                f"{boxes[inverted[0]].tolist()}. COCO's x, y, width, height must be converted"
            )
    if masks is not None:
        if len(masks) != count or (isinstance(masks, np.ndarray) and masks.ndim != 3):
            raise ShapeError(
                f"masks of {whose} must be an array ({count}, H, W) or {count} run lengths, as many as labels; got "
                f"{masks.shape if isinstance(masks, np.ndarray) else len(masks)}"
            )
        if isinstance(masks, np.ndarray) and masks.dtype != bool:
            raise DtypeError(f"masks of {whose} are bool; got {masks.dtype}. Write masks > 0.5 for probabilities")


def _check_finite(what: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise BoxError(f"{what} must be finite numbers; got NaN or infinity. Has the training diverged?")
