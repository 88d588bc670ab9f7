"""The C++ compiler: which one there is, how it is told to compile, and what it says when it cannot."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from minisegnet.errors import KernelError

NAMES = ("g++", "clang++", "c++")
RUNTIME = Path(__file__).parent / "runtime"
SECONDS = 300  # a compiler that takes longer has lost its way

COMMON = ("-std=c++17", "-fPIC", "-pthread", "-U_FORTIFY_SOURCE", "-w")

# Kernels read memory as whatever type they like, which CUDA's compiler puts up with; it also fuses a product and a sum.
KERNEL = ("-fno-strict-aliasing", "-fno-exceptions", "-fvisibility=hidden", "-ffp-contract=fast")
MODES = {
    "fast": ("-O3",),
    "check": ("-O1", "-g", "-DEMULATOR_CHECK"),
    "trace": ("-O0", "-g", "-DEMULATOR_CHECK"),  # as it is written, line by line
}

# Check mode and trace: every access of memory calls the functions of runtime/callbacks.cpp, which stand in for
# ThreadSanitizer's; so does every step from one piece of straight code to the next, and an index beyond its array.
INSTRUMENTED = (
    "-fsanitize=thread",
    "-fsanitize=bounds,integer-divide-by-zero",
    "-fsanitize-coverage=trace-pc",
)

# g++ is to copy a float4 at once (clang++: runtime/vector_types.h); clang++ is to tell of a read before a write.
OF_GCC = ("-fno-tree-sra",)
OF_CLANG = ("-mllvm", "-tsan-instrument-read-before-write=1", "-fno-sanitize=local-bounds")


def compiler_found() -> str | None:
    """The path of the C++ compiler that kernels are compiled with, or None where there is none.

    It is what the environment variable CXX names, else the first of g++, clang++ and c++.
    """
    named = os.environ.get("CXX")
    for name in (named,) if named else NAMES:
        path = shutil.which(name)
        if path is not None:
            return path
    return None


def compiler() -> str:
    """The compiler's path. Raises KernelError, which says what to install, where there is none."""
    path = compiler_found()
    if path is not None:
        return path
    if os.environ.get("CXX"):
        raise KernelError(f"there is no compiler {os.environ['CXX']!r}, which the environment variable CXX names")
    install = "xcode-select --install" if sys.platform == "darwin" else "sudo apt install g++, or dnf install gcc-c++"
    raise KernelError(
        f"running .cu files on the CPU takes a C++ compiler, and none of {', '.join(NAMES)} is on the path: "
        f"install one ({install})"
    )


@cache
def identity(path: str) -> str:
    """What decides, besides the source, what comes out of a compiler: its version, and the processor compiled for."""
    done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=SECONDS)
    return "\n".join([path, done.stdout, platform.machine(), _processor()])


def options(mode: str) -> tuple[str, ...]:
    """What a file is compiled with in mode "fast", "check" or "trace", besides what all kernels are."""
    clang = "clang" in identity(compiler())
    its_own = () if mode == "fast" else OF_CLANG if clang else OF_GCC
    return (*MODES[mode], *its_own, _for_this_processor())


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))


def _for_this_processor() -> str:
    """The option to use all that this processor has."""
    return "-march=native" if platform.machine() in ("x86_64", "AMD64", "i686") else "-mcpu=native"


def compile_code(files: Sequence[Path], options: Sequence[str], target: Path) -> None:
    """Call the compiler: with "-c" among the options for an object of one file, with "-shared" for a library.

    Raises KernelError with what the compiler said.
    """
    command = [compiler(), *COMMON, *options, *map(str, files), "-o", str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise KernelError(f"{command[0]} fails: {problem}") from problem
    if done.returncode:
        raise KernelError(f"the kernel does not compile:\n{_told(done.stderr)}")


def _told(messages: str, most: int = 30) -> str:
    """The compiler's messages without those about files of our own, as far as others are left."""
    lines = [line for line in messages.splitlines() if line.strip()]
    theirs = [line for line in lines if str(RUNTIME) not in line] or lines
    return "\n".join(theirs[:most])
