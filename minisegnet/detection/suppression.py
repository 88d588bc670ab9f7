"""Non-maximum suppression inside groups: boxes of one level, or of one class, and never across."""

from __future__ import annotations

import numpy as np

from minisegnet import checks, functional
from minisegnet.errors import ShapeError


def batched_nms(boxes: np.ndarray, scores: np.ndarray, groups: np.ndarray, threshold: float) -> np.ndarray:
    """`functional.nms` in each group by itself: a cat does not suppress the dog that it sits on.

    boxes      (R, 4)
    scores     (R,)
    groups     (R,)  int, of any values
    threshold  of two boxes of one group that overlap by more, the lower-scored goes

    Returns the numbers of those kept, int32, by decreasing score, equals by increasing number.

    The groups are not moved apart and suppressed in one go, as some do: in float32, boxes far from the origin lose
    the digits by which they overlap.
    """
    checks.integers("groups", groups)
    if groups.shape != scores.shape:
        raise ShapeError(f"batched_nms: scores and groups must have one shape; got {scores.shape} and {groups.shape}")
    kept = [np.zeros(0, np.int32)]
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group).astype(np.int32)
        kept.append(members[functional.nms(boxes[members], scores[members], threshold)])
    keep = np.sort(np.concatenate(kept))
    return keep[np.argsort(-scores[keep], kind="stable")]
