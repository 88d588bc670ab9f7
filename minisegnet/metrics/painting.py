"""Masks that may overlap, painted into one map of instances: where two meet, the surer one is on top."""

from __future__ import annotations

import numpy as np

from minisegnet.errors import DtypeError, ShapeError


def painted(masks: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The map (H, W) int32: 0 background, i + 1 where masks[i] is the surest mask; of equal scores the first given.

    masks   (R, H, W) bool
    scores  (R,)

    A mask that lies wholly beneath others has no pixel, so that its number does not occur.
    Raises ShapeError, DtypeError for other arrays.
    """
    if masks.ndim != 3 or scores.shape != masks.shape[:1]:
        raise ShapeError(f"painted takes masks (R, H, W) and scores (R,); got {masks.shape} and {scores.shape}")
    if masks.dtype != bool:
        raise DtypeError(f"painted takes masks of bool; got {masks.dtype}. Write masks > 0.5 for probabilities")
    instances = np.zeros(masks.shape[1:], np.int32)
    for row in np.argsort(-scores.astype(float), kind="stable")[::-1]:
        instances[masks[row]] = row + 1
    return instances
