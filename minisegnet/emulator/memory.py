"""The memory that a checked kernel sees: copies of its arguments, so far apart that none is reached from another.

Kernels know addresses, not arrays: one that runs beyond its array would find another's values there and nobody would
know. Arguments that overlap (the same array given twice) overlap in the copy too.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minisegnet.emulator.library import Library
from minisegnet.emulator.results import Array
from minisegnet.errors import KernelError

BOUNDARY = 256  # bytes, on which a device's memory starts
DISTANCE = 1 << 28  # bytes between arrays: of address space, not of memory


@dataclass
class Argument:
    """An array argument: which region of the copy it lies in, and where in it."""

    name: str
    array: np.ndarray
    constant: bool
    region: int = -1
    offset: int = 0  # bytes


@dataclass
class Region:
    """Arguments that overlap, or one alone."""

    start: int  # address of the originals
    end: int
    arguments: list[Argument]
    copy: int = 0  # address


class Memory:
    """Copies of the array arguments of one launch; `None` stands for those that are no arrays."""

    def __init__(self, library: Library, names: Sequence[str], kinds: Sequence[str], arguments: Sequence):
        self._runtime = library.runtime
        self.arguments = [
            Argument(name, argument, kind[0] == "c") if isinstance(argument, np.ndarray) and kind[0] != "s" else None
            for name, kind, argument in zip(names, kinds, arguments, strict=True)
        ]
        self.regions = _regions([argument for argument in self.arguments if argument is not None])
        self._bytes = sum(region.end - region.start + DISTANCE for region in self.regions) + DISTANCE
        self._runtime.emulator_reserve.restype = ctypes.c_void_p
        self._start = self._runtime.emulator_reserve(ctypes.c_size_t(self._bytes))
        if not self._start:
            raise KernelError(f"there is no room for copies of the arguments ({self._bytes} bytes of addresses)")
        place = self._start + DISTANCE
        for number, region in enumerate(self.regions):
            region.copy = -(-place // BOUNDARY) * BOUNDARY + _offset_in_allocation(region.arguments[0].array)
            place = region.copy + region.end - region.start + DISTANCE
            for argument in region.arguments:
                argument.region, argument.offset = number, argument.array.ctypes.data - region.start
                ctypes.memmove(region.copy + argument.offset, argument.array.ctypes.data, argument.array.nbytes)

    def addresses(self) -> list[int]:
        """Where the copy of each argument is; 0 for what is no array."""
        return [0 if a is None else self.regions[a.region].copy + a.offset for a in self.arguments]

    def arrays(self) -> ctypes.Array:
        """The regions as the checker takes them."""
        return (Array * max(1, len(self.regions)))(
            *[
                Array(
                    address=region.copy,
                    bytes=region.end - region.start,
                    element_bytes=region.arguments[0].array.itemsize,
                    constant=all(argument.constant for argument in region.arguments),
                )
                for region in self.regions
            ]
        )

    def copy_back(self) -> None:
        """What the kernel wrote, into the arguments themselves."""
        for argument, address in zip(self.arguments, self.addresses(), strict=True):
            if argument is not None and not argument.constant:
                ctypes.memmove(argument.array.ctypes.data, address, argument.array.nbytes)

    def release(self) -> None:
        """Give the address space back."""
        self._runtime.emulator_release(ctypes.c_void_p(self._start), ctypes.c_size_t(self._bytes))


def _regions(arguments: list[Argument]) -> list[Region]:
    regions: list[Region] = []
    for argument in sorted(arguments, key=lambda argument: (argument.array.ctypes.data, -argument.array.nbytes)):
        start, end = argument.array.ctypes.data, argument.array.ctypes.data + argument.array.nbytes
        if regions and start < regions[-1].end and end > start:
            regions[-1].end = max(regions[-1].end, end)
            regions[-1].arguments.append(argument)
        else:
            regions.append(Region(start, end, [argument]))
    return regions


def _offset_in_allocation(array: np.ndarray) -> int:
    """How far behind a boundary the array would start on a device, where its whole allocation starts on one."""
    whole = array
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    return (array.ctypes.data - whole.ctypes.data) % BOUNDARY
