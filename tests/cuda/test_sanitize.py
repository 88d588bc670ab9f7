"""The cases for compute-sanitizer run on a device, whose place a stand-in takes; and how the tools are started."""

import sys
from types import SimpleNamespace

import pytest
import sanitize
from cases import cases
from stand_in_cupy import CuPy, ndarray

from minisegnet import emulator
from minisegnet.cuda import arrays, modules
from minisegnet.cuda.signature import kernels
from minisegnet.errors import BackendError


@pytest.fixture
def cupy(monkeypatch):
    """The stand-in, whose launches the emulator carries out; it notes the kernels that were launched."""
    if emulator.compiler_found() is None:
        pytest.skip("no C++ compiler was found, which the emulator needs")
    files = {name: path for path in modules.kernel_folder().glob("*.cu") for name in kernels(modules.text_of(path))}
    launched = []

    def run(kernel, grid, block, arguments, shared_bytes):
        launched.append(kernel)
        parameters = kernels(modules.text_of(files[kernel]))[kernel].parameters
        values = [
            value.values if isinstance(value, ndarray) else None if parameter.pointer else value
            for parameter, value in zip(parameters, arguments, strict=True)
        ]
        emulator.run(files[kernel], kernel, grid, block, values, shared_bytes)

    module = CuPy(run)
    module.launched, module.allocators = launched, []
    module.cuda.runtime.getDeviceCount = lambda: 1
    module.cuda.set_allocator = module.allocators.append
    monkeypatch.setitem(sys.modules, "cupy", module)
    modules._function.cache_clear()
    yield module
    modules._function.cache_clear()


def test_the_cases_run_every_rung_without_the_pool(cupy, monkeypatch, capsys):
    monkeypatch.setattr(sanitize, "cases", lambda dtypes: cases("concat", dtypes))
    monkeypatch.setattr(sanitize, "TABLE", [row for row in sanitize.TABLE if row[0] == "crop"])
    monkeypatch.setattr(sanitize, "CONVOLUTIONS", (((1, 3, 4, 5), (4, 3, 2, 2), 2),))
    monkeypatch.setattr(sanitize, "MATRICES", ((5, 6, 7),))
    assert sanitize.main(["--cases"]) == 0
    assert "cases ran on the device" in capsys.readouterr().out
    assert cupy.allocators == [None]
    ladders = {"conv2d_forward", "conv2d_backward_input", "conv2d_backward_weight", "gemm"}
    wanted = {ladder + rung.suffix for ladder in ladders for rung in sanitize.ladder.RUNGS.values()}
    assert wanted <= set(cupy.launched)
    assert {"concat_put", "concat_take", "crop_backward_maps", "sgd_step", "sgd_step_4", "adam_step_4"} <= set(
        cupy.launched
    )
    assert {"nms_sort", "nms_mask", "nms_scan"} <= set(cupy.launched)


@pytest.fixture
def started(monkeypatch):
    """The commands that are started instead of running; racecheck finds something."""
    commands = []

    def run(command):
        commands.append(command)
        return SimpleNamespace(returncode=int("racecheck" in command))

    monkeypatch.setattr(sanitize.subprocess, "run", run)
    monkeypatch.setattr(arrays, "check_device", lambda: None)
    return commands


def test_each_tool_runs_and_what_one_finds_fails(started, monkeypatch, capsys):
    monkeypatch.setattr(sanitize.shutil, "which", lambda place: f"/opt/{place}")
    assert sanitize.main([]) == 1
    assert [command[2] for command in started] == ["memcheck", "racecheck", "synccheck", "initcheck"]
    assert all(command[-3:] == [sys.executable, sanitize.__file__, "--cases"] for command in started)
    assert capsys.readouterr().err == "error: racecheck found what is told above\n"


def test_without_compute_sanitizer_it_is_left_out(started, monkeypatch, capsys):
    monkeypatch.setattr(sanitize.shutil, "which", lambda place: None)
    assert sanitize.main([]) == 0 and not started
    assert "compute-sanitizer is not installed" in capsys.readouterr().out


def test_without_a_device_it_says_so(monkeypatch, capsys):
    def missing():
        raise BackendError("the cuda backend needs CuPy")

    monkeypatch.setattr(arrays, "check_device", missing)
    assert sanitize.main([]) == sanitize.main(["--cases"]) == 1
    assert capsys.readouterr().err == 2 * "error: the cuda backend needs CuPy\n"
