"""Which object, if any, each anchor or proposal is to find."""

from __future__ import annotations

import numpy as np

from minisegnet import checks
from minisegnet.errors import OptionError, ShapeError

# Instead of an object's number:
BELOW = -1  # overlaps every object too little: background
BETWEEN = -2  # overlaps one too much for background, all too little for an object: does not count


def match(overlaps: np.ndarray, high: float, low: float, low_quality: bool = False) -> np.ndarray:
    """For each of A boxes the object that it overlaps most, if it overlaps that enough.

    overlaps     (G, A)  intersection over union of each of G objects with each box
    high         the object is the box's from here on
    low          below, the box is background
    low_quality  give each object also the boxes that overlap it most, ties included, however little that is: of
                 anchors, some objects meet none that fits well. Such a box goes to the object that *it* overlaps most

    Returns (A,) int32: the number of the object (of equals the first), or BELOW or BETWEEN. An object that no box
    overlaps at all claims none. Raises OptionError unless 0 <= low <= high <= 1.
    Source: Ren et al. 2015, section 3.1.2.
    """
    checks.floats(overlaps=overlaps)
    if overlaps.ndim != 2:
        raise ShapeError(f"match: overlaps must be (objects, boxes); got {overlaps.shape}")
    if not 0 <= low <= high <= 1:
        raise OptionError(f"match: must be 0 <= low <= high <= 1; got low {low!r} and high {high!r}")
    G, A = overlaps.shape
    if G == 0 or A == 0:
        return np.full(A, BELOW, np.int32)
    most = overlaps.max(axis=0)
    found = most >= high
    if low_quality:
        best = overlaps.max(axis=1, keepdims=True)
        found |= (overlaps == np.where(best > 0, best, np.inf)).any(axis=0)
    matches = np.where(most < low, BELOW, BETWEEN).astype(np.int32)
    matches[found] = overlaps[:, found].argmax(axis=0)
    return matches
