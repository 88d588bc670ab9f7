"""The confusion matrix, and the scores that are read off it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minisegnet import checks
from minisegnet.errors import LabelError, OptionError, ShapeError


class ConfusionMatrix:
    """How many pixels of each class were predicted as each class, summed over images.

    n_ij = `matrix[i, j]` is the number of pixels of true class i predicted as class j, t_i = sum over j of n_ij the
    pixels of a class, p_j = sum over i of n_ij the pixels predicted as it. Then, of Long et al. 2015, section 5:

        pixel accuracy          sum n_ii / sum t_i
        mean accuracy           mean of n_ii / t_i
        mean IoU                mean of n_ii / (t_i + p_i - n_ii)
        frequency weighted IoU  sum of t_i n_ii / (t_i + p_i - n_ii) / sum t_i

    and dice, the mean of 2 n_ii / (t_i + p_i).

    Classes that do not occur: a score whose denominator is 0 does not exist; it is nan in the array of its kind and is
    left out of the mean. So a class that is in neither the truth nor the prediction has no score at all, and one that
    was predicted but is nowhere true has IoU and dice 0, which count in their means, but no accuracy. With no score
    left, as before the first pixel, a mean is nan.

    num_classes   classes are 0 to num_classes - 1
    ignore_index  a label whose pixels count for nothing, whatever was predicted there; or None

    Raises OptionError for num_classes below 1.
    """

    def __init__(self, num_classes: int, ignore_index: int | None = None) -> None:
        if not isinstance(num_classes, int | np.integer) or num_classes < 1:
            raise OptionError(f"ConfusionMatrix: num_classes must be an int of at least 1; got {num_classes!r}")
        self.num_classes = int(num_classes)
        self.ignore_index = ignore_index
        self.matrix = np.zeros((self.num_classes, self.num_classes), np.int64)

    def update(self, prediction: np.ndarray, labels: np.ndarray) -> None:
        """Count the pixels of one image or batch.

        prediction, labels  int arrays of one shape, any; labels may hold ignore_index

        Raises DtypeError or ShapeError for other arrays, LabelError for a class that there is not; nothing is counted
        then.
        """
        checks.integers("prediction", prediction)
        checks.integers("labels", labels)
        if prediction.shape != labels.shape:
            raise ShapeError(
                f"prediction and labels must have one shape; got {prediction.shape} and {labels.shape}; "
                "resize or crop one of them"
            )
        counted = np.full(labels.shape, True) if self.ignore_index is None else labels != self.ignore_index
        hint = "" if self.ignore_index is not None else "; if it means 'no label', pass it as ignore_index"
        self._check("label", labels, counted, hint)
        self._check("predicted class", prediction, counted, "; predict with argmax over the classes' scores")
        true, predicted = labels[counted].astype(np.int64), prediction[counted].astype(np.int64)
        pairs = np.bincount(true * self.num_classes + predicted, minlength=self.num_classes**2)
        self.matrix += pairs.reshape(self.matrix.shape)

    def _check(self, what: str, classes: np.ndarray, counted: np.ndarray, hint: str) -> None:
        stray = counted & ((classes < 0) | (classes >= self.num_classes))
        if stray.any():
            where = tuple(int(i) for i in np.argwhere(stray)[0])
            raise LabelError(
                f"{what} {int(classes[where])} at {where} is outside the classes 0 to {self.num_classes - 1} "
                f"({int(stray.sum())} of {classes.size} pixels are){hint}"
            )

    def merge(self, other: ConfusionMatrix) -> None:
        """Add the counts of another matrix. Raises ShapeError if it has another number of classes."""
        if other.num_classes != self.num_classes:
            raise ShapeError(
                f"merge needs matrices of as many classes; got {self.num_classes} and {other.num_classes}"
            )
        self.matrix += other.matrix

    @property
    def true(self) -> np.ndarray:
        """t_i, the pixels of each class, int64 (num_classes,)."""
        return self.matrix.sum(axis=1)

    @property
    def predicted(self) -> np.ndarray:
        """p_j, the pixels predicted as each class, int64 (num_classes,)."""
        return self.matrix.sum(axis=0)

    @property
    def accuracy(self) -> np.ndarray:
        """Of each class's pixels, the share predicted so; nan for a class that is nowhere true."""
        return _ratio(np.diag(self.matrix), self.true)

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union of each class; nan for a class in neither truth nor prediction."""
        return _ratio(np.diag(self.matrix), self.true + self.predicted - np.diag(self.matrix))

    @property
    def dice(self) -> np.ndarray:
        """Dice coefficient (F1) of each class; nan for a class in neither truth nor prediction."""
        return _ratio(2 * np.diag(self.matrix), self.true + self.predicted)

    @property
    def pixel_accuracy(self) -> float:
        """The share of all pixels predicted right."""
        return float(_ratio(np.trace(self.matrix), self.matrix.sum()))

    @property
    def mean_accuracy(self) -> float:
        """Mean of `accuracy` over the classes that have one."""
        return _mean(self.accuracy)

    @property
    def mean_iou(self) -> float:
        """Mean of `iou` over the classes that have one."""
        return _mean(self.iou)

    @property
    def mean_dice(self) -> float:
        """Mean of `dice` over the classes that have one."""
        return _mean(self.dice)

    @property
    def frequency_weighted_iou(self) -> float:
        """`iou`, weighted by how many pixels of each class there are."""
        occurs = self.true > 0
        return float(_ratio((self.true * self.iou)[occurs].sum(), self.true.sum()))

    def table(self, class_names: Sequence[str] | None = None) -> str:
        """The scores as text: a line for each class ("-" where it has no score), then the means.

        Raises OptionError if there are not as many names as classes.
        """
        names = [str(i) for i in range(self.num_classes)] if class_names is None else list(class_names)
        if len(names) != self.num_classes:
            raise OptionError(f"table needs {self.num_classes} class names; got {len(names)}: {', '.join(names)}")
        width = max(len("frequency weighted"), *(len(name) for name in names))
        header = f"{'class':<{width}}  {'IoU':>6}  {'dice':>6}  {'accuracy':>8}  {'pixels':>12}"
        rows = [
            _row(name, width, iou, dice, accuracy, int(pixels))
            for name, iou, dice, accuracy, pixels in zip(
                names, self.iou, self.dice, self.accuracy, self.true, strict=True
            )
        ]
        nan = float("nan")
        means = [
            _row("mean", width, self.mean_iou, self.mean_dice, self.mean_accuracy, int(self.matrix.sum())),
            _row("frequency weighted", width, self.frequency_weighted_iou, nan, nan),
            _row("all pixels", width, nan, nan, self.pixel_accuracy),
        ]
        rule = "-" * len(header)
        return "\n".join([header, rule, *rows, rule, *means])


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator in float64, nan (without a warning) where the denominator is 0."""
    result = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=result, where=np.asarray(denominator) > 0)


def _mean(scores: np.ndarray) -> float:
    """Mean of the scores that exist; nan if none does."""
    existing = scores[~np.isnan(scores)]
    return float(existing.mean()) if existing.size else float("nan")


def _row(name: str, width: int, iou: float, dice: float, accuracy: float, pixels: int | None = None) -> str:
    cells = ["-" if np.isnan(score) else f"{score:.4f}" for score in (iou, dice, accuracy)]
    count = "" if pixels is None else f"{pixels:,}"
    return f"{name:<{width}}  {cells[0]:>6}  {cells[1]:>6}  {cells[2]:>8}  {count:>12}".rstrip()
