"""Checkpoints: named arrays and a little metadata in one .npz file, whole or not there at all, and safe to open.

The file is an ordinary archive for `numpy.load(path, allow_pickle=False)`, with the metadata as JSON in the array
"metadata". It is written to a temporary name beside its place and then renamed, so that a run killed at any moment,
or a full disk, leaves the previous checkpoint as it was.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from minisegnet.errors import CheckpointError

METADATA = "metadata"


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

    Nothing in the file is executed, and no array gets memory before its size has been compared with the file's, so a
    damaged or hostile file costs no more than its own length.

    Raises CheckpointError if there is no such file, or it is cut short, damaged, holds a pickle, or is something else.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            _check_kind(path, file)
            with zipfile.ZipFile(file) as archive:
                _check_members(path, archive, file.seek(0, os.SEEK_END))
                arrays = {info.filename[: -len(".npy")]: _read(path, archive, info) for info in archive.infolist()}
        if METADATA not in arrays:
            raise CheckpointError(f"{path} holds arrays but no metadata: it is no checkpoint of minisegnet")
        metadata = json.loads(arrays.pop(METADATA).tobytes())
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path} is a folder; name a checkpoint in it, such as {path / 'best.npz'}") from None
    except PermissionError as problem:
        raise CheckpointError(f"{path} may not be read: {problem.strerror}") from problem
    except CheckpointError:
        raise
    except Exception as problem:  # whatever damaged bytes make zipfile, json and NumPy raise
        told = str(problem) or type(problem).__name__
        raise CheckpointError(f"{path} is damaged ({told}); go back to another checkpoint") from problem
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{path} is damaged: its metadata is {type(metadata).__name__}, not a table")
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


def _check_kind(path: Path, file: IO[bytes]) -> None:
    """Tell from its first and last bytes what a file is that is no zip archive."""
    start = file.read(8)
    if not start:
        raise CheckpointError(f"{path} is cut short: it is empty")
    if start[0] == 0x80:
        raise CheckpointError(f"{path} is a pickle; minisegnet never executes pickles: save arrays with numpy.savez")
    if not start.startswith(b"PK"):
        raise CheckpointError(f"{path} is no checkpoint of minisegnet: it is not a zip archive, as .npz files are")
    if not zipfile.is_zipfile(file):
        raise CheckpointError(f"{path} is cut short: the end of the archive is missing; go back to another checkpoint")


def _check_members(path: Path, archive: zipfile.ZipFile, file_size: int) -> None:
    """Members that are plain arrays, stored as they are, once each, and not more of them than the file is long."""
    members = archive.infolist()
    for info in members:
        if info.filename.endswith(".pkl"):
            raise CheckpointError(f"{path} holds a pickle ({info.filename}); minisegnet never executes pickles")
        if not info.filename.endswith(".npy"):
            raise CheckpointError(f"{path} is no checkpoint of minisegnet: it holds {info.filename!r}")
        if info.flag_bits & 1:
            raise CheckpointError(f"{path} is no checkpoint of minisegnet: {info.filename} is encrypted")
    for info in members:
        with archive.open(info) as member:
            dtype = _header(path, info, member)[2]
        if dtype.kind not in "biufc":
            raise CheckpointError(f"{path}: array {info.filename} holds {dtype}; a checkpoint has numbers alone")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise CheckpointError(f"{path} is compressed ({info.filename}), which no checkpoint of minisegnet is")
    if sum(info.file_size for info in members) > file_size or len({i.filename for i in members}) < len(members):
        raise CheckpointError(f"{path} is damaged: its table of contents claims more than the file holds")


def _header(path: Path, info: zipfile.ZipInfo, member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type of a member, read from its first bytes; an array of objects would be a pickle."""
    version = np.lib.format.read_magic(member)
    if version != (1, 0):  # the later ones allow headers of any length
        raise ValueError(f"{info.filename} is of version {version}")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(member)
    if dtype.hasobject:
        raise CheckpointError(
            f"{path}: array {info.filename} holds objects as a pickle; minisegnet never executes pickles"
        )
    return shape, fortran_order, dtype


def _read(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array, its size checked against its header's claim before it gets memory, its bytes against their CRC."""
    with archive.open(info) as member:
        shape, fortran_order, dtype = _header(path, info, member)
        if math.prod(shape) * dtype.itemsize != info.file_size - member.tell():
            raise ValueError(f"{info.filename} claims the shape {shape}, which its {info.file_size} bytes do not hold")
        values = member.read()
    array = np.ndarray(shape, dtype, values, order="F" if fortran_order else "C")
    return array.astype(dtype.newbyteorder("="), order="C")
