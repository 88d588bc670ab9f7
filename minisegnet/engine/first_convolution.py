"""The first convolution: of the image itself, whose few channels are gathered as columns of a matrix."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minisegnet import shapes
from minisegnet.engine.convolution_step import ConvolutionStep
from minisegnet.engine.products import multiply, multiply_long
from minisegnet.engine.sharing import Band, pieces, share
from minisegnet.engine.value import Reader, Value
from minisegnet.engine.worker import Worker
from minisegnet.layers import BatchNorm2d, Conv2d

BLOCK = 2**17


class FirstConvolution(ConvolutionStep):
    """A convolution of any kernel, stride, padding and dilation, of an input without a gradient.

    A tile of Winograd's would be transformed for the sake of three channels; a window of 3 x 3 x 3 values is one row of
    a product as it is.
    """

    algorithm = "windows as columns"

    def __init__(
        self,
        worker: Worker,
        name: str,
        image: Value,
        output: Value,
        layer: Conv2d,
        norm: BatchNorm2d | None = None,
        relu: bool = False,
    ) -> None:
        super().__init__(worker, name, [Reader(image)], output, layer, norm, relu)
        self.image = image
        self.kernel = self.weight.data.shape[2:]
        self.stride, self.padding, self.dilation = (
            shapes.pair(number) for number in (layer.stride, layer.padding, layer.dilation)
        )
        self.taps = self.weight.data[0].size
        per_row = output.m**2 * output.tiles * max(self.taps, output.channels)
        self.rows_at_once = max(1, BLOCK // per_row)
        self.bands = share(output.shape[0], output.tile_rows, worker.rank, worker.count)

    def forward(self) -> None:
        self.finish.begin()
        matrix = np.ascontiguousarray(self.finish.scaled(self.weight.data).reshape(-1, self.taps).T)
        for band in pieces(self.bands, self.rows_at_once):
            start, stop = band.first * self.output.m, band.stop * self.output.m
            rows = self.finish.before.data[band.image, start:stop]
            multiply(self._columns(band).T, matrix, rows.reshape(-1, self.output.channels))
            self.finish.rows(band.image, start, rows)
        self.finish.end()

    def _columns(self, band: Band) -> np.ndarray:
        """The windows of a band's pixels, (taps, rows m T)."""
        (kh, kw), (sh, sw), (ph, pw), (dh, dw) = self.kernel, self.stride, self.padding, self.dilation
        m, tiles, (_, C, H, W) = self.output.m, self.output.tiles, self.image.shape
        start, count = band.first * m * sh - ph, band.height * m
        height, width = (count - 1) * sh + (kh - 1) * dh + 1, (m * tiles - 1) * sw + (kw - 1) * dw + 1
        padded = self.worker.scratch.array("padded image", (C, height, width), self.worker.dtype)
        padded.fill(0)
        low, high, columns = max(start, 0), min(start + height, H), min(W, width - pw)
        if low < high:
            there = padded[:, low - start : high - start, pw : pw + columns]
            there[...] = self.image.data[band.image, :, low:high, :columns]
        c, h, w = padded.strides
        windows = as_strided(
            padded, (C, kh, kw, count, m, tiles), (c, dh * h, dw * w, sh * h, sw * w, m * sw * w), writeable=False
        )
        gathered = self.worker.scratch.array("columns", windows.shape, padded.dtype)
        np.copyto(gathered, windows)
        return gathered.reshape(self.taps, -1)

    def backward(self) -> None:
        self.finish.begin_backward()
        if not self.weight.trainable:
            return
        of_matrix = np.zeros((self.taps, self.output.channels), self.worker.dtype)
        for band in pieces(self.bands, self.rows_at_once):
            start, stop = band.first * self.output.m, band.stop * self.output.m
            d = self.finish.gradient(band.image, start, stop, self.output.tiles)
            of_matrix += multiply_long(self._columns(band), d.reshape(-1, self.output.channels))
        self.worker.add_gradient(self.weight, self.finish.scaled(of_matrix.T.reshape(self.weight.data.shape)))
