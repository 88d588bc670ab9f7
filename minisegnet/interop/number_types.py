"""Numbers as weight files store them, turned into NumPy's."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

# How many bytes a number of each type takes in a file.
ITEMSIZE = {
    "bool": 1, "uint8": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "uint16": 2, "uint32": 4, "uint64": 8,
    "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8,
}  # fmt: skip
MOST_DIMENSIONS = 32  # of an array, as NumPy 1 has it


def decoded(stored: Any, kind: str, big_endian: bool = False) -> np.ndarray:
    """The numbers in a run of bytes as a vector that is not to be written to.

    kind   a key of ITEMSIZE; float16 and bfloat16, which NumPy is slow at or lacks, become float32 (exactly)
    """
    order: Literal[">", "<"] = ">" if big_endian else "<"
    if kind == "bool":
        numbers = np.frombuffer(stored, np.uint8) != 0
    elif kind == "bfloat16":  # the upper half of a float32
        numbers = (np.frombuffer(stored, f"{order}u2").astype(np.uint32) << 16).view(np.float32)
    else:
        numbers = np.frombuffer(stored, np.dtype(kind).newbyteorder(order))
        numbers = numbers.astype("float32" if kind == "float16" else kind, copy=False)
    numbers.flags.writeable = False
    return numbers
