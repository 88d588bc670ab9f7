"""Layers that make each row and column of an image out of a few of another's: frames, upsampling, average pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minisegnet.engine.gathering import Gathering, only_source
from minisegnet.engine.known import known
from minisegnet.engine.layout import clear_margin
from minisegnet.engine.matrices import MATRICES
from minisegnet.engine.sharing import Band, pieces, share
from minisegnet.engine.step import Step
from minisegnet.engine.value import Planes, Reader, Value
from minisegnet.engine.worker import Worker
from minisegnet.nodes import Node

if TYPE_CHECKING:
    from minisegnet.engine.building import Builder

BLOCK = 2**16  # values at once: a few such arrays lie in the second-level cache


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
        self.bands = self._bands(output, self.input)
        if self.input.wants_gradient:
            self.back = Gathering(rows.T, columns.T, output, self.input, worker.dtype)
            self.bands_back = self._bands(self.input, output)

    def _bands(self, target: Value, source: Value) -> list[Band]:
        """This worker's share of the target's rows, in blocks that stay in the cache with the rows they are made of."""
        N, height, m, tiles, channels = target.stored
        values = m * m * max(tiles, source.tiles) * channels * max(1, source.stored[1] // height)
        return list(pieces(share(N, target.tile_rows, self.worker.rank, self.worker.count), max(1, BLOCK // values)))

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
            with self.reader.filling(band.image, start, stop, scratch) as dx:
                self.back.write(dy, start, dx, scratch)


class FramedInput(Step):
    """An input that is cropped or mirrored at its edges, (N, C, H, W) as before: for a first convolution.

    rows, columns   the row, and the column, of the input that each one is
    """

    algorithm = "rows and columns copied"

    def __init__(
        self, worker: Worker, name: str, reader: Reader, output: Planes, rows: np.ndarray, columns: np.ndarray
    ) -> None:
        super().__init__(worker, name, [reader])
        self.input, self.output, self.rows, self.columns = reader.value, output, rows, columns
        self.bands = share(output.shape[0], output.height, worker.rank, worker.count)

    @property
    def outputs(self) -> list[Value]:
        return [self.output]

    def forward(self) -> None:
        for image, first, stop in self.bands:
            rows = self.input.data[image][:, self.rows[first:stop]]
            self.output.data[image, :, first:stop] = rows[:, :, self.columns]

    def backward(self) -> None:
        """Nothing: nobody wants the input's gradient."""


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
    source = builder.values[handle.node.name, handle.position][0]
    row, column = only_source(rows), only_source(columns)
    if isinstance(source, Planes) and row is not None and column is not None and min(row.min(), column.min()) >= 0:
        planes = Planes(node.name, new)
        builder.values[node.name, 0] = [planes]
        return builder.add_step(FramedInput(builder.worker, node.name, Reader(source), planes, row, column))
    reader = Reader(builder.whole(handle))
    return builder.add_step(Resampling(builder.worker, node.name, reader, builder.new(node), rows, columns))
