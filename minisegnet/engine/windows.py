"""Windows of 2 x 2 pixels side by side: the four pixels of an image that become, or come from, one of a smaller image.

Which pixel of each window won is kept as a byte, 0 to 3 in row order (an array of the smaller image's layout). A truth
value becomes a mask of a number's bits, and a number or zero is then one operation without a branch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minisegnet.engine.layout import clear_margin
from minisegnet.engine.scratch import Scratch
from minisegnet.engine.value import Value


class Windows:
    """The windows of `large` that the pixels of `small` stand for; both are stored in the same even number of columns.

    Rows of one image are (rows, m, T, C); two of the large one lie over each of the small one. Two neighbouring columns
    of all tiles of the large image become one column of all its tiles, so that everything goes along whole rows of
    memory; only then are those columns dealt out to the tiles of the small image, which are half as many.
    """

    def __init__(self, large: Value, small: Value, scratch: Scratch) -> None:
        self.large, self.small, self.scratch = large, small, scratch
        self.pairs = small.m // 2

    def _array(self, name: str, shape: tuple[int, ...], dtype) -> np.ndarray:
        return self.scratch.array(f"windows: {name}", shape, dtype)

    def _pixels(self, large: np.ndarray, pair: int) -> list[np.ndarray]:
        """The four pixels (rows / 2, T, C) of the windows in a pair of columns, in row order."""
        return [large[row::2, 2 * pair + column] for row in (0, 1) for column in (0, 1)]

    def _dealt(self, small: np.ndarray, pair: int) -> Iterator[tuple[np.ndarray, slice]]:
        """The columns of the small image that a pair of columns becomes: where they are, and of which tiles."""
        for half in (0, 1):
            tiles = min(len(range(half, self.large.tiles, 2)), self.small.tiles)
            yield small[:, half * self.pairs + pair, :tiles], slice(half, half + 2 * tiles, 2)

    def _deal(self, column: np.ndarray, small: np.ndarray, pair: int) -> None:
        for there, tiles in self._dealt(small, pair):
            np.copyto(there, column[:, tiles])

    def _collected(self, name: str, small: np.ndarray, pair: int) -> np.ndarray:
        """The opposite: one column of all tiles of the large image, from those of the small one; zero where none is."""
        column = self._array(name, (len(small), self.large.tiles, small.shape[3]), small.dtype)
        if self.large.tiles > 2 * self.small.tiles:
            column[:, 2 * self.small.tiles :] = 0
        for there, tiles in self._dealt(small, pair):
            np.copyto(column[:, tiles], there)
        return column

    def pool(self, large: np.ndarray, small: np.ndarray, winners: np.ndarray | None) -> None:
        """small = the largest of each window; winners = the first pixel that holds it, or the first NaN.

        What lies beyond the small image is for the caller to clear.
        """
        for pair in range(self.pairs):
            upper_left, upper_right, lower_left, lower_right = self._pixels(large, pair)
            upper, lower, largest = (
                self._array(name, upper_left.shape, large.dtype) for name in ("upper", "lower", "largest")
            )
            np.maximum(upper_left, upper_right, out=upper)
            np.maximum(lower_left, lower_right, out=lower)
            np.maximum(upper, lower, out=largest)
            self._deal(largest, small, pair)
            if winners is not None:
                numbers = not np.isnan(largest.min(initial=0))
                below = self._second_won("below", upper, largest, numbers)
                right = self._second_won("right", upper_left, upper, numbers)
                right_below = self._second_won("right below", lower_left, lower, numbers)
                np.bitwise_xor(right_below, right, out=right_below)
                np.bitwise_and(right_below, below, out=right_below)
                np.bitwise_xor(right, right_below, out=right)
                np.left_shift(below, 1, out=below)
                self._deal(np.bitwise_or(below, right, out=right), winners, pair)

    def _second_won(self, name: str, first: np.ndarray, larger: np.ndarray, numbers: bool) -> np.ndarray:
        """1 where the larger of two is not the first, else 0; a NaN is larger than all numbers, but not than a NaN.

        numbers   whether no NaN is among them
        """
        won = self._array(name, first.shape, bool)
        np.not_equal(first, larger, out=won)
        if not numbers:
            is_number = self._array("is a number", first.shape, bool)
            np.equal(first, first, out=is_number)
            np.bitwise_and(won, is_number, out=won)
        return won.view(np.uint8)

    def spread(self, small: np.ndarray, winners: np.ndarray, image: int, start: int, rows: np.ndarray) -> None:
        """Fill rows of the large image, from row `start` on: each value of `small` where it won, zeros elsewhere.

        small, winners   (N, rows, m, T, C), as they are stored
        """
        windows = slice(start // 2, min((start + len(rows)) // 2, self.small.height))
        large = rows[: 2 * max(0, windows.stop - windows.start)]
        rows[len(large) :] = 0
        for pair in range(self.pairs) if len(large) else ():
            values = self._collected("values", small[image, windows], pair)
            won = self._collected("winner", winners[image, windows], pair)
            for pixel, mask in zip(self._pixels(large, pair), self._masks(won, values.dtype), strict=True):
                np.bitwise_and(values.view(mask.dtype), mask, out=pixel.view(mask.dtype))
        clear_margin(rows, start, self.large.height, min(2 * self.small.width, self.large.width))

    def gather(self, large: np.ndarray, winners: np.ndarray, small: np.ndarray) -> None:
        """The opposite, for rows of both: small = the pixel of each window that won."""
        for pair in range(self.pairs):
            won = self._collected("winner", winners, pair)
            found = self._array("values", won.shape, large.dtype)
            found.fill(0)
            for pixel, mask in zip(self._pixels(large, pair), self._masks(won, large.dtype), strict=True):
                np.bitwise_and(pixel.view(mask.dtype), mask, out=mask)
                np.bitwise_or(found.view(mask.dtype), mask, out=found.view(mask.dtype))
            self._deal(found, small, pair)

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
