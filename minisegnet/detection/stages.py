"""What a detector made of one image, stage by stage: plain arrays, for pictures and for looking closely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Level:
    """One level of the feature pyramid. Its maps may reach beyond the image, which is padded for the network.

    stride      (vertical, horizontal)  pixels of the image from one place of the map to the next
    features    (C, h, w)     what RoIAlign reads
    anchors     (h, w, A, 4)  at each place, those of all sizes and ratios
    objectness  (h, w, A)     the probability that an anchor is about an object
    """

    stride: tuple[int, int]
    features: np.ndarray
    anchors: np.ndarray
    objectness: np.ndarray


@dataclass(frozen=True)
class Candidates:
    """Boxes that the region proposal network proposes.

    boxes   (P, 4)
    scores  (P,)       their objectness, as probabilities
    levels  (P,)  int  the number of the level that each comes from
    """

    boxes: np.ndarray
    scores: np.ndarray
    levels: np.ndarray


@dataclass(frozen=True)
class Sampled:
    """The regions that the heads are trained on.

    boxes    (R, 4)
    matches  (R,)  int  the index of the matched object, -1 where there is none
    """

    boxes: np.ndarray
    matches: np.ndarray


@dataclass(frozen=True)
class Instances:
    """Objects of an image, true or detected.

    boxes   (G, 4)
    labels  (G,)       int, 1 to the number of classes - 1
    masks   (G, H, W)  bool, in the image; None without a mask head
    scores  (G,)       of detections; None of true objects
    """

    boxes: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = None
    scores: np.ndarray | None = None


@dataclass(frozen=True)
class Region:
    """How RoIAlign read the features of each detection: `functional.roi_align_forward`'s options.

    levels          (D,)  int  the number of the level that each detection was read from
    output_size     (h, w)     bins
    sampling_ratio  points a side of a bin; 0 for as many as a bin has pixels
    aligned         whether places are shifted by half a pixel
    """

    levels: np.ndarray
    output_size: tuple[int, int]
    sampling_ratio: int
    aligned: bool


@dataclass(frozen=True)
class Stages:
    """All stages of one image, in order; boxes (x1, y1, x2, y2) are in the image's pixels.

    image               (C, H, W)  float, 0 to 1
    levels              of the pyramid, the finest first
    before_nms          what the region proposal network proposes; proposals: what non-maximum suppression leaves of it
    sampled, truth      None where the truth was not given
    detections          with their masks in the image
    mask_probabilities  (D, m, m)  the mask head's, of each detection's class; None without one
    region              what RoIAlign read for the last head
    """

    image: np.ndarray
    levels: Sequence[Level]
    before_nms: Candidates
    proposals: Candidates
    detections: Instances
    region: Region
    mask_probabilities: np.ndarray | None = None
    sampled: Sampled | None = None
    truth: Instances | None = None
