"""Max-pooling by windows that overlap, are padded or hang over the edge: one pass for each pixel of the window."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from minisegnet import layers as L
from minisegnet import shapes as S
from minisegnet.engine.known import known
from minisegnet.engine.layout import clear_margin, tap
from minisegnet.engine.pooling import reads_indices
from minisegnet.engine.sharing import Band, pieces, share
from minisegnet.engine.step import Step
from minisegnet.engine.value import Reader, Value
from minisegnet.engine.worker import Worker
from minisegnet.nodes import Node

if TYPE_CHECKING:
    from minisegnet.engine.building import Builder

BLOCK = 2**18  # values of the larger image at once


class SlidingMaxPooling(Step):
    """The largest value of each window; on the way back its gradient goes to the first pixel that held it.

    winners   number of that pixel in its window, in row order, kept for the way back; None where there is none
    """

    algorithm = "pixel by pixel of the window"

    def __init__(self, worker: Worker, name: str, reader: Reader, output: Value, layer: L.MaxPool2d) -> None:
        super().__init__(worker, name, [reader])
        self.reader, self.input, self.output = reader, reader.value, output
        stride = layer.kernel_size if layer.stride is None else layer.stride
        options = [S.pair(option) for option in (layer.kernel_size, stride, layer.padding, layer.dilation)]
        self.stride = options[1]
        axes = zip(*options, strict=True)
        self.offsets = list(product(*([d * k - p for k in range(kernel)] for kernel, _, p, d in axes)))
        self.winners = None
        if self.input.wants_gradient:
            self.winners = Value(f"{name} winners", output.shape, output.m, False)
            self.winners.dtype = np.min_scalar_type(len(self.offsets))
        self.bands = self._bands(output)
        self.bands_back = self._bands(self.input)

    def _bands(self, value: Value) -> list[Band]:
        _, _, m, tiles, channels = value.stored
        bands = share(value.shape[0], value.tile_rows, self.worker.rank, self.worker.count)
        return list(pieces(bands, max(1, BLOCK // (m * m * tiles * channels))))

    @property
    def outputs(self) -> list[Value]:
        return [self.output]

    @property
    def kept(self) -> list[Value]:
        return [] if self.winners is None else [self.winners]

    @property
    def reads_back(self) -> list[Value]:
        return self.kept

    def forward(self) -> None:
        output, m = self.output, self.output.m
        for band in self.bands:
            start, stop = band.first * m, min(band.stop * m, output.height)
            y = output.data[band.image, start : band.stop * m]
            y.fill(-np.inf)
            x = self.input.data[band.image]
            pixels = list(self._pixels(range(start, stop), range(self.input.height)))
            for _, windows, rows, places in pixels:
                for s, column, tiles, own in places:
                    largest = y[windows.start - start : windows.stop - start, s, own]
                    np.maximum(largest, x[rows, column, tiles], out=largest)
            if self.winners is not None:
                winners = self.winners.data[band.image]
                for number, windows, rows, places in reversed(pixels):  # so that the first stays
                    for s, column, tiles, own in places:
                        largest = y[windows.start - start : windows.stop - start, s, own]
                        self._note(number, x[rows, column, tiles], largest, winners[windows, s, own])
            clear_margin(y, start, output.height, output.width)

    def _pixels(self, windows: range, rows: range) -> Iterator[tuple[int, slice, slice, list]]:
        """For each pixel of the window: its number; which of some rows of windows have it in one of some rows of the
        image, and in which; and where it is in a row, as (column of the windows, of the image, its tiles, theirs)."""
        (down, across), (m, W) = self.stride, (self.input.m, self.input.width)
        for number, (offset, aside) in enumerate(self.offsets):
            first = max(windows.start, -((offset - rows.start) // down))
            last = min(windows.stop, -((offset - rows.stop) // down))
            if first >= last:
                continue
            found = slice(down * first + offset, down * (last - 1) + offset + 1, down)
            places = []
            for s, (column, tiles, own) in enumerate(tap(m, across, aside, self.input.tiles, self.output.tiles)):
                inside = -(-(W - column) // m)  # of the image's tiles: others must not win
                count = max(0, min(own.stop - own.start, -((tiles.start - inside) // across)))
                stop = tiles.start + across * count
                places.append((s, column, slice(tiles.start, stop, across), slice(own.start, own.start + count)))
            yield number, slice(first, last), found, places

    def _note(self, number: int, x: np.ndarray, largest: np.ndarray, winners: np.ndarray) -> None:
        """winners = number where x is the largest, or a NaN; without a branch."""
        scratch = self.worker.scratch
        won, is_nan = (scratch.array(name, x.shape, bool) for name in ("won", "is NaN"))
        np.equal(x, largest, out=won)
        np.not_equal(x, x, out=is_nan)
        np.logical_or(won, is_nan, out=won)
        change = scratch.array("change", x.shape, winners.dtype)
        np.subtract(winners.dtype.type(number), winners, out=change)
        np.multiply(change, won.view(np.uint8), out=change)
        np.add(winners, change, out=winners)  # what wraps below zero wraps back

    def backward(self) -> None:
        if self.winners is None:
            return
        m, scratch = self.input.m, self.worker.scratch
        for band in self.bands_back:
            start, stop = band.first * m, band.stop * m
            dx = scratch.array("rows", (stop - start, *self.input.stored[2:]), self.worker.dtype)
            dx.fill(0)
            dy, winners = self.output.gradient[band.image], self.winners.data[band.image]
            inside = range(start, min(stop, self.input.height))
            for number, windows, rows, places in self._pixels(range(self.output.height), inside):
                share = self._where_won(number, dy[windows], winners[windows])
                there = dx[rows.start - start : rows.stop - start : rows.step]
                for s, column, tiles, own in places:
                    pixels = there[:, column, tiles]
                    np.add(pixels, share[:, s, own], out=pixels)
            self.reader.give(band.image, start, dx, scratch)

    def _where_won(self, number: int, dy: np.ndarray, winners: np.ndarray) -> np.ndarray:
        """dy where the winner has this number, else 0: a truth value becomes a mask of the number's bits."""
        scratch = self.worker.scratch
        won = scratch.array("won", dy.shape, bool)
        np.equal(winners, number, out=won)
        share = scratch.array("share", dy.shape, dy.dtype)
        mask = share.view(np.int32 if dy.dtype.itemsize == 4 else np.int64)
        np.copyto(mask, np.negative(won.view(np.int8), out=won.view(np.int8)))
        np.bitwise_and(mask, dy.view(mask.dtype), out=mask)
        return share


def sliding_max_pooling(builder: Builder, node: Node) -> bool:
    """Max-pooling by any windows, of which nobody reads the indices."""
    readers = builder.readers.get(node.name, [])
    if not known(node.layer, L.MaxPool2d) or any(reads_indices(reader, node) for reader in readers):
        return False
    reader = Reader(builder.whole(node.inputs[0]))
    return builder.add_step(SlidingMaxPooling(builder.worker, node.name, reader, builder.new(node), node.layer))
