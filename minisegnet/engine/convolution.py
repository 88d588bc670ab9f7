"""The step that most of a network's time goes into: a convolution, with what follows it in its blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minisegnet.engine.finish import Finish
from minisegnet.engine.products import multiply
from minisegnet.engine.sharing import Band, blocks, share
from minisegnet.engine.step import Step
from minisegnet.engine.transforms import transforms
from minisegnet.engine.value import Reader, Value, load
from minisegnet.engine.winograd import transform_data, transform_outputs, transform_products
from minisegnet.engine.worker import Worker
from minisegnet.layers import BatchNorm2d, Conv2d

# Bytes of transformed data in a block, so that they, what they become and the kernels' share the second-level cache.
BLOCK_BYTES = 2400000
# A product of fewer tiles than this, or than half the channels, is not worth reading the kernels for.
FEWEST_TILES = 64


class WinogradConvolution(Step):
    """A convolution of stride 1 by Winograd's tiles.

    The gradient by the data is a convolution too, of the output's gradient with the kernels turned; the kernels'
    gradient is made from the same transformed tiles.
    """

    def __init__(
        self,
        worker: Worker,
        name: str,
        readers: list[Reader],
        output: Value,
        layer: Conv2d,
        norm: BatchNorm2d | None = None,
        relu: bool = False,
    ) -> None:
        super().__init__(worker, name, readers)
        self.output, self.layer = output, layer
        self.finish = Finish(worker, output, layer.bias, norm, relu)
        self.weight = layer.weight
        out_channels, _, kernel, _ = self.weight.data.shape
        self.padding = layer.padding if isinstance(layer.padding, int) else layer.padding[0]
        self.t = transforms(output.m, kernel, worker.dtype.char)
        self.algorithm = f"Winograd F({output.m}x{output.m}, {kernel}x{kernel})"
        first = readers[0].value
        self.tiles = max(first.tiles, output.tiles)
        widest = max(out_channels, *(reader.value.channels for reader in readers))
        bytes_a_row = self.t.tile**2 * self.tiles * widest * worker.dtype.itemsize
        fewest = max(FEWEST_TILES, widest // 2)
        self.rows_at_once = max(-(-fewest // self.tiles), BLOCK_BYTES // bytes_a_row)
        self.bands = share(output.shape[0], output.tile_rows, worker.rank, worker.count)
        self.bands_back = share(first.shape[0], first.tile_rows, worker.rank, worker.count)

    @property
    def outputs(self) -> list[Value]:
        return [self.output]

    @property
    def kept(self) -> list[Value]:
        return [] if self.finish.before is self.output else [self.finish.before]

    # -------------------------------------------------------------------------------------------------- forward

    def forward(self) -> None:
        t, scratch, m, tiles = self.t, self.worker.scratch, self.output.m, self.tiles
        before, finish = self.finish.before, self.finish
        finish.begin()
        U = self._kernels()
        for block in blocks(self.bands, self.rows_at_once):
            M = self._tiles("M", block, U.shape[2])
            for value, channels in self._parts():
                V = self._tiles("V", block, value.channels)
                for band, rows_of_tiles in within(block):
                    first = band.first * m - self.padding
                    rows = load(value.data, band.image, first, first + band.height * m + t.kernel - 1, tiles, scratch)
                    transform_data(rows, self.padding, t, scratch, V[:, :, rows_of_tiles])
                products = M if channels.start == 0 else self._tiles("more of M", block, U.shape[2])
                multiply(self._as_products(V, value.channels), U[:, channels], self._as_products(products, U.shape[2]))
                if products is not M:
                    np.add(M, products, out=M)
            for band, rows_of_tiles in within(block):
                start, stop = band.first * m, band.stop * m
                there = before.data[band.image, start:stop]
                self._write(M[:, :, rows_of_tiles], there)
                finish.rows(band.image, start, there)
        finish.end()

    def _parts(self) -> Iterator[tuple[Value, slice]]:
        """The values that the data are joined of, each with its channels."""
        done = 0
        for value in self.inputs:
            yield value, slice(done, done + value.channels)
            done += value.channels

    def _kernels(self) -> np.ndarray:
        """U (a a, C_in, C_out)."""
        turned = self._kernels_by_output(self.t.kernel_2d)
        U = self.worker.scratch.array("kernels", (turned.shape[0], *turned.shape[:0:-1]), turned.dtype)
        np.copyto(U, turned.transpose(0, 2, 1))
        return U

    def _kernels_by_output(self, transform: np.ndarray) -> np.ndarray:
        """The same as (a a, C_out, C_in), the order in which the layer keeps its weight."""
        weight = self.finish.scaled(self.weight.data)
        U = self.worker.scratch.array("kernels by output", (len(transform), *weight.shape[:2]), weight.dtype)
        np.matmul(transform, weight.reshape(-1, transform.shape[1]).T, out=U.reshape(len(transform), -1))
        return U

    def _tiles(self, name: str, block: list[Band], channels: int) -> np.ndarray:
        count = sum(band.height for band in block)
        a = self.t.tile
        return self.worker.scratch.array(name, (a, a, count, self.tiles * channels), self.worker.dtype)

    def _as_products(self, V: np.ndarray, channels: int) -> np.ndarray:
        """(a, a, r, T C) as one matrix (tiles, C) for each place in a tile."""
        return V.reshape(self.t.tile**2, -1, channels)

    def _write(self, M: np.ndarray, rows: np.ndarray) -> None:
        """Transform products into rows, which may have fewer tiles than were made."""
        count, m, tiles, channels = rows.shape
        if tiles == self.tiles:
            transform_products(M, self.t, self.worker.scratch, rows)
            return
        wider = self.worker.scratch.array("wider rows", (count, m, self.tiles, channels), rows.dtype)
        transform_products(M, self.t, self.worker.scratch, wider)
        np.copyto(rows, wider[:, :, :tiles])

    # ------------------------------------------------------------------------------------------------- backward

    def backward(self) -> None:
        self.finish.begin_backward()
        t, scratch, m, tiles = self.t, self.worker.scratch, self.output.m, self.tiles
        padding = t.kernel - 1 - self.padding
        turned = np.ascontiguousarray(t.kernel_2d[:, ::-1])
        out_channels, in_channels = self.weight.data.shape[:2]
        U = self._kernels_by_output(turned)
        dU = scratch.array("dU", (t.tile**2, out_channels, in_channels), self.worker.dtype)
        begun = False
        for block in blocks(self.bands_back, self.rows_at_once):
            V = self._tiles("V", block, out_channels)
            for band, rows_of_tiles in within(block):
                first = band.first * m - padding
                rows = self.finish.gradient(band.image, first, first + band.height * m + t.kernel - 1, tiles)
                transform_data(rows, padding, t, scratch, V[:, :, rows_of_tiles])
            D = self._as_products(V, out_channels)
            for reader, (value, channels) in zip(self.readers, self._parts(), strict=True):
                X = self._tiles("M", block, value.channels)
                if self.weight.trainable:
                    for band, rows_of_tiles in within(block):
                        rows = load(value.data, band.image, band.first * m, band.stop * m, tiles, scratch)
                        transform_outputs(rows, t, scratch, X[:, :, rows_of_tiles])
                    self._add_product(dU[:, :, channels], D, self._as_products(X, value.channels), begun)
                if value.wants_gradient:
                    multiply(D, U[:, :, channels], self._as_products(X, value.channels))
                    for band, rows_of_tiles in within(block):
                        self._give(reader, band, X[:, :, rows_of_tiles])
            begun = True
        if begun and self.weight.trainable:
            dweight = dU.reshape(len(dU), -1).T @ turned
            self.worker.add_gradient(self.weight, self.finish.scaled(dweight.reshape(self.weight.data.shape)))

    def _add_product(self, dU: np.ndarray, D: np.ndarray, X: np.ndarray, begun: bool) -> None:
        """Add a block's part to the kernels' transformed gradient (a a, C_out, C_in)."""
        if not begun:
            multiply(D.transpose(0, 2, 1), X, dU)
            return
        more = self.worker.scratch.array("more of dU", dU.shape, D.dtype)
        multiply(D.transpose(0, 2, 1), X, more)
        np.add(dU, more, out=dU)

    def _give(self, reader: Reader, band: Band, X: np.ndarray) -> None:
        """Transform products into rows of the data's gradient."""
        start, stop = band.first * self.output.m, band.stop * self.output.m
        place = reader.place(band.image, start, stop)
        if place is not None:
            self._write(X, place)
            reader.written(band.image, start, place)
        else:
            shape = (stop - start, *reader.value.stored[2:])
            rows = self.worker.scratch.array("rows", shape, X.dtype)
            self._write(X, rows)
            reader.give(band.image, start, rows)


def within(block: list[Band]) -> Iterator[tuple[Band, slice]]:
    """Each band of a block, with its rows of tiles in the block's arrays."""
    done = 0
    for band in block:
        yield band, slice(done, done + band.height)
        done += band.height
