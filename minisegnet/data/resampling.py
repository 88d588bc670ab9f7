"""How a sample is read anew at other places: the one way in which image, labels, instances and weights move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates

from minisegnet.data.mirror import mirrored_objects
from minisegnet.data.sample import Sample
from minisegnet.errors import DataError

PLANES = ("labels", "instances", "pixel_weight")


def height_and_width(sample: Sample) -> tuple[int, int]:
    """The size of a sample's image, which its labels, instances and weights must share.

    Raises DataError, naming the sample, if they do not, or if there is no pixel.
    """
    shape = sample.image.shape
    if len(shape) != 3:
        raise DataError(f"{sample.name}: an image has shape (channels, height, width); got {shape}")
    if 0 in shape:
        raise DataError(f"{sample.name}: the image has no pixels: {shape[1]} x {shape[2]}, {shape[0]} channels")
    for name in PLANES:
        plane = getattr(sample, name)
        stacked = name == "instances" and plane is not None and plane.ndim == 3
        if plane is not None and (plane.shape[1:] if stacked else plane.shape) != shape[1:]:
            size = " x ".join(map(str, plane.shape))
            raise DataError(
                f"{sample.name}: the image is {shape[1]} x {shape[2]} and its {name} {size}; they must be of one size: "
                "is this the mask of another image, or one that was scaled?"
            )
    return shape[1:]


def move(sample: Sample, function: Callable[[np.ndarray], np.ndarray]) -> Sample:
    """Whatever the sample has, each array through a function that moves pixels along the last two axes."""
    height_and_width(sample)
    arrays = {name: getattr(sample, name) for name in ("image", *PLANES)}
    moved: dict[str, Any] = {
        name: np.ascontiguousarray(function(array)) for name, array in arrays.items() if array is not None
    }
    return replace(sample, **moved)


def at_pixels(sample: Sample, rows: np.ndarray, columns: np.ndarray, label_fill: int | None = None) -> Sample:
    """The pixels of whole rows (h,) and columns (w,), which may lie outside the image: there it is mirrored.

    label_fill is explained in `at_points`.
    """
    height, width = height_and_width(sample)
    inside_rows, inside_columns = mirrored(rows, height), mirrored(columns, width)
    moved = move(sample, lambda array: array.take(inside_rows, axis=-2).take(inside_columns, axis=-1))
    outside = (inside_rows != rows)[:, None] | (inside_columns != columns)
    return _beyond(moved, outside, label_fill)


def at_points(
    sample: Sample, rows: np.ndarray, columns: np.ndarray, label_fill: int | None = None, image_order: int = 1
) -> Sample:
    """The sample read at points between the pixels: images and weights bilinearly, labels and instances the nearest.

    rows, columns  (h, w)  float, in pixels; (0, 0) is the middle of the first pixel
    label_fill     the label of points outside the image, where instances are 0; None: mirrored, as the image always is
    image_order    1: the image bilinearly, which blurs it a little; 3: by cubic splines, which keep it sharp

    Edges are mirrored about the middle of the outermost pixels, as in U-Net's figure 2: ... 2 1 [0 1 2 ...
    An object there keeps its number in `instances`; but see `mirror.mirrored_objects`.
    """
    height, width = height_and_width(sample)
    points = np.stack([rows, columns])

    def read(plane: np.ndarray, order: int) -> np.ndarray:
        return map_coordinates(plane, points, order=order, mode="mirror", prefilter=order > 1)

    def read_all(array: np.ndarray) -> np.ndarray:
        if array.dtype.kind != "f":
            return read_planes(array, 0)
        if array.ndim == 2:
            return read(array, 1)
        planes = read_planes(array, image_order)
        return np.clip(planes, array.min(), array.max(), out=planes)  # splines overshoot at sharp edges

    def read_planes(array: np.ndarray, order: int) -> np.ndarray:
        planes = [read(plane, order) for plane in array.reshape(-1, height, width)]
        return np.stack(planes).reshape(*array.shape[:-2], *rows.shape)

    outside = (rows < -0.5) | (rows >= height - 0.5) | (columns < -0.5) | (columns >= width - 0.5)
    return _beyond(move(sample, read_all), outside, label_fill)


def mirrored(index: np.ndarray, size: int) -> np.ndarray:
    """Where in 0 to size - 1 an index lies once the edges are mirrors: -1 is 1, size is size - 2."""
    period = max(1, 2 * (size - 1))
    index = np.abs(index) % period
    return np.minimum(index, period - index)


def _beyond(sample: Sample, outside: np.ndarray, label_fill: int | None) -> Sample:
    """Labels `label_fill` and instances 0 outside; mirrored as they are if there is no such label."""
    if label_fill is None:
        return mirrored_objects(sample, outside)
    fills = {"labels": label_fill, "instances": 0}
    planes = {name: getattr(sample, name) for name in fills}
    filled = {
        name: np.where(outside, plane.dtype.type(fills[name]), plane)
        for name, plane in planes.items()
        if plane is not None
    }
    return replace(sample, **filled)
