"""A zip archive read without trusting it: its members are what they claim to be, inside it, and of bounded size."""

from __future__ import annotations

import re
import zipfile

from minisegnet.errors import CheckpointError
from minisegnet.interop.opening import MOST_AT_ONCE, BoundedFile, too_long

INFLATED = 2**26, 8  # compressed members may grow to this many bytes in all, or this many times the file's length
_OUTSIDE = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)|\0")


class Archive:
    """The members of a zip archive, by name. Nothing of it is ever written to the disk.

    Raises CheckpointError for members that are encrypted, named twice or outside the archive, packed otherwise than by
    storing and deflating, or that claim more bytes than the file can hold.
    """

    def __init__(self, file: BoundedFile) -> None:
        if not zipfile.is_zipfile(file):
            raise CheckpointError("is cut short: the end of the archive is missing; get it again")
        self._zip = zipfile.ZipFile(file)
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            self._check(member)
            self._members[member.filename] = member
        members = self._members.values()
        packed, unpacked = (sum(getattr(m, size) for m in members) for size in ("compress_size", "file_size"))
        most = max(INFLATED[0], INFLATED[1] * file.length)
        if packed > file.length or unpacked > most:
            raise CheckpointError(
                f"claims to hold {unpacked} bytes, packed into {packed}, and is {file.length} long; such a file is "
                "damaged, or made to fill the memory"
            )

    def _check(self, member: zipfile.ZipInfo) -> None:
        name = member.orig_filename
        if _OUTSIDE.search(name):
            raise CheckpointError(f"holds a member with a path outside the archive, {name!r}; no file of weights does")
        if name in self._members:
            raise CheckpointError(f"holds the member {name!r} twice, so it is not known which one is meant")
        if member.flag_bits & 1:
            raise CheckpointError(f"has an encrypted member, {name!r}; save it without a password")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CheckpointError(f"packs {name!r} by method {member.compress_type}, not read; store it as it is")
        if member.compress_type == zipfile.ZIP_STORED and member.compress_size != member.file_size:
            raise CheckpointError(f"is damaged: {name!r} is stored as it is, yet has two sizes")

    @property
    def names(self) -> list[str]:
        """Of all members."""
        return list(self._members)

    def size(self, name: str) -> int:
        """Bytes of a member. Raises CheckpointError for one there is not."""
        if name not in self._members:
            raise CheckpointError(f"is damaged: it lacks the member {name!r}")
        return self._members[name].file_size

    def read(self, name: str) -> bytearray:
        """The bytes of a member, held against their checksum."""
        held = bytearray(self.size(name))
        filled = 0
        with self._zip.open(self._members[name]) as member:
            # Piece by piece: when asked for all at once, zipfile inflates past the size that the member claims.
            while piece := member.read(MOST_AT_ONCE):
                held[filled : filled + len(piece)] = piece
                filled += len(piece)
        if filled != len(held):
            raise CheckpointError(f"is cut short: {name!r} has {filled} of {len(held)} bytes")
        return held

    def read_description(self, name: str) -> bytes:
        """The bytes of a member that describes arrays, so a short one. Raises CheckpointError for a long one."""
        if self.size(name) > MOST_AT_ONCE:
            raise CheckpointError(too_long(self.size(name)))
        return bytes(self.read(name))
