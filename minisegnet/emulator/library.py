"""A .cu file as a library of this machine: compiled when first needed, kept in a cache, called through ctypes."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from minisegnet.emulator import compiler
from minisegnet.emulator.following import following
from minisegnet.emulator.source import Kernel, Source, read, rewritten, with_includes, wrappers
from minisegnet.errors import KernelError

SUFFIX = ".dylib" if sys.platform == "darwin" else ".so"


class Request(ctypes.Structure):
    """A launch, as runtime/machine.h reads it."""

    _fields_ = [
        ("kernel", ctypes.c_void_p),
        ("arguments", ctypes.POINTER(ctypes.c_void_p)),
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint),
        ("processors", ctypes.c_int),
        ("poison", ctypes.c_int),
        ("schedule", ctypes.c_int),
        ("seed", ctypes.c_uint64),
    ]


class Library:
    """A compiled .cu file, with the machine that runs it."""

    def __init__(self, source: Source, mode: str, path: Path, runtime: ctypes.CDLL):
        self.source, self.mode, self.path, self.runtime = source, mode, path, runtime
        self.code = ctypes.CDLL(str(path))
        self._kernels: dict[str, tuple[int, Kernel, list[str]]] = {}

    def kernel(self, name: str) -> tuple[int, Kernel, list[str]]:
        """A kernel's address, what its text says of it, and its parameters' types (see runtime/entry.h).

        Raises KernelError for a name that is not there.
        """
        if name not in self._kernels:
            found = self.source.kernels.get(name)
            if found is None:
                names = ", ".join(self.source.kernels) or "none at all"
                raise KernelError(f"{self.source.path.name} has no kernel {name}; it has {names}")
            address = ctypes.cast(getattr(self.code, f"emulator_run_{name}"), ctypes.c_void_p).value or 0
            types = getattr(self.code, f"emulator_types_{name}")
            types.restype = ctypes.c_char_p
            kinds, numbers, sizes = types().decode().split("/")
            self._kernels[name] = address, found, [a + b + c for a, b, c in zip(kinds, numbers, sizes, strict=True)]
        return self._kernels[name]

    def launch(self, request: Request) -> tuple[str | None, str]:
        """Run a kernel: (why it was stopped, or None; what it printed)."""
        reason, printed = ctypes.c_void_p(), ctypes.c_void_p()
        self.runtime.emulator_launch(ctypes.byref(request), ctypes.byref(reason), ctypes.byref(printed))
        return self._text(reason), self._text(printed) or ""

    def check(
        self, request: Request, arrays: ctypes.Array, count: int, follow: tuple[int, int, int]
    ) -> tuple[str | None, str]:
        """The same in check mode, on `count` arrays; `follow`: see `checking.launch`."""
        reason, printed = ctypes.c_void_p(), ctypes.c_void_p()
        block, first, last = follow
        self.runtime.emulator_check(
            ctypes.byref(request), arrays, ctypes.c_int(count), ctypes.c_int64(block), ctypes.c_int(first),
            ctypes.c_int(last), ctypes.byref(reason), ctypes.byref(printed),
        )  # fmt: skip
        return self._text(reason), self._text(printed) or ""

    def _text(self, address: ctypes.c_void_p) -> str | None:
        if not address.value:
            return None
        text = ctypes.string_at(address.value).decode(errors="replace")
        self.runtime.emulator_free(address)
        return text


# ----------------------------------------------------------------------------------------------------- what is loaded

_loaded: dict[tuple[Path, str], tuple[tuple, Library]] = {}


def load(path: Path, mode: str) -> Library:
    """The library of a .cu file in one mode ("fast", "check" or "trace"), compiled anew when one of its files changed.

    Raises KernelError where the file cannot be read or compiled, or there is no compiler.
    """
    known = _loaded.get((path, mode))
    if known is not None and _stamps(known[1].source) == known[0]:
        return known[1]
    source = read(path)
    stamps = _stamps(source)
    library = _compiled(source, mode)
    _loaded[path, mode] = stamps, library
    return library


def _stamps(source: Source) -> tuple:
    stamps = []
    for file in source.texts:
        try:
            status = file.stat()
        except OSError:
            return (None,)
        stamps.append((status.st_mtime_ns, status.st_size))
    return tuple(stamps)


def _compiled(source: Source, mode: str) -> Library:
    runtime = machine("fast" if mode == "fast" else "check")
    options = [*compiler.KERNEL, *(() if mode == "fast" else compiler.INSTRUMENTED), *compiler.options(mode)]
    numbers = count(1)
    names = {file: f"{number}_{file.name}" for number, file in enumerate(source.texts)}
    texts = {}
    for file, text in source.texts.items():
        text = with_includes(text, {name: names[other] for name, other in source.included[file].items()})
        texts[file] = f'#line 1 "{file}"\n' + rewritten(following(text) if mode == "trace" else text, numbers) + "\n"
    texts[source.path] += wrappers(source)
    own = [file.read_text(encoding="utf-8") for file in sorted(compiler.RUNTIME.glob("*.h"))]
    key = _key(mode, *options, runtime.name, *map(str, texts), *texts.values(), *own)

    def build(folder: Path, target: Path) -> None:
        for file, text in texts.items():
            (folder / names[file]).write_text(text, encoding="utf-8")
        main = (folder / names[source.path]).rename(folder / "kernel.cpp")
        include = ["-I", str(folder), "-I", str(compiler.RUNTIME), "-include", str(compiler.RUNTIME / "cuda.h")]
        compiler.compile_code([main], ["-c", *options, *include], folder / "kernel.o")
        # Linked without the options of the instrumentation, which would bring in the sanitizers' own libraries.
        where = "@loader_path" if sys.platform == "darwin" else "$ORIGIN"
        compiler.compile_code([folder / "kernel.o", runtime], ["-shared", f"-Wl,-rpath,{where}"], target)

    path = _cached(f"{re.sub(r'[^A-Za-z0-9_]', '_', source.path.stem)}_{mode}_{key}{SUFFIX}", build)
    return Library(source, mode, path, _machine(runtime))


_machines: dict[str, ctypes.CDLL] = {}


def _machine(path: Path) -> ctypes.CDLL:
    """The machine in memory. Its name tells all of it: out of whatever folder, it is loaded once.

    The system's loader too goes by the name when a kernel's library asks for the machine, so a second one would run
    kernels that talk to the first.
    """
    if path.name not in _machines:
        machine = _machines[path.name] = ctypes.CDLL(str(path))
        machine.emulator_launch.restype = None
        machine.emulator_free.restype = None
    return _machines[path.name]


def machine(mode: str) -> Path:
    """The library of the machine itself, which all kernels share, in mode "fast" or "check"."""
    options = list(compiler.options(mode))
    files = sorted(compiler.RUNTIME.glob("*.cpp"))
    texts = [file.read_text(encoding="utf-8") for file in sorted(compiler.RUNTIME.iterdir()) if file.is_file()]
    name = f"machine_{mode}_{_key(*options, *texts)}{SUFFIX}"
    naming = f"-Wl,-install_name,@rpath/{name}" if sys.platform == "darwin" else f"-Wl,-soname,{name}"

    def build(folder: Path, target: Path) -> None:
        everything = folder / "machine.cpp"  # at once: most of the time goes into the C++ library's headers
        everything.write_text("".join(f'#include "{file}"\n' for file in files), encoding="utf-8")
        compiler.compile_code([everything], ["-shared", "-fno-semantic-interposition", *options, naming], target)

    return _cached(name, build)


# --------------------------------------------------------------------------------------------------------- the cache


def cache_folder() -> Path:
    """Where compiled kernels are kept: $MINISEGNET_CACHE, or minisegnet/kernels in the user's cache.

    Raises KernelError where it cannot be written to.
    """
    named = os.environ.get("MINISEGNET_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(named) if named else Path(home) / "minisegnet" / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as problem:
        raise KernelError(
            f"compiled kernels cannot be kept in {folder} ({problem.strerror}): name another folder in the environment "
            "variable MINISEGNET_CACHE"
        ) from problem
    return folder


def _key(*parts: str) -> str:
    everything = [compiler.identity(compiler.compiler()), *compiler.COMMON, *parts]
    return hashlib.sha256("\0".join(everything).encode()).hexdigest()[:20]


def _cached(name: str, build: Callable[[Path, Path], None]) -> Path:
    """The file of that name in the cache, built if it is not there.

    It is built in a folder of its own and then renamed, so that none ever sees half a file; other processes that want
    it wait meanwhile.
    """
    path = cache_folder() / name
    if path.exists():
        return path
    with _alone(path.with_suffix(".lock")):
        if path.exists():
            return path
        folder = Path(tempfile.mkdtemp(prefix="building_", dir=path.parent))
        try:
            built = folder / name
            build(folder, built)
            built.replace(path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return path


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time; the lock of one that is killed opens by itself.

    The file goes when the work is done. Who was waiting then holds a lock without a name, and finds the work done.
    """
    with lock.open("w") as file:
        with suppress(OSError):  # of folders that know no locks: the work is done twice, and as well
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
