"""Opening a file of weights that may be missing, damaged or hostile: whatever is wrong becomes a CheckpointError."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minisegnet.errors import CheckpointError

MOST_AT_ONCE = 2 * 2**20  # bytes of what describes the weights: torchvision's models need a tenth of that


class BoundedFile(io.FileIO):
    """A file, open for reading, that hands out at most MOST_AT_ONCE bytes at a time.

    A few bytes that describe arrays become many in Python's objects, so descriptions are short or refused. This also
    holds zipfile to it, which reads an archive's whole table of contents in one go.
    """

    def read(self, size: int | None = -1) -> bytes:
        wanted = self.length - self.tell() if size is None or size < 0 else size
        if wanted > MOST_AT_ONCE:
            raise CheckpointError(too_long(wanted))
        return super().read(size)

    def read_array(self, length: int) -> bytearray:
        """The next `length` bytes, of any number that the file has; fewer where it ends."""
        held = bytearray(min(length, self.length - self.tell()))
        room = memoryview(held)
        while room and (count := self.readinto(room)):
            room = room[count:]
        return held

    @property
    def length(self) -> int:
        """Of the whole file, in bytes."""
        here = self.tell()
        length = self.seek(0, io.SEEK_END)
        self.seek(here)
        return length


def too_long(length: int) -> str:
    """What is wrong with a file whose description takes so many bytes."""
    return f"describes itself in {length} bytes; weights are described in {MOST_AT_ONCE} at most"


@contextmanager
def opened(path: str | Path) -> Iterator[BoundedFile]:
    """The file, open for reading; every error inside the block becomes a CheckpointError that begins with its path.

    So a CheckpointError raised inside goes on where the path ends: "holds a member twice".
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # a pipe or a device might never end
            raise CheckpointError("is a folder; name a file in it" if path.is_dir() else "is no ordinary file")
        with BoundedFile(str(path)) as file:
            yield file
    except FileNotFoundError:
        raise CheckpointError(f"there is no file {path}") from None
    except PermissionError as problem:
        raise CheckpointError(f"{path} may not be read: {problem.strerror}") from problem
    except CheckpointError as problem:
        raise CheckpointError(f"{path} {problem}") from None
    except Exception as problem:  # whatever damaged bytes make zipfile, zlib, json and NumPy raise
        told = str(problem) or type(problem).__name__
        raise CheckpointError(f"{path} is damaged or cut short ({told}); get it again") from problem
