"""Transforms that change how many pixels show a thing: resizing, alone and after a random crop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from minisegnet.data.resampling import at_pixels, height_and_width, move
from minisegnet.data.sample import Sample
from minisegnet.data.settings import interval, keep
from minisegnet.shapes import pair


@dataclass(frozen=True)
class Resize:
    """Scaled to another size.

    size  (height, width), or an int for the shorter side; the other one follows

    Images and weights are interpolated bilinearly; where they shrink, over as many pixels as fall into one (torchvision
    calls it antialias). Labels and instances take the nearest pixel.
    """

    size: Any

    def __post_init__(self) -> None:
        checked = pair(self.size, "Resize: size", minimum=1)
        keep(self, size=checked if isinstance(self.size, tuple | list) else checked[0])

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = height_and_width(sample)
        if isinstance(self.size, tuple):
            return resized(sample, self.size)
        shorter = min(height, width)
        return resized(sample, (self.size * height // shorter, self.size * width // shorter))


@dataclass(frozen=True)
class Enlarge:
    """Scaled up until the shorter side has `least` pixels: so small things get places enough in a network.

    Images as large as that stay as they are.
    """

    least: int

    def __post_init__(self) -> None:
        keep(self, least=pair(self.least, "Enlarge: least", minimum=1)[0])

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = height_and_width(sample)
        shorter = min(height, width)
        if shorter >= self.least:
            return sample
        return resized(sample, (round(self.least * height / shorter), round(self.least * width / shorter)))

    def image(self, image: np.ndarray) -> np.ndarray:
        """An image (C, H, W) alone, scaled so."""
        return self(Sample(image, None, "image"), np.random.default_rng(0)).image


@dataclass(frozen=True)
class RandomScale:
    """Made larger or smaller, both directions alike: things are seen as if from nearer or farther away.

    scale  least and most factor of height and width, drawn evenly on a logarithmic scale

    Image and labels are scaled together (`Resize`). The images then have many sizes: crop them to one afterwards.
    """

    scale: tuple[float, float] = (0.5, 2.0)

    def __post_init__(self) -> None:
        keep(self, scale=interval("RandomScale: scale", self.scale, least=1e-3, most=1e3))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        factor = np.exp(rng.uniform(*np.log(self.scale)))
        height, width = (max(1, round(size * float(factor))) for size in height_and_width(sample))
        return resized(sample, (height, width))


@dataclass(frozen=True)
class RandomResizedCrop:
    """A window of random area and proportions, scaled to `size` (Szegedy et al. 2015).

    scale  least and most of the image's area
    ratio  least and most of width / height, drawn evenly on a logarithmic scale
    """

    size: Any
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        keep(
            self,
            size=pair(self.size, "RandomResizedCrop: size", minimum=1),
            scale=interval("RandomResizedCrop: scale", self.scale, least=0.0, most=1.0),
            ratio=interval("RandomResizedCrop: ratio", self.ratio, least=1e-3, most=1e3),
        )

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = height_and_width(sample)
        crop_height, crop_width = self._window(height, width, rng)
        top = int(rng.integers(height - crop_height, endpoint=True))
        left = int(rng.integers(width - crop_width, endpoint=True))
        cropped = at_pixels(sample, top + np.arange(crop_height), left + np.arange(crop_width))
        return resized(cropped, self.size)

    def _window(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int]:
        for _ in range(10):
            area = height * width * rng.uniform(*self.scale)
            ratio = np.exp(rng.uniform(*np.log(self.ratio)))
            crop_height, crop_width = round(float(np.sqrt(area / ratio))), round(float(np.sqrt(area * ratio)))
            if 0 < crop_height <= height and 0 < crop_width <= width:
                return crop_height, crop_width
        # None fits, as in an image much longer than wide: the largest window of the nearest allowed ratio.
        low, high = self.ratio
        return min(height, max(1, round(width / low))), min(width, max(1, round(height * high)))


def resized(sample: Sample, size: tuple[int, int]) -> Sample:
    """The sample scaled to a size; see `Resize`."""
    height, width = height_and_width(sample)
    rows, columns = nearest(height, size[0]), nearest(width, size[1])

    def scale(array: np.ndarray) -> np.ndarray:
        if array.dtype.kind == "f":
            return interpolated(interpolated(array, -2, size[0]), -1, size[1])
        return array.take(rows, axis=-2).take(columns, axis=-1)

    return move(sample, scale)


def nearest(length: int, wanted: int) -> np.ndarray:
    """(wanted,): of `length` pixels in a row, those in which the middles of `wanted` pixels fall."""
    return (2 * np.arange(wanted) + 1) * length // (2 * wanted)


def interpolated(array: np.ndarray, axis: int, wanted: int) -> np.ndarray:
    """The array with `wanted` pixels along one of its last two axes, each a weighted sum of some of those there were.

    Not a product of matrices: how BLAS rounds depends on how many threads it has just then, and a batch must not.
    """
    pixels, weights = interpolation(array.shape[axis], wanted)
    along = weights if axis == -1 else weights[:, :, None]
    total = array.take(pixels[0], axis) * along[0]
    for pixel, weight in zip(pixels[1:], along[1:], strict=True):
        total += array.take(pixel, axis) * weight
    return total


@lru_cache(maxsize=64)
def interpolation(length: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, wanted): which of `length` pixels in a row count in each of `wanted`, and how much (float32).

    A triangle about the new pixel's middle, one pixel to each side, of the old or the new ones, whichever are larger.
    """
    step = length / wanted
    reach = max(1.0, step)
    middles = (np.arange(wanted) + 0.5) * step - 0.5
    pixels = np.floor(middles - reach).astype(int) + np.arange(1, int(np.ceil(2 * reach)) + 1)[:, None]
    weights = np.clip(1 - np.abs(middles - pixels) / reach, 0, None)
    weights[(pixels < 0) | (pixels >= length)] = 0
    return pixels.clip(0, length - 1), (weights / weights.sum(axis=0)).astype(np.float32)
