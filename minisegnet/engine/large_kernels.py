"""Convolutions with more weights than fit into a cache, of small images: the fully connected middle of a network.

Reading the weights takes the time, so each worker has channels of its own in place of rows: it reads its part of the
weights once for all pixels of the whole batch, and adds its part of their gradient where it belongs. The images
themselves are small, and every worker lets all others see its rows of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minisegnet import shapes as S
from minisegnet.engine.convolution_step import ConvolutionStep
from minisegnet.engine.direct_convolution import roll, unroll
from minisegnet.engine.sharing import Band, blocks, share
from minisegnet.engine.value import Planes, Reader, Value, load_joined
from minisegnet.engine.worker import Worker
from minisegnet.layers import BatchNorm2d, Conv2d, ConvTranspose2d

PIXELS = 256  # for which the weights are read once
KERNELS = 16, 128  # fewest and most kernels whose gradient is made at once


class LargeKernels(ConvolutionStep):
    """A convolution, plain or transposed, by products with the weights as they lie in memory, (A, B kh kw).

    The pixels that have A channels (a convolution's output, a transposed one's input) are here called narrow; each
    belongs to a window of the wide image, which has B.

    x, y, dx   the input, the output (later its gradient) and the input's gradient as (N, H, W, C), seen by all workers
    """

    algorithm = "each worker has channels"

    def __init__(
        self,
        worker: Worker,
        name: str,
        readers: list[Reader],
        output: Value,
        layer: Conv2d | ConvTranspose2d,
        norm: BatchNorm2d | None = None,
        relu: bool = False,
    ) -> None:
        super().__init__(worker, name, readers, output, layer, norm, relu)
        self.kernel, self.stride, self.padding, self.dilation = (
            S.pair(option) for option in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        )
        self.input = readers[0].value
        N, _, H, W = self.input.shape
        self.x, self.dx = (
            Planes(f"{name} {what}", (N, H, W, self.in_channels)) for what in ("input", "input's gradient")
        )
        self.y = Planes(f"{name} output", (N, output.height, output.width, output.channels))
        self.wanted = any(reader.value.wants_gradient for reader in readers)
        self.bands = share(N, output.tile_rows, worker.rank, worker.count)
        self.bands_back = share(N, self.input.tile_rows, worker.rank, worker.count)

    @property
    def seen_by_all(self) -> list[Planes]:
        return [self.x, self.y, self.dx] if self.wanted else [self.x, self.y]

    # ------------------------------------------------------------------------------------------- forward and backward

    def forward(self) -> None:
        m, finish = self.output.m, self.finish
        finish.begin()
        for band, rows in in_image(self.bands_back, self.input):
            stored = load_joined(self.inputs, band.image, rows.start, band.stop * self.input.m, self.worker.scratch)
            unroll(stored[: len(rows)], 0, self.x.data[band.image, rows.start : rows.stop])
        self.worker.meet()
        if self.transposed:
            self._to_wide(self.x.whole, self.y.whole, finish.scale)
        else:
            self._to_narrow(self.x.whole, self.y.whole, finish.scale)
        self.worker.meet()
        for band, rows in in_image(self.bands, self.output):
            there = finish.before.data[band.image, band.first * m : band.stop * m]
            roll(self.y.data[band.image, rows.start : rows.stop], there)
            finish.rows(band.image, rows.start, there)
        finish.end()

    def backward(self) -> None:
        self.finish.begin_backward()
        for band, rows in in_image(self.bands, self.output):
            dy = self.y.data[band.image, rows.start : rows.stop]
            unroll(self.finish.gradient(band.image, rows.start, rows.stop, self.output.tiles), 0, dy)
            if self.finish.scale is not None:
                np.multiply(dy, self.finish.scale, out=dy)
        self.worker.meet()
        wide, narrow = (self.y, self.x) if self.transposed else (self.x, self.y)
        if self.weight.trainable:
            self._add_weight_gradient(wide.whole, narrow.whole)
        if not self.wanted:
            return
        if self.transposed:
            self._to_narrow(self.y.whole, self.dx.whole)
        else:
            self._to_wide(self.y.whole, self.dx.whole)
        self.worker.meet()
        for band, rows in in_image(self.bands_back, self.input):
            self._give(band, self.dx.data[band.image, rows.start : rows.stop])

    def _give(self, band: Band, dx: np.ndarray) -> None:
        done = 0
        for reader in self.readers:
            value, channels = reader.value, slice(done, done + reader.value.channels)
            done = channels.stop
            if value.wants_gradient:
                shape = (band.height * value.m, *value.stored[2:])
                rows = self.worker.scratch.array("rows", shape, dx.dtype)
                roll(dx[..., channels], rows)
                reader.give(band.image, band.first * value.m, rows)

    # --------------------------------------------------------------------------------------------- products by channels

    def _own(self, channels: int) -> slice:
        """This worker's part of so many channels."""
        number, team = self.worker.number, self.worker.team
        return slice(channels * number // team, channels * (number + 1) // team)

    def _matrix(self, weight: np.ndarray) -> np.ndarray:
        """The weight or its gradient, where they lie, (A, B kh kw)."""
        return weight.reshape(len(weight), -1)

    def _to_narrow(self, wide: np.ndarray, narrow: np.ndarray, scale: np.ndarray | None = None) -> None:
        """Own channels of the narrow pixels: products of windows with the kernels."""
        own = self._own(narrow.shape[-1])
        kernels = self._matrix(self.weight.data)[own]
        for block, windows in self._windows(wide, narrow.shape):
            products = kernels @ windows.T
            if scale is not None:
                products *= scale[own, None]
            done = 0
            for image, first, stop in block:
                there = narrow[image, first:stop, :, own]
                more = done + there.shape[0] * there.shape[1]
                there[...] = products[:, done:more].T.reshape(there.shape)
                done = more

    def _to_wide(self, narrow: np.ndarray, wide: np.ndarray, scale: np.ndarray | None = None) -> None:
        """Own channels of the wide image: each narrow pixel stamps the kernels, and stamps that overlap are added."""
        own = self._own(wide.shape[-1])
        count, taps = own.stop - own.start, self.kernel[0] * self.kernel[1]
        kernels = self._matrix(self.weight.data)[:, own.start * taps : own.stop * taps]
        padded = np.zeros((len(wide), *self._padded_size(wide.shape, narrow.shape), count), self.worker.dtype)
        for block in self._blocks(narrow.shape):
            stamps = pixels(block, narrow) @ kernels
            done = 0
            for image, first, stop in block:
                columns = narrow.shape[2]
                more = done + (stop - first) * columns
                those = stamps[done:more].reshape(stop - first, columns, count, *self.kernel)
                done = more
                windows = self._views(padded[image], first, stop, columns)
                for down in range(self.kernel[0]):
                    for right in range(self.kernel[1]):
                        there = windows[:, :, :, down, right]
                        np.add(there, those[:, :, :, down, right], out=there)
        (top, left), (_, H, W, _) = self.padding, wide.shape
        inside = padded[:, top : top + H, left : left + W]
        wide[..., own] = inside if scale is None else inside * scale[own]

    def _add_weight_gradient(self, wide: np.ndarray, narrow: np.ndarray) -> None:
        """Add to the gradient of own kernels, in place: nobody else has part in them."""
        own = self._own(narrow.shape[-1])
        gradient = self._matrix(self.weight.grad)[own]
        for block, windows in self._windows(wide, narrow.shape):
            d = pixels(block, narrow)[:, own]
            fewest, most = KERNELS
            at_once = max(fewest, min(len(d), most))
            for first in range(0, len(gradient), at_once):
                there = gradient[first : first + at_once]
                part = self.worker.scratch.array("gradient of kernels", there.shape, d.dtype)
                np.matmul(d[:, first : first + at_once].T, windows, out=part)
                np.add(there, part, out=there)

    # ------------------------------------------------------------------------------------------------------ windows

    def _blocks(self, narrow: tuple[int, ...]) -> Iterator[list[Band]]:
        """The narrow pixels of the whole batch as bands of rows, so many as the weights are read for once."""
        N, h, w, _ = narrow
        return blocks([Band(image, 0, h) for image in range(N)], max(1, PIXELS // w))

    def _padded_size(self, wide: tuple[int, ...], narrow: tuple[int, ...]) -> tuple[int, ...]:
        """Height and width of the wide image that holds all windows, and itself."""
        return tuple(
            max(size + 2 * p, (count - 1) * s + (k - 1) * d + 1)
            for size, count, k, s, p, d in zip(
                wide[1:3], narrow[1:3], self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )

    def _windows(self, wide: np.ndarray, narrow: tuple[int, ...]) -> Iterator[tuple[list[Band], np.ndarray]]:
        """Each block of narrow pixels with the windows that belong to them, (pixels, B kh kw)."""
        (top, left), (N, H, W, B) = self.padding, wide.shape
        padded = np.zeros((N, *self._padded_size(wide.shape, narrow), B), self.worker.dtype)
        padded[:, top : top + H, left : left + W] = wide
        columns = narrow[2]
        for block in self._blocks(narrow):
            count = sum(band.height for band in block) * columns
            gathered = self.worker.scratch.array("windows", (count, B, *self.kernel), self.worker.dtype)
            done = 0
            for image, first, stop in block:
                more = done + (stop - first) * columns
                there = gathered[done:more].reshape(stop - first, columns, B, *self.kernel)
                np.copyto(there, self._views(padded[image], first, stop, columns))
                done = more
            yield block, gathered.reshape(count, -1)

    def _views(self, image: np.ndarray, first: int, stop: int, columns: int) -> np.ndarray:
        """The windows of rows of narrow pixels in a padded image (H, W, B): (rows, columns, B, kh, kw)."""
        row, column, channel = image.strides
        (s, t), (d, e) = self.stride, self.dilation
        return as_strided(
            image[first * s :],
            (stop - first, columns, image.shape[2], *self.kernel),
            (s * row, t * column, channel, d * row, e * column),
        )


def in_image(bands: list[Band], value: Value) -> Iterator[tuple[Band, range]]:
    """Bands of a value's rows of tiles, each with its rows that lie in the image."""
    for band in bands:
        yield band, range(band.first * value.m, min(band.stop * value.m, value.height))


def pixels(block: list[Band], image: np.ndarray) -> np.ndarray:
    """The rows of an image (N, h, w, C) that a block names, one row a pixel."""
    return np.concatenate([image[band.image, band.first : band.stop].reshape(-1, image.shape[-1]) for band in block])
