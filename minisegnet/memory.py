"""Memory kept for the next array, instead of given back to the system and asked for again."""

from __future__ import annotations

import ctypes
import sys

# Options of glibc's mallopt (malloc.h): how much free memory is given back, how many arrays come from the system.
TRIM_THRESHOLD = -1
MMAP_MAX = -4


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
