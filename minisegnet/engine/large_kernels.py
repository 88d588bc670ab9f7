"""Convolutions with more weights than fit into a cache, of small images: the fully connected middle of a network.

Reading the weights takes the time: each worker reads its part of them once for all pixels of the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minisegnet import shapes as S
from minisegnet.engine.blas import has_small_products
from minisegnet.engine.by_channels import ByChannels
from minisegnet.engine.direct_convolution import roll, unroll
from minisegnet.engine.products import multiply_long, multiply_wide
from minisegnet.engine.sharing import Band, blocks
from minisegnet.engine.value import Value
from minisegnet.layers.base import Parameter

PIXELS = 256  # for which the weights are read once
KERNELS = 16, 128  # fewest and most kernels whose gradient is made at once
# Where small products pay (see `products`) it is made of fewer, if all windows stay in the third-level cache meanwhile.
FEW_KERNELS, CACHED = 32, 2**23


class LargeKernels(ByChannels):
    """A convolution, plain or transposed, by products with the weights as they lie in memory, (A, B kh kw).

    The pixels that have A channels (a convolution's output, a transposed one's input) are here called narrow; each
    belongs to a window of the wide image, which has B.

    x, y, dy, dx   (N, H, W, C)
    """

    algorithm = "each worker has channels"

    def prepare(self) -> None:
        super().prepare()
        layer = self.layer
        self.kernel, self.stride, self.padding, self.dilation = (
            S.pair(option) for option in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        )

    @property
    def shapes_forward(self) -> tuple[S.Shape, ...]:
        return self._image(self.input, self.in_channels), self._image(self.output, self.output.channels)

    @property
    def shapes_backward(self) -> tuple[S.Shape, ...]:
        x, y = self.shapes_forward
        return (x, y, x) if self.wanted else (x, y)

    def _image(self, value: Value, channels: int) -> S.Shape:
        return self.images, value.height, value.width, channels

    def write(self, whole: np.ndarray, value: Value, band: Band, rows: np.ndarray) -> None:
        there = self._inside(whole, value, band)
        unroll(rows[: len(there)], 0, there)

    def fetch(self, whole: np.ndarray, value: Value, band: Band, rows: np.ndarray) -> None:
        roll(self._inside(whole, value, band), rows)

    def _inside(self, whole: np.ndarray, value: Value, band: Band) -> np.ndarray:
        """A band's rows that lie in the image, (rows, W, C), a view."""
        image, start, stop = self.rows(band, value)
        return whole[self.first + image, start : min(stop, value.height)]

    def show_data(self, x: np.ndarray) -> None:
        self.show_rows(x)

    def show_gradient(self, dy: np.ndarray) -> None:
        for band in self.bands:
            rows = self.gradient(*self.rows(band, self.output), self.output.tiles)
            self.write(dy, self.output, band, rows)

    @property
    def gives_whole(self) -> Parameter | None:
        narrow = self.input if self.transposed else self.output
        return self.weight if len(list(self._blocks(self._image(narrow, narrow.channels)))) == 1 else None

    def make_output(self, x: np.ndarray, y: np.ndarray, scale: np.ndarray | None) -> None:
        if self.transposed:
            self._to_wide(x, y, scale)
        else:
            self._to_narrow(x, y, scale)

    def make_gradients(self, x: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if dx is not None and self.transposed:
            self._to_narrow(dy, dx)
        elif dx is not None:
            self._to_wide(dy, dx)
        if self.weight.trainable:  # last: this may update the weight
            wide, narrow = (dy, x) if self.transposed else (x, dy)
            self._add_weight_gradient(wide, narrow)

    def _matrix(self, weight: np.ndarray) -> np.ndarray:
        """The weight where it lies, (A, B kh kw)."""
        return weight.reshape(len(weight), -1)

    def _to_narrow(self, wide: np.ndarray, narrow: np.ndarray, scale: np.ndarray | None = None) -> None:
        """Own channels of the narrow pixels: products of windows with the kernels."""
        own = self.own(narrow.shape[-1])
        kernels = self._matrix(self.weight.data)[own]
        for block, windows in self._windows(wide, narrow.shape, pixels_last=True):
            products = multiply_long(kernels, windows)
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
        own = self.own(wide.shape[-1])
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
        """Add to the gradient of own kernels, a few at a time."""
        own = self.own(narrow.shape[-1])
        for block, windows in self._windows(wide, narrow.shape):
            d = pixels(block, narrow)
            fewest, most = KERNELS
            at_once = max(fewest, min(len(d), most))
            if has_small_products() and windows.nbytes <= CACHED:
                at_once = FEW_KERNELS
            for first in range(own.start, own.stop, at_once):
                part = slice(first, min(first + at_once, own.stop))
                shape = (part.stop - first, windows.shape[1])
                gradient = self.worker.scratch.array("gradient of kernels", shape, d.dtype)
                multiply_wide(d[:, part].T, windows, gradient)
                self.worker.add_own_gradient(self.weight, part, gradient.reshape(-1, *self.weight.data.shape[1:]))

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

    def _windows(
        self, wide: np.ndarray, narrow: tuple[int, ...], pixels_last: bool = False
    ) -> Iterator[tuple[list[Band], np.ndarray]]:
        """Each block of narrow pixels with the windows that belong to them, (pixels, B kh kw), or the transpose of it.

        Gathered from planes: what lies side by side in a window, or in the windows of a row, then does so there too.
        """
        (top, left), (N, H, W, B) = self.padding, wide.shape
        planes = np.zeros((N, B, *self._padded_size(wide.shape, narrow)), self.worker.dtype)
        planes[:, :, top : top + H, left : left + W] = wide.transpose(0, 3, 1, 2)
        columns = narrow[2]
        for block in self._blocks(narrow):
            count = sum(band.height for band in block) * columns
            shape = (B, *self.kernel, count) if pixels_last else (count, B, *self.kernel)
            gathered = self.worker.scratch.array("windows", shape, self.worker.dtype)
            by_pixel = gathered.transpose(3, 0, 1, 2) if pixels_last else gathered
            done = 0
            for image, first, stop in block:
                more = done + (stop - first) * columns
                there = by_pixel[done:more].reshape(stop - first, columns, B, *self.kernel)
                np.copyto(there, self._views(planes[image].transpose(1, 2, 0), first, stop, columns))
                done = more
            yield block, gathered.reshape(-1, count) if pixels_last else gathered.reshape(count, -1)

    def _views(self, image: np.ndarray, first: int, stop: int, columns: int) -> np.ndarray:
        """The windows of rows of narrow pixels in a padded image (H, W, B): (rows, columns, B, kh, kw)."""
        row, column, channel = image.strides
        (s, t), (d, e) = self.stride, self.dilation
        return as_strided(
            image[first * s :],
            (stop - first, columns, image.shape[2], *self.kernel),
            (s * row, t * column, channel, d * row, e * column),
        )


def pixels(block: list[Band], image: np.ndarray) -> np.ndarray:
    """The rows of an image (N, h, w, C) that a block names, one row a pixel."""
    return np.concatenate([image[band.image, band.first : band.stop].reshape(-1, image.shape[-1]) for band in block])
