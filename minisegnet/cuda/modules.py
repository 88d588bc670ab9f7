"""The text of a .cu file with what it includes, and the module that NVRTC makes of it on a device, through CuPy."""

from __future__ import annotations

import difflib
import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minisegnet.cuda import arrays
from minisegnet.cuda.signature import runs_on
from minisegnet.errors import KernelError
from minisegnet.kernel_files import kernel_folder

# As NVRTC, nvcc and CuPy understand them. Fast approximations (--use_fast_math) stay off: results are held to NumPy's.
# -lineinfo changes no instruction; compute-sanitizer and the profilers name lines of the .cu file by it.
OPTIONS = ("-std=c++17", "-lineinfo")
# What CuPy adds on its own, and cannot be talked out of: on a device, numbers nearer to 0 than 1.2e-38 are 0.
ADDED_BY_CUPY = ("-ftz=true",)

SHARED_WITHOUT_ASKING = 48 * 1024  # bytes of shared memory that a block has without the kernel being set up for more


def path_of(source: str | Path) -> Path:
    """The file of a launch: a plain name such as "relu.cu" is one of ours, anything with a folder, or a Path, yours.

    Raises KernelError where there is none.
    """
    if isinstance(source, str) and "/" not in source:
        path = kernel_folder() / source
        if not path.is_file():
            ours = sorted(file.name for file in kernel_folder().glob("*.cu"))
            near = difflib.get_close_matches(source, ours, n=1)
            meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(ours)}."
            raise KernelError(f"minisegnet has no kernel file {source}: {meant} For a file of your own give a Path")
        return path
    path = Path(source)
    if not path.is_file():
        raise KernelError(f"there is no file {path}")
    return path


# ----------------------------------------------------------------------------------------------------- text of a file


class Text(NamedTuple):
    """A source with its includes put in, and the files that it came from as they were then."""

    text: str
    files: tuple[tuple[Path, int, int], ...]  # path, time of last change, length


_texts: dict[Path, Text] = {}


def text_of(path: Path) -> str:
    """The file's text with every `#include "x.cuh"` replaced by that file's, read anew when one of them changed.

    Headers are looked for beside the file that includes them, then among ours. So the text alone decides what is
    compiled, which CuPy's cache of modules relies on; `#line` keeps the compiler's messages at the files' own lines.
    """
    known = _texts.get(path)
    if known is None or any(_stamp(file) != (file, *stamp) for file, *stamp in known.files):
        files: dict[Path, None] = {}
        text = _with_includes(path, files)
        known = _texts[path] = Text(text, tuple(map(_stamp, files)))
    return known.text


def _stamp(path: Path) -> tuple[Path, int, int]:
    try:
        status = path.stat()
    except OSError:
        return path, 0, 0
    return path, status.st_mtime_ns, status.st_size


def _with_includes(path: Path, files: dict[Path, None]) -> str:
    files[path] = None
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as problem:
        raise KernelError(f"{path} cannot be read: {problem}") from problem
    for i, line in enumerate(lines):
        if re.match(r"\s*#\s*pragma\s+once\b", line):
            lines[i] = ""  # each file is put in once
        include = re.match(r'\s*#\s*include\s*"([^"]+\.cuh)"', line)
        header = _header(include.group(1), path.parent) if include else None
        if header in files:
            lines[i] = ""
        elif header is not None:
            lines[i] = f'#line 1 "{header.name}"\n{_with_includes(header, files)}\n#line {i + 2} "{path.name}"'
    return "\n".join(lines)


def _header(name: str, beside: Path) -> Path | None:
    """The file that an include names; None where there is none, which the compiler then tells."""
    return next((folder / name for folder in (beside, kernel_folder()) if (folder / name).is_file()), None)


def compiled_text(path: Path, architecture: int) -> str:
    """What is given to the compiler: the file's text, without the kernels that need a higher architecture."""
    return _compiled_text(path.name, text_of(path), architecture)


@lru_cache(maxsize=256)
def _compiled_text(file: str, text: str, architecture: int) -> str:
    return f'#line 1 "{file}"\n{runs_on(text, architecture)}'


# ------------------------------------------------------------------------------------------------------- on a device


def architecture_of(device: Any) -> int:
    """90 for a device of compute capability 9.0."""
    return int(device.compute_capability)


@cache
def _function(text: str, kernel: str, options: tuple[str, ...], device: int) -> Any:
    """The compiled kernel on a device; CuPy keeps each module, so that a file is compiled once for all its kernels."""
    return arrays.cupy().RawModule(code=text, options=options).get_function(kernel)


def launch(path: Path, kernel: str, grid: tuple, block: tuple, values: list, shared_bytes: int, device: Any) -> None:
    """Start a kernel on a device, in CuPy's current stream; it runs on while this returns.

    Raises KernelError for what the compiler or the driver refuses.
    """
    with arrays.driver_errors("the kernel"), device:
        function = _function(compiled_text(path, architecture_of(device)), kernel, OPTIONS, device.id)
        static, most = function.shared_size_bytes, device.attributes["MaxSharedMemoryPerBlockOptin"]
        if static + shared_bytes > most:
            raise KernelError(
                f"a block has up to {most} bytes of shared memory on this device; the kernel declares {static}, and "
                f"the launch asks for {shared_bytes} more"
            )
        if static + shared_bytes > SHARED_WITHOUT_ASKING:
            function.max_dynamic_shared_size_bytes = shared_bytes
        null = np.uint64(0)  # as wide as a pointer
        function(grid, block, tuple(null if value is None else value for value in values), shared_mem=shared_bytes)
