"""`minisegnet doctor`: each state of CuPy and of the compiler, played by fakes in a process of its own."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from minisegnet import __version__, doctor
from minisegnet.cli import main

DEVICES = """
class runtime:
    @staticmethod
    def getDeviceCount():
        {count}
    @staticmethod
    def getDeviceProperties(device):
        return {{"name": b"NVIDIA Imaginary 9000"}}
class cuda:
    runtime = runtime
"""

STATES = {
    "not installed": (None, "absent", "not installed"),
    "another module is missing": ("import fastrlock_that_is_not_there", "absent", "import fails: No module named"),
    "its library does not load": (
        "raise ImportError('libnvrtc.so.12:\\nno such file')",
        "absent",
        "libnvrtc.so.12: no such",
    ),
    "its import breaks": ("raise AttributeError('numpy has no bool8')", "absent", "import fails: numpy has no bool8"),
    "no driver": (
        DEVICES.format(count="raise RuntimeError('cudaErrorInsufficientDriver')"),
        "no device",
        "Insufficient",
    ),
    "no GPU": (DEVICES.format(count="return 0"), "no device", "0 devices"),
    "one GPU": (DEVICES.format(count="return 1"), "ready", "1 device, the first NVIDIA Imaginary 9000"),
    "two GPUs": (DEVICES.format(count="return 2"), "ready", "2 devices, the first NVIDIA Imaginary 9000"),
    "a nameless GPU": (DEVICES.format(count="return 1").replace("getDeviceProperties", "other"), "ready", "1 device"),
}

# Plays that CuPy is not installed, should it be.
HIDE_CUPY = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "cupy":
            raise ModuleNotFoundError("No module named 'cupy'", name="cupy")
sys.meta_path.insert(0, Hidden())
from minisegnet.cli import main
sys.exit(main(["doctor", "--json"]))
"""


@pytest.mark.parametrize("situation", STATES)
def test_cupy_state_and_reason(situation, tmp_path):
    source, state, reason = STATES[situation]
    command = [sys.executable, "-c", HIDE_CUPY]
    if source is not None:
        (tmp_path / "cupy.py").write_text(source)
        command = [sys.executable, "-m", "minisegnet", "doctor", "--json"]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["cupy"]
    assert found["state"] == state
    assert reason in found["reason"]
    assert "\n" not in found["reason"]


def compiler_script(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_no_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = doctor.compiler()
    assert found["name"] is None
    assert "neither g++ nor clang++" in found["reason"]


@pytest.mark.parametrize("name", doctor.COMPILERS)
def test_compiler_tells_its_first_line(name, tmp_path, monkeypatch):
    compiler_script(tmp_path, name, f"echo '{name} 12.3 (imaginary)'; echo 'no warranty'")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.compiler() == {"name": name, "version": f"{name} 12.3 (imaginary)", "reason": None}


def test_broken_compiler_gives_way_to_the_next(tmp_path, monkeypatch):
    compiler_script(tmp_path, "g++", "echo 'licence not accepted' >&2; exit 69")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "licence not accepted" in doctor.compiler()["reason"]
    compiler_script(tmp_path, "clang++", "echo 'clang 19'")
    assert doctor.compiler()["name"] == "clang++"


def test_report_tells_everything_in_lines_of_their_own(capsys):
    assert main(["doctor"]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert lines["minisegnet"] == __version__
    assert lines["Python"].startswith(".".join(map(str, sys.version_info[:3])))
    assert lines["NumPy"] == np.__version__
    assert {"BLAS", "core", "threads", "CuPy", "compiler", "PyTorch", "ONNX"} <= set(lines)
    assert lines["CuPy"].startswith(("absent: ", "no device: ", "ready: "))


def test_the_blas_told_of_is_numpys(monkeypatch):
    """Whichever library another package has brought along and that is met first."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    other = {"user_api": "blas", "internal_api": "openblas", "version": "0.1", "num_threads": 1}
    found = [
        {**other, "filepath": "site-packages/scipy.libs/a.so"},
        {**other, "filepath": "libgomp.so", "user_api": "openmp"},
    ]
    found.append({**other, "filepath": "site-packages/numpy.libs/b.so", "version": "0.2", "architecture": "Zen"})
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: found)
    assert doctor.blas() == {"name": "openblas", "version": "0.2", "core": "Zen", "threads": 1}
    found.pop()
    assert doctor.blas()["version"] == "0.1"


def test_threads_are_those_of_the_blas_in_force():
    from threadpoolctl import threadpool_limits

    if doctor.blas()["threads"] is None:
        pytest.skip("threadpoolctl does not know this BLAS, so its threads are not told")
    with threadpool_limits(1, user_api="blas"):
        assert doctor.blas()["threads"] == 1


def test_report_of_a_machine_that_has_next_to_nothing():
    bare = {
        "minisegnet": "1.2.3",
        "python": {"version": "3.10.0", "platform": "Plan9 vax"},
        "libraries": dict.fromkeys((*doctor.REQUIRED, *doctor.OPTIONAL)),
        "blas": {"name": None, "version": None, "core": None, "threads": None},
        "cores": 1,
        "cupy": {"state": "absent", "reason": "not installed"},
        "compiler": {"name": None, "version": None, "reason": "neither is on the path"},
    }
    lines = dict(line.split("  ", 1) for line in doctor.report(bare).splitlines())
    told = {name: value.strip() for name, value in lines.items()}
    assert told["BLAS"] == "unknown"
    assert told["core type"].startswith("not told")
    assert told["compiler"] == "none: neither is on the path"
    assert told["NumPy"] == "not installed: pip install minisegnet"
