"""Mask R-CNN (He et al. 2017): Faster R-CNN, and a small FCN that draws a mask into each box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minisegnet.detection.detector import Detector
from minisegnet.models.detector_heads import mask_head
from minisegnet.models.faster_rcnn import faster_rcnn


def mask_rcnn(
    num_classes: int,
    encoder: str = "resnet50",
    in_channels: int = 3,
    width: int | None = None,
    strides: Sequence[int] | None = None,
    pyramid_channels: int | None = 256,
    top: bool = True,
    box_head_width: int = 1024,
    mask_head_width: int = 256,
    mask_convolutions: int = 4,
    frozen_norm: bool = False,
    norm_eps: float = 1e-5,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    running_statistics: bool = True,
) -> Detector:
    """Mask R-CNN as a `Detector`: Faster R-CNN with a mask of m x m for each class, from each region.

    mask_head_width     channels of the mask head's convolutions
    mask_convolutions   how many of 3 x 3 it has

    The other arguments are those of `faster_rcnn`. With a pyramid on a ResNet, state keys are those of torchvision's
    maskrcnn_resnet50_fpn and the like.
    Source: He et al. 2017, section 3 and figure 4.
    """
    boxes = faster_rcnn(
        num_classes, encoder, in_channels, width, strides, pyramid_channels, top, box_head_width, frozen_norm, norm_eps,
        settings, seed, running_statistics,
    )  # fmt: skip
    channels = boxes.box_head.inputs[0].channels
    assert channels is not None
    masks = mask_head(channels, num_classes, mask_head_width, mask_convolutions).initialise(seed)
    return Detector("Mask R-CNN", boxes.dense, boxes.box_head, masks, boxes.strides, boxes.settings)
