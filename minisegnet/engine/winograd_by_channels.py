"""Winograd's convolution of few tiles by many kernels: each worker transforms, and multiplies by, kernels of its own.

Between 512 channels the transformed kernels are 38 MB. A worker with images of its own would read all of them for a few
tiles; here it goes through its channels a few at a time, whose kernels lie in the cache between transform and product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from minisegnet.engine.by_channels import ByChannels
from minisegnet.engine.kernels import Kernels
from minisegnet.engine.products import multiply
from minisegnet.engine.scratch import Scratch
from minisegnet.engine.sharing import Band
from minisegnet.engine.value import Value, load, load_joined
from minisegnet.engine.winograd import transform_data, transform_outputs, transform_products
from minisegnet.shapes import Shape

CHANNELS = 64  # at once


class WinogradByChannels(ByChannels):
    """As `WinogradConvolution`, of kernels that fit a tile whole, with channels in place of rows.

    Each worker transforms its own rows of tiles for all: `make_output` reads x, and `make_gradients` dy, as tiles
    (a, a, r, T C), r counting the rows of tiles of the whole batch; x is (N, rows, m, T, C) there, as values are
    stored, and so are y and dx.
    """

    def prepare(self) -> None:
        super().prepare()
        worker, output, layer = self.worker, self.output, self.layer
        self.kernels = Kernels(layer, output.m, worker.dtype)
        self.t = self.kernels.t
        self.algorithm = f"{self.kernels.algorithm}, by channels"
        self.products = self.t.tile**2 / (output.m * self.kernels.size) ** 2
        self.tiles = max(self.input.tiles, output.tiles)

    @property
    def shapes_forward(self) -> tuple[Shape, ...]:
        return self._as_tiles(self.output, self.in_channels), self._as_stored(self.output, self.output.channels)

    @property
    def shapes_backward(self) -> tuple[Shape, ...]:
        x = self._as_stored(self.input, self.in_channels)
        return (x, self._as_tiles(self.input, self.output.channels), *([x] if self.wanted else []))

    def _as_stored(self, value: Value, channels: int) -> Shape:
        return (self.images, *value.stored[1:4], channels)

    def _as_tiles(self, value: Value, channels: int) -> Shape:
        """Of as many rows of tiles as a value has."""
        return self.t.tile, self.t.tile, self.images * value.tile_rows, self.tiles * channels

    def write(self, whole: np.ndarray, value: Value, band: Band, rows: np.ndarray) -> None:
        image, start, stop = self.rows(band, value)
        whole[self.first + image, start:stop] = rows

    def fetch(self, whole: np.ndarray, value: Value, band: Band, rows: np.ndarray) -> None:
        image, start, stop = self.rows(band, value)
        np.copyto(rows, whole[self.first + image, start:stop])

    def show_data(self, x: np.ndarray) -> None:
        self._show_tiles(partial(load_joined, self.inputs), self.bands, self.output, self.kernels.padding, x)

    def show_gradient(self, dy: np.ndarray) -> None:
        padding = self.kernels.size - 1 - self.kernels.padding
        self._show_tiles(self._gradient, self.bands_back, self.input, padding, dy)

    def _gradient(self, image: int, start: int, stop: int, tiles: int, _: Scratch) -> np.ndarray:
        return self.gradient(image, start, stop, tiles)

    def _show_tiles(
        self, rows: Callable[..., np.ndarray], bands: list[Band], value: Value, padding: int, V: np.ndarray
    ) -> None:
        """Transform bands of a value's tiles, from rows(image, start, stop, tiles, scratch)."""
        scratch = self.worker.scratch
        for band in bands:
            image, start, stop = self.rows(band, value)
            inside = rows(image, start - padding, stop - padding + self.t.kernel - 1, self.tiles, scratch)
            first = (self.first + image) * value.tile_rows
            transform_data(inside, padding, self.t, scratch, V[:, :, first + band.first : first + band.stop])

    def make_output(self, x: np.ndarray, y: np.ndarray, scale: np.ndarray | None) -> None:
        V = self._as_products(x)
        weight = self._weight(self.weight.data)
        for channels in self._pieces(weight.shape[1]):
            U = self.kernels.as_tiles(weight[:, channels], self.kernels.transposed, self.worker)[:, 0]
            M = self._tiles("M", self.output, U.shape[2])
            multiply(V, U, self._as_products(M))
            factor = None if scale is None else scale[channels].astype(M.dtype)
            self._write(M, y[..., channels], factor)

    def make_gradients(self, x: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        kernels, rows, scratch = self.kernels, self.input.tile_rows, self.worker.scratch
        D = self._as_products(dy)
        weight = self._weight(self.weight.data)
        for channels in self._pieces(self.in_channels):
            X = self._tiles("M", self.input, channels.stop - channels.start)
            if self.weight.trainable:
                for image in range(self.images):
                    own = load(x[..., channels], image, 0, rows * self.output.m, self.tiles, scratch)
                    tiles = X[:, :, image * rows : (image + 1) * rows]
                    transform_outputs(np.ascontiguousarray(own), self.t, scratch, tiles)
                dU = scratch.array("dU", (len(D), channels.stop - channels.start, D.shape[2]), D.dtype)
                multiply(self._as_products(X).transpose(0, 2, 1), D, dU)
            if dx is not None:
                U = kernels.as_tiles(weight[channels].swapaxes(0, 1), not kernels.transposed, self.worker)[:, 0]
                multiply(D, U, self._as_products(X))
                self._write(X, dx[..., channels], None)
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

    def _tiles(self, name: str, value: Value, channels: int) -> np.ndarray:
        """Working memory for tiles of some channels, as many as a value has."""
        return self.worker.scratch.array(name, self._as_tiles(value, channels), self.worker.dtype)

    def _as_products(self, V: np.ndarray) -> np.ndarray:
        """(a, a, r, T C) as one matrix (tiles, C) for each place in a tile."""
        return V.reshape(self.t.tile**2, V.shape[2] * self.tiles, -1)

    def _write(self, M: np.ndarray, whole: np.ndarray, factor: np.ndarray | None) -> None:
        """Transform products into channels of the whole batch, times a factor for each."""
        N, rows, m, tiles, channels = whole.shape
        made = self.worker.scratch.array("wider rows", (N * rows, m, self.tiles, channels), M.dtype)
        transform_products(M, self.t, self.worker.scratch, made)
        made = made.reshape(N, rows, m, self.tiles, channels)[:, :, :, :tiles]
        np.multiply(made, 1 if factor is None else factor, out=whole)
