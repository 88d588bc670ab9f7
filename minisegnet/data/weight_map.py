"""The weight map of the U-Net paper, which makes the network learn the thin background between touching cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from minisegnet.data.sample import Sample
from minisegnet.data.settings import keep
from minisegnet.errors import DataError, OptionError, ShapeError

REACH = 7  # in sigmas


def border_weight_map(
    instances: np.ndarray, class_weight_map: Any = 1.0, w0: float = 10.0, sigma: float = 5.0
) -> np.ndarray:
    """How much each pixel counts: equation 2 of the paper,

        w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2))

    instances         (H, W)            int, 0 background, any other number a cell
    class_weight_map  (H, W) or number  w_c, which balances the classes
    w0, sigma                           the border's weight, and its width in pixels

    d1 and d2 are the Euclidean distances, between the middles of pixels, to the nearest and the second nearest cell.
    The second term is that of the background, the border between cells; inside cells w is w_c.

    Returns (H, W) float32. Raises ShapeError for instances that are no plane, OptionError for w0 below 0 or sigma not
    above 0.

    Terms with d1 + d2 above 7 sigma are left out: they are below w0 * 2.3e-11, less than float32 resolves beside 1.
    Source: Ronneberger et al. 2015, U-Net.
    """
    if instances.ndim != 2:
        raise ShapeError(f"border_weight_map takes instances (H, W); got shape {instances.shape}")
    if not (w0 >= 0 and sigma > 0):
        raise OptionError(f"border_weight_map: w0 must be at least 0 and sigma above 0; got {w0!r} and {sigma!r}")
    nearest, second = two_distances(instances, REACH * sigma)
    border = w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    return (class_weight_map + np.where(instances == 0, border, 0)).astype(np.float32)


def two_distances(instances: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) each: the distances to the nearest and the second nearest cell, infinite where farther than `reach`."""
    nearest = np.full(instances.shape, np.inf)
    second = np.full(instances.shape, np.inf)
    margin = int(np.ceil(reach))
    numbers, numbered = np.unique(instances, return_inverse=True)
    numbered = numbered.reshape(instances.shape)
    # A cell does not matter beyond its reach: its distances are computed in a window around it, not the whole image.
    for position, box in enumerate(ndimage.find_objects(numbered + 1)):
        if numbers[position] == 0:
            continue
        window = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)
        distance = ndimage.distance_transform_edt(numbered[window] != position)
        distance[distance > reach] = np.inf
        second[window] = np.minimum(second[window], np.maximum(nearest[window], distance))
        nearest[window] = np.minimum(nearest[window], distance)
    return nearest, second


@dataclass(frozen=True)
class BorderWeight:
    """A transform: gives a sample the `border_weight_map` of its cells as pixel_weight.

    class_weight  one number a class, w_c of its pixels (0 for those of no class); None: 1 everywhere
    foreground    the label of cells. A sample without instances is given the connected parts of this class (pixels
                  that touch along an edge)
    w0, sigma     see `border_weight_map`

    Put it last: after a crop or a deformation the distances are those of the picture that the network sees.
    Raises DataError for a sample without labels.
    """

    class_weight: Any = None
    foreground: int = 1
    w0: float = 10.0
    sigma: float = 5.0

    def __post_init__(self) -> None:
        if self.class_weight is not None:
            keep(self, class_weight=tuple(float(weight) for weight in self.class_weight))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if sample.labels is None:
            raise DataError(f"BorderWeight needs labels; {sample.name} has none")
        instances = sample.instances
        if instances is None:
            instances, _ = ndimage.label(sample.labels == self.foreground)
        elif instances.ndim == 3:  # where objects lie upon each other, the one of the highest number
            instances = instances.max(axis=0)
        weight = border_weight_map(instances, self._of_classes(sample.labels), self.w0, self.sigma)
        return replace(sample, pixel_weight=weight)

    def _of_classes(self, labels: np.ndarray) -> Any:
        if self.class_weight is None:
            return 1.0
        known = (labels >= 0) & (labels < len(self.class_weight))
        return np.where(known, np.array(self.class_weight)[np.where(known, labels, 0)], 0.0)
