"""Working memory: arrays that a worker needs again and again, made once and handed out by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np

from minisegnet.memory import ALIGNMENT, reserve

# Bytes asked of the system at once: a few huge pages, so that a pass over an array looks few of them up.
CHUNK = 2**23
# Bytes left between arrays: lengths are often powers of two, and arrays gone through side by side would else meet in
# the same few places of the cache.
APART = 4096 + 2 * ALIGNMENT
# Bytes from which an array is put into a gap: the smaller ones stay where the cache has them from the step before.
LARGE = 2**22


class Gaps:
    """Memory that is free for a while, in which large arrays find a place as they are asked for.

    memory   uint8 arrays, each aligned
    """

    def __init__(self, memory: list[np.ndarray]) -> None:
        self._left = memory
        self._taken: dict[tuple[str, str], np.ndarray] = {}

    def array(self, name: str, size: int, dtype: np.dtype) -> np.ndarray | None:
        """So many numbers, the same ones each time; None where nothing is left for them."""
        key = (name, dtype.char)
        if key not in self._taken or self._taken[key].size < size:
            nbytes = size * dtype.itemsize
            number = next((i for i, gap in enumerate(self._left) if gap.size >= nbytes), None)
            if number is None:
                return None
            gap = self._left[number]
            self._taken[key] = gap[:nbytes].view(dtype)
            self._left[number] = gap[-(-nbytes // ALIGNMENT) * ALIGNMENT + APART :]
        return self._taken[key][:size]


class Scratch:
    """Memory by name, as large as was ever asked for under it; what it holds is lost at the next call."""

    def __init__(self) -> None:
        self._gaps: Gaps | None = None
        self._kept: dict[tuple[str, str], np.ndarray] = {}
        self._given: dict[tuple[str, tuple[int, ...], Any], np.ndarray] = {}  # arrays of `_kept` as they were asked for
        self._chunk = np.empty(0, np.uint8)  # what is left of the last one
        self._has_waste = False

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array of this shape, with whatever was there before."""
        given = self._given.get((name, shape, dtype))
        if given is not None:
            return given
        kind, size = np.dtype(dtype), prod(shape)
        if self._gaps is not None and size * kind.itemsize >= LARGE:
            found = self._gaps.array(name, size, kind)
            if found is not None:
                return found.reshape(shape)
        key = (name, kind.char)
        kept = self._kept.get(key)
        if kept is None or kept.size < size:
            self._has_waste |= kept is not None
            kept = self._kept[key] = self._new(size, kind)
            self._given.clear()  # those of the smaller one would keep it
        given = self._given[name, shape, dtype] = kept[:size].reshape(shape)
        return given

    @contextmanager
    def within(self, gaps: Gaps | None) -> Iterator[None]:
        """One step: inside the block large arrays go into gaps where they find a place; behind it none is in use."""
        self._gaps = gaps
        try:
            yield
        finally:
            self._gaps = None
        self.compact()

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
