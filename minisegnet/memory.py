"""Where arrays lie: memory that forked processes share, memory reserved for later, freed memory kept for the next."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import threading
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np

# Options of glibc's mallopt (malloc.h): how much free memory is given back, how many arrays come from the system.
TRIM_THRESHOLD = -1
MMAP_MAX = -4

# Of mmap (mman.h), before Python 3.13: address space alone, not held against the machine's memory until it is touched.
NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform.startswith("linux") else 0)

ALIGNMENT = 64  # bytes: a line of the cache, and the widest vector
PACK = 16 * mmap.PAGESIZE  # bytes in which arrays smaller than a page lie together


def keep_freed_memory() -> bool:
    """Let the C library keep what NumPy frees, for the rest of the process; returns whether it could.

    A training step makes and drops arrays of the same sizes again and again. By default the larger ones come fresh from
    the system each time, which has to clear every page: simple operations then take about twice as long.
    Only glibc (most of Linux) has this; elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, 2**31 - 1))


def reserve(size: int, shared: bool) -> np.ndarray:
    """`size` bytes of zeros, uint8 (size,), which take up memory only where they are touched.

    shared   processes forked from this one read and write the same bytes; else each gets a copy of its own

    They have no name and no file, and end with the last array and the last process that holds them; they begin at the
    start of a page. Raises MemoryError if the system does not give that much.
    """
    return np.ndarray(size, np.uint8, _Mapping.of(size, shared, NO_RESERVE))


def shared_zeros(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
    """Like `np.zeros`, in memory that processes forked from this one share: each sees what another fills in.

    A copy of the array (`copy.deepcopy` and pickles included) is an ordinary array again.
    """
    lengths = [int(length) for length in np.atleast_1d(shape)]
    if min(lengths, default=0) < 0:
        raise ValueError(f"an array's lengths are at least 0; got shape {shape}")
    size = prod(lengths) * np.dtype(dtype).itemsize
    if size < mmap.PAGESIZE:
        return _pack.zeros(shape, dtype, size)
    return np.ndarray(shape, dtype, _Mapping.of(size))


def shared(array: np.ndarray) -> np.ndarray:
    """The array itself if it lies in shared memory, else a copy of it that does."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, _Mapping) and base.shared:
        return array
    copy = shared_zeros(array.shape, array.dtype)
    copy[...] = array
    return copy


class _Mapping(mmap.mmap):
    """Pages of the system's own, without a file; unmapped when the last array in them goes."""

    shared: bool

    @classmethod
    def of(cls, size: int, shared: bool = True, flags: int = 0) -> _Mapping:
        options = {}
        if hasattr(mmap, "MAP_PRIVATE"):  # Windows has no such flags, nor fork
            options["flags"] = (mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE) | mmap.MAP_ANONYMOUS | flags
        try:
            mapping = cls(-1, max(size, 1), **options)
        except (OSError, OverflowError) as problem:
            raise MemoryError(f"the system does not give {size:,} bytes of memory ({problem})") from problem
        if not shared and hasattr(mmap, "MADV_HUGEPAGE"):
            with suppress(OSError):  # a system without huge pages
                mapping.madvise(mmap.MADV_HUGEPAGE)  # fewer to look up; NumPy asks for them for its own large arrays
        mapping.shared = shared
        return mapping


class _Pack(threading.local):
    """Small arrays side by side, so that each does not take a page; a thread fills a mapping of its own."""

    used = PACK + 1  # there is none yet, not even for an array of no bytes

    def zeros(self, shape: Any, dtype: Any, size: int) -> np.ndarray:
        if self.used + size > PACK:
            self.mapping, self.used = _Mapping.of(PACK), 0
        array = np.ndarray(shape, dtype, self.mapping, self.used)
        self.used += -(-size // ALIGNMENT) * ALIGNMENT
        return array


_pack = _Pack()


def _begin_new_pack() -> None:
    """In a forked child: what is left of its parent's pack is the parent's to fill."""
    global _pack
    _pack = _Pack()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_new_pack)
