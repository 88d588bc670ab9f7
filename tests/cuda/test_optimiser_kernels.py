"""The optimisers' kernels against NumPy's updates, over steps, on aligned weights and on others."""

import numpy as np
import pytest

from minisegnet import emulator
from minisegnet.cuda import grids, launcher
from minisegnet.cuda.optimisers import adam_step, sgd_step
from minisegnet.layers import Parameter
from minisegnet.training import SGD, Adam, AdamW

pytestmark = pytest.mark.skipif(emulator.compiler_found() is None, reason="the emulator needs g++ or clang++")

BOUND = 2e-6  # of float32's 6e-8, after twenty steps
CASES = [
    (SGD, {}),
    (SGD, {"momentum": 0.9}),
    (SGD, {"momentum": 0.9, "weight_decay": 0.1}),
    (SGD, {"momentum": 0.8, "weight_decay": 0.1, "nesterov": True}),
    (Adam, {}),
    (Adam, {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    (AdamW, {}),
    (AdamW, {"betas": (0.5, 0.9), "weight_decay": 0.2}),
]
IDS = [f"{kind.__name__}-{'-'.join(options) or 'plain'}" for kind, options in CASES]


def by_kernel(kind, options, w, gradient, state, steps, lr):
    if kind is SGD:
        return sgd_step(w, gradient, *state, lr, **options)
    decay = options.get("weight_decay", 1e-2 if kind is AdamW else 0.0)
    return adam_step(w, gradient, *state, steps, lr, **{**options, "weight_decay": decay}, decoupled=kind is AdamW)


def floats(count, start):
    """Zeros that begin `start` floats behind a 16-byte boundary."""
    spare = np.zeros(count + 8, np.float32)
    first = (-spare.ctypes.data // 4) % 4 + start
    return spare[first : first + count]


@pytest.mark.parametrize("schedule", ["forward", "reverse", 5])
@pytest.mark.parametrize(("count", "start"), [(1, 0), (7, 0), (515, 0), (515, 1)])
@pytest.mark.parametrize(("kind", "options"), CASES, ids=IDS)
def test_twenty_steps_are_numpys(monkeypatch, kind, options, count, start, schedule):
    """The last rung where all arrays begin on a boundary, the first where they do not."""
    launched = set()

    def launch(source, kernel, *arguments):
        launched.add(kernel)
        launcher.launch(source, kernel, *arguments)

    monkeypatch.setattr(grids, "launch", launch)
    rng = np.random.default_rng(count)
    parameter = Parameter((count,))
    parameter.data = rng.standard_normal(count).astype(np.float32)
    parameter.grad = np.zeros(count, np.float32)
    w, gradient = floats(count, start), floats(count, start)
    w[...] = parameter.data
    state = [floats(count, start) for _ in kind.state_names]
    optimiser = kind({"w": parameter}, lr=1.0, **options)
    with emulator.check(schedule=schedule) as report:
        for step in range(1, 21):
            gradient[...] = parameter.grad[...] = rng.standard_normal(count) * 10.0 ** rng.integers(-4, 3)
            optimiser.lr = 0.1 / step
            optimiser.step()
            by_kernel(kind, options, w, gradient, state, step, optimiser.lr)
    assert not report.findings, str(report)
    rung = "sgd_step" if kind is SGD else "adam_step"
    assert launched == {rung if start else f"{rung}_4"}
    np.testing.assert_allclose(w, parameter.data, rtol=BOUND, atol=BOUND)
    for name, array in zip(kind.state_names, state, strict=True):
        np.testing.assert_allclose(array, optimiser.state[f"{name}/w"], rtol=BOUND, atol=BOUND)


@pytest.mark.parametrize("step", [lambda w: sgd_step(w, w, w, 0.1), lambda w: adam_step(w, w, w, w, 1, 0.1)])
def test_no_weights_are_no_launch(step):
    step(np.zeros(0, np.float32))
