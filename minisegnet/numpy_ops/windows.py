"""Windows sliding over an image, as views: the geometry that convolution and pooling share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minisegnet.shapes import pair


class Windows(NamedTuple):
    """Where the windows stand: `places` of them over an `image`, each direction as (vertical, horizontal)."""

    image: tuple[int, int]
    places: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @classmethod
    def over(cls, image, places, kernel, stride, padding, dilation) -> Windows:
        """Windows with options as a caller writes them."""
        return cls(
            tuple(image), tuple(places), tuple(kernel), pair(stride), pair(padding), pair(dilation)
        )

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of the padded image, large enough for the last window (which may hang over the edge)."""
        return tuple(
            max(self.image[i] + 2 * self.padding[i], self._reach(i)) for i in (0, 1)
        )  # type: ignore[return-value]

    def _reach(self, i: int) -> int:
        return (self.places[i] - 1) * self.stride[i] + self.dilation[i] * (self.kernel[i] - 1) + 1

    def pad(self, x, fill=0.0):
        """x (..., H, W) inside its padding of `fill`; x itself where there is none."""
        if self.padded == self.image:
            return x
        y = np.full(x.shape[:-2] + self.padded, fill, x.dtype)
        self.inside(y)[...] = x
        return y

    def inside(self, padded):
        """The image within its padding, a view."""
        (top, left), (H, W) = self.padding, self.image
        return padded[..., top : top + H, left : left + W]

    def view(self, padded):
        """Every window of a padded image (C, H, W), as a view (C, kernel_h, kernel_w, places_h, places_w)."""
        channel, row, column = padded.strides
        return as_strided(
            padded,
            (len(padded), *self.kernel, *self.places),
            (channel, row * self.dilation[0], column * self.dilation[1], row * self.stride[0], column * self.stride[1]),
        )

    def taps(self) -> Iterator[tuple[slice, slice]]:
        """For each pixel of the kernel, the rows and columns of the padded image that it meets at all places."""
        for p in range(self.kernel[0]):
            for q in range(self.kernel[1]):
                yield self._met(0, p), self._met(1, q)

    def offsets(self) -> Iterator[tuple[int, int]]:
        """For each pixel of the kernel, its row and column counted from where its window starts."""
        for p in range(self.kernel[0]):
            for q in range(self.kernel[1]):
                yield p * self.dilation[0], q * self.dilation[1]

    def meets_image(self, rows: slice, columns: slice) -> np.ndarray:
        """For each place, whether a pixel of the kernel (see `taps`) meets the image and not its padding."""
        inside = np.zeros(self.padded, bool)
        self.inside(inside)[...] = True
        return inside[rows, columns]

    def turned(self) -> Windows | None:
        """Windows over the places whose values reach each pixel of the image, or None where they are no such windows.

        With a stride of 1 these are windows of the same size, seen from the other side: a filter turned by half a turn
        that gathers in them does what the filter does that stamps.
        """
        padding = tuple(d * (k - 1) - p for d, k, p in zip(self.dilation, self.kernel, self.padding, strict=True))
        if self.stride != (1, 1) or min(padding) < 0:
            return None
        return Windows(self.places, self.image, self.kernel, self.stride, padding, self.dilation)  # type: ignore[arg-type]

    def of_height(self, rows: int) -> Windows:
        """As many rows of windows."""
        return self._replace(places=(rows, self.places[1]))

    def _met(self, i: int, offset: int) -> slice:
        first = offset * self.dilation[i]
        return slice(first, first + (self.places[i] - 1) * self.stride[i] + 1, self.stride[i])
