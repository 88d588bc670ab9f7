"""The U-Net paper's weight map: pixels between cells that nearly touch count more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from minisegnet.data.sample import Sample
from minisegnet.errors import DataError, LabelError, OptionError, ShapeError


def border_weight_map(
    instances: np.ndarray,
    labels: np.ndarray | None = None,
    class_weights: Any = None,
    border_weight: float = 10.0,
    sigma: float = 5.0,
) -> np.ndarray:
    """Weights (H, W) float32: w(x) = w_class(x) + border_weight exp(-(d1(x) + d2(x))^2 / (2 sigma^2)).

    instances      (H, W)  int, 0 background, other numbers the cells
    labels         (H, W)  int, what class_weights is looked up with; without it 0 background, 1 cell
    class_weights  one weight a class; without it all are 1. Labels beyond it (ignored pixels) get 0
    sigma          in pixels

    d1 and d2 are the exact distances in pixels to the nearest and second nearest cell. The second term is added to the
    background, as in the paper's figure 3d; it is 0 where there are fewer than two cells, and is left out where it
    would round to nothing in float32.

    Raises ShapeError (not two dimensions, sizes that differ), OptionError (sigma not above 0, border_weight below 0).
    Source: Ronneberger et al. 2015, equation 2.
    """
    if instances.ndim != 2 or (labels is not None and labels.shape != instances.shape):
        raise ShapeError(
            f"border_weight_map takes instances (H, W) and labels of that shape; got {instances.shape}"
            + ("" if labels is None else f" and {labels.shape}")
        )
    if not sigma > 0 or not border_weight >= 0:
        raise OptionError(
            f"border_weight_map: sigma must be above 0 and border_weight at least 0; got {sigma!r} and {border_weight!r}"
        )
    classes = (instances != 0).astype(np.int32) if labels is None else labels
    weights = np.ones(instances.shape, np.float32) if class_weights is None else _of_class(classes, class_weights)
    nearest, second = nearest_two_distances(instances, _reach(border_weight, sigma))
    between = (instances == 0) & np.isfinite(second)
    together = nearest[between] + second[between]
    weights[between] += (border_weight * np.exp(-(together**2) / (2 * sigma**2))).astype(np.float32)
    return weights


def _of_class(classes: np.ndarray, class_weights: Any) -> np.ndarray:
    table = np.asarray(class_weights, np.float32)
    if table.ndim != 1 or table.size == 0:
        raise ShapeError(f"class_weights must be one number a class; got shape {table.shape}")
    inside = (classes >= 0) & (classes < len(table))
    return np.where(inside, table[np.where(inside, classes, 0)], np.float32(0))


def _reach(border_weight: float, sigma: float) -> float:
    """The distance beyond which the second term is under 1e-9."""
    return sigma * float(np.sqrt(2 * max(0.0, np.log(max(border_weight, 1e-12) / 1e-9)))) + 1


def nearest_two_distances(instances: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Exact Euclidean distances (H, W) to the nearest and to the second nearest cell, infinite beyond `reach` pixels.

    One distance transform for each cell, in its bounding box widened by the reach: its cost grows with the cells'
    surroundings, not with their number times the image.
    """
    nearest = np.full(instances.shape, np.inf)
    second = np.full(instances.shape, np.inf)
    margin = int(np.ceil(reach))
    numbers, packed = np.unique(instances, return_inverse=True)
    packed = packed.reshape(instances.shape) + 1  # find_objects leaves out 0, so that every number gets its box
    for number, box in zip(numbers, ndimage.find_objects(packed), strict=True):
        if number == 0:
            continue
        around = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)
        distance = ndimage.distance_transform_edt(instances[around] != number)
        distance[distance > reach] = np.inf
        first, other = nearest[around], second[around]
        np.minimum(other, np.maximum(first, distance), out=other)
        np.minimum(first, distance, out=first)
    return nearest, second


def connected_instances(labels: np.ndarray, background: int = 0, ignore_index: int | None = None) -> np.ndarray:
    """Instances (H, W) int32: the connected pieces of every class but the background, numbered from 1.

    Pixels are connected by their sides, not by corners, so that a membrane one pixel wide parts two cells.
    """
    instances = np.zeros(labels.shape, np.int32)
    count = 0
    for label in np.unique(labels):
        if label not in (background, ignore_index):
            pieces, found = ndimage.label(labels == label)
            instances[pieces > 0] = pieces[pieces > 0] + count
            count += found
    return instances


@dataclass(frozen=True)
class BorderWeight:
    """The transform that gives a sample its `border_weight_map`.

    Takes the sample's instances, or else the connected pieces of every class but the background (and ignore_index).
    Put it before crops and deformations, which carry the weights along, and keep its results with `InMemory`.
    """

    class_weights: Any = None
    border_weight: float = 10.0
    sigma: float = 5.0
    background: int = 0
    ignore_index: int | None = None

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        if sample.labels is None:
            raise DataError(f"{sample.name} has no labels; the border weight needs them")
        instances = sample.instances
        if instances is None:
            instances = connected_instances(sample.labels, self.background, self.ignore_index)
        if self.class_weights is not None:
            stray = (sample.labels < 0) | (sample.labels >= len(self.class_weights))
            stray &= sample.labels != self.ignore_index
            if stray.any():
                raise LabelError(
                    f"{sample.name}: label {int(sample.labels[stray][0])} has no weight among {len(self.class_weights)} "
                    "class weights; give one a class, or pass ignore_index"
                )
        weights = border_weight_map(instances, sample.labels, self.class_weights, self.border_weight, self.sigma)
        return replace(sample, pixel_weight=weights)
