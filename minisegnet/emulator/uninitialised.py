"""Arrays whose values nobody has written yet, so that check mode sees who reads them all the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minisegnet.emulator.checking import in_force

NEVER_WRITTEN = 0x7FEDCAFE  # a NaN that no arithmetic makes; runtime/checker.cpp knows it


def empty(shape: int | Sequence[int], dtype: Any) -> np.ndarray:
    """As np.empty. Inside `with check()`, a kernel that reads a value of it before one is written is found.

    That goes for numbers of 4 or 8 bytes; smaller ones have no value to spare.
    """
    array = np.empty(shape, dtype)
    if in_force() is not None and array.itemsize % 4 == 0 and array.dtype.kind in "fiu":
        array.reshape(-1).view(np.uint32).fill(NEVER_WRITTEN)
    return array
