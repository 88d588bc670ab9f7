"""The Data Science Bowl's score of instance maps: of all objects, true and predicted, how many are found right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minisegnet import checks
from minisegnet.errors import OptionError, ShapeError

# The challenge's own ten; written, as 0.1 + 0.2 is not 0.3 and an IoU of 11 / 20 must not be above 0.55.
DATA_SCIENCE_BOWL = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


class Pairs(NamedTuple):
    """True and predicted objects that belong together, by falling IoU.

    true, predicted  (n,)  int, the numbers of the objects in their maps
    iou              (n,)  float64
    counts           (true objects, predicted objects) of the image
    """

    true: np.ndarray
    predicted: np.ndarray
    iou: np.ndarray
    counts: tuple[int, int]


def pair_instances(truth: np.ndarray, prediction: np.ndarray) -> Pairs:
    """Pair the objects of two maps, the pair of largest IoU first; each object belongs to one pair at most.

    truth       int (H, W), 0 background, any other number an object; or (L, H, W) where objects overlap: each layer
                holds other objects
    prediction  int (H, W), the same

    Pairs of equal IoU come by the true object's number, then the predicted one's. Two objects that do not touch are no
    pair. A pair of an IoU above 0.5 is the only one possible for both of its objects; below that, taking the best pair
    first is a rule, which need not give the largest number of pairs.
    Raises ShapeError, DtypeError for other arrays.
    """
    checks.integers("truth", truth)
    checks.integers("prediction", prediction)
    if prediction.ndim != 2 or truth.ndim not in (2, 3) or truth.shape[-2:] != prediction.shape:
        raise ShapeError(
            "truth is a map (H, W) or maps (L, H, W) and prediction a map (H, W) of the same size; got "
            f"{truth.shape} and {prediction.shape}"
        )
    true, true_area, t = _objects(truth)
    predicted, predicted_area, p = _objects(prediction)
    places = t.reshape(-1, *prediction.shape) * (len(predicted) + 1) + p.reshape(prediction.shape)
    size = (len(true) + 1, len(predicted) + 1)
    shared = np.bincount(places.ravel(), minlength=size[0] * size[1]).reshape(size)[1:, 1:]
    rows, columns = np.nonzero(shared)
    iou = shared[rows, columns] / (true_area[rows] + predicted_area[columns] - shared[rows, columns])
    taken: tuple[set[int], set[int]] = set(), set()
    chosen = []
    for place in np.argsort(-iou, kind="stable"):  # of equals the first by row, then by column
        row, column = int(rows[place]), int(columns[place])
        if row not in taken[0] and column not in taken[1]:
            taken[0].add(row)
            taken[1].add(column)
            chosen.append(place)
    return Pairs(true[rows[chosen]], predicted[columns[chosen]], iou[chosen], (len(true), len(predicted)))


class InstanceMatching:
    """TP / (TP + FP + FN) of predicted instance maps, fed image by image.

    A predicted object is right (TP) at a threshold if its true partner (see `pair_instances`) overlaps it by an IoU
    above that; other predicted objects are false (FP), other true ones missed (FN). The challenge calls the ratio the
    average precision at that threshold. An image with no object, true or predicted, has no score: NaN, left out of the
    mean.

    thresholds  of IoU, 0 to 1: one, or DATA_SCIENCE_BOWL, the ten that the challenge took the mean of

    Raises OptionError for thresholds beyond 0 to 1, or none.
    Source: 2018 Data Science Bowl; Caicedo et al. 2019, Nature Methods 16.
    """

    def __init__(self, thresholds: Sequence[float] = (0.5,)) -> None:
        self.thresholds = np.array(thresholds, float)
        if self.thresholds.ndim != 1 or self.thresholds.size == 0 or not np.all(np.abs(self.thresholds - 0.5) <= 0.5):
            raise OptionError(f"InstanceMatching: thresholds are numbers from 0 to 1, at least one; got {thresholds}")
        self._right: list[np.ndarray] = []
        self._objects: list[tuple[int, int]] = []

    def add(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Count one image; arguments and errors as for `pair_instances`."""
        pairs = pair_instances(truth, prediction)
        self._right.append((pairs.iou > self.thresholds[:, None]).sum(axis=1))
        self._objects.append(pairs.counts)

    def merge(self, other: InstanceMatching) -> None:
        """Add the images of another, as if they followed. Raises OptionError for other thresholds."""
        if not np.array_equal(self.thresholds, other.thresholds):
            raise OptionError(f"merge needs the same thresholds; got {self.thresholds} and {other.thresholds}")
        self._right += other._right
        self._objects += other._objects

    @property
    def counts(self) -> np.ndarray:
        """(images, T, 3) int64: TP, FP and FN."""
        right = np.array(self._right, np.int64).reshape(-1, len(self.thresholds))
        true, predicted = np.array(self._objects, np.int64).reshape(-1, 2).T[..., None]
        return np.stack([right, predicted - right, true - right], axis=2)

    @property
    def by_image(self) -> np.ndarray:
        """(images, T) the score of each image."""
        return _score(self.counts)

    @property
    def mean(self) -> np.ndarray:
        """(T,) the mean of the images' scores: each image counts alike. The challenge's own."""
        scores = self.by_image
        existing = ~np.isnan(scores)
        return _divide(np.where(existing, scores, 0).sum(axis=0), existing.sum(axis=0))

    @property
    def pooled(self) -> np.ndarray:
        """(T,) the score of all images' objects together: each object counts alike."""
        return _score(self.counts.sum(axis=0))

    def table(self) -> str:
        """The scores as text: a line for each threshold, and the mean over several."""
        header = f"{'IoU above':>9}  {'mean':>6}  {'pooled':>6}  {'right':>7}  {'wrong':>7}  {'missed':>7}"
        lines = [header, "-" * len(header)]
        for threshold, mean, pooled, counts in zip(
            self.thresholds, self.mean, self.pooled, self.counts.sum(axis=0), strict=True
        ):
            told = "  ".join(f"{count:>7,}" for count in counts)
            lines.append(f"{threshold:>9.2f}  {_written(mean)}  {_written(pooled)}  {told}")
        if len(self.thresholds) > 1:
            lines += ["-" * len(header), f"{'mean':>9}  {_written(self.mean.mean())}  {_written(self.pooled.mean())}"]
        return "\n".join(lines)


def _objects(instances: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of a map's objects (K,), how many pixels each has (K,), and the map with objects renumbered 1 to K."""
    numbers, place, areas = np.unique(np.append(0, instances), return_inverse=True, return_counts=True)
    background = int(np.searchsorted(numbers, 0))
    renumbered = np.arange(len(numbers))
    renumbered[:background] += 1
    renumbered[background] = 0
    objects = np.delete(np.arange(len(numbers)), background)
    return numbers[objects], areas[objects], renumbered[place[1:]].reshape(instances.shape)


def _score(counts: np.ndarray) -> np.ndarray:
    """TP / (TP + FP + FN) of counts (..., 3)."""
    return _divide(counts[..., 0], counts.sum(axis=-1))


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0)


def _written(score: float) -> str:
    return f"{'-' if np.isnan(score) else format(score, '.4f'):>6}"
