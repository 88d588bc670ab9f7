"""Max-pooling by windows that touch and do not overlap, 2 x 2."""

from __future__ import annotations

import numpy as np

from minisegnet.engine.layout import clear_margin, tap
from minisegnet.engine.sharing import pieces, share
from minisegnet.engine.step import Step
from minisegnet.engine.value import Reader, Value
from minisegnet.engine.worker import Worker

BLOCK = 2**16


class MaxPooling(Step):
    """The largest value of each 2 x 2 window; on the way back its gradient goes to the first pixel that held it."""

    algorithm = "pairs of rows, then of columns"

    def __init__(self, worker: Worker, name: str, reader: Reader, output: Value) -> None:
        super().__init__(worker, name, [reader])
        self.reader, self.input, self.output = reader, reader.value, output
        self.bands = share(output.shape[0], output.tile_rows, worker.rank, worker.count)
        self.bands_back = share(self.input.shape[0], self.input.tile_rows, worker.rank, worker.count)

    @property
    def outputs(self) -> list[Value]:
        return [self.output]

    def forward(self) -> None:
        scratch, output = self.worker.scratch, self.output
        _, _, m, tiles, channels = output.stored
        for band in pieces(self.bands, max(1, BLOCK // (m * m * tiles * channels))):
            start, stop = band.first * m, min(band.stop * m, output.height)
            there = output.data[band.image, band.first * m : band.stop * m]
            there[max(0, stop - start) :] = 0
            if stop <= start:
                continue
            x = self.input.data[band.image, 2 * start : 2 * stop]
            pairs = scratch.array("larger of two rows", (stop - start, *x.shape[1:]), x.dtype)
            np.maximum(x[0::2], x[1::2], out=pairs)
            for s, count, (left, right) in self._columns():
                there[: stop - start, s, count:] = 0
                larger = there[: stop - start, s, :count]
                np.maximum(pairs[:, left[0], left[1]], pairs[:, right[0], right[1]], out=larger)

    def _columns(self):
        """For each column of the output's tiles, how many lie in the image, and the two columns of the input's tiles
        that each covers, as (column, tiles)."""
        m = self.output.m
        left, right = (tap(m, 2, column, self.input.tiles, self.output.tiles) for column in (0, 1))
        for s in range(m):
            count = max(0, -(-(self.output.width - s) // m))
            yield (
                s,
                count,
                [(column, slice(tiles.start, tiles.start + 2 * count, 2)) for column, tiles, _ in (left[s], right[s])],
            )

    def backward(self) -> None:
        if not self.input.wants_gradient:
            return
        _, _, m, tiles, channels = self.input.stored
        for band in pieces(self.bands_back, max(1, BLOCK // (m * m * tiles * channels))):
            start, stop = band.first * m, band.stop * m
            dx = self.worker.scratch.array("rows", (stop - start, m, tiles, channels), self.worker.dtype)
            count = max(0, min(stop // 2, self.output.height) - start // 2)  # of windows, one below the other
            dx[2 * count :] = 0
            x = self.input.data[band.image, start : start + 2 * count]
            dy = self.output.gradient[band.image, start // 2 : start // 2 + count]
            for s, windows, columns in self._columns():
                self._share_out(x, dy[:, s, :windows], dx, columns)
            if 2 * self.output.width < self.input.width:
                clear_margin(dx, start, self.input.height, 2 * self.output.width)
            self.reader.give(band.image, start, dx)

    def _share_out(self, x: np.ndarray, dy: np.ndarray, dx: np.ndarray, columns) -> None:
        """Hand each window's gradient to the first of its four pixels that is not smaller than the others.

        Two are compared by the sign of their difference, which shifted down is a mask of the gradient's bits: that
        takes no branch, and a third of the time of a product with a truth value.
        """
        above, below = x[0::2], x[1::2]
        places = [(rows[:, column, tiles]) for rows in (above, below) for column, tiles in columns]
        scratch = self.worker.scratch
        bits = np.int32 if x.dtype.itemsize == 4 else np.int64
        shift = 8 * x.dtype.itemsize - 1

        def array(name: str) -> np.ndarray:
            return scratch.array(f"pooling {name}", dy.shape, x.dtype)

        def where_larger(b: np.ndarray, a: np.ndarray, out: np.ndarray) -> np.ndarray:
            """All bits set where b > a."""
            np.subtract(a, b, out=out)
            return np.right_shift(out.view(bits), shift, out=out.view(bits))

        upper, lower = array("upper"), array("lower")
        np.maximum(places[0], places[1], out=upper)
        np.maximum(places[2], places[3], out=lower)
        g = array("gradient")
        np.copyto(g, dy)
        of_lower = where_larger(lower, upper, array("of lower"))
        np.bitwise_and(g.view(bits), of_lower, out=of_lower)
        np.bitwise_xor(g.view(bits), of_lower, out=g.view(bits))
        for rows, half, (left, right) in (
            (dx[0 : 2 * len(dy) : 2], g.view(bits), places[:2]),
            (dx[1 : 2 * len(dy) : 2], of_lower, places[2:]),
        ):
            of_right = where_larger(right, left, upper)
            np.bitwise_and(half, of_right, out=of_right)
            np.bitwise_xor(half, of_right, out=half)
            (column, tiles), (next_column, next_tiles) = columns
            rows[:, column, tiles] = half.view(x.dtype)
            rows[:, next_column, next_tiles] = of_right.view(x.dtype)
