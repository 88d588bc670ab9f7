"""One launch for every kernel: on NumPy arrays by the emulator, on CuPy arrays by the device, checked alike on both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import index
from pathlib import Path
from typing import Any

import numpy as np

from minisegnet.cuda import arrays, modules
from minisegnet.cuda.arguments import fitted, told
from minisegnet.cuda.own_kernels import count_launch, path_of_kernel
from minisegnet.cuda.signature import Kernel, kernel_named
from minisegnet.errors import KernelError

# What every architecture from sm_75 on can do (CUDA C++ Programming Guide, "Technical specifications").
MOST_BLOCKS = (2**31 - 1, 65535, 65535)
MOST_THREADS = (1024, 1024, 64)
MOST_THREADS_IN_BLOCK = 1024

# The emulator takes the place of the largest device whose features it has.
EMULATED_ARCHITECTURE = 90
EMULATED_SHARED = 227 * 1024  # bytes of a block


def launch(
    source: str | Path,
    kernel: str,
    grid: int | Sequence[int],
    block: int | Sequence[int],
    *arguments: Any,
    shared_bytes: int = 0,
    extents: Mapping[str, int] | None = None,
) -> None:
    """Run a kernel of a .cu file on `grid` blocks of `block` threads.

    source        "relu.cu", one of our kernel files, or the path of your own
    kernel        a name in it, `extern "C" __global__ void name(...)`
    grid, block   an int, or up to three: (x, y, z)
    arguments     in the kernel's order: for its pointers arrays, C-contiguous, all NumPy or all on one device, written
                  in place; for its numbers Python's or NumPy's; None for a pointer marked `/* or null */`
    shared_bytes  of the block's `extern __shared__` array
    extents       least number of values that an array must hold, by parameter

    With CuPy arrays the kernel is compiled on first use, started in CuPy's current stream, and not waited for: an
    error while it runs is told by a later call, or by `arrays.to_host`.

    Raises KernelError, naming the kernel, its signature and what it was given, for all that does not fit.
    """
    path = path_of_kernel(source, kernel)
    found = kernel_named(modules.text_of(path), kernel, path.name)
    count_launch(kernel)
    try:
        values = fitted(found, arguments, extents or {})
        blocks = _dimensions("grid", grid, MOST_BLOCKS)
        threads = _dimensions("block", block, MOST_THREADS)
        _check_block(found, threads)
        _check_shared(found, shared_bytes)
        device = next((value.device for value in values if arrays.is_device(value)), None)
        if device is None:
            _emulate(path, kernel, blocks, threads, values, shared_bytes)
        else:
            _check_architecture(found, modules.architecture_of(device))
            modules.launch(path, kernel, blocks, threads, values, shared_bytes, device)
    except KernelError as problem:
        given = ", ".join(map(told, arguments)) or "no arguments"
        raise KernelError(
            f"{kernel}: {problem}\n  signature  {found} in {path.name}\n  given      {given}\n  on         {grid} "
            f"blocks of {block} threads"
        ) from problem


def _emulate(path: Path, kernel: str, grid: tuple, block: tuple, values: list, shared_bytes: int) -> None:
    from minisegnet import emulator

    if shared_bytes > EMULATED_SHARED:
        raise KernelError(
            f"a block has up to {EMULATED_SHARED} bytes of shared memory; the launch asks for {shared_bytes}"
        )
    emulator.run(path, kernel, grid, block, values, shared_bytes)


def lowest_architecture(source: str | Path, kernel: str) -> int:
    """The lowest architecture that runs a kernel, 80 for sm_80: what its `// needs:` line tells, else sm_75.

    Raises KernelError for a kernel that is not there.
    """
    path = path_of_kernel(source, kernel)
    return kernel_named(modules.text_of(path), kernel, path.name).architecture


def architecture(like: Any) -> int:
    """That of the device on which an array lies; that which the emulator stands for, for a NumPy array."""
    return modules.architecture_of(like.device) if arrays.is_device(like) else EMULATED_ARCHITECTURE


# -------------------------------------------------------------------------------------------------------------- limits


def _dimensions(name: str, given: int | Sequence[int], most: tuple[int, int, int]) -> tuple[int, int, int]:
    """(x, y, z), each at least 1 and at most what CUDA allows."""
    try:
        sizes = tuple(map(index, given)) if isinstance(given, Sequence) else (index(given),)
    except TypeError:
        sizes = ()
    if not 1 <= len(sizes) <= 3:
        raise KernelError(f"{name} must be a whole number, or up to three of them; got {given!r}")
    x, y, z = (*sizes, 1, 1)[:3]
    for axis, size, limit in zip("xyz", (x, y, z), most, strict=True):
        if not 1 <= size <= limit:
            advice = "; where there is nothing to compute, launch nothing" if size == 0 else ""
            raise KernelError(f"{name} may be 1 to {limit} along {axis}; got {size}{advice}")
    return x, y, z


def _check_block(kernel: Kernel, block: tuple[int, int, int]) -> None:
    threads = block[0] * block[1] * block[2]
    if threads > MOST_THREADS_IN_BLOCK:
        raise KernelError(f"a block may have up to {MOST_THREADS_IN_BLOCK} threads; got {threads}, as {block}")
    if kernel.most_threads is not None and threads > kernel.most_threads:
        raise KernelError(
            f"it is compiled for up to {kernel.most_threads} threads a block, by __launch_bounds__; got {threads}"
        )


def _check_shared(kernel: Kernel, shared_bytes: int) -> None:
    if not isinstance(shared_bytes, int | np.integer) or shared_bytes < 0:
        raise KernelError(f"shared_bytes must be a whole number, at least 0; got {shared_bytes!r}")
    if kernel.dynamic_shared and shared_bytes == 0:
        raise KernelError("its `extern __shared__` array has the size that the launch gives it; give shared_bytes")


def _check_architecture(kernel: Kernel, here: int) -> None:
    if kernel.architecture > here:
        raise KernelError(
            f"needs sm_{kernel.architecture} or later, and this device is of sm_{here}; launch an earlier rung, or run "
            "it in the emulator"
        )
