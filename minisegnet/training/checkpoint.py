"""Checkpoints: named arrays and a little metadata in one .npz file, whole or not there at all, and safe to open.

The file is an ordinary archive for `numpy.load(path, allow_pickle=False)`, with the metadata as JSON in the array
"metadata". It is written to a temporary name beside its place and then renamed, so that a run killed at any moment,
or a full disk, leaves the previous checkpoint as it was.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from minisegnet.errors import CheckpointError
from minisegnet.interop.archive import Archive
from minisegnet.interop.numpy_file import METADATA, read_arrays
from minisegnet.interop.opening import opened


def save_checkpoint(path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write arrays and metadata to `path`, replacing what was there in one indivisible act.

    arrays    by name; numbers or booleans, any shape
    metadata  what JSON can hold; NumPy arrays and numbers, and tuples, become lists and numbers

    Raises CheckpointError for an array of objects or a name or metadata that cannot be stored, and when the disk does
    not take the file: the previous checkpoint is then still there, and no temporary file is.
    """
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biufc":
            raise CheckpointError(f"{path}: array {name!r} holds {array.dtype}; a checkpoint takes numbers alone")
        if name == METADATA:
            raise CheckpointError(f"{path}: the name {METADATA!r} is taken by the metadata; name the array otherwise")
    arrays[METADATA] = np.frombuffer(as_json(metadata).encode(), np.uint8)
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            # A ZipInfo carries no clock time: the same state gives the same bytes.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def load_checkpoint(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read the arrays and the metadata of a checkpoint.

    Nothing in the file is executed, and the memory taken is a small multiple of the file's length, however damaged or
    hostile it is.

    Raises CheckpointError if there is no such file, or it is cut short, damaged, holds a pickle, or is something else.
    """
    if not Path(path).exists():
        raise CheckpointError(f"there is no checkpoint {path}")
    if Path(path).is_dir():
        raise CheckpointError(f"{path} is a folder; name a checkpoint in it, such as {Path(path) / 'best.npz'}")
    with opened(path) as file:
        start = file.read(8)
        file.seek(0)
        if not start:
            raise CheckpointError("is cut short: it is empty")
        if start[0] == 0x80:
            raise CheckpointError("is a pickle, which is never executed; save arrays with numpy.savez")
        if not start.startswith(b"PK"):
            raise CheckpointError("is no checkpoint of minisegnet: it is not a zip archive, as .npz files are")
        arrays = read_arrays(Archive(file))
        if METADATA not in arrays:
            raise CheckpointError("holds arrays but no metadata: it is no checkpoint of minisegnet")
        metadata = json.loads(arrays.pop(METADATA).tobytes())
        if not isinstance(metadata, dict):
            raise CheckpointError(f"is damaged: its metadata is {type(metadata).__name__}, not a table")
    return arrays, metadata


@contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """A file open for writing bytes, which takes the place of `path` when the block ends without an error.

    The bytes reach the disk before the name does. Raises CheckpointError if the disk does not take them; whatever
    error ends the block, the old file stays and the temporary one goes. One that a killed run left is written over.
    """
    path = Path(path)
    temporary = temporary_name(path)
    try:
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)
    except OSError as problem:
        kept = "; the file that was there before is unchanged" if path.exists() else ""
        raise CheckpointError(f"{path} could not be written: {problem.strerror or problem}{kept}") from problem


def temporary_name(path: Path) -> Path:
    """Where `replacing` writes before it renames."""
    return path.with_name(path.name + ".tmp")


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def as_json(metadata: Mapping[str, Any]) -> str:
    """Metadata as JSON, NumPy's arrays and numbers as lists and numbers. Raises CheckpointError for other things."""
    try:
        return json.dumps(metadata, default=_plain)
    except (TypeError, ValueError, RecursionError) as problem:
        raise CheckpointError(f"the metadata cannot be written as JSON: {problem}") from problem


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r} has no place in JSON")
