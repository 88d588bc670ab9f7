"""What the heads are to answer for one image: which anchors, proposals and mask pixels belong to which object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minisegnet import checks, functional
from minisegnet.detection import boxes as box
from minisegnet.detection.matching import match
from minisegnet.detection.sampling import balanced_sample
from minisegnet.detection.settings import DetectionSettings
from minisegnet.errors import IndicesError, LabelError, ShapeError


@dataclass(frozen=True)
class AnchorTargets:
    """The anchors of one image that count in the loss of the region proposal network.

    positives  (P,)    numbers of anchors that are to say "object"
    negatives  (Q,)    numbers of anchors that are to say "none"
    objects    (P,)    int32, the object that each positive one is to find
    deltas     (P, 4)  where that lies, told from the anchor
    """

    positives: np.ndarray
    negatives: np.ndarray
    objects: np.ndarray
    deltas: np.ndarray


@dataclass(frozen=True)
class RoITargets:
    """The proposals of one image that count in the losses of the second stage.

    boxes    (S, 4)
    labels   (S,)    int32, the class that each is to be given; 0 background
    objects  (S,)    int32, the object that each is to find; -1 for background
    deltas   (S, 4)  where that lies, told from the proposal; 0 for background, where it does not count
    """

    boxes: np.ndarray
    labels: np.ndarray
    objects: np.ndarray
    deltas: np.ndarray


def rpn_targets(
    anchors: np.ndarray,
    boxes: np.ndarray,
    settings: DetectionSettings,
    rng: np.random.Generator,
    sampled: tuple[np.ndarray, np.ndarray] | None = None,
) -> AnchorTargets:
    """Match anchors with objects, and sample those that count.

    anchors  (A, 4)  of all levels
    boxes    (G, 4)  of the objects; one without an area is nobody's
    sampled  (positives, negatives) chosen elsewhere, in place of chance

    Raises IndicesError for sampled positives that match no object, BoxError for objects' boxes that are not finite.
    Source: Ren et al. 2015, sections 3.1.2 and 3.1.3.
    """
    boxes = _checked("rpn_targets", boxes, anchors.dtype)
    overlaps = box.intersection_over_union(boxes, anchors)
    matches = match(overlaps, settings.rpn_positive_overlap, settings.rpn_negative_overlap, low_quality=True)
    if sampled is None:
        sampled = balanced_sample(matches, settings.rpn_samples, settings.rpn_positive_share, rng)
    positives, negatives = (_numbers(numbers, len(anchors), "anchors") for numbers in sampled)
    objects = matches[positives]
    if (objects < 0).any():
        stray = int(positives[np.argmax(objects < 0)])
        raise IndicesError(f"anchor {stray} was sampled as positive, but matches no object; are the boxes the same?")
    deltas = box.encode(boxes[objects], anchors[positives], settings.rpn_weights)
    return AnchorTargets(positives, negatives, objects, deltas)


def roi_targets(
    proposals: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    settings: DetectionSettings,
    rng: np.random.Generator,
    sampled: np.ndarray | None = None,
) -> RoITargets:
    """Match proposals with objects, and sample those that count.

    The objects' own boxes are proposals too, so that the heads have something to learn from while the region proposal
    network finds nothing yet.

    proposals  (P, 4)
    boxes      (G, 4)  of the objects; one without an area is nobody's, and no proposal
    labels     (G,)    int, their classes, from 1
    sampled    (S,)    numbers of proposals, then of boxes with an area, chosen elsewhere, in place of chance

    Raises LabelError for a class below 1, BoxError for objects' boxes that are not finite.
    Source: Girshick 2015, Fast R-CNN, section 2.3; Lin et al. 2017, section 4.2.
    """
    checks.integers("labels", labels)
    if labels.shape != boxes.shape[:1]:
        raise ShapeError(f"roi_targets: one label a box; got labels {labels.shape} and boxes {boxes.shape}")
    if (labels < 1).any():
        raise LabelError(f"roi_targets: classes of objects begin at 1, 0 is the background; got {int(labels.min())}")
    boxes = _checked("roi_targets", boxes, proposals.dtype)
    candidates = np.concatenate([proposals, boxes[box.with_area(boxes)]])
    overlaps = box.intersection_over_union(boxes, candidates)
    matches = match(overlaps, settings.roi_positive_overlap, settings.roi_negative_overlap)
    if sampled is None:
        sampled = np.sort(np.concatenate(
            balanced_sample(matches, settings.roi_samples, settings.roi_positive_share, rng)
        ))  # fmt: skip
    sampled = _numbers(sampled, len(candidates), "proposals and objects")
    rois, objects = candidates[sampled], np.maximum(matches[sampled], -1)
    found = objects >= 0
    labels_of, deltas = np.zeros(len(rois), np.int32), np.zeros_like(rois)
    labels_of[found] = labels[objects[found]]
    deltas[found] = box.encode(boxes[objects[found]], rois[found], settings.box_weights)
    return RoITargets(rois, labels_of, objects, deltas)


def mask_targets(
    rois: np.ndarray, objects: np.ndarray, masks: np.ndarray, size: int, aligned: bool = False
) -> np.ndarray:
    """What of each object's mask lies in its RoI, as a square of `size` x `size`.

    rois     (P, 4)     of positive RoIs
    objects  (P,)       int, the object of each
    masks    (G, H, W)  bool
    aligned  as for `functional.roi_align_forward`

    Returns (P, size, size) of the RoIs' type, from 0 to 1: the mean of the mask over RoIAlign's points in each bin. A
    mask is not rounded there, since a pixel half covered is half the object's.
    Source: He et al. 2017, section 3.1; where aligned is False as in torchvision.
    """
    box.check(rois=rois)
    checks.integers("objects", objects)
    box.check_masks(masks)
    if rois.ndim != 2 or objects.shape != rois.shape[:1]:
        raise ShapeError(f"mask_targets takes rois (P, 4) and objects (P,); got {rois.shape} and {objects.shape}")
    objects = _numbers(objects, len(masks), "masks")
    targets = np.zeros((len(rois), size, size), rois.dtype)
    for number in np.unique(objects):  # one mask at a time: three hundred of them as floats would fill the memory
        its = objects == number
        numbered = np.concatenate([np.zeros((its.sum(), 1), rois.dtype), rois[its]], axis=1)
        mask = masks[number][None, None].astype(rois.dtype)
        squares, _ = functional.roi_align_forward(mask, numbered, (size, size), sampling_ratio=0, aligned=aligned)
        targets[its] = squares[:, 0]
    return targets


def _checked(who: str, boxes: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The objects' boxes, finite, in the type that is computed in."""
    box.check(boxes=boxes)
    checks.finite(who, "the box of object", boxes)
    return boxes.astype(dtype, copy=False)


def _numbers(numbers: np.ndarray, count: int, of: str) -> np.ndarray:
    """Numbers of things that there are."""
    numbers = np.asarray(numbers)
    if numbers.size == 0:
        return np.zeros(0, np.int64)
    checks.integers("numbers", numbers)
    if numbers.min() < 0 or numbers.max() >= count:
        raise IndicesError(f"numbers from 0 to {count - 1} of {of}; got {int(numbers.min())} to {int(numbers.max())}")
    return numbers
