"""Convolutions that are one product of matrices: 1 x 1, and transposed ones whose stamps do not overlap."""

from __future__ import annotations

import numpy as np

from minisegnet.engine.convolution_step import ConvolutionStep
from minisegnet.engine.layout import tap
from minisegnet.engine.products import multiply
from minisegnet.engine.scratch import Scratch
from minisegnet.engine.sharing import Band, pieces, share
from minisegnet.engine.value import Reader, give_parts, load_joined

BLOCK = 2**17  # values of a block's larger side


class ProductConvolution(ConvolutionStep):
    """A convolution whose every pixel is one row of a product; what a pixel becomes is for the subclass to say.

    becomes   how many values a pixel becomes
    """

    gives_in_turn = True

    def prepare(self) -> None:
        worker, readers = self.worker, self.readers
        first = readers[0].value
        self.m, self.tiles = first.m, first.tiles
        self.becomes = self.weight.data.size // self.in_channels
        self.rows_at_once = max(1, BLOCK // (self.m**2 * self.tiles * max(self.in_channels, self.becomes)))
        self.bands = share(first.shape[0], first.tile_rows, worker.rank, worker.count)

    def matrix(self) -> np.ndarray:
        """The weight as (C_in, becomes)."""
        raise NotImplementedError

    def put(self, band: Band, products: np.ndarray) -> None:
        """Write products (rows, m, T, becomes) to the output, and finish them."""
        raise NotImplementedError

    def gradient(self, band: Band) -> np.ndarray:
        """The gradient by what `put` was given."""
        raise NotImplementedError

    def give_matrix(self, gradient: np.ndarray) -> None:
        """Add the gradient by `matrix()`."""
        raise NotImplementedError

    def forward(self) -> None:
        self.finish.begin()
        matrix = np.ascontiguousarray(self.matrix())
        for band in pieces(self.bands, self.rows_at_once):
            start, stop = band.first * self.m, band.stop * self.m
            rows = load_joined(self.inputs, band.image, start, stop, self.tiles, self.worker.scratch)
            shape = (*rows.shape[:3], self.becomes)
            products = self.worker.scratch.array("products", shape, rows.dtype)
            multiply(flat(rows), matrix, flat(products))
            self.put(band, products)
        self.finish.end()

    def backward(self) -> None:
        self.finish.begin_backward()
        matrix = self.matrix()
        wanted = any(value.wants_gradient for value in self.inputs)
        transposed = np.ascontiguousarray(matrix.T)
        of_matrix = np.zeros(matrix.shape, matrix.dtype)
        for band in pieces(self.bands, self.rows_at_once):
            start, stop = band.first * self.m, band.stop * self.m
            d = self.gradient(band)
            if self.weight.trainable:
                rows = load_joined(self.inputs, band.image, start, stop, self.tiles, self.worker.scratch)
                of_matrix += flat(rows).T @ flat(d)
            if wanted:
                give_product(self.readers, band.image, slice(start, stop), flat(d), transposed, self.worker.scratch)
        if self.weight.trainable:
            self.give_matrix(of_matrix)


def flat(rows: np.ndarray) -> np.ndarray:
    """(rows, m, T, C) as one row a pixel."""
    return rows.reshape(-1, rows.shape[-1])


def give_product(
    readers: list[Reader], image: int, rows: slice, d: np.ndarray, matrix: np.ndarray, scratch: Scratch
) -> None:
    """Hand the product of a matrix with the gradient d of rows' pixels to the values that were joined as the input."""
    if len(readers) == 1:
        with readers[0].filling(image, rows.start, rows.stop, scratch) as there:
            multiply(d, matrix, flat(there))
        return
    first = readers[0].value
    shape = (rows.stop - rows.start, first.m, first.tiles, matrix.shape[1])
    product = scratch.array("rows", shape, d.dtype)
    multiply(d, matrix, flat(product))
    give_parts(readers, image, rows.start, product, scratch)


class Convolution1x1(ProductConvolution):
    """A 1 x 1 convolution of stride 1."""

    algorithm = "product of matrices"

    def matrix(self) -> np.ndarray:
        return self.finish.scaled(self.weight.data)[:, :, 0, 0].T

    def put(self, band: Band, products: np.ndarray) -> None:
        start, stop = band.first * self.m, band.stop * self.m
        there = self.finish.before.data[band.image, start:stop]
        np.copyto(there, products)
        self.finish.rows(band.image, start, there)

    def gradient(self, band: Band) -> np.ndarray:
        return self.finish.gradient(band.image, band.first * self.m, band.stop * self.m, self.tiles)

    def give_matrix(self, gradient: np.ndarray) -> None:
        self.worker.add_gradient(self.weight, self.finish.scaled(gradient.T[:, :, None, None]))


class StampingConvolution(ProductConvolution):
    """A transposed convolution whose stride is its kernel: each pixel stamps a square of its own."""

    algorithm = "product of matrices, stamped"

    def matrix(self) -> np.ndarray:
        weight = self.finish.scaled(self.weight.data, 1).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(weight).reshape(self.in_channels, -1)

    def give_matrix(self, gradient: np.ndarray) -> None:
        C, K, k, _ = self.weight.data.shape
        self.worker.add_gradient(self.weight, self.finish.scaled(gradient.reshape(C, k, k, K).transpose(0, 3, 1, 2), 1))

    def _places(self, rows: np.ndarray, products: np.ndarray):
        """Each pixel of the stamp: where it goes in rows of the output, and where it is in the products."""
        k = self.weight.data.shape[2]
        stamps = products.reshape(*products.shape[:3], k, k, -1)
        for down in range(k):
            for right in range(k):
                for s, (column, tiles, own) in enumerate(tap(self.m, k, right, self.output.tiles, self.tiles)):
                    yield rows[down::k, column, tiles], stamps[:, s, own, down, right]

    def put(self, band: Band, products: np.ndarray) -> None:
        k = self.weight.data.shape[2]
        start = band.first * self.m * k
        stop = min(band.stop * self.m * k, self.output.stored[1])
        rows = self.finish.before.data[band.image, start:stop]
        for there, stamp in self._places(rows, products):
            there[...] = stamp[: len(there)]
        self.finish.rows(band.image, start, rows)

    def gradient(self, band: Band) -> np.ndarray:
        k = self.weight.data.shape[2]
        start, stop = band.first * self.m * k, band.stop * self.m * k
        d = self.finish.gradient(band.image, start, stop, self.output.tiles)
        shape = (band.height * self.m, self.m, self.tiles, self.becomes)
        products = self.worker.scratch.array("products", shape, d.dtype)
        if self.output.tiles < k * self.tiles:  # the last tile's columns beyond the image stamp nothing
            products.fill(0)
        for there, stamp in self._places(d, products):
            stamp[...] = there
        return products
