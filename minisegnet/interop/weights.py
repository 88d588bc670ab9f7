"""Weights by name out of a file of any kind that is read, told apart by content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minisegnet.errors import CheckpointError
from minisegnet.interop.archive import Archive
from minisegnet.interop.numpy_file import read_numpy
from minisegnet.interop.opening import opened
from minisegnet.interop.safetensors import read_safetensors
from minisegnet.interop.torch_file import is_torch, legacy_advice, read_torch

KINDS = "PyTorch's .pth and .pt (of version 1.6 and later), .safetensors and .npz"
WRAPPED = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before every name


class WeightFile(NamedTuple):
    """What a file holds: its weights by name, and the metadata of a minisegnet checkpoint, else None."""

    weights: dict[str, np.ndarray]
    metadata: dict[str, Any] | None


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays by name in a file: PyTorch's .pth or .pt, .safetensors, .npz, or a minisegnet checkpoint.

    The kind is told by the content, whatever the name. Nothing in the file is executed, nothing is written, and the
    memory taken is a small multiple of the file's length. float16 and bfloat16 come as float32; arrays may share their
    numbers, and are not to be written to: copy what you change.

    Raises CheckpointError, naming the file, if it is missing, damaged, cut short, hostile or of another kind.
    """
    return read_file(path).weights


def read_file(path: str | Path) -> WeightFile:
    """`read_weights`, with the metadata."""
    with opened(path) as file:
        start = file.read(512)
        file.seek(0)
        metadata = None
        if start.startswith(b"PK"):
            archive = Archive(file)
            if is_torch(archive):
                weights = read_torch(archive)
            elif any(name.endswith(".npy") for name in archive.names):
                weights, metadata = read_numpy(archive)
            else:
                raise CheckpointError(f"is a zip archive without weights in it; {KINDS} are read")
        elif start[8:9] == b"{":
            weights = read_safetensors(file)
        else:
            raise CheckpointError(legacy_advice(start) or _other(start))
        return WeightFile(without_wrapping(weights), metadata)


def without_wrapping(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights without what DataParallel or torch.compile put before every one of their names."""
    for prefix in WRAPPED * 2:  # in either order
        if weights and all(name.startswith(prefix) for name in weights):
            weights = {name[len(prefix) :]: array for name, array in weights.items()}
    return dict(weights)


def _other(start: bytes) -> str:
    """What is wrong with a file of a kind that is not read."""
    if not start:
        return "is empty"
    if start[:1] == b"\x80":
        return f"is a pickle, which is never executed; {KINDS} are read"
    if start.startswith(b"\x93NUMPY"):
        return "is one array without a name; save weights with numpy.savez(path, **weights)"
    return f"is of no kind that is read, beginning with {start[:8]!r}; {KINDS} are"
