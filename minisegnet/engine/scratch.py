"""Small arrays that a worker needs again and again: made once, handed out by name."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minisegnet.memory import ALIGNMENT, reserve

# Bytes asked of the system at once: a few huge pages, so that a pass over an array looks few of them up.
CHUNK = 2**23
# Bytes left between arrays: lengths are often powers of two, and arrays gone through side by side would else meet in
# the same few places of the cache.
APART = 4096 + 2 * ALIGNMENT


class Scratch:
    """Memory by name, as large as was ever asked for under it; what it holds is lost at the next call."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], np.ndarray] = {}
        self._given: dict[tuple[str, tuple[int, ...], Any], np.ndarray] = {}  # arrays of `_kept` as they were asked for
        self._chunk = np.empty(0, np.uint8)  # what is left of the last one
        self._has_waste = False

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array of this shape, with whatever was there before."""
        given = self._given.get((name, shape, dtype))
        if given is not None:
            return given
        key = (name, np.dtype(dtype).char)
        size = prod(shape)
        kept = self._kept.get(key)
        if kept is None or kept.size < size:
            self._has_waste |= kept is not None
            kept = self._kept[key] = self._new(size, np.dtype(dtype))
            self._given.clear()  # those of the smaller one would keep it
        given = self._given[name, shape, dtype] = kept[:size].reshape(shape)
        return given

    def compact(self) -> None:
        """Give back what arrays have outgrown, and lay them side by side; what they hold is lost."""
        if not self._has_waste:
            return
        sizes = {key: array.size for key, array in self._kept.items()}
        nbytes = sum(array.nbytes + ALIGNMENT + APART for array in self._kept.values())
        self._kept.clear()
        self._given.clear()
        self._chunk = np.empty(0, np.uint8)  # first the old ones go
        self._chunk = reserve(nbytes, shared=False)
        for (name, char), size in sizes.items():
            self._kept[name, char] = self._new(size, np.dtype(char))
        self._has_waste = False

    def _new(self, size: int, dtype: np.dtype) -> np.ndarray:
        nbytes = size * dtype.itemsize
        if self._chunk.size < nbytes:
            self._chunk = reserve(max(nbytes, CHUNK), shared=False)
        array = self._chunk[:nbytes].view(dtype)
        self._chunk = self._chunk[-(-nbytes // ALIGNMENT) * ALIGNMENT + APART :]
        return array

    @property
    def nbytes(self) -> int:
        """Bytes held in all."""
        return sum(array.nbytes for array in self._kept.values())
