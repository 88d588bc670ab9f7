"""Evaluation of a detector: its boxes, its masks and its instance maps against the true objects, image by image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from minisegnet.data.objects import Objects, objects_of
from minisegnet.data.sample import Sample
from minisegnet.detection.detections import Detections
from minisegnet.detection.detector import Detector
from minisegnet.errors import DataError
from minisegnet.metrics import (
    AveragePrecision,
    DetectedObjects,
    DetectionScores,
    InstanceMatching,
    TrueObjects,
)

# detect(detector, image (C, H, W) of 0..1) -> Detections
Detect = Callable[[Detector, np.ndarray], Detections]

SURE = 0.5  # the score from which on a detection is an object of the instance map


class DetectionEvaluation:
    """COCO's average precision of boxes and masks, and the Data Science Bowl's of instance maps.

    classes     the name of each class, the background's first
    with_masks  whether the detector draws masks; else boxes alone are scored
    sure        the score from which on a detection is drawn into the instance map
    """

    def __init__(self, classes: Sequence[str], with_masks: bool, sure: float = SURE) -> None:
        self.boxes = AveragePrecision(classes, "boxes")
        self.masks = AveragePrecision(classes, "masks") if with_masks else None
        self.maps = InstanceMatching() if with_masks else None
        self.sure = sure

    def add(self, sample: Sample, found: Detections) -> None:
        """Count one image. Raises DataError for a sample whose objects are not known."""
        objects = objects_of(sample)
        size = sample.image.shape[1:]
        masks = None if self.masks is None else found.pasted(size)
        true = TrueObjects(objects.labels, objects.boxes, np.asarray(objects.masks), objects.crowd)
        detected = DetectedObjects(found.labels, found.scores, found.boxes, masks)
        self.boxes.add(true, detected)
        if self.masks is not None and self.maps is not None:
            self.masks.add(true, detected)
            self.maps.add(as_map(objects), surest(found, self.sure).as_instances(size))

    def scores(self) -> dict[str, float]:
        """Each score by name, NaN where there is none: AP and AP50 of boxes and of masks, and the instance maps'."""
        told = {"box_ap": self.boxes.result().ap, "box_ap50": self.boxes.result().ap50}
        if self.masks is not None and self.maps is not None:
            masks = self.masks.result()
            told |= {"mask_ap": masks.ap, "mask_ap50": masks.ap50, "matched_50": float(self.maps.mean[0])}
        return told

    def results(self) -> dict[str, DetectionScores]:
        """COCO's scores of "boxes", and of "masks" where there are any."""
        return {one.kind: one.result() for one in (self.boxes, self.masks) if one is not None}

    def table(self) -> str:
        """All scores as text."""
        parts = [result.table() for result in self.results().values()]
        if self.maps is not None:
            parts.append(f"objects of a score from {self.sure:g} as one map (Data Science Bowl)\n{self.maps.table()}")
        return "\n\n".join(parts)


def surest(found: Detections, least: float) -> Detections:
    """The detections of a score from `least` on."""
    keep = found.scores >= least
    masks = None if found.masks is None else found.masks[keep]
    return Detections(found.boxes[keep], found.scores[keep], found.labels[keep], masks)


def as_map(objects: Objects) -> np.ndarray:
    """The objects that count, numbered: int (H, W), or (L, H, W) where they overlap; crowds are background."""
    instances = objects.masks.instances
    kept = np.where(np.isin(instances, objects.masks.numbers[~objects.crowd]), instances, 0)
    return kept[0] if len(kept) == 1 else kept


def check_instances(sample: Sample) -> None:
    """Raise DataError for a sample that does not tell its objects apart."""
    if sample.instances is None:
        raise DataError(
            f"{sample.name} has no instances, and a detector learns objects: give shapes, nuclei:FOLDER, coco:FOLDER, "
            "via:FOLDER, or folder:FOLDER with --data-option instances=True"
        )
