"""One image taken through a detector, every stage kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minisegnet import functional
from minisegnet.cuda.arrays import to_host
from minisegnet.detection.batch import ImageBatch, check_targets
from minisegnet.detection.stages import Candidates, Instances, Level, Region, Sampled, Stages

if TYPE_CHECKING:
    from minisegnet.detection.detector import Detector, Seen


def stages_of(detector: Detector, image: np.ndarray, target: Any, rng: np.random.Generator | None) -> Stages:
    """Everything on the way from an image to its detections, in evaluation mode.

    image        (C, h, w)  as the detector takes it: put another in its place to show it (`dataclasses.replace`)
    target, rng  with a target also the regions that training would sample
    """
    batch = detector.batch_of([image])
    seen = detector.look(batch)
    (proposals,) = detector.proposals_of(seen, batch, training=False)
    (found,) = detector.detections_from(seen, [proposals], batch)
    pasted = None if found.masks is None else found.pasted(batch.sizes[0])
    sampled, truth = None, None
    if target is not None:
        with_masks = detector.mask_head is not None
        targets = check_targets([target], batch.sizes, detector.num_classes, with_masks, detector.dtype)
        regions = detector.sample(seen, batch, targets, rng or np.random.default_rng(0)).regions[0]
        sampled = Sampled(regions.boxes, regions.objects)
        boxes, labels, masks = targets[0]
        truth = Instances(boxes, labels, None if masks is None else np.asarray(masks))
    settings = detector.settings
    resolution = settings.box_resolution if detector.mask_head is None else settings.mask_resolution
    return Stages(
        image=image,
        levels=[level(seen, number, batch) for number in range(len(seen.objectness))],
        before_nms=Candidates(proposals.candidates, proposals.candidate_scores, proposals.candidate_levels),
        proposals=Candidates(proposals.boxes, proposals.scores, proposals.levels),
        detections=Instances(found.boxes, found.labels, pasted, found.scores),
        region=Region(
            detector.levels_of(found.boxes), (resolution, resolution), settings.sampling_ratio, settings.aligned
        ),
        mask_probabilities=found.masks,
        sampled=sampled,
        truth=truth,
    )


def level(seen: Seen, number: int, batch: ImageBatch) -> Level:
    """One level of the only image of a batch; the one above the pyramid is every second value of the coarsest."""
    _, count, h, w = seen.objectness[number].shape
    _, _, H, W = batch.images.shape
    inside = number < len(seen.features)
    features = to_host(seen.features[number])[0] if inside else to_host(seen.features[-1])[0, :, ::2, ::2]
    probabilities, _ = functional.sigmoid_forward(seen.objectness[number][0])
    places = seen.anchors[number].reshape(h, w, count, 4)
    return Level((H // h, W // w), features, places, probabilities.transpose(1, 2, 0))
