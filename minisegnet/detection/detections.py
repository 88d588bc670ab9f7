"""The objects found in one image, and how they follow from what the box head says of the proposals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minisegnet import functional
from minisegnet.detection import boxes as B
from minisegnet.detection import paste
from minisegnet.detection.settings import DetectionSettings
from minisegnet.detection.suppression import batched_nms
from minisegnet.errors import BoxError, GraphError


@dataclass(frozen=True)
class Detections:
    """Objects found in one image, by decreasing score; there may be none.

    boxes   (R, 4)     x1, y1, x2, y2 in the image's pixels, inside the image
    scores  (R,)       probability of the class
    labels  (R,)  int32  1 to num_classes - 1
    masks   (R, m, m)  probability at m x m places of the box; None without a mask head
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def pasted(self, image_size: tuple[int, int], threshold: float = 0.5) -> np.ndarray:
        """The masks in an image (H, W), bool (R, H, W); see `paste.paste`. Raises GraphError without masks."""
        return paste.paste(self._probabilities(), self.boxes, image_size, threshold)

    def as_instances(self, image_size: tuple[int, int], threshold: float = 0.5) -> np.ndarray:
        """The masks as one map, int32 (H, W): 0, or 1 + the number of the best-scored object that is there."""
        return paste.paste_as_instances(self._probabilities(), self.boxes, image_size, threshold)

    def _probabilities(self) -> np.ndarray:
        if self.masks is None:
            raise GraphError("these detections have boxes and no masks: build the detector by mask_rcnn")
        return self.masks


def detections_of(
    scores: np.ndarray,
    deltas: np.ndarray,
    proposals: np.ndarray,
    image_size: tuple[int, int],
    settings: DetectionSettings,
) -> Detections:
    """What one image's proposals come to: each class's boxes above the threshold, less those that overlap better ones.

    scores      (R, K)    logits of the classes, the background first
    deltas      (R, 4 K)  each class's own box
    proposals   (R, 4)

    Raises BoxError for scores or deltas that are NaN or infinite.
    Source: Girshick 2015, Fast R-CNN, section 2.4.
    """
    if not (np.isfinite(scores).all() and np.isfinite(deltas).all()):
        raise BoxError(
            "the box head's scores or deltas are NaN or infinite. Has training diverged? Check that the image is "
            "normalised and holds no NaN, and that all weights were loaded"
        )
    probabilities, _ = functional.softmax_forward(scores)
    boxes = B.clip(B.decode(deltas, proposals, settings.box_weights), image_size)
    fits = (probabilities > settings.score_threshold) & B.sides_of_at_least(boxes, settings.smallest_detection)
    fits[:, 0] = False
    regions, labels = np.nonzero(fits)
    boxes, chosen = boxes[regions, labels], probabilities[regions, labels]
    keep = batched_nms(boxes, chosen, labels, settings.detection_nms)[: settings.detections_per_image]
    return Detections(boxes[keep], chosen[keep], labels[keep].astype(np.int32))
