"""A launch in fast mode: arguments turned into what C++ takes, blocks spread over the cores."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minisegnet.emulator import library
from minisegnet.emulator.library import Library, Request
from minisegnet.errors import KernelError

MOST_THREADS = 1024  # in a block


def run(
    source: str | Path,
    kernel: str,
    grid: Sequence[int],
    block: Sequence[int],
    arguments: Sequence[np.ndarray | np.generic | None],
    shared_bytes: int = 0,
    *,
    poison: bool = False,
) -> None:
    """Run a kernel of a .cu file on the CPU, on `grid` blocks of `block` threads.

    source        the .cu file
    kernel        the name of a `__global__` function in it
    grid, block   up to three whole numbers each: (x, y, z)
    arguments     in the kernel's order: C-contiguous arrays for its pointers (None for a null pointer), which are
                  written in place; NumPy numbers, such as np.int32(5), for its numbers
    shared_bytes  size of the block's `extern __shared__` array
    poison        shared memory holds NaN when a block begins, and where cp.async copies to until the copy is waited
                  for, so that a value used too early shows in the result (check mode does this always)

    Inside `with emulator.check()` the launch is checked instead of fast. What the kernel prints goes to sys.stdout.

    Raises KernelError: no compiler, a kernel that does not compile or is not in the file, arguments that do not fit
    it, and a kernel that cannot run to its end (a wild pointer, a deadlock, a failed assertion).
    """
    from minisegnet.emulator import checking

    report = checking.in_force()
    if report is not None:
        report.launch(Path(source), kernel, grid, block, arguments, shared_bytes)
        return
    loaded = library.load(Path(source), "fast")
    request, kept = prepared(loaded, kernel, grid, block, arguments, shared_bytes)
    request.poison = poison
    reason, printed = loaded.launch(request)
    del kept
    sys.stdout.write(printed)
    if reason is not None:
        raise KernelError(f"{kernel} in {Path(source).name}: {reason}")


def prepared(
    loaded: Library,
    kernel: str,
    grid: Sequence[int],
    block: Sequence[int],
    arguments: Sequence[Any],
    shared_bytes: int,
    addresses: Sequence[int] | None = None,
) -> tuple[Request, list]:
    """The request for a launch, and what must be kept as long as it runs.

    `addresses`, if given, stand for those of the arrays themselves: one for each argument.
    """
    address, found, types = loaded.kernel(kernel)
    if len(arguments) != len(types):
        raise KernelError(
            f"{kernel} takes {len(types)} arguments ({', '.join(found.parameters)}); got {len(arguments)}"
        )
    values = [
        _value(f"{kernel}: {name}", kind, argument)
        for name, kind, argument in zip(found.parameters, types, arguments, strict=True)
    ]
    if addresses is not None:
        for value, kind, place in zip(values, types, addresses, strict=True):
            if kind[0] != "s":
                value.value = place or None
    pointers = (ctypes.c_void_p * max(1, len(values)))(*[ctypes.addressof(value) for value in values])
    request = Request(
        kernel=address,
        arguments=pointers,
        grid=(ctypes.c_uint * 3)(*_three("grid", grid, 2**31 - 1)),
        block=(ctypes.c_uint * 3)(*_three("block", block, MOST_THREADS)),
        shared_bytes=int(shared_bytes),
        processors=cores(),
    )
    threads = request.block[0] * request.block[1] * request.block[2]
    if threads > MOST_THREADS:
        raise KernelError(f"{kernel}: a block has up to {MOST_THREADS} threads; got {threads}, as {tuple(block)}")
    return request, [values, pointers]


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _three(name: str, sizes: Sequence[int], most: int) -> tuple[int, ...]:
    given = tuple(int(size) for size in sizes)
    if not 1 <= len(given) <= 3 or not all(1 <= size <= most for size in given):
        raise KernelError(f"{name} must be up to three whole numbers from 1 to {most}; got {tuple(sizes)}")
    return (*given, 1, 1)[:3]


def _value(name: str, kind: str, argument: Any) -> Any:
    """The argument in memory as C++ reads it: a number, or an array's address."""
    wanted = np.dtype(f"{kind[1]}{kind[2]}") if kind[1] != "?" and kind[2] != "0" else None
    if kind[0] == "s":
        if wanted is None or not isinstance(argument, np.generic) or not _same(argument.dtype, wanted):
            raise KernelError(f"{name} is a number of type {wanted}; got {_told(argument)}: use np.{wanted}(...)")
        return np.ctypeslib.as_ctypes_type(wanted)(argument.item())
    if argument is None:
        return ctypes.c_void_p()
    if not isinstance(argument, np.ndarray):
        raise KernelError(f"{name} is a pointer; give a NumPy array, not {_told(argument)}")
    if wanted is not None and not _same(argument.dtype, wanted):
        raise KernelError(f"{name} points to {wanted}; got an array of {argument.dtype}")
    if not argument.flags.c_contiguous:
        raise KernelError(f"{name} must be C-contiguous; got strides {argument.strides} of shape {argument.shape}")
    if kind[0] == "p" and not argument.flags.writeable:
        raise KernelError(f"{name} may be written by the kernel, and the array is read-only; give a copy")
    return ctypes.c_void_p(argument.ctypes.data)


def _same(given: np.dtype, wanted: np.dtype) -> bool:
    """Equal, or truth values, which are bool in NumPy and bool or unsigned char in CUDA."""
    return given == wanted or {given.str, wanted.str} == {"|b1", "|u1"}


def _told(argument: Any) -> str:
    if isinstance(argument, np.ndarray | np.generic):
        return f"{argument.dtype} {argument.shape}"
    return f"a {type(argument).__name__}"
