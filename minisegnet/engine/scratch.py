"""Small arrays that a worker needs again and again: made once, handed out by name."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np


class Scratch:
    """Memory by name, as large as was ever asked for under it; what it holds is lost at the next call."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], np.ndarray] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array of this shape, with whatever was there before."""
        key = (name, np.dtype(dtype).char)
        size = prod(shape)
        kept = self._kept.get(key)
        if kept is None or kept.size < size:
            kept = self._kept[key] = np.empty(size, dtype)
        return kept[:size].reshape(shape)

    @property
    def nbytes(self) -> int:
        """Bytes held in all."""
        return sum(array.nbytes for array in self._kept.values())
