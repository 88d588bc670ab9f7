"""Max-pooling by windows that touch and do not overlap, 2 x 2."""

from __future__ import annotations

import numpy as np

from minisegnet.engine.layout import clear_margin
from minisegnet.engine.sharing import pieces, share
from minisegnet.engine.step import Step
from minisegnet.engine.value import Reader, Value
from minisegnet.engine.windows import Windows
from minisegnet.engine.worker import Worker

BLOCK = 2**16  # values of the image that are gone through at once


class MaxPooling(Step):
    """The largest value of each 2 x 2 window; on the way back its gradient goes to the first pixel that held it.

    winners   which pixel of each window that was (see `windows`), for the way back and for unpoolings; or None

    The output may be a row or column larger than half the image: an odd last one then has windows of its own.
    """

    algorithm = "pairs of rows, then of columns"

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
        m, (_, _, H, W), output = self.input.m, self.input.shape, self.output
        for band in pieces(self.bands_back, self.rows_at_once):
            start, stop = band.first * m, band.stop * m
            dx = self.reader.place(band.image, start, stop)
            place = dx is not None
            if dx is None:
                dx = self.worker.scratch.array("rows", (stop - start, *self.input.stored[2:]), self.worker.dtype)
            windows = slice(start // 2, min(stop // 2, output.height))
            count = max(0, windows.stop - windows.start)
            dx[2 * count :] = 0
            if count:
                dy, winners = (array[band.image, windows] for array in (output.gradient, self.winners.data))
                self.windows.spread(dy, winners, dx[: 2 * count])
            clear_margin(dx, start, H, min(2 * output.width, W))
            if place:
                self.reader.written(band.image, start, dx)
            else:
                self.reader.give(band.image, start, dx)
