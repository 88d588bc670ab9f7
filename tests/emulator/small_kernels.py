"""What the emulator's tests share: running kernels of the .cu files beside this one, and the lines marked in them."""

import re
from pathlib import Path

import numpy as np
import pytest

from minisegnet import emulator

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "kernels"
SCHEDULES = ["forward", "reverse", "adversarial", 5, 77]

needs_compiler = pytest.mark.skipif(
    emulator.compiler_found() is None, reason="no C++ compiler (g++ or clang++) to run kernels with"
)


def run(kernel, grid, block, *arguments, shared_bytes=0, **options):
    """Run `file:kernel`; numbers of Python become int and float."""
    file, name = kernel.split(":")
    numbers = {int: np.int32, float: np.float32}
    values = [numbers[type(a)](a) if type(a) in numbers else a for a in arguments]
    emulator.run(HERE / f"{file}.cu", name, three(grid), three(block), values, shared_bytes, **options)


def checked(kernel, grid, block, *arguments, schedule="forward", shared_bytes=0):
    """The same in check mode: the report."""
    with emulator.check(schedule) as report:
        run(kernel, grid, block, *arguments, shared_bytes=shared_bytes)
    return report


def three(size):
    return (size,) if isinstance(size, int) else tuple(size)


def marked(kernel):
    """Numbers of the lines of `file:kernel` that end in the comment `// <-`."""
    file, name = kernel.split(":")
    lines = (HERE / f"{file}.cu").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if re.search(rf"void {name}\(", line))
    end = next(i for i in range(start + 1, len(lines)) if lines[i] == "}")
    return [i + 1 for i in range(start, end) if "// <-" in lines[i]]


def floats(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def places(finding):
    return sorted({line.number for line in finding.places})
