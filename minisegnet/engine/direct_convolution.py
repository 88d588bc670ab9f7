"""Convolutions of any kernel, stride, padding and dilation, plain and transposed: windows as columns of a product."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minisegnet import shapes as S
from minisegnet.engine.convolution_step import ConvolutionStep
from minisegnet.engine.sharing import Band, pieces, share
from minisegnet.engine.taps import Group, to_input, to_output
from minisegnet.engine.value import Value, load
from minisegnet.engine.worker import Worker

BLOCK = 2**18  # values of the windows that are gathered at once
ROWS = 2**16  # values of the target that are gone through at once, or one row of tiles


class DirectConvolution(ConvolutionStep):
    """Each window of the source is one row of a product with the kernel.

    The gradient by the data is made in the same way from windows of the output's gradient (a transposed convolution;
    for a transposed one, a plain one), and the same windows give the kernel's gradient.
    """

    algorithm = "direct"

    def prepare(self) -> None:
        worker, readers, output, layer = self.worker, self.readers, self.output, self.layer
        options = [S.pair(o) for o in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)]
        down, up = ([groups(*axis) for axis in zip(*options, strict=True)] for groups in (to_output, to_input))
        if self.transposed:
            down, up = up, down
        first = readers[0].value
        self.there = SourceWindows(worker, output, first, self.in_channels, *down)
        self.back = SourceWindows(worker, first, output, output.channels, *up)

    def _kernel(self, weight: np.ndarray) -> np.ndarray:
        """A weight, or its gradient, as (C_out, C_in, kh, kw)."""
        return weight.swapaxes(0, 1) if self.transposed else weight

    def _rows(self, image: int, start: int, stop: int, out: np.ndarray, left: int) -> None:
        """Rows of the data, with the columns from `left` on."""
        done = 0
        for value in self.inputs:
            rows = load(value.data, image, start, stop, value.tiles, self.worker.scratch)
            unroll(rows, left, out[..., done : done + value.channels])
            done += value.channels

    def _gradient_rows(self, image: int, start: int, stop: int, out: np.ndarray, left: int) -> None:
        unroll(self.finish.gradient(image, start, stop, self.output.tiles), left, out)

    def forward(self) -> None:
        finish, output, scratch = self.finish, self.output, self.worker.scratch
        finish.begin()
        axis = 1 if self.transposed else 0
        kernel = self._kernel(finish.scaled(self.weight.data, axis))
        matrices = [g.matrix(kernel.transpose(2, 3, 1, 0)) for g in self.there.groups]
        for band, rows in self.there.bands_of_rows():
            y = scratch.array("target rows", (rows, output.width, output.channels), self.worker.dtype)
            if not self.there.complete:
                y.fill(0)
            for g, windows, place in self.there.gather(band, rows, self._rows):
                multiply_into(windows, matrices[g], y[place])
            start = band.first * output.m
            there = finish.before.data[band.image, start : band.stop * output.m]
            roll(y, there)
            finish.rows(band.image, start, there)
        finish.end()

    def backward(self) -> None:
        self.finish.begin_backward()
        scratch, first = self.worker.scratch, self.inputs[0]
        axis = 1 if self.transposed else 0
        kernel = self._kernel(self.finish.scaled(self.weight.data, axis))
        matrices = [g.matrix(kernel.transpose(2, 3, 0, 1)) for g in self.back.groups]
        of_matrices = [np.zeros(matrix.shape, matrix.dtype) for matrix in matrices]
        wanted = any(value.wants_gradient for value in self.inputs)
        for band, rows in self.back.bands_of_rows():
            start, stop = band.first * first.m, band.stop * first.m
            shape = (rows, first.width, self.in_channels)
            x, dx = (scratch.array(name, shape, self.worker.dtype) for name in ("target rows", "their gradient"))
            if self.weight.trainable:
                self._rows(band.image, start, start + rows, x, 0)
            if not self.back.complete:
                dx.fill(0)
            for g, windows, place in self.back.gather(band, rows, self._gradient_rows):
                if self.weight.trainable:
                    of_matrices[g] += windows.T @ x[place].reshape(len(windows), -1)
                if wanted:
                    multiply_into(windows, matrices[g], dx[place])
            if wanted:
                self._give(band.image, start, stop, dx)
        if self.weight.trainable:
            gradient = np.zeros_like(self.weight.data)
            for group, of_matrix in zip(self.back.groups, of_matrices, strict=True):
                group.add_matrix(of_matrix, self._kernel(gradient).transpose(2, 3, 0, 1))
            self.worker.add_gradient(self.weight, self.finish.scaled(gradient, axis))

    def _give(self, image: int, start: int, stop: int, dx: np.ndarray) -> None:
        """Hand rows of the gradient to the values that the data are joined of."""
        done = 0
        for reader in self.readers:
            channels = slice(done, done + reader.value.channels)
            done = channels.stop
            if reader.value.wants_gradient:
                with reader.filling(image, start, stop, self.worker.scratch) as rows:
                    roll(dx[..., channels], rows)


class Taps2d:
    """A group of taps in both directions: the windows of some pixels, and the part of the kernel that they meet."""

    def __init__(self, vertical: Group, horizontal: Group) -> None:
        self.vertical, self.horizontal = vertical, horizontal
        self.count = vertical.length * horizontal.length

    def matrix(self, kernel: np.ndarray) -> np.ndarray:
        """(taps C_source, C_target) of a kernel (kh, kw, C_source, C_target)."""
        taps = kernel[self.vertical.taps, self.horizontal.taps]
        return np.ascontiguousarray(taps).reshape(-1, kernel.shape[-1])

    def add_matrix(self, matrix: np.ndarray, kernel: np.ndarray) -> None:
        """The opposite: add such a matrix to its part of the kernel."""
        taps = kernel[self.vertical.taps, self.horizontal.taps]
        taps += matrix.reshape(taps.shape)


# Writes rows start to stop of an image, from a column on, zero outside: (image, start, stop, out, left).
Source = Callable[[int, int, int, np.ndarray, int], None]


class SourceWindows:
    """The windows of a source image that the pixels of a target image are made from, a block of rows at a time.

    complete   whether each pixel of the target has a window
    """

    def __init__(
        self,
        worker: Worker,
        target: Value,
        source: Value,
        channels: int,
        vertical: list[Group],
        horizontal: list[Group],
    ) -> None:
        self.scratch, self.dtype, self.target, self.channels = worker.scratch, worker.dtype, target, channels
        self.groups = [Taps2d(v, h) for v, h in product(vertical, horizontal)]
        self.complete = all(len(axis) == axis[0].step for axis in (vertical, horizontal) if axis)
        self.vertical = vertical
        across = [(h, h.among(0, target.width)) for h in horizontal]
        columns = [h.sources(windows) for h, windows in across if windows] or [range(0)]
        self.left, self.right = min(c.start for c in columns), max(c.stop for c in columns)
        self.bands = share(target.shape[0], target.tile_rows, worker.rank, worker.count)
        self.rows_at_once = max(1, ROWS // (target.m * target.width * target.channels))

    def bands_of_rows(self) -> Iterator[tuple[Band, int]]:
        """This worker's rows of the target, piece by piece: each with how many of its rows lie in the image."""
        for band in pieces(self.bands, self.rows_at_once):
            first, stop = band.first * self.target.m, band.stop * self.target.m
            yield band, max(0, min(stop, self.target.height) - first)

    def gather(self, band: Band, rows: int, source: Source) -> Iterator[tuple[int, np.ndarray, tuple[slice, slice]]]:
        """For parts of some rows of the target: number of a group, its windows (pixels, taps C), and which pixels."""
        first = band.first * self.target.m
        windows = [v.among(first, first + rows) for v in self.vertical]
        needed = [v.sources(w) for v, w in zip(self.vertical, windows, strict=True) if w]
        if not needed:
            return
        top, bottom = min(n.start for n in needed), max(n.stop for n in needed)
        shape = (bottom - top, self.right - self.left, self.channels)
        image = self.scratch.array("source rows", shape, self.dtype)
        source(band.image, top, bottom, image, self.left)
        for number, group in enumerate(self.groups):
            v, h = group.vertical, group.horizontal
            across = h.among(0, self.target.width)
            every = max(1, BLOCK // max(1, len(across) * group.count * self.channels))
            down = v.among(first, first + rows)
            for start in range(down.start, down.stop if across else down.start, every):
                part = range(start, min(start + every, down.stop))
                corner = image[v.stride * part.start + v.start - top :, h.start - self.left :]
                row, column, channel = corner.strides
                views = as_strided(
                    corner,
                    (len(part), len(across), v.length, h.length, self.channels),
                    (v.stride * row, h.stride * column, v.spread * row, h.spread * column, channel),
                    writeable=False,
                )
                gathered = self.scratch.array("windows", views.shape, self.dtype)
                np.copyto(gathered, views)
                top_row = v.step * part.start + v.first - first
                place = slice(top_row, top_row + v.step * (len(part) - 1) + 1, v.step), slice(h.first, None, h.step)
                yield number, gathered.reshape(len(part) * len(across), -1), place


def multiply_into(windows: np.ndarray, matrix: np.ndarray, out: np.ndarray) -> None:
    """out (rows, columns, C) = windows matrix."""
    if out.flags.c_contiguous:
        np.matmul(windows, matrix, out=out.reshape(len(windows), -1))
    else:
        out[...] = (windows @ matrix).reshape(out.shape)


def unroll(rows: np.ndarray, left: int, out: np.ndarray) -> None:
    """Write stored rows (count, m, T, C) into rows (count, columns, C) as an image has them, from column `left` on."""
    _, m, tiles, _ = rows.shape
    columns = out.shape[1]
    start, stop = max(0, -left), min(columns, m * tiles - left)
    out[:, : max(0, start)] = 0
    out[:, max(0, stop) :] = 0
    for s in range(m):
        first = start + (s - left - start) % m  # the first place that a column of this kind has
        tile = (first + left) // m
        there = out[:, first : max(first, stop) : m]
        there[...] = rows[:, s, tile : tile + there.shape[1]]


def roll(image: np.ndarray, rows: np.ndarray) -> None:
    """The opposite: write rows (count, columns, C) of an image into stored rows (count, m, T, C), zero beyond."""
    rows[len(image) :] = 0
    for s in range(rows.shape[1]):
        columns = image[:, s :: rows.shape[1]]
        rows[: len(image), s, : columns.shape[1]] = columns
        rows[: len(image), s, columns.shape[1] :] = 0
