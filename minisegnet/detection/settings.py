"""Every number that Faster R-CNN and Mask R-CNN choose, in one place."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from minisegnet.errors import OptionError


@dataclass(frozen=True)
class DetectionSettings:
    """The numbers of the method; as they come, those of torchvision's Mask R-CNN on a feature pyramid of five levels.

    Lengths are pixels of the image, overlaps are intersection over union. Lists become tuples, so that settings can be
    read back from JSON.

    Anchors
    anchor_sizes           for each level, finest first: the square roots of the anchors' areas, as many at every level
    aspect_ratios          height / width, of each size

    Region proposal network: its loss
    rpn_positive_overlap   an anchor that overlaps an object by as much or more is to say "object"
    rpn_negative_overlap   one that overlaps every object by less is to say "none"; those between do not count
    rpn_samples            anchors of each image that count, chosen by chance
    rpn_positive_share     of them, the share of positive ones at most
    rpn_weights            what the four box deltas are multiplied by

    Region proposal network: its proposals, (while training, else)
    candidates_per_level   best anchors of each level that are looked at
    proposals_per_image    best of them that are left after suppression
    proposal_nms           overlap above which the lower-scored of two goes
    smallest_proposal      sides below are dropped

    Second stage: its loss
    roi_positive_overlap   a proposal that overlaps an object by as much or more is of the object's class
    roi_negative_overlap   one that overlaps every object by less is background; those between do not count
    roi_samples            proposals of each image that count, chosen by chance
    roi_positive_share     of them, the share of positive ones at most
    box_weights            what the four box deltas are multiplied by
    smooth_l1_beta         of both stages' box losses: where the square ends and the line begins

    Second stage: what it sees
    box_resolution         RoIAlign's side for class and box
    mask_resolution        RoIAlign's side for the mask, which comes out twice as large
    sampling_ratio         RoIAlign's points along each side of a bin; 0: as many as there are pixels
    aligned                whether RoIAlign takes a value to stand in the middle of its pixel, for features and for the
                           masks to learn; torchvision's weights were trained without, half a pixel off
    canonical_size         a box whose area has this square root is read from canonical_level, one of twice the side
    canonical_level        from one level above; level k has the stride 2**k (Lin et al. 2017, equation 1)

    Detections
    score_threshold        lower scores are dropped
    smallest_detection     sides below are dropped
    detection_nms          overlap above which the lower-scored of two of one class goes
    detections_per_image   best of them that are left

    Raises OptionError for a number outside the values that it may take.
    Source: Ren et al. 2015, section 3; Lin et al. 2017, sections 4.1 and 4.2; He et al. 2017, section 3.1.
    """

    anchor_sizes: tuple[tuple[float, ...], ...] = ((32,), (64,), (128,), (256,), (512,))
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)

    rpn_positive_overlap: float = 0.7
    rpn_negative_overlap: float = 0.3
    rpn_samples: int = 256
    rpn_positive_share: float = 0.5
    rpn_weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)

    candidates_per_level: tuple[int, int] = (2000, 1000)
    proposals_per_image: tuple[int, int] = (2000, 1000)
    proposal_nms: float = 0.7
    smallest_proposal: float = 1e-3

    roi_positive_overlap: float = 0.5
    roi_negative_overlap: float = 0.5
    roi_samples: int = 512
    roi_positive_share: float = 0.25
    box_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    smooth_l1_beta: float = 1 / 9

    box_resolution: int = 7
    mask_resolution: int = 14
    sampling_ratio: int = 2
    aligned: bool = False
    canonical_size: float = 224.0
    canonical_level: int = 4

    score_threshold: float = 0.05
    smallest_detection: float = 1e-2
    detection_nms: float = 0.5
    detections_per_image: int = 100

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _as_tuples(getattr(self, field.name)))
        self._check_sizes()
        for name in (
            "rpn_positive_overlap", "rpn_negative_overlap", "rpn_positive_share", "proposal_nms",
            "roi_positive_overlap", "roi_negative_overlap", "roi_positive_share", "score_threshold", "detection_nms",
        ):  # fmt: skip
            self._check(name, 0 <= getattr(self, name) <= 1, "a number from 0 to 1")
        for stage in ("rpn", "roi"):
            low, high = getattr(self, f"{stage}_negative_overlap"), getattr(self, f"{stage}_positive_overlap")
            self._check(f"{stage}_positive_overlap", high > 0, "above 0, or any box would be any object's")
            self._check(f"{stage}_negative_overlap", low <= high, f"{stage}_positive_overlap, {high}, or less")
        for name in ("rpn_samples", "roi_samples", "box_resolution", "mask_resolution", "detections_per_image"):
            self._check(name, _is_count(getattr(self, name)), "an int of at least 1")
        for name in ("candidates_per_level", "proposals_per_image"):
            pair = getattr(self, name)
            fits = isinstance(pair, tuple) and len(pair) == 2 and all(_is_count(value) for value in pair)
            self._check(name, fits, "two ints of at least 1: (while training, else)")
        for name in ("rpn_weights", "box_weights"):
            self._check(name, _are_positive(getattr(self, name), 4), "four numbers above 0")
        for name in ("smooth_l1_beta", "canonical_size", "smallest_proposal", "smallest_detection"):
            self._check(name, 0 < getattr(self, name) < np.inf, "a number above 0")
        self._check("aligned", isinstance(self.aligned, bool), "True or False")
        for name in ("sampling_ratio", "canonical_level"):
            self._check(name, _is_count(getattr(self, name), least=0), "an int of at least 0")

    @property
    def anchors_per_place(self) -> int:
        """How many anchors stand at every place of every level."""
        return len(self.anchor_sizes[0]) * len(self.aspect_ratios)

    def _check_sizes(self) -> None:
        sizes = self.anchor_sizes
        fits = isinstance(sizes, tuple) and len(sizes) > 0 and all(_are_positive(level) for level in sizes)
        self._check("anchor_sizes", fits, "a tuple of sizes above 0 for each level, as in ((32,), (64,))")
        alike = len({len(level) for level in sizes}) == 1
        self._check("anchor_sizes", alike, "as many sizes at every level, since all levels share one head")
        self._check("aspect_ratios", _are_positive(self.aspect_ratios), "a tuple of numbers above 0")

    def _check(self, name: str, fits: bool, wanted: str) -> None:
        if not fits:
            raise OptionError(f"DetectionSettings: {name} must be {wanted}; got {getattr(self, name)!r}")


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(one) for one in value) if isinstance(value, list | tuple) else value


def _is_count(value: Any, least: int = 1) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)


def _are_positive(values: Any, count: int | None = None) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) > 0
        and count in (None, len(values))
        and all(isinstance(value, int | float | np.number) and 0 < value < np.inf for value in values)
    )
