"""Gradients that add up and running averages, by NumPy and by kernels: in place, on any count and place of values."""

import shutil

import numpy as np
import pytest
from conftest import assert_close, skip_without_compiler

import minisegnet
from minisegnet import emulator
from minisegnet.errors import DtypeError, KernelError
from minisegnet.in_place import add_to, added, average_in
from minisegnet.layers import Parameter
from minisegnet.models import create
from minisegnet.training import SGD, Adam


@pytest.fixture(autouse=True)
def compiler():
    skip_without_compiler("emulator")


def floats(count, start, seed):
    """Normal numbers that begin `start` floats behind a 16-byte boundary."""
    spare = np.zeros(count + 8, np.float32)
    first = (-spare.ctypes.data // 4) % 4 + start
    spare[first : first + count] = np.random.default_rng(seed).standard_normal(count)
    return spare[first : first + count]


@pytest.mark.parametrize("schedule", ["forward", "reverse", 3])
@pytest.mark.parametrize(("count", "start"), [(0, 0), (1, 0), (7, 0), (515, 0), (515, 1)])
def test_kernels_do_in_place_what_numpy_does(count, start, schedule):
    a, b = floats(count, start, 0), floats(count, 0, 1)
    total, running = floats(count, start, 2), floats(count, start, 3)
    wanted_total, wanted_running = total + b, np.float32(0.75) * running + np.float32(0.25 * 1.5) * b
    before = b.copy()
    with minisegnet.backend("emulator"), emulator.check(schedule=schedule) as report:
        y = added(a, b)
        add_to(total, b)
        average_in(running, b, 0.25, 1.5)
    assert not report.findings, str(report)
    assert (y == a + b).all() and (total == wanted_total).all() and (b == before).all()
    assert_close(running, wanted_running, 1e-6)
    by_numpy = floats(count, start, 3)
    average_in(by_numpy, b, 0.25, 1.5)
    assert_close(by_numpy, wanted_running, 1e-6)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_an_average_may_stay_or_be_replaced(weight):
    running, batch = np.float32([1, 2, 3]), np.float32([5, 6, 7])
    with minisegnet.backend("emulator"):
        average_in(running, batch, weight)
    assert running.tolist() == ([5, 6, 7] if weight else [1, 2, 3])


def test_gradients_of_any_strides_are_added():
    total, more = np.zeros((3, 4), np.float32), np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4))
    with minisegnet.backend("emulator"):
        add_to(total, more)
    assert (total == more).all()


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_weights_in_float64_are_told(kind):
    parameter = Parameter((3,))
    parameter.data, parameter.grad = parameter.data.astype("f8"), parameter.grad.astype("f8")
    optimiser = kind({"w": parameter}, 0.1)
    with (
        minisegnet.backend("emulator"),
        pytest.raises(DtypeError, match=f"{kind.__name__}: the kernels compute in float32, and weights is float64"),
    ):
        optimiser.step()


def test_without_a_compiler_the_emulator_says_what_to_install(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    graph = create("unet", num_classes=2, width=2, depth=1)
    with pytest.raises(KernelError, match=r"takes a C\+\+ compiler, and none of .* install one"):
        graph.to("emulator")
    assert graph.device == "cpu"
    graph.predict(np.zeros((1, 3, 4, 4), np.float32))
