"""Anchors: the boxes that stand at every place of every level, from which the proposals are told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minisegnet.errors import OptionError, ShapeError


def anchors(
    feature_shapes: Sequence[tuple[int, int]],
    image_shape: tuple[int, int],
    sizes: Sequence[Sequence[float]],
    aspect_ratios: Sequence[float],
    dtype: Any = np.float32,
) -> list[np.ndarray]:
    """The anchors of each level, in pixels of the image.

    feature_shapes  (h, w) of each level
    image_shape     (H, W) of the whole batch, with what it was padded by
    sizes           for each level, the square roots of the anchors' areas
    aspect_ratios   height / width

    Returns a list of arrays (h w A, 4), A = sizes x ratios, in the order (row, column, anchor), which is the order of
    `by_anchor`. The anchors of row i and column j are centred at (j W // w, i H // h): a corner of what that place
    stands for. They may hang over the border of the image. Raises ShapeError where levels and sizes do not fit.
    Source: Ren et al. 2015, section 3.1.1; rounding and order as in torchvision, so that its weights fit.
    """
    if len(feature_shapes) != len(sizes):
        raise ShapeError(f"anchors: {len(feature_shapes)} levels of features, and sizes for {len(sizes)}")
    return [
        _level(shape, image_shape, base_anchors(level_sizes, aspect_ratios), dtype)
        for shape, level_sizes in zip(feature_shapes, sizes, strict=True)
    ]


def base_anchors(sizes: Sequence[float], aspect_ratios: Sequence[float]) -> np.ndarray:
    """The anchors of one place, around (0, 0): (A, 4), ratio by ratio and in each size by size.

    An anchor of size s and ratio r is s / sqrt(r) wide and s sqrt(r) high, its corners rounded to whole pixels (a half
    to the even one). Raises OptionError for one that this leaves without a width or height.
    """
    # In float32 whatever the features' type: how torchvision rounds must not depend on who asks.
    root = np.sqrt(np.asarray(aspect_ratios, np.float32))[:, None]
    size = np.asarray(sizes, np.float32)[None, :]
    width, height = ((1 / root) * size).ravel(), (root * size).ravel()
    corners = np.round(np.stack([-width, -height, width, height], axis=1) / 2)
    if not corners[:, 2:].all():
        flat = int(np.argmin(corners[:, 2:].min(axis=1)))
        ratio, size_index = divmod(flat, len(sizes))
        raise OptionError(
            f"an anchor of size {sizes[size_index]} and ratio {aspect_ratios[ratio]} has no width or no height once "
            "rounded to whole pixels; use larger sizes, or ratios nearer 1"
        )
    return corners


def by_anchor(maps: np.ndarray, values: int) -> np.ndarray:
    """A head's maps as one row of numbers for each anchor.

    maps    (N, A values, h, w), anchor by anchor: objectness (values = 1) or deltas (values = 4)

    Returns (N, h w A, values), in the order of `anchors`.
    """
    if maps.ndim != 4 or maps.shape[1] % values:
        raise ShapeError(f"maps must be (N, {values} x anchors, h, w); got {maps.shape}")
    N, channels, h, w = maps.shape
    rows = maps.reshape(N, channels // values, values, h, w).transpose(0, 3, 4, 1, 2)
    return rows.reshape(N, h * w * (channels // values), values)


def as_maps(rows: np.ndarray, feature_shape: tuple[int, int]) -> np.ndarray:
    """Rows (N, h w A, values) back as a head's maps (N, A values, h, w): `by_anchor` undone, for gradients."""
    h, w = feature_shape
    if rows.ndim != 3 or rows.shape[1] % (h * w):
        raise ShapeError(f"rows must be (N, {h} x {w} x anchors, values); got {rows.shape}")
    N, count, values = rows.shape
    A = count // (h * w)
    maps = rows.reshape(N, h, w, A, values).transpose(0, 3, 4, 1, 2)
    return np.ascontiguousarray(maps).reshape(N, A * values, h, w)


def _level(shape: tuple[int, int], image_shape: tuple[int, int], base: np.ndarray, dtype: Any) -> np.ndarray:
    h, w = shape
    if h < 1 or w < 1:
        raise ShapeError(f"anchors: a level of {h} x {w} has no place for one; the image is too small for this network")
    rows, columns = np.arange(h) * (image_shape[0] // h), np.arange(w) * (image_shape[1] // w)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    places = np.stack([x, y, x, y], axis=2).reshape(-1, 1, 4)
    return (places.astype(dtype) + base.astype(dtype)).reshape(-1, 4)
