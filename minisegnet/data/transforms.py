"""Transforms of an image and its masks together: each a function of (sample, rng) that leaves the sample as it was.

Names and arguments are torchvision's where it has the transform. Image, labels, instances and pixel_weight move
together; labels never gain a value, but for a `label_fill` that is asked for. A size is an int or (height, width).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minisegnet.data.colour import ColorJitter, GaussianNoise, Normalize
from minisegnet.data.elastic import ElasticDeformation
from minisegnet.data.resampling import at_pixels, at_points, height_and_width, move
from minisegnet.data.resizing import Enlarge, RandomResizedCrop, RandomScale, Resize
from minisegnet.data.sample import Sample
from minisegnet.data.settings import interval, keep, probability
from minisegnet.errors import OptionError
from minisegnet.shapes import integer, pair

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "ElasticDeformation",
    "Enlarge",
    "GaussianNoise",
    "Normalize",
    "Pad",
    "RandomApply",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomRotate90",
    "RandomRotation",
    "RandomScale",
    "RandomVerticalFlip",
    "Resize",
]

Transform = Callable[[Sample, np.random.Generator], Sample]


@dataclass(frozen=True)
class Compose:
    """One transform after the other."""

    transforms: Sequence[Transform]

    def __post_init__(self) -> None:
        keep(self, transforms=tuple(self.transforms))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        for transform in self.transforms:
            sample = transform(sample, rng)
        return sample


@dataclass(frozen=True)
class RandomApply:
    """All of the transforms, with probability p; else none."""

    transforms: Sequence[Transform]
    p: float = 0.5

    def __post_init__(self) -> None:
        keep(self, transforms=tuple(self.transforms))
        probability(self)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return Compose(self.transforms)(sample, rng) if rng.random() < self.p else sample


# ---------------------------------------------------------------------------------------------------- flips, rotations


@dataclass(frozen=True)
class RandomHorizontalFlip:
    """Left becomes right, with probability p."""

    p: float = 0.5

    def __post_init__(self) -> None:
        probability(self)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return move(sample, lambda array: array[..., ::-1]) if rng.random() < self.p else sample


@dataclass(frozen=True)
class RandomVerticalFlip:
    """Top becomes bottom, with probability p."""

    p: float = 0.5

    def __post_init__(self) -> None:
        probability(self)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return move(sample, lambda array: array[..., ::-1, :]) if rng.random() < self.p else sample


@dataclass(frozen=True)
class RandomRotate90:
    """0, 1, 2 or 3 quarter turns counter-clockwise, each as likely.

    torchvision has none. A micrograph has no up and down, and a quarter turn, unlike `RandomRotation`, costs no
    sharpness. Turn squares: an image of h x w may become w x h.
    """

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        turns = int(rng.integers(4))
        return move(sample, lambda array: np.rot90(array, turns, axes=(-2, -1)))


@dataclass(frozen=True)
class RandomRotation:
    """Turned about its middle, counter-clockwise, by an angle drawn evenly; the size stays.

    degrees     the most in either direction, or (least, most)
    label_fill  the label of corners that come from outside, usually the data set's ignore_index; None: mirrored, as the
                image is
    """

    degrees: Any
    label_fill: int | None = None

    def __post_init__(self) -> None:
        keep(self, degrees=interval("RandomRotation: degrees", self.degrees, around=0.0))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = height_and_width(sample)
        angle = np.deg2rad(rng.uniform(*self.degrees))
        middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
        y, x = np.arange(height)[:, None] - middle_row, np.arange(width) - middle_column
        rows = middle_row + np.cos(angle) * y + np.sin(angle) * x
        columns = middle_column - np.sin(angle) * y + np.cos(angle) * x
        return at_points(sample, rows, columns, self.label_fill)


# ------------------------------------------------------------------------------------------------------ crops, margins


@dataclass(frozen=True)
class RandomCrop:
    """A window of `size` anywhere in the image; where the image is smaller, it is mirrored at its edges."""

    size: Any

    def __post_init__(self) -> None:
        keep(self, size=pair(self.size, "RandomCrop: size", minimum=1))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        spare = [have - wanted for have, wanted in zip(height_and_width(sample), self.size, strict=True)]
        top, left = (int(rng.integers(min(0, places), max(0, places), endpoint=True)) for places in spare)
        return at_pixels(sample, top + np.arange(self.size[0]), left + np.arange(self.size[1]))


@dataclass(frozen=True)
class CenterCrop:
    """The middle of the image, of `size`; where the image is smaller, it is mirrored at its edges."""

    size: Any

    def __post_init__(self) -> None:
        keep(self, size=pair(self.size, "CenterCrop: size", minimum=1))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = height_and_width(sample)
        top, left = (height - self.size[0]) // 2, (width - self.size[1]) // 2
        return at_pixels(sample, top + np.arange(self.size[0]), left + np.arange(self.size[1]))


@dataclass(frozen=True)
class Pad:
    """A margin of mirrored pixels.

    padding     pixels on every side, or (left and right, top and bottom), or (left, top, right, bottom)
    label_fill  the label of the margin, usually the data set's ignore_index; None: mirrored, as the image is
    """

    padding: Any
    label_fill: int | None = None

    def __post_init__(self) -> None:
        given = (self.padding,) if np.isscalar(self.padding) else tuple(self.padding)
        sides = {1: given * 4, 2: given * 2, 4: given}.get(len(given))
        if sides is None or min(integer(side, "Pad: padding") for side in sides) < 0:
            raise OptionError(f"Pad: padding must be 1, 2 or 4 ints from 0; got {self.padding!r}")
        keep(self, padding=tuple(int(side) for side in sides))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = height_and_width(sample)
        left, top, right, bottom = self.padding
        return at_pixels(sample, np.arange(-top, height + bottom), np.arange(-left, width + right), self.label_fill)
