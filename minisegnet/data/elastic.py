"""Elastic deformation, the augmentation that let U-Net learn from thirty images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from minisegnet.data.blending import blended
from minisegnet.data.resampling import at_points, height_and_width
from minisegnet.data.sample import Sample
from minisegnet.errors import OptionError
from minisegnet.shapes import integer


@dataclass(frozen=True)
class ElasticDeformation:
    """The image as if drawn on rubber that is pulled at a few places.

    grid   points along each side, the outer ones in the image's corners
    sigma  standard deviation of each point's displacement in either direction, in pixels

    Each point of the coarse grid is displaced by Gaussian random numbers, the pixels between by bicubic interpolation
    of those. The image is read there by cubic splines: read bilinearly, it would be softer than the images to predict.
    What comes from outside the image is mirrored. Time grows with the image: crop first.

    Source: Ronneberger et al. 2015, U-Net, section 3.1 (a 3 x 3 grid, 10 pixels).
    """

    grid: int = 3
    sigma: float = 10.0

    def __post_init__(self) -> None:
        if integer(self.grid, "ElasticDeformation: grid") < 2:
            raise OptionError(f"ElasticDeformation: grid must be at least 2 points a side; got {self.grid!r}")
        if not 0 <= self.sigma < np.inf:
            raise OptionError(f"ElasticDeformation: sigma must be at least 0 pixels; got {self.sigma!r}")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = height_and_width(sample)
        if self.sigma == 0:
            return sample  # exactly: splines would round
        down, right = self.displacement(height, width, rng)
        return at_points(sample, np.arange(height)[:, None] + down, np.arange(width) + right, image_order=3)

    def displacement(self, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """(2, height, width): how far down and to the right of each pixel its new value is fetched, in pixels."""
        coarse = self.sigma * rng.standard_normal((2, self.grid, self.grid))
        return blended(bicubic(height, self.grid), coarse, bicubic(width, self.grid))


@lru_cache(maxsize=64)
def bicubic(length: int, points: int) -> np.ndarray:
    """(length, points): how much each of the coarse points counts at each of `length` pixels from first to last point.

    Two of these matrices, one from either side, are the bicubic interpolation of a grid. The weights are Keys's cubic
    convolution (1981) with a = -1/2, which goes through the points and keeps straight lines straight between inner
    ones; beyond the edge, the outermost point is repeated.
    """
    position = np.linspace(0, points - 1, length)
    distance = np.abs(position[:, None] - np.arange(-1, points + 1))
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
    weights[:, 1] += weights[:, 0]
    weights[:, -2] += weights[:, -1]
    return weights[:, 1:-1]
