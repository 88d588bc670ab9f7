"""The result of a COCO evaluation: its curves, and the twelve numbers that are read off them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minisegnet.errors import OptionError

# Least and most pixels of the objects that count, and how many detections of a class in an image do.
AREAS = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}
MOST_DETECTIONS = (1, 10, 100)


@dataclass(frozen=True, eq=False)
class DetectionScores:
    """Curves of K classes, A areas (all, small, medium, large) and T thresholds of IoU; NaN where no object counts.

    classes     K names
    kind        what was compared, "boxes" or "masks"
    thresholds  (T,)
    precision   (K, A, T, 101)  at the recalls 0, 0.01, ..., 1
    recall      (K, A, T, 3)    with at most 1, 10 and 100 detections of a class in an image
    objects     (K, A)          how many true objects count
    """

    classes: tuple[str, ...]
    kind: str
    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    objects: np.ndarray

    def average_precision(self, iou: float | None = None, area: str = "all") -> np.ndarray:
        """(K,) AP of each class, at one threshold of IoU or in the mean of all; NaN for a class without objects.

        Raises OptionError for a threshold or an area that was not evaluated.
        """
        curves = self.precision[:, _place(area, list(AREAS))]
        if iou is not None:
            curves = curves[:, [_place(round(iou, 6), self.thresholds.round(6).tolist())]]
        return curves.mean(axis=(1, 2))

    def average_recall(self, detections: int = max(MOST_DETECTIONS), area: str = "all") -> np.ndarray:
        """(K,) AR of each class, in the mean of all thresholds; NaN for a class without objects.

        Raises OptionError for a number or an area that was not evaluated.
        """
        return self.recall[:, _place(area, list(AREAS)), :, _place(detections, MOST_DETECTIONS)].mean(axis=1)

    @property
    def by_class(self) -> dict[str, np.ndarray]:
        """COCO's twelve numbers of each class (K,), by name: AP, AP50, AP75, AP small, ..., AR 1, ..., AR large."""
        parts = [area for area in AREAS if area != "all"]
        return {
            "AP": self.average_precision(),
            "AP50": self.average_precision(0.5),
            "AP75": self.average_precision(0.75),
            **{f"AP {area}": self.average_precision(area=area) for area in parts},
            **{f"AR {most}": self.average_recall(most) for most in MOST_DETECTIONS},
            **{f"AR {area}": self.average_recall(area=area) for area in parts},
        }

    @property
    def mean(self) -> dict[str, float]:
        """The same twelve in the mean over the classes that have them; NaN if none has."""
        return {name: _mean(scores) for name, scores in self.by_class.items()}

    @property
    def ap(self) -> float:
        """AP, in the mean over thresholds and classes."""
        return _mean(self.average_precision())

    @property
    def ap50(self) -> float:
        """AP at an IoU of 0.5, in the mean over classes."""
        return _mean(self.average_precision(0.5))

    @property
    def ap75(self) -> float:
        """AP at an IoU of 0.75, in the mean over classes."""
        return _mean(self.average_precision(0.75))

    def table(self) -> str:
        """The scores as text: a line for each class ("-" where it has no score), then the means."""
        headings = [name.replace("small", "S").replace("medium", "M").replace("large", "L") for name in self.by_class]
        width = max(len("mean"), len(self.kind), *(len(name) for name in self.classes))
        header = f"{self.kind:<{width}}" + "".join(f"  {heading:>6}" for heading in headings) + f"  {'objects':>8}"
        columns = np.array(list(self.by_class.values()))
        lines = [
            _line(name, width, scores, count)
            for name, scores, count in zip(self.classes, columns.T, self.objects[:, 0], strict=True)
        ]
        rule = "-" * len(header)
        mean = _line("mean", width, np.array(list(self.mean.values())), self.objects[:, 0].sum())
        return "\n".join([header, rule, *lines, rule, mean])


def _place(wanted: object, known: Sequence) -> int:
    if wanted not in known:
        raise OptionError(f"scores are known for {', '.join(map(str, known))}; got {wanted!r}")
    return known.index(wanted)


def _line(name: str, width: int, scores: np.ndarray, objects: int) -> str:
    cells = ["-" if np.isnan(score) else f"{score:.4f}" for score in scores]
    return f"{name:<{width}}" + "".join(f"  {cell:>6}" for cell in cells) + f"  {objects:>8,}"


def _mean(scores: np.ndarray) -> float:
    """Mean of the scores that exist; NaN if none does."""
    existing = scores[~np.isnan(scores)]
    return float(existing.mean()) if existing.size else float("nan")
