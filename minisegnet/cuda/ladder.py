"""The ladder that convolutions and matrix products climb: its rungs by name, their launches, and which is taken."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from minisegnet.cuda import arrays
from minisegnet.cuda.grids import BLOCK, ENOUGH, blocks, ceil_div, thread_each
from minisegnet.cuda.launcher import MOST_BLOCKS, architecture
from minisegnet.cuda.precisions import precision_in_force
from minisegnet.errors import OptionError

TENSOR_CORES = 80  # the architecture from which they take TF32 and bf16


@dataclass(frozen=True)
class Rung:
    """One version of a product C (M, N) = A (M, K) B (K, N), and how much of C one block of it computes."""

    number: int
    suffix: str  # of the kernel's name
    precision: str = "float32"
    threads: int = BLOCK
    tile: tuple[int, int] | None = None  # of m and n; none: a thread computes one value
    pipelined: bool = False  # its blocks all lie along x, m fastest

    @property
    def source(self) -> str:
        """How the name of the file ends that holds the kernel."""
        return ".cu" if self.precision == "float32" else "_tensor_core.cu"

    def tiles(self, m: int, n: int) -> tuple[int, int]:
        """How many tiles lie along n and along m."""
        rows, columns = self.tile or (1, BLOCK)
        return ceil_div(n, columns), ceil_div(m, rows)

    def grid(self, m: int, n: int, z: int) -> tuple[int, int, int]:
        """Of z products of m rows and n columns."""
        along_n, along_m = self.tiles(m, n)
        if self.tile is None:
            return ceil_div(m * n, BLOCK), 1, z
        return (along_n * along_m, 1, z) if self.pipelined else (along_n, along_m, z)


RUNGS = {
    "naive": Rung(1, ""),
    "coalesced": Rung(2, "_coalesced"),
    "tile": Rung(3, "_tile", threads=256, tile=(16, 16)),
    "registers": Rung(4, "_registers", threads=64, tile=(64, 64)),
    "tf32": Rung(5, "_tf32", "tf32", threads=128, tile=(64, 64)),
    "bf16": Rung(5, "_bf16", "bf16", threads=128, tile=(64, 64)),
    "tf32_pipeline": Rung(6, "_tf32_pipeline", "tf32", threads=256, tile=(128, 128), pipelined=True),
    "bf16_pipeline": Rung(6, "_bf16_pipeline", "bf16", threads=256, tile=(128, 128), pipelined=True),
    "tf32_pipeline_64": Rung(6, "_tf32_pipeline_64", "tf32", threads=256, tile=(64, 128), pipelined=True),
    "bf16_pipeline_64": Rung(6, "_bf16_pipeline_64", "bf16", threads=256, tile=(64, 128), pipelined=True),
}


def rung_named(name: str) -> Rung:
    """The rung of that name. Raises OptionError where there is none."""
    if name not in RUNGS:
        raise OptionError(f"there is no rung {name!r}; choose one of {', '.join(RUNGS)}")
    return RUNGS[name]


def fastest(m: int, like: Any, narrow: str = "registers", z: int = 1) -> str:
    """Name of the rung taken for z products of m rows: the fastest that the precision in force and the device allow.

    `narrow` is the one taken for fewer than 16 rows, of which every tile would be mostly empty. Where a grid of tiles
    would be larger than CUDA allows, a thread computes one value.
    """
    precision = precision_in_force()
    if m < 16:
        name = narrow
    elif precision == "float32" or architecture(like) < TENSOR_CORES:
        name = "registers"
    else:
        name = f"{precision}_pipeline_64" if m <= 64 else f"{precision}_pipeline"
    grid = RUNGS[name].grid(m, 1, z)
    return name if all(size <= most for size, most in zip(grid, MOST_BLOCKS, strict=True)) else "coalesced"


def product(kernel: str, rung: str, m: int, n: int, z: int, *arguments: Any) -> None:
    """Launch one rung of a kernel's ladder for a product of m rows and n columns, z times side by side."""
    chosen = rung_named(rung)
    if m * n == 0:
        return
    blocks(kernel + chosen.source, kernel + chosen.suffix, chosen.grid(m, n, z), *arguments, block=chosen.threads)


def split(rung: str, m: int, n: int, k: int) -> tuple[int, int]:
    """Into how many parts to split a sum over k so that there are enough blocks, and how many k a part takes.

    A part takes at least as many k as a tile has values to add up in the end, or adding would outweigh multiplying.
    """
    along_n, along_m = rung_named(rung).tiles(m, n)
    wanted = max(1, min(ENOUGH // 4 // max(1, along_n * along_m), ceil_div(k, 512)))
    each = max(32, ceil_div(ceil_div(k, wanted), 32) * 32)
    return max(1, ceil_div(k, each)), each


def add_parts(parts: Any, shape: tuple[int, ...]) -> Any:
    """The sum (shape) over the first dimension of parts (part, ...); of a single part, that part itself."""
    if len(parts) == 1:
        return parts.reshape(shape)
    y = arrays.empty(shape, parts.dtype, like=parts)
    thread_each("add_parts.cu", "add_parts", y.size, parts, y, len(parts), y.size)
    return y


def channel_sum(x: Any) -> Any:
    """The sum (C,) of x (N, C, ...) over all but the channels."""
    N, C = x.shape[:2]
    plane = prod(x.shape[2:])
    if N * plane == 0 or plane == 1:
        y = arrays.empty(C, x.dtype, like=x)
        thread_each("channel_sum.cu", "channel_sum", C, x, y, N, C, plane)
        return y
    count = max(1, min(ceil_div(plane, 8 * BLOCK), ENOUGH // C))
    parts = arrays.empty((count, C), x.dtype, like=x)
    blocks("channel_sum.cu", "channel_sum_parts", (C, count), x, parts, N, C, plane)
    return add_parts(parts, (C,))
