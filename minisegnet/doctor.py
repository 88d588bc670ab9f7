"""What this machine offers minisegnet, told rather than guessed: interpreter, libraries, BLAS, CuPy, compiler."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from minisegnet import __version__

REQUIRED = {"numpy": "NumPy", "scipy": "SciPy", "matplotlib": "Matplotlib", "pillow": "Pillow"}
OPTIONAL = {"torch": "PyTorch", "onnx": "ONNX"}
COMPILERS = ("g++", "clang++")
COMPILER_SECONDS = 10  # a compiler that does not tell its version by then is reported as failing


def examine() -> dict[str, Any]:
    """Everything found, as plain values that JSON can hold; never raises for something missing or broken."""
    return {
        "minisegnet": __version__,
        "python": {"version": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"},
        "libraries": {name: _version(name) for name in (*REQUIRED, *OPTIONAL)},
        "blas": blas(),
        "cores": cores(),
        "cupy": cupy(),
        "compiler": compiler(),
    }


def blas() -> dict[str, Any]:
    """NumPy's BLAS: {"name", "version", "core", "threads"}; what it does not tell is None.

    The core type is the kind of processor its kernels were chosen for, which decides whether it uses AVX-512.
    """
    import numpy as np

    built = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})  # type: ignore[attr-defined]
    found = {"name": built.get("name"), "version": built.get("version"), "core": None, "threads": None}
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return found
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    # SciPy may have brought another one along.
    libraries.sort(key=lambda library: "numpy" not in Path(library["filepath"]).parent.name)
    for library in libraries[:1]:
        found["name"], found["version"] = library["internal_api"], library["version"]
        found["core"], found["threads"] = library.get("architecture"), library["num_threads"]
    return found


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cupy() -> dict[str, str]:
    """CuPy's state, {"state": "absent" | "no device" | "ready", "reason": why}."""
    try:
        module: Any = importlib.import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name == "cupy":
            return {"state": "absent", "reason": "not installed; for an NVIDIA GPU: pip install 'minisegnet[cuda12]'"}
        return {"state": "absent", "reason": f"installed, but its import fails: {_one_line(error)}"}
    except Exception as error:  # a broken installation may raise anything
        return {"state": "absent", "reason": f"installed, but its import fails: {_one_line(error)}"}
    try:
        count = module.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy has its own classes, and a driver that is missing has another
        return {"state": "no device", "reason": _one_line(error)}
    if count < 1:
        return {"state": "no device", "reason": "CUDA counts 0 devices"}
    return {"state": "ready", "reason": f"{count} device{'s' if count > 1 else ''}, the first {_device_name(module)}"}


def compiler() -> dict[str, str | None]:
    """The first C++ compiler on the path, {"name", "version"}: None and the reason where there is none."""
    reason = f"neither {' nor '.join(COMPILERS)} is on the path"
    for name in COMPILERS:
        path = shutil.which(name)
        if path is None:
            continue
        try:
            done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=COMPILER_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = f"{path} fails: {_one_line(error)}"
            continue
        if done.returncode == 0 and done.stdout.strip():
            return {"name": name, "version": done.stdout.splitlines()[0].strip(), "reason": None}
        reason = f"{path} fails: {_one_line(done.stderr or done.stdout)}"
    return {"name": None, "version": None, "reason": reason}


def report(found: dict[str, Any]) -> str:
    """What `examine` found, a line each, for people."""
    lines = [("minisegnet", found["minisegnet"])]
    lines.append(("Python", f"{found['python']['version']} on {found['python']['platform']}"))
    versions, library = found["libraries"], found["blas"]
    lines += [(title, versions[name] or "not installed: pip install minisegnet") for name, title in REQUIRED.items()]
    told = " ".join(word for word in (library["name"], library["version"]) if word) or "unknown"
    forced = os.environ.get("OPENBLAS_CORETYPE")
    lines.append(("BLAS", told))
    by = f", as OPENBLAS_CORETYPE={forced} says" if forced else ""
    lines.append(("core type", (library["core"] or "not told") + by))
    lines.append(("threads", f"{library['threads'] or 'not told'}, on {found['cores']} cores"))
    lines.append(("CuPy", f"{found['cupy']['state']}: {found['cupy']['reason']}"))
    lines.append(("compiler", found["compiler"]["version"] or f"none: {found['compiler']['reason']}"))
    lines += [(title, versions[name] or "not installed (only tests use it)") for name, title in OPTIONAL.items()]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:{width}}  {value}" for name, value in lines)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _device_name(module: Any) -> str:
    try:
        name = module.cuda.runtime.getDeviceProperties(0)["name"]
    except Exception:  # the state is known by now; a name that cannot be had must not hide it
        return "of unknown name"
    return name.decode() if isinstance(name, bytes) else str(name)


def _one_line(problem: Any) -> str:
    """A message without line breaks, or the exception's type where it has none."""
    return " ".join(str(problem).split()) or type(problem).__name__
