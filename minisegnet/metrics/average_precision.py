"""COCO's average precision of a detector, fed image by image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from minisegnet.errors import LabelError, OptionError
from minisegnet.metrics.assignment import NONE, assign
from minisegnet.metrics.detection_scores import AREAS, MOST_DETECTIONS, DetectionScores
from minisegnet.metrics.objects import DetectedObjects, TrueObjects
from minisegnet.metrics.overlap import areas, crowds, overlaps, true_areas

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)


class Outcome(NamedTuple):
    """What became of one image's detections of one class; all that is kept of an image.

    scores   (D,)       falling, of the surest detections
    right    (A, T, D)  bool: a counted object was found
    wrong    (A, T, D)  bool: none was found; a detection that is neither does not count
    objects  (A,)       how many true objects count
    """

    scores: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    objects: np.ndarray


class AveragePrecision:
    """Average precision (AP) and average recall (AR) of boxes or of masks, as the COCO challenge defines them.

    A detection is right at a threshold of IoU if it overlaps an object of its class so much that no surer detection
    has taken (`assignment.assign`). Detections of a class over all images by falling score give precision and recall
    after each; AP is the mean over 101 recalls 0, 0.01, ..., 1 of the best precision at that recall or a higher one,
    and then the mean over IoU thresholds 0.50, 0.55, ..., 0.95 and over classes. AR is the mean over thresholds and
    classes of the recall that is reached with at most 1, 10 or 100 detections of a class in an image.

    - At most 100 detections of a class in an image count, the surest ones.
    - Of equal scores the one given first comes first: the image added first, in it the lower row.
    - What is found in a crowd is neither right nor wrong. So it is, where small, medium or large objects are asked
      for (areas up to 32^2, 96^2 pixels and beyond, both ends included), with objects of other areas, and with
      detections of other areas that found nothing. The area is a detection's own (of its box or mask, whichever is
      evaluated); an object's is told by `TrueObjects`.
    - A class without a true object has no score: NaN, left out of the means (the COCO API writes -1), however many
      were detected. So is a class without objects of an area's range out of that range's mean.

    classes  the name of each class, by label, class 0 being the background
    kind     "boxes" or "masks": what overlaps

    Memory: per image and class some bytes a detection, no mask.
    Raises OptionError for another kind or less than two classes.
    Source: Lin et al. 2014, Microsoft COCO; its API, cocoeval.py.
    """

    def __init__(self, classes: Sequence[str], kind: str = "boxes") -> None:
        if kind not in ("boxes", "masks"):
            raise OptionError(f"AveragePrecision: kind must be 'boxes' or 'masks'; got {kind!r}")
        if len(classes) < 2:
            raise OptionError(f"AveragePrecision takes the background's name and those of classes; got {list(classes)}")
        self.classes = tuple(classes)
        self.kind = kind
        self._outcomes: list[list[Outcome]] = [[] for _ in classes]

    def add(self, true: TrueObjects, detected: DetectedObjects) -> None:
        """Count one image. Raises LabelError for labels outside 1 .. len(classes) - 1; nothing is counted then."""
        for name, labels in (("true", true.labels), ("detected", detected.labels)):
            stray = labels[(labels < 1) | (labels >= len(self.classes))]
            if len(stray):
                raise LabelError(
                    f"a {name} object has label {stray[0]}, outside 1 to {len(self.classes) - 1}; 0 is the background"
                )
        overlap = overlaps(detected, true, self.kind)
        true_area, detected_area, crowd = true_areas(true), areas(detected, self.kind), crowds(true)
        scores = np.asarray(detected.scores, float)
        for label in np.union1d(true.labels, detected.labels):
            rows, columns = np.flatnonzero(detected.labels == label), np.flatnonzero(true.labels == label)
            rows = rows[np.argsort(-scores[rows], kind="stable")][: max(MOST_DETECTIONS)]
            ignored = crowd[columns] | _outside(true_area[columns])
            found = assign(overlap[np.ix_(rows, columns)], THRESHOLDS, ignored, crowd[columns])
            counts = np.column_stack([~ignored, np.zeros(len(AREAS), bool)])  # the last stands for NONE, which is -1
            right = counts[np.arange(len(AREAS))[:, None, None], found]
            wrong = (found == NONE) & ~_outside(detected_area[rows])[:, None]
            outcome = Outcome(scores[rows], right, wrong, (~ignored).sum(axis=1))
            self._outcomes[label].append(outcome)

    def merge(self, other: AveragePrecision) -> None:
        """Add the images of another evaluation, as if they followed. Raises OptionError for other classes or kind."""
        if (self.classes, self.kind) != (other.classes, other.kind):
            raise OptionError("merge needs evaluations of the same classes and kind")
        for own, others in zip(self._outcomes, other._outcomes, strict=True):
            own.extend(others)

    def result(self) -> DetectionScores:
        """The scores of all images so far."""
        shape = (len(self.classes) - 1, len(AREAS), len(THRESHOLDS))
        precision = np.full((*shape, len(RECALLS)), np.nan)
        recall = np.full((*shape, len(MOST_DETECTIONS)), np.nan)
        objects = np.zeros(shape[:2], np.int64)
        for row, outcomes in enumerate(self._outcomes[1:]):
            if outcomes:
                objects[row] = sum(outcome.objects for outcome in outcomes)
                _fill(outcomes, objects[row], precision[row], recall[row])
        return DetectionScores(self.classes[1:], self.kind, THRESHOLDS, precision, recall, objects)


def _outside(area: np.ndarray) -> np.ndarray:
    """(A, R) bool: areas outside each of the ranges."""
    least, most = np.array(list(AREAS.values())).T[..., None]
    return (area < least) | (area > most)


def _fill(outcomes: Sequence[Outcome], objects: np.ndarray, precision: np.ndarray, recall: np.ndarray) -> None:
    """Write the curves of one class: precision (A, T, 101), recall (A, T, limits); NaN stays where nothing counts."""
    counted = np.flatnonzero(objects)
    for place, limit in enumerate(MOST_DETECTIONS):
        found = sum(outcome.right[counted, :, :limit].sum(axis=2) for outcome in outcomes)
        recall[counted, :, place] = found / objects[counted, None]
    order = np.argsort(-np.concatenate([outcome.scores for outcome in outcomes]), kind="stable")
    right = np.concatenate([outcome.right for outcome in outcomes], axis=2)[..., order]
    wrong = np.concatenate([outcome.wrong for outcome in outcomes], axis=2)[..., order]
    for area, level in product(counted, range(len(THRESHOLDS))):
        precision[area, level] = precision_at_recalls(right[area, level], wrong[area, level], objects[area])


def precision_at_recalls(right: np.ndarray, wrong: np.ndarray, objects: int) -> np.ndarray:
    """(101,) the best precision at recalls of at least 0, 0.01, ..., 1; 0 where a recall is never reached.

    right, wrong  (D,) bool, of detections by falling score
    objects       how many there are to be found, at least 1
    """
    true_positives = np.cumsum(right)
    precision = true_positives / np.maximum(true_positives + np.cumsum(wrong), 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(true_positives / objects, RECALLS, side="left")
    return np.append(best_from_here, 0)[reached]
