"""Winograd's convolution of few tiles by many kernels: each worker transforms, and multiplies by, kernels of its own.

Between 512 channels the transformed kernels are 38 MB. A worker with images of its own would read all of them for a few
tiles; here it goes through its channels a few at a time, whose kernels lie in the cache between transform and product.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minisegnet.engine.by_channels import ByChannels
from minisegnet.engine.kernels import Kernels
from minisegnet.engine.products import multiply
from minisegnet.engine.sharing import Band
from minisegnet.engine.value import Planes, Value, load
from minisegnet.engine.winograd import transform_data, transform_outputs, transform_products
from minisegnet.shapes import Shape

CHANNELS = 64  # at once


class WinogradByChannels(ByChannels):
    """As `WinogradConvolution`, of kernels that fit a tile whole, with channels in place of rows.

    x, y, dx   (N, rows, m, T, C), as values are stored
    """

    def prepare(self) -> None:
        super().prepare()
        worker, output, layer = self.worker, self.output, self.layer
        self.kernels = Kernels(layer, output.m, worker.dtype)
        self.t = self.kernels.t
        self.algorithm = f"{self.kernels.algorithm}, by channels"
        self.products = self.t.tile**2 / (output.m * self.kernels.size) ** 2
        self.tiles = max(self.input.tiles, output.tiles)

    def shape(self, value: Value, channels: int) -> Shape:
        return (*value.stored[:4], channels)

    def show(self, planes: Planes, value: Value, band: Band, rows: np.ndarray) -> None:
        planes.data[band.image, band.first * value.m : band.stop * value.m] = rows

    def fetch(self, planes: Planes, value: Value, band: Band, rows: np.ndarray) -> None:
        np.copyto(rows, planes.data[band.image, band.first * value.m : band.stop * value.m])

    def make_output(self, scale: np.ndarray | None) -> None:
        V = self._transformed(self.x.whole, self.output.tile_rows, self.kernels.padding)
        weight = self._weight(self.weight.data)
        for channels in self._pieces(weight.shape[1]):
            U = self.kernels.as_tiles(weight[:, channels], self.kernels.transposed, self.worker)[:, 0]
            M = self._tiles("M", self.output.tile_rows, U.shape[2])
            multiply(self._as_products(V), U, self._as_products(M))
            factor = None if scale is None else scale[channels].astype(M.dtype)
            self._write(M, self.y.whole[..., channels], factor)

    def make_gradients(self) -> None:
        kernels, rows, scratch = self.kernels, self.input.tile_rows, self.worker.scratch
        D = self._as_products(self._transformed(self.y.whole, rows, kernels.size - 1 - kernels.padding))
        weight = self._weight(self.weight.data)
        for channels in self._pieces(self.in_channels):
            X = self._tiles("M", rows, channels.stop - channels.start)
            if self.weight.trainable:
                for image, tiles in self._images(rows):
                    x = load(self.x.whole[..., channels], image, 0, rows * self.output.m, self.tiles, scratch)
                    transform_outputs(np.ascontiguousarray(x), self.t, scratch, X[:, :, tiles])
                dU = scratch.array("dU", (len(D), channels.stop - channels.start, D.shape[2]), D.dtype)
                multiply(self._as_products(X).transpose(0, 2, 1), D, dU)
            if self.wanted:
                U = kernels.as_tiles(weight[channels].swapaxes(0, 1), not kernels.transposed, self.worker)[:, 0]
                multiply(D, U, self._as_products(X))
                self._write(X, self.dx.whole[..., channels], None)
            if self.weight.trainable:  # last: this may update the weight
                gradient = self._weight(kernels.from_tiles(dU[:, None]))
                part = (channels,) if self.transposed else (slice(None), channels)
                self.worker.add_own_gradient(self.weight, part, gradient)

    def _weight(self, weight: np.ndarray) -> np.ndarray:
        """The weight or its gradient as (C_in, C_out, k, k), or back: a view."""
        return weight if self.transposed else weight.swapaxes(0, 1)

    def _pieces(self, channels: int) -> Iterator[slice]:
        """This worker's channels, a few at a time."""
        own = self.own(channels)
        for first in range(own.start, own.stop, CHANNELS):
            yield slice(first, min(first + CHANNELS, own.stop))

    def _images(self, tile_rows: int) -> Iterator[tuple[int, slice]]:
        """Every image of the whole batch, with its rows of tiles."""
        for image in range(len(self.x.whole)):
            yield image, slice(image * tile_rows, (image + 1) * tile_rows)

    def _tiles(self, name: str, tile_rows: int, channels: int) -> np.ndarray:
        """(a, a, rows of tiles of the whole batch, T C)"""
        shape = (self.t.tile, self.t.tile, len(self.x.whole) * tile_rows, self.tiles * channels)
        return self.worker.scratch.array(name, shape, self.worker.dtype)

    def _as_products(self, V: np.ndarray) -> np.ndarray:
        """(a, a, r, T C) as one matrix (tiles, C) for each place in a tile."""
        return V.reshape(self.t.tile**2, V.shape[2] * self.tiles, -1)

    def _transformed(self, whole: np.ndarray, tile_rows: int, padding: int) -> np.ndarray:
        """All tiles of the whole batch, transformed, with the margin that so many rows of tiles need."""
        V, m = self._tiles("V", tile_rows, whole.shape[4]), self.output.m
        for image, tiles in self._images(tile_rows):
            stop = tile_rows * m - padding + self.t.kernel - 1
            rows = load(whole, image, -padding, stop, self.tiles, self.worker.scratch)
            transform_data(rows, padding, self.t, self.worker.scratch, V[:, :, tiles])
        return V

    def _write(self, M: np.ndarray, whole: np.ndarray, factor: np.ndarray | None) -> None:
        """Transform products into channels of the whole batch, times a factor for each."""
        N, rows, m, tiles, channels = whole.shape
        made = self.worker.scratch.array("wider rows", (N * rows, m, self.tiles, channels), M.dtype)
        transform_products(M, self.t, self.worker.scratch, made)
        made = made.reshape(N, rows, m, self.tiles, channels)[:, :, :, :tiles]
        np.multiply(made, 1 if factor is None else factor, out=whole)
