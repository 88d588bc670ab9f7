"""How the rows and columns of a layer's output are made of those of its input: y = R x C^T in each channel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minisegnet import layers as L
from minisegnet import shapes as S
from minisegnet.layers.base import Layer
from minisegnet.numpy_ops.upsample import interpolation

# Each function takes the layer, the shapes of its input and output, and the axis: 0 for R (H', H), 1 for C (W', W).


def _cut(layer: L.Crop, old: S.Shape, new: S.Shape, axis: int) -> np.ndarray:
    start = (layer.top, layer.left)[axis]
    return np.eye(old[2 + axis])[start : start + new[2 + axis]]


def _cut_centre(layer: L.CenterCrop, old: S.Shape, new: S.Shape, axis: int) -> np.ndarray:
    size, small = old[2 + axis], new[2 + axis]
    return np.eye(size)[(size - small) // 2 :][:small]


def _mirrored(layer: L.ReflectionPad2d | L.PadToMultiple, old: S.Shape, new: S.Shape, axis: int) -> np.ndarray:
    padding = layer.padding(old) if isinstance(layer, L.PadToMultiple) else layer.padding
    left, right, top, bottom = S.sides(padding)
    size = old[2 + axis]
    return np.eye(size)[np.pad(np.arange(size), ((top, bottom), (left, right))[axis], mode="reflect")]


def _interpolated(layer: L.UpsampleBilinear2d, old: S.Shape, new: S.Shape, axis: int) -> np.ndarray:
    return interpolation(old[2 + axis], new[2 + axis], layer.align_corners, np.float64)


def _nearest(layer: L.NearestUnpool2d, old: S.Shape, new: S.Shape, axis: int) -> np.ndarray:
    size, large = old[2 + axis], new[2 + axis]
    return np.eye(size)[np.arange(large) * size // large]


def _nails(layer: L.BedOfNails2d, old: S.Shape, new: S.Shape, axis: int) -> np.ndarray:
    matrix = np.zeros((new[2 + axis], old[2 + axis]))
    nails = np.arange(old[2 + axis])
    matrix[nails * S.pair(layer.stride)[axis], nails] = 1
    return matrix


def _mean(layer: L.AvgPool2d, old: S.Shape, new: S.Shape, axis: int) -> np.ndarray:
    size, kernel, padding = old[2 + axis], S.pair(layer.kernel_size)[axis], S.pair(layer.padding)[axis]
    stride = kernel if layer.stride is None else S.pair(layer.stride)[axis]
    start = np.arange(new[2 + axis])[:, None] * stride - padding
    stop = start + kernel
    covered = (np.arange(size) >= start) & (np.arange(size) < stop)
    margin = padding if layer.count_include_pad else 0
    return covered / np.maximum(np.minimum(stop, size + margin) - np.maximum(start, -margin), 1)


def _mean_of_all(layer: L.GlobalAvgPool2d, old: S.Shape, new: S.Shape, axis: int) -> np.ndarray:
    return np.full((1, old[2 + axis]), 1 / old[2 + axis])


MATRICES: dict[type[Layer], Callable[..., np.ndarray]] = {
    L.Crop: _cut,
    L.CenterCrop: _cut_centre,
    L.ReflectionPad2d: _mirrored,
    L.PadToMultiple: _mirrored,
    L.UpsampleBilinear2d: _interpolated,
    L.NearestUnpool2d: _nearest,
    L.BedOfNails2d: _nails,
    L.AvgPool2d: _mean,
    L.GlobalAvgPool2d: _mean_of_all,
}
