"""Max-pooling by windows that touch and do not overlap, 2 x 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minisegnet import layers as L
from minisegnet import shapes as S
from minisegnet.engine.known import known
from minisegnet.engine.layout import clear_margin
from minisegnet.engine.sharing import pieces, share
from minisegnet.engine.step import Step
from minisegnet.engine.value import Reader, Value
from minisegnet.engine.windows import Windows
from minisegnet.engine.worker import Worker
from minisegnet.nodes import Node

if TYPE_CHECKING:
    from minisegnet.engine.building import Builder

BLOCK = 2**18  # values of the image that are gone through at once: of the second-level cache's size


class MaxPooling(Step):
    """The largest value of each 2 x 2 window; on the way back its gradient goes to the first pixel that held it.

    winners   which pixel of each window that was (see `windows`), for the way back and for unpoolings; or None

    The output may be a row or column larger than half the image: an odd last one then has windows of its own.
    """

    algorithm = "pairs of rows, then of columns"
    reads_in_order = True

    def __init__(self, worker: Worker, name: str, reader: Reader, output: Value, winners: Value | None) -> None:
        super().__init__(worker, name, [reader])
        self.reader, self.input, self.output, self.winners = reader, reader.value, output, winners
        self.windows = Windows(self.input, output, worker.scratch)
        self.bands = share(output.shape[0], output.tile_rows, worker.rank, worker.count)
        self.bands_back = share(self.input.shape[0], self.input.tile_rows, worker.rank, worker.count)
        self.rows_at_once = max(1, BLOCK // (output.m * np.prod(self.input.stored[2:])))

    @property
    def outputs(self) -> list[Value]:
        return [self.output] if self.winners is None else [self.output, self.winners]

    @property
    def reads_back(self) -> list[Value]:
        return [] if self.winners is None else [self.winners]

    def forward(self) -> None:
        m, output = self.output.m, self.output
        for band in pieces(self.bands, self.rows_at_once):
            start, stop = band.first * m, min(band.stop * m, output.height)
            y = output.data[band.image, band.first * m : band.stop * m]
            if start < stop:
                if self.input.on_read is not None:
                    self.input.on_read(band.image, 2 * stop)
                x = self.input.data[band.image, 2 * start : 2 * stop]
                winners = None if self.winners is None else self.winners.data[band.image, start:stop]
                self._fill_odd_margin(x, 2 * start, -np.inf)
                self.windows.pool(x, y[: stop - start], winners)
                self._fill_odd_margin(x, 2 * start, 0)
            clear_margin(y, start, output.height, output.width)

    def _fill_odd_margin(self, x: np.ndarray, first: int, number: float) -> None:
        """Fill the row and the column beyond an odd image that windows reach into; nobody else reads these rows now."""
        m, (_, _, H, W) = self.input.m, self.input.shape
        if 2 * self.output.height > H:
            x[H - first :] = number
        if 2 * self.output.width > W:
            x[:, W % m, W // m] = number

    def backward(self) -> None:
        if self.winners is None or not self.input.wants_gradient:
            return
        m = self.input.m
        for band in pieces(self.bands_back, self.rows_at_once):
            start, stop = band.first * m, band.stop * m
            with self.reader.filling(band.image, start, stop, self.worker.scratch) as dx:
                self.windows.spread(self.output.gradient, self.winners.data, band.image, start, dx)


def max_pooling(builder: Builder, node: Node) -> bool:
    """A form (see `forms`): windows of 2 x 2 that touch; with indices if unpoolings alone read them, as winners."""
    layer = node.layer
    if not known(layer, L.MaxPool2d):
        return False
    stride = layer.kernel_size if layer.stride is None else layer.stride
    options = [S.pair(number) for number in (layer.kernel_size, stride, layer.padding, layer.dilation)]
    if options != [(2, 2), (2, 2), (0, 0), (1, 1)]:
        return False
    unpoolings = [reader for reader in builder.readers.get(node.name, []) if reads_indices(reader, node)]
    if not all(undoes(builder, reader, node) for reader in unpoolings):
        return False
    reader, output = Reader(builder.whole(node.inputs[0])), builder.new(node)
    winners = None
    if unpoolings or output.wants_gradient:
        winners = Value(f"{node.name} winners", output.shape, output.m, False)
        winners.dtype = np.dtype(np.uint8)
        builder.values[node.name, 1] = [winners]
    return builder.add_step(MaxPooling(builder.worker, node.name, reader, output, winners))


def reads_indices(node: Node, pooling: Node) -> bool:
    """Whether a node reads the pooling's indices."""
    return any(handle.node is pooling and handle.position == 1 for handle in node.inputs)


def undoes(builder: Builder, node: Node, pooling: Node) -> bool:
    """Whether a node is an unpooling to the size before the pooling, and has no other use for its indices."""
    if not known(node.layer, L.MaxUnpool2d) or len(node.inputs) != 2 or node.inputs[0].position:
        return False
    small, before = builder.shapes[node.inputs[0].node.name], builder.shapes[pooling.inputs[0].node.name]
    return small == builder.shapes[pooling.name] and builder.shapes[node.name] == before
