"""Max-unpooling: each value goes back to the pixel of its window that won in the pooling, 2 x 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minisegnet import layers as L
from minisegnet.engine.known import known
from minisegnet.engine.layout import clear_margin
from minisegnet.engine.pooling import BLOCK
from minisegnet.engine.sharing import pieces, share
from minisegnet.engine.step import Step
from minisegnet.engine.value import Reader, Value
from minisegnet.engine.windows import Windows
from minisegnet.engine.worker import Worker
from minisegnet.nodes import Node

if TYPE_CHECKING:
    from minisegnet.engine.building import Builder


class MaxUnpooling(Step):
    """The opposite of `MaxPooling`, whose winners it reads: zero wherever no pixel won."""

    algorithm = "values to the pixels that won"

    def __init__(self, worker: Worker, name: str, reader: Reader, winners: Value, output: Value) -> None:
        super().__init__(worker, name, [reader, Reader(winners)])
        self.reader, self.input, self.winners, self.output = reader, reader.value, winners, output
        self.windows = Windows(output, self.input, worker.scratch)
        self.bands = share(output.shape[0], output.tile_rows, worker.rank, worker.count)
        self.bands_back = share(self.input.shape[0], self.input.tile_rows, worker.rank, worker.count)
        self.rows_at_once = max(1, BLOCK // (output.m * np.prod(output.stored[2:])))

    @property
    def outputs(self) -> list[Value]:
        return [self.output]

    @property
    def reads_back(self) -> list[Value]:
        return [self.winners]

    def forward(self) -> None:
        m = self.output.m
        for band in pieces(self.bands, self.rows_at_once):
            y = self.output.data[band.image, band.first * m : band.stop * m]
            self.windows.spread(self.input.data, self.winners.data, band.image, band.first * m, y)

    def backward(self) -> None:
        if not self.input.wants_gradient:
            return
        m = self.input.m
        for band in pieces(self.bands_back, self.rows_at_once):
            start, stop = band.first * m, band.stop * m
            with self.reader.filling(band.image, start, stop, self.worker.scratch) as dx:
                count = max(0, min(stop, self.input.height) - start)
                if count:
                    dy = self.output.gradient[band.image, 2 * start : 2 * (start + count)]
                    winners = self.winners.data[band.image, start : start + count]
                    self.windows.gather(dy, winners, dx[:count])
                clear_margin(dx, start, self.input.height, self.input.width)


def max_unpooling(builder: Builder, node: Node) -> bool:
    """A form (see `forms`): an unpooling by the indices of a pooling that has a form too."""
    if not known(node.layer, L.MaxUnpool2d):
        return False
    indices = node.inputs[1]
    if (indices.node.name, indices.position) not in builder.values:
        return False  # they are arrays of an ordinary pooling
    (winners,) = builder.values[indices.node.name, indices.position]
    reader, output = Reader(builder.whole(node.inputs[0])), builder.new(node)
    return builder.add_step(MaxUnpooling(builder.worker, node.name, reader, winners, output))
