"""Grids: how many threads a kernel is launched with, and on which rung: one a value, one for four, a warp."""

from __future__ import annotations

from typing import Any

from minisegnet.cuda import arrays
from minisegnet.cuda.launcher import launch
from minisegnet.errors import ShapeError

BLOCK = 256  # threads of a block: whole warps, and several such blocks fit on a multiprocessor
WARP = 32
MOST = 2**30  # values of an array, so that an int counts them with room for the threads behind the last
ENOUGH = 2048  # blocks that keep the largest device busy; more of them only queue


def blocks(source: str, kernel: str, grid: int | tuple[int, ...], *arguments: Any, block: int = BLOCK) -> None:
    """Launch a grid of blocks. Raises ShapeError for an array of more values than kernels count."""
    largest = max((getattr(argument, "size", 0) for argument in arguments), default=0)
    if largest > MOST:
        raise ShapeError(
            f"{kernel}: kernels count values with 32-bit ints, so an array may have up to 2^30 = {MOST} of them; got "
            f"{largest}; use a smaller batch, or smaller tiles of the image"
        )
    launch(source, kernel, grid, block, *arguments)


def thread_each(source: str, kernel: str, count: int, *arguments: Any) -> None:
    """Launch a thread for each of `count` values; where there are none, nothing."""
    if count:
        blocks(source, kernel, ceil_div(count, BLOCK), *arguments)


def four_each(source: str, kernel: str, count: int, *arguments: Any) -> None:
    """Launch the rung `<kernel>_4`, a thread for four values; a thread for each where an array is off the boundary."""
    if all(arrays.address(a) % arrays.BOUNDARY == 0 for a in arguments if hasattr(a, "dtype") and a.size):
        thread_each(source, f"{kernel}_4", ceil_div(count, 4), *arguments)
    else:
        thread_each(source, kernel, count, *arguments)


def warp_each(source: str, kernel: str, count: int, *arguments: Any) -> None:
    """Launch a warp for each of `count` values."""
    thread_each(source, kernel, WARP * count, *arguments)


def pixel_each(source: str, kernel: str, plane: int, maps: int, *arguments: Any) -> None:
    """Launch the rung `<kernel>_maps`, a thread for a pixel of all maps; one for each value where planes are small."""
    if plane < BLOCK:
        thread_each(source, kernel, plane * maps, *arguments)
    elif maps:
        across = ceil_div(plane, BLOCK)
        blocks(source, f"{kernel}_maps", (across, min(maps, ceil_div(ENOUGH, across))), *arguments)


def parts_of(count: int, most: int) -> int:
    """In how many parts `count` values are added, so that each of a block's threads has some: of the count alone.

    Were it of the device, the same numbers would add up otherwise on another.
    """
    return max(1, min(most, ceil_div(count, 8 * BLOCK)))


def ceil_div(count: int, size: int) -> int:
    """How many groups of `size` hold `count`."""
    return -(-count // size)
