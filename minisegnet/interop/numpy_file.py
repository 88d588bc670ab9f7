"""NumPy's .npz files: arrays by name, with a checkpoint's metadata where minisegnet wrote them."""

from __future__ import annotations

import io
import json
from math import prod
from typing import Any

import numpy as np

from minisegnet.errors import CheckpointError
from minisegnet.interop.archive import Archive

METADATA = "metadata"  # the array that holds a checkpoint's metadata, as JSON
MODEL = "model/"  # what the names of its weights begin with; an optimiser's arrays stand beside them
_LONGEST_HEADER = 2**16  # what a .npy file of version 1 can have, and a little less


def read_numpy(archive: Archive) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
    """The arrays by name, and the metadata of a minisegnet checkpoint, None in any other file.

    Of a checkpoint, the network's arrays alone, under their own names. float16 becomes float32.

    Raises CheckpointError for arrays of objects, which are pickles, and for arrays that are no numbers.
    """
    arrays = read_arrays(archive)
    network = {name[len(MODEL) :]: array for name, array in arrays.items() if name.startswith(MODEL)}
    if METADATA not in arrays or not network:
        return _weights(arrays), None
    metadata = json.loads(arrays[METADATA].tobytes())
    if not isinstance(metadata, dict):
        raise CheckpointError(f"is damaged: its metadata is a {type(metadata).__name__}, not a table")
    return _weights(network), metadata


def read_arrays(archive: Archive) -> dict[str, np.ndarray]:
    """Every array of the archive by name. Raises CheckpointError as `read_numpy` does."""
    names = [name for name in archive.names if name.endswith(".npy")]
    if len(names) < len(archive.names):
        other = next(name for name in archive.names if not name.endswith(".npy"))
        what = ", a pickle, which is never executed" if other.endswith(".pkl") else " besides arrays"
        raise CheckpointError(f"holds {other!r}{what}; save it with numpy.savez(path, **weights)")
    return {name[: -len(".npy")]: _array(archive, name) for name in names}


def _weights(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays, float16 as float32. Raises CheckpointError for complex ones."""
    for name, array in arrays.items():
        if array.dtype.kind == "c":
            raise CheckpointError(f"holds {array.dtype} in {name!r}; weights are real numbers")
    return {name: a.astype(np.float32) if a.dtype == np.float16 else a for name, a in arrays.items()}


def _array(archive: Archive, name: str) -> np.ndarray:
    """One array, its header's claim held against the bytes there are before it becomes an array."""
    held = archive.read(name)
    header = io.BytesIO(held[:_LONGEST_HEADER])
    version = np.lib.format.read_magic(header)
    if version != (1, 0):  # the later ones are for structured types
        raise CheckpointError(f"has {name!r} in version {version} of .npy, which plain numbers do not need")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(header)
    if dtype.hasobject:
        raise CheckpointError(f"holds objects as a pickle ({name!r}), which is never executed; save arrays of numbers")
    if dtype.kind not in "biufc":
        raise CheckpointError(f"holds {dtype} in {name!r}; numbers are wanted")
    if any(side < 0 for side in shape) or prod(shape) * dtype.itemsize != len(held) - header.tell():
        raise CheckpointError(f"is damaged: {name!r} claims {dtype} of shape {shape}, which its bytes do not hold")
    array = np.ndarray(shape, dtype, held, header.tell(), order="F" if fortran_order else "C")
    return array.astype(dtype.newbyteorder("="), order="C", copy=False)
