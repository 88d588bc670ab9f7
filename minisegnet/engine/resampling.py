"""Layers that make each row and column of an image out of a few of another's: frames, upsampling, average pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from minisegnet import layers as L
from minisegnet import shapes as S
from minisegnet.engine.gathering import Gathering
from minisegnet.engine.known import known
from minisegnet.engine.layout import clear_margin
from minisegnet.engine.sharing import pieces, share
from minisegnet.engine.step import Step
from minisegnet.engine.value import Reader, Value
from minisegnet.engine.worker import Worker
from minisegnet.layers.base import Layer
from minisegnet.nodes import Node
from minisegnet.numpy_ops.upsample import interpolation

if TYPE_CHECKING:
    from minisegnet.engine.building import Builder

BLOCK = 2**16  # values gathered at once: a few such arrays lie in the second-level cache


class Resampling(Step):
    """y = R x C^T in each channel; on the way back dx = R^T dy C, gathered too, so that nobody writes others' rows.

    rows, columns   R (H', H) and C (W', W)
    """

    algorithm = "rows and columns gathered"

    def __init__(
        self, worker: Worker, name: str, reader: Reader, output: Value, rows: np.ndarray, columns: np.ndarray
    ) -> None:
        super().__init__(worker, name, [reader])
        self.reader, self.input, self.output = reader, reader.value, output
        self.ahead = Gathering(rows, columns, self.input, output, worker.dtype)
        self.bands = self._bands(output)
        if self.input.wants_gradient:
            self.back = Gathering(rows.T, columns.T, output, self.input, worker.dtype)
            self.bands_back = self._bands(self.input)

    def _bands(self, value: Value) -> list:
        """This worker's share of a value's rows, cut into blocks."""
        _, _, m, tiles, channels = value.stored
        rows_at_once = max(1, BLOCK // (m * m * max(tiles, self.input.tiles, self.output.tiles) * channels))
        return list(pieces(share(value.shape[0], value.tile_rows, self.worker.rank, self.worker.count), rows_at_once))

    @property
    def outputs(self) -> list[Value]:
        return [self.output]

    @property
    def reads_back(self) -> list[Value]:
        return []

    def forward(self) -> None:
        output, m = self.output, self.output.m
        for band in self.bands:
            start, stop = band.first * m, band.stop * m
            rows = output.data[band.image, start:stop]
            self.ahead.write(self.input.data[band.image], start, rows, self.worker.scratch)
            clear_margin(rows, start, output.height, output.width)

    def backward(self) -> None:
        if not self.input.wants_gradient:
            return
        m, scratch = self.input.m, self.worker.scratch
        for band in self.bands_back:
            start, stop = band.first * m, band.stop * m
            dy = self.output.gradient[band.image]
            place = self.reader.place(band.image, start, stop)
            if place is not None:
                self.back.write(dy, start, place, scratch)
                self.reader.written(band.image, start, place)
            else:
                rows = scratch.array("rows", (stop - start, *self.input.stored[2:]), dy.dtype)
                self.back.write(dy, start, rows, scratch)
                self.reader.give(band.image, start, rows)


def resampling(builder: Builder, node: Node) -> bool:
    """A layer of MATRICES; none at all where it changes nothing."""
    layer = node.layer
    kind = next((kind for kind in MATRICES if known(layer, kind)), None)
    if kind is None:
        return False
    handle = node.inputs[0]
    old, new = builder.shapes[handle.node.name], builder.shapes[node.name]
    rows, columns = (MATRICES[kind](layer, old, new, axis) for axis in (0, 1))
    if all(np.array_equal(matrix, np.eye(len(matrix))) for matrix in (rows, columns)):
        builder.values[node.name, 0] = builder.values[handle.node.name, handle.position]
        return True
    reader = Reader(builder.whole(handle))
    return builder.add_step(Resampling(builder.worker, node.name, reader, builder.new(node), rows, columns))


# ----------------------------------------------------------------------------------------------- each layer's matrices
#
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
