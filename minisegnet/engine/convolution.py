"""The step that most of a network's time goes into: a convolution, with what follows it in its blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import numpy as np

from minisegnet.engine.convolution_step import ConvolutionStep
from minisegnet.engine.kernels import Kernels
from minisegnet.engine.products import multiply
from minisegnet.engine.sharing import Band, blocks, share
from minisegnet.engine.value import Reader, Value, load
from minisegnet.engine.winograd import transform_data, transform_outputs, transform_products

# Bytes of transformed data in a block: few calls for many tiles, and yet all of a block in the third-level cache, which
# several workers share.
BLOCK_BYTES, BLOCK_BYTES_OF_SEVERAL = 1_800_000, 1_200_000
# A product of fewer tiles than this, or than half the channels, is not worth reading the kernels for.
FEWEST_TILES = 64


class WinogradConvolution(ConvolutionStep):
    """A convolution of stride 1 by Winograd's tiles.

    The gradient by the data is a convolution too, of the output's gradient with the kernels turned; the kernels'
    gradient is made from the same transformed tiles.
    """

    gives_in_turn = True
    reads_in_order = True

    def prepare(self) -> None:
        worker, readers, output, layer = self.worker, self.readers, self.output, self.layer
        self.kernels = Kernels(layer, output.m, worker.dtype)
        self.t, self.parts = self.kernels.t, self.kernels.cuts**2
        self.algorithm = self.kernels.algorithm
        self.products = self.t.tile**2 * self.parts / (output.m * self.kernels.size) ** 2
        first = readers[0].value
        self.tiles = max(first.tiles, output.tiles)
        widest = max(output.channels, *(reader.value.channels for reader in readers))
        bytes_a_row = self.t.tile**2 * self.tiles * widest * self.parts * worker.dtype.itemsize
        fewest = max(FEWEST_TILES, widest // 2)
        block = BLOCK_BYTES if worker.team == 1 else BLOCK_BYTES_OF_SEVERAL
        self.rows_at_once = max(-(-fewest // self.tiles), block // bytes_a_row)
        self.bands = share(output.shape[0], output.tile_rows, worker.rank, worker.count)
        self.bands_back = share(first.shape[0], first.tile_rows, worker.rank, worker.count)

    @property
    def common_nbytes(self) -> int:
        return self.kernels.common_nbytes if self.worker.team > 1 else 0

    # -------------------------------------------------------------------------------------------------- forward

    def forward(self) -> None:
        m, before, finish = self.output.m, self.finish.before, self.finish
        finish.begin()
        U = self.kernels.forward(finish.scaled(self.weight.data, self.kernels.axis), self.worker)
        out_channels = U.shape[3]
        for block in blocks(self.bands, self.rows_at_once):
            M = self._tiles("M", block, out_channels)
            for value, channels in self._joined():
                V = self._tiles("V", block, value.channels * self.parts)
                for band, rows_of_tiles in within(block):
                    self._transform(partial(self._data, value), band, self.kernels.padding, V[:, :, rows_of_tiles])
                products = M if channels.start == 0 else self._tiles("more of M", block, out_channels)
                kernels = U[:, :, channels].reshape(len(U), -1, out_channels)
                multiply(self._as_products(V, kernels.shape[1]), kernels, self._as_products(products, out_channels))
                if products is not M:
                    np.add(M, products, out=M)
            for band, rows_of_tiles in within(block):
                start, stop = band.first * m, band.stop * m
                there = before.data[band.image, start:stop]
                self._write(M[:, :, rows_of_tiles], there)
                finish.rows(band.image, start, there)
        finish.end()

    def _data(self, value: Value, image: int, start: int, stop: int, tiles: int) -> np.ndarray:
        if value.on_read is not None:
            value.on_read(image, stop)
        return load(value.data, image, start, stop, tiles, self.worker.scratch)

    def _transform(self, rows: Callable[..., np.ndarray], band: Band, padding: int, V: np.ndarray) -> None:
        """Transform a band of rows(image, start, stop, tiles) into its rows of tiles V (a, a, r, T parts C).

        Where the kernels are in quarters, each tile is followed by its neighbours: right, below, and below right.
        """
        t, m, cuts, tiles, scratch = self.t, self.output.m, self.kernels.cuts, self.tiles, self.worker.scratch
        start, more = band.first * m - padding, cuts - 1
        image = rows(band.image, start, start + (band.height + more) * m + t.kernel - 1, tiles + more)
        if cuts == 1:
            transform_data(image, padding, t, scratch, V)
            return
        shape = (t.tile, t.tile, band.height + more, tiles + more, image.shape[3])
        own = scratch.array("tiles and neighbours", shape, image.dtype)
        transform_data(image, padding, t, scratch, own.reshape(*shape[:3], -1))
        there = V.reshape(*V.shape[:3], tiles, cuts, cuts, -1)
        for down, right in product(range(cuts), repeat=2):
            there[:, :, :, :, down, right] = own[:, :, down : down + band.height, right : right + tiles]

    def _joined(self) -> Iterator[tuple[Value, slice]]:
        """The values that the data are joined of, each with its channels."""
        done = 0
        for value in self.inputs:
            yield value, slice(done, done + value.channels)
            done += value.channels

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
        t, scratch, m, tiles, kernels = self.t, self.worker.scratch, self.output.m, self.tiles, self.kernels
        weight = self.finish.scaled(self.weight.data, kernels.axis)
        U = kernels.backward(weight, self.worker)
        out_channels, in_channels = U.shape[2:]
        U = U.reshape(len(U), -1, in_channels)
        dU = scratch.array("dU", U.shape, self.worker.dtype)
        padding = kernels.size - 1 - kernels.padding
        begun = False
        for block in blocks(self.bands_back, self.rows_at_once):
            V = self._tiles("V", block, out_channels * self.parts)
            for band, rows_of_tiles in within(block):
                self._transform(self.finish.gradient, band, padding, V[:, :, rows_of_tiles])
            D = self._as_products(V, out_channels * self.parts)
            for reader, (value, channels) in zip(self.readers, self._joined(), strict=True):
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
            gradient = kernels.gradient(dU.reshape(len(dU), self.parts, out_channels, in_channels))
            self.worker.add_gradient(self.weight, self.finish.scaled(gradient, kernels.axis))

    def _add_product(self, dU: np.ndarray, D: np.ndarray, X: np.ndarray, begun: bool) -> None:
        """Add a block's part to the kernels' transformed gradient (a a, parts C_out, C_in)."""
        if not begun:
            multiply(D.transpose(0, 2, 1), X, dU)
            return
        more = self.worker.scratch.array("more of dU", dU.shape, D.dtype)
        multiply(D.transpose(0, 2, 1), X, more)
        np.add(dU, more, out=dU)

    def _give(self, reader: Reader, band: Band, X: np.ndarray) -> None:
        """Transform products into rows of the data's gradient."""
        m = self.output.m
        with reader.filling(band.image, band.first * m, band.stop * m, self.worker.scratch) as rows:
            self._write(X, rows)


def within(block: list[Band]) -> Iterator[tuple[Band, slice]]:
    """Each band of a block, with its rows of tiles in the block's arrays."""
    done = 0
    for band in block:
        yield band, slice(done, done + band.height)
        done += band.height
