"""Windows of 2 x 2 pixels side by side: the four pixels of an image that become, or come from, one of a smaller image.

Which pixel of each window won is kept as a byte, 0 to 3 in row order (an array of the smaller image's layout). A truth
value becomes a mask of a number's bits, and a number or zero is then one operation without a branch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minisegnet.engine.layout import clear_margin, tap
from minisegnet.engine.scratch import Scratch
from minisegnet.engine.value import Value

Index = tuple[slice, int, slice]


class Windows:
    """The windows of `large` that the pixels of `small` stand for; both are stored in the same even number of columns.

    Rows of one image are (rows, m, T, C); two of the large one lie over each of the small one.
    """

    def __init__(self, large: Value, small: Value, scratch: Scratch) -> None:
        self.large, self.small, self.scratch = large, small, scratch
        left, right = (tap(small.m, 2, column, large.tiles, small.tiles) for column in (0, 1))
        self.places: list[tuple[Index, list[Index]]] = []  # for each column of the small image's tiles
        for s in range(small.m):
            count = max(0, -(-(small.width - s) // small.m))
            pixels = [
                np.s_[row::2, column, tiles.start : tiles.start + 2 * count : 2]
                for row in (0, 1)
                for column, tiles, _ in (left[s], right[s])
            ]
            self.places.append((np.s_[:, s, :count], pixels))

    def _array(self, name: str, shape: tuple[int, ...], dtype) -> np.ndarray:
        return self.scratch.array(f"windows: {name}", shape, dtype)

    def pool(self, large: np.ndarray, small: np.ndarray, winners: np.ndarray | None) -> None:
        """small = the largest of each window; winners = the first pixel that holds it, or the first NaN."""
        for here, pixels in self.places:
            upper_left, upper_right, lower_left, lower_right = (large[pixel] for pixel in pixels)
            largest = small[here]
            upper, lower = (self._array(name, largest.shape, largest.dtype) for name in ("upper", "lower"))
            np.maximum(upper_left, upper_right, out=upper)
            np.maximum(lower_left, lower_right, out=lower)
            np.maximum(upper, lower, out=largest)
            if winners is not None:
                below = self._second_won("below", upper, largest)
                right = self._second_won("right", upper_left, upper)
                right_below = self._second_won("right below", lower_left, lower)
                np.bitwise_xor(right_below, right, out=right_below)
                np.bitwise_and(right_below, below, out=right_below)
                np.bitwise_xor(right, right_below, out=right)
                np.left_shift(below, 1, out=below)
                np.bitwise_or(below, right, out=winners[here])

    def _second_won(self, name: str, first: np.ndarray, larger: np.ndarray) -> np.ndarray:
        """1 where the larger of two numbers is not the first, else 0; a NaN is larger than all, but not than a NaN."""
        won = self._array(name, first.shape, bool)
        number = self._array("is a number", first.shape, bool)
        np.not_equal(first, larger, out=won)
        np.equal(first, first, out=number)
        return np.bitwise_and(won, number, out=won).view(np.uint8)

    def spread(self, small: np.ndarray, winners: np.ndarray, image: int, start: int, rows: np.ndarray) -> None:
        """Fill rows of the large image, from row `start` on: each value of `small` where it won, zeros elsewhere.

        small, winners   (N, rows, m, T, C), as they are stored
        """
        windows = slice(start // 2, min((start + len(rows)) // 2, self.small.height))
        large = rows[: 2 * max(0, windows.stop - windows.start)]
        rows[len(large) :] = 0
        for here, pixels in self.places if len(large) else ():
            x, won = small[image, windows][here], winners[image, windows][here]
            values = self._array("values", x.shape, x.dtype)
            np.copyto(values, x)
            for pixel, mask in zip(pixels, self._masks(won, x.dtype), strict=True):
                np.bitwise_and(values.view(mask.dtype), mask, out=large[pixel].view(mask.dtype))
        clear_margin(rows, start, self.large.height, min(2 * self.small.width, self.large.width))

    def gather(self, large: np.ndarray, winners: np.ndarray, small: np.ndarray) -> None:
        """The opposite, for rows of both: small = the pixel of each window that won."""
        for here, pixels in self.places:
            found = self._array("values", small[here].shape, small.dtype)
            found.fill(0)
            for pixel, mask in zip(pixels, self._masks(winners[here], small.dtype), strict=True):
                np.bitwise_and(large[pixel].view(mask.dtype), mask, out=mask)
                np.bitwise_or(found.view(mask.dtype), mask, out=found.view(mask.dtype))
            np.copyto(small[here], found)

    def _masks(self, winners: np.ndarray, dtype: np.dtype) -> Iterator[np.ndarray]:
        """For each pixel of the windows, all bits set where it won."""
        for pixel in range(4):
            won = self._array("won", winners.shape, bool)
            mask = self._array("mask", winners.shape, np.int32 if dtype.itemsize == 4 else np.int64)
            np.equal(winners, pixel, out=won)
            byte = won.view(np.int8)
            np.negative(byte, out=byte)
            np.copyto(mask, byte)
            yield mask
