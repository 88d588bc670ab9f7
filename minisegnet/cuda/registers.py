"""Registers, shared memory and spills of every kernel, as NVRTC compiles it; needs no GPU and no CUDA toolkit.

    python -m minisegnet.cuda.registers                   our kernels, held against the table kernels/registers.txt
    python -m minisegnet.cuda.registers --write           our kernels, which become the table
    python -m minisegnet.cuda.registers mine.cu           the kernels of a file of yours

A multiprocessor has 65536 registers and 64 to 228 KB of shared memory for all of its threads: what each takes decides
how many run at once. A value that finds no register is spilled to memory, written and read back every time. So the
command fails on a spill; and where the table says otherwise, so that a change is looked at before it is written there.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from minisegnet.cuda import modules
from minisegnet.cuda.signature import kernel_named, kernels
from minisegnet.doctor import cores
from minisegnet.errors import BackendError, KernelError, MinisegnetError

ARCHITECTURES = (75, 80, 90)  # Turing, Ampere, Hopper
TABLE = "registers.txt"  # beside the kernels
COLUMNS = ("file", "kernel", "for", "registers", "shared", "local", "spilled")  # the last three in bytes


class Usage(NamedTuple):
    """What one kernel takes on one architecture."""

    file: str
    kernel: str
    architecture: str
    registers: int  # of a thread
    shared: int  # bytes of a block that the kernel declares itself
    local: int  # bytes of a thread's stack: arrays indexed by what is only known when it runs, and spills
    spilled: int  # bytes of spills written and read back


def usage(path: Path, architecture: int) -> list[Usage]:
    """What the kernels of a file take on an architecture, those left out that need a higher one.

    Kernels that macros write count too: the compiler reports them, though their names cannot be read from the text.

    Raises KernelError with the compiler's message where it does not compile, BackendError without NVRTC.
    """
    text = modules.text_of(path)
    found = [kernel_named(text, name, path.name) for name in kernels(text)]
    names = [kernel.name for kernel in found if kernel.architecture <= architecture]
    if found and not names:
        return []
    log = compile_to_cubin(modules.compiled_text(path, architecture), path.name, architecture)
    told = read_log(log)
    if not told:
        raise KernelError(f"{path.name} has no kernel; a header is named .cuh")
    if missing := set(names) - set(told):
        raise KernelError(f"{path.name}: the compiler's report lacks {', '.join(sorted(missing))}:\n{log}")
    return [Usage(path.name, name, f"sm_{architecture}", *told[name]) for name in dict.fromkeys([*names, *told])]


def read_log(log: str) -> dict[str, tuple[int, int, int, int]]:
    """(registers, shared, local, spilled) of each kernel, out of what `ptxas -v` reports.

    A function that the kernel calls, not inlined, is reported between the kernel's name and its registers.
    """
    told = {}
    for part in re.split(r"Compiling entry function ", log)[1:]:
        registers = re.search(r"Used (\d+) registers", part)
        name = re.match(r"'(\w+)'", part)
        if not registers or not name:
            raise KernelError(f"the compiler's report cannot be read:\n{part}")
        shared = re.search(r"(\d+) bytes smem", part)
        told[name.group(1)] = (
            int(registers.group(1)),
            int(shared.group(1)) if shared else 0,
            sum(map(int, re.findall(r"(\d+) bytes stack frame", part))),
            sum(map(int, re.findall(r"(\d+) bytes spill", part))),
        )
    return told


# --------------------------------------------------------------------------------------------------------------- NVRTC


def nvrtc_version() -> str:
    """Such as 13.5. Raises BackendError where NVRTC or its Python bindings are not installed."""
    return ".".join(map(str, _call(_nvrtc().nvrtcVersion)))


def compile_to_cubin(text: str, file: str, architecture: int) -> str:
    """Compile a text for an architecture and return the report of `ptxas -v`.

    Raises KernelError with the compiler's message, BackendError without NVRTC.
    """
    nvrtc = _nvrtc()
    options = [*modules.OPTIONS, *modules.ADDED_BY_CUPY, f"-arch=sm_{architecture}", "--ptxas-options=-v"]
    program = _call(nvrtc.nvrtcCreateProgram, text.encode(), file.encode(), 0, [], [])
    try:
        [result] = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
        log = bytearray(_call(nvrtc.nvrtcGetProgramLogSize, program))
        _call(nvrtc.nvrtcGetProgramLog, program, log)
    finally:
        _call(nvrtc.nvrtcDestroyProgram, program)
    report = log.decode(errors="replace").rstrip("\0 \n")
    if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise KernelError(f"{file} does not compile for sm_{architecture}:\n{report}")
    return report


def _nvrtc() -> Any:
    try:
        from cuda.bindings import nvrtc

        nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError) as problem:
        raise BackendError(f"NVRTC is not installed ({problem}): pip install 'minisegnet[kernels]'") from problem
    return nvrtc


def _call(function: Any, *arguments: Any) -> Any:
    """What a function of NVRTC returns beside its error code: nothing, a value, or several."""
    error, *values = function(*arguments)
    if error.value:
        raise KernelError(f"NVRTC failed in {function.__name__}: {error.name}")
    return values[0] if len(values) == 1 else tuple(values)


# ----------------------------------------------------------------------------------------------------------- the table


def table(rows: Iterable[Usage], version: str) -> str:
    """The rows in columns, under a line that names the compiler."""
    cells = [COLUMNS, *(tuple(map(str, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    align = [str.ljust] * 3 + [str.rjust] * 4
    lines = ["  ".join(to(cell, width) for to, cell, width in zip(align, row, widths, strict=True)) for row in cells]
    return "\n".join([f"# compiled by NVRTC {version}", *lines, ""])


def read_table(text: str) -> tuple[str, list[Usage]]:
    """(version, rows) of what `table` made."""
    first, _, *lines = text.splitlines()
    rows = (line.split() for line in lines)
    return first.rpartition(" ")[2], [Usage(*row[:3], *map(int, row[3:])) for row in rows]  # type: ignore[arg-type]


def changes(old: Sequence[Usage], new: Sequence[Usage]) -> list[str]:
    """Each kernel that takes more or less than it did, is new, or is gone."""
    before, now = ({row[:3]: row for row in rows} for rows in (old, new))
    told = []
    for key in dict.fromkeys([*now, *before]):
        name = f"{key[1]} of {key[0]} for {key[2]}"
        if key not in before:
            told.append(f"{name} is new")
        elif key not in now:
            told.append(f"{name} is gone")
        else:
            told += [
                f"{name}: {column} {was} -> {now_is}"
                for column, was, now_is in zip(COLUMNS[3:], before[key][3:], now[key][3:], strict=True)
                if was != now_is
            ]
    return told


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns 1 for a spill, a change, or a kernel that does not compile."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m minisegnet.cuda.registers", None, __doc__, formatter_class=formatter)
    parser.add_argument("file", nargs="*", help="a .cu file of yours; all of ours when none is given")
    parser.add_argument("--write", action="store_true", help="write what all of ours take to the table")
    given = parser.parse_args(arguments)
    if given.file and given.write:
        parser.error("the table holds all of our kernels: give no file with --write")
    try:
        problems = _run(given.file, given.write)
    except MinisegnetError as problem:
        problems = [str(problem)]
    for told in problems:
        print(f"error: {told}", file=sys.stderr)
    return 1 if problems else 0


def _run(files: list[str], write: bool) -> list[str]:
    """Print the table, and return what is wrong."""
    own = [modules.path_of(Path(file) if Path(file).is_file() else file) for file in files]
    version = nvrtc_version()
    rows, problems = _usage_of(own or sorted(modules.kernel_folder().glob("*.cu")))
    text = table(rows, version)
    print(text)
    problems += [
        f"{row.kernel} of {row.file} spills {row.spilled} bytes for {row.architecture}; hold fewer values at once, or "
        "allow a thread more registers with __launch_bounds__"
        for row in rows
        if row.spilled
    ]
    if own:
        return problems
    committed = modules.kernel_folder() / TABLE
    if write and not problems:
        committed.write_text(text, encoding="utf-8")
        print(f"written to {committed}")
        return []
    if not committed.is_file():
        return [*problems, f"there is no table {committed}; make it with --write"]
    other, old = read_table(committed.read_text(encoding="utf-8"))
    if other != version:
        print(f"{TABLE} is of NVRTC {other} (pip install 'minisegnet[kernels]'): only spills are looked for")
        return problems
    return problems + [f"{change}; explain it, and write the table anew with --write" for change in changes(old, rows)]


def _usage_of(paths: Sequence[Path]) -> tuple[list[Usage], list[str]]:
    """What the kernels of some files take, and what does not compile; compiled side by side on all cores."""
    rows, problems = [], []
    with ThreadPoolExecutor(cores()) as pool:  # NVRTC lets go of the interpreter while it compiles
        jobs = [pool.submit(usage, path, architecture) for path in paths for architecture in ARCHITECTURES]
    for job in jobs:
        try:
            rows += job.result()
        except KernelError as problem:
            problems.append(str(problem))
    return rows, problems


if __name__ == "__main__":
    sys.exit(main())
