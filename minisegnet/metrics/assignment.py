"""Which true object each detection of an image has found, by COCO's rule: the surest detection chooses first."""

from __future__ import annotations

import numpy as np

NONE = -1
_JUST_BELOW_ONE = 1 - 1e-10  # an overlap of 1 that rounding made smaller still reaches a threshold of 1


def assign(overlap: np.ndarray, thresholds: np.ndarray, ignored: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """(A, T, D) int: for each detection the index of the object that it has found, or NONE.

    overlap     (D, G)  of detections by falling score and true objects
    thresholds  (T,)    the least overlap that counts as found
    ignored     (A, G)  bool: objects that do not count, by A rules (the ranges of areas)
    crowd       (G,)    bool

    A detection takes, of the objects that it overlaps enough and that no surer one has taken, the one it overlaps most;
    of equals the last. Objects that count come before ignored ones, whatever the overlap. A crowd is never used up.
    Source: the COCO API, cocoeval.py, evaluateImg.
    """
    detections, objects = overlap.shape
    rules, levels = len(ignored), np.minimum(thresholds, _JUST_BELOW_ONE)
    found = np.full((rules, len(levels), detections), NONE)
    free = np.ones((rules, len(levels), objects), bool)
    for detection, row in enumerate(overlap):
        near = np.flatnonzero(row >= levels.min(initial=np.inf))
        if len(near) == 0:
            continue
        rank = np.empty(len(near), int)  # how good an object is for this detection
        rank[np.argsort(row[near], kind="stable")] = np.arange(len(near))
        preference = np.where(ignored[:, near], rank, rank + len(near))[:, None]
        possible = free[:, :, near] & (row[near] >= levels[:, None])
        best = near[np.where(possible, preference, NONE).argmax(axis=2)]
        hit = possible.any(axis=2)
        found[..., detection] = np.where(hit, best, NONE)
        rule, level = np.nonzero(hit)
        free[rule, level, best[hit]] = crowd[best[hit]]
    return found
