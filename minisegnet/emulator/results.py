"""What a checked launch hands back from C++: the twins of its structures, and where in the source each thing was."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from minisegnet.emulator.compiler import RUNTIME, SECONDS
from minisegnet.emulator.library import Library

TOLD_BY_PLACE = 0x80000000  # see Sites in runtime/findings.h
SYMBOLIZERS = ("addr2line", "llvm-addr2line", "gaddr2line")

ACCESSES = ("read", "written", "changed atomically", "written atomically")  # Access in runtime/machine_interface.h
READ, WRITE, ATOMIC, ATOMIC_WRITE = range(4)
LEFT = -2  # see Witness in runtime/findings.h


class Line(NamedTuple):
    """A line of a source file; number 0 where it is not known."""

    file: str
    number: int

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.number or '?'}"


class Place(ctypes.Structure):
    """runtime/machine_interface.h"""

    _fields_ = [("file", ctypes.c_char_p), ("line", ctypes.c_int)]


class SharedArray(ctypes.Structure):
    """runtime/machine_interface.h"""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("place", Place),
        ("bytes", ctypes.c_size_t),
        ("element_bytes", ctypes.c_size_t),
        ("alignment", ctypes.c_size_t),
        ("rank", ctypes.c_int),
        ("extents", ctypes.c_size_t * 4),
        ("number", ctypes.c_char),
    ]


class Array(ctypes.Structure):
    """runtime/checker.h"""

    _fields_ = [
        ("address", ctypes.c_void_p),
        ("bytes", ctypes.c_int64),
        ("element_bytes", ctypes.c_int32),
        ("constant", ctypes.c_int32),
        ("shared", ctypes.POINTER(SharedArray)),
    ]


class Witness(ctypes.Structure):
    """runtime/findings.h"""

    _fields_ = [
        ("site", ctypes.c_uint32),
        ("access", ctypes.c_int32),
        ("block", ctypes.c_int64),
        ("thread", ctypes.c_int64),
    ]


class RawFinding(ctypes.Structure):
    """Finding in runtime/findings.h"""

    _fields_ = [
        ("kind", ctypes.c_char_p),
        ("what", ctypes.c_char_p),
        ("first", Witness),
        ("second", Witness),
        ("array", ctypes.c_int64),
        ("offset", ctypes.c_int64),
        ("bytes", ctypes.c_int64),
        ("times", ctypes.c_int64),
    ]


class Traffic(ctypes.Structure):
    """runtime/counters.h"""

    _fields_ = [
        ("site", ctypes.c_uint32),
        ("space", ctypes.c_int32),
        ("writes", ctypes.c_int32),
        ("atomic", ctypes.c_int32),
        *[
            (name, ctypes.c_int64)
            for name in (
                "array", "accesses", "requests", "counted_accesses", "bytes", "sectors", "wavefronts",
                "ideal_wavefronts",
            )
        ],
    ]  # fmt: skip


class Step(ctypes.Structure):
    """runtime/trace.h"""

    _fields_ = [
        ("site", ctypes.c_uint32),
        ("kind", ctypes.c_int32),
        ("thread", ctypes.c_int32),
        ("bytes", ctypes.c_int32),
        ("array", ctypes.c_int64),
        ("offset", ctypes.c_int64),
        ("name", ctypes.c_char_p),
        ("number", ctypes.c_char),
        ("value", ctypes.c_ubyte * 16),
    ]


def fetch(library: Library, function: str, kind: Any, *more: ctypes.c_int64) -> list:
    """What one of the functions `emulator_...` of the machine lists: copies of its structures."""
    call = getattr(library.runtime, function)
    call.restype = ctypes.POINTER(kind)
    count = ctypes.c_int64()
    start = call(ctypes.byref(count), *map(ctypes.byref, more))
    if not count.value:
        return []
    return list((kind * count.value).from_buffer_copy(ctypes.string_at(start, ctypes.sizeof(kind) * count.value)))


class Lines:
    """Where in the source each site is that the last launch of a library speaks of."""

    def __init__(self, library: Library):
        self._library = library
        self._places = [
            Line((place.file or b"").decode(), place.line) for place in fetch(library, "emulator_places", Place)
        ]

    def of(self, sites: Iterable[int], writes: Iterable[int] = ()) -> dict[int, Line]:
        """The line of each; of a write that of its `=`, where compilers tell the line of the value behind it."""
        sites = set(sites)
        found = {site: self._places[site - TOLD_BY_PLACE] for site in sites if site >= TOLD_BY_PLACE}
        found.update(lines_of_code(self._library.path, frozenset(site for site in sites if site < TOLD_BY_PLACE)))
        for site in sites.intersection(writes):
            line = found[site]
            if self._library.source.code(line.file, line.number - 1).endswith("="):
                found[site] = Line(line.file, line.number - 1)
        return found


_known: dict[Path, dict[int, Line]] = {}


def lines_of_code(library: Path, addresses: frozenset[int]) -> dict[int, Line]:
    """Which line of the source each instruction of a library comes from, told by the compiler's debugging information.

    Of code that the compiler put into other code, it is the innermost line that is not of our runtime's headers.
    """
    known = _known.setdefault(library, {})
    missing = sorted(addresses - known.keys())
    tool = symbolizer()
    if missing and tool is not None:
        command = [tool, "-a", "-i", "-e", str(library)]
        told = subprocess.run(
            command, input="\n".join(map(hex, missing)), capture_output=True, text=True, timeout=SECONDS
        ).stdout
        address = -1
        for line in told.splitlines():
            if line.startswith("0x"):
                address = int(line, 16)
                continue
            file, _, number = line.split(" (")[0].rpartition(":")
            ours = file.startswith(str(RUNTIME)) or file == "??"
            if not ours and address not in known:
                known[address] = Line(file, int(number) if number.isdigit() else 0)
    return {address: known.get(address, Line("", 0)) for address in addresses}


@cache
def symbolizer() -> str | None:
    """The tool that knows lines by address; it comes with g++ (binutils) or with LLVM."""
    return next((path for path in map(shutil.which, SYMBOLIZERS) if path), None)
