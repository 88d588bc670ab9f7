"""The optimisers against their equations, a weight at a time, and against PyTorch."""

import math
import threading
import tracemalloc

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from minisegnet.errors import CheckpointError, OptionError
from minisegnet.layers import Parameter
from minisegnet.training import SGD, Adam, AdamW, optimisers

SHAPES = {"conv.weight": (4, 3, 2, 2), "conv.bias": (4,), "scale": ()}
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


def parameters(rng, dtype=np.float64):
    made = {}
    for name, shape in SHAPES.items():
        made[name] = Parameter(shape)
        made[name].data = rng.normal(size=shape).astype(dtype)
        made[name].grad = np.zeros(shape, dtype)
    return made


def rates(steps):
    """A learning rate that changes from step to step, as under a schedule."""
    return [0.1 / (1 + step) for step in range(steps)]


def by_hand(kind, options, w, gradients):
    """One weight through the equations of the docstring, in Python's floats."""
    o = {"momentum": 0.0, "weight_decay": 1e-2 if kind is AdamW else 0.0, "nesterov": False}
    o |= {"betas": (0.9, 0.999), "eps": 1e-8} | options
    m = v = 0.0
    for t, (gradient, lr) in enumerate(zip(gradients, rates(len(gradients)), strict=True), start=1):
        g = gradient if kind is AdamW else gradient + o["weight_decay"] * w
        if kind is SGD:
            v = o["momentum"] * v + g
            w -= lr * (g + o["momentum"] * v if o["nesterov"] else v)
            continue
        if kind is AdamW:
            w -= lr * o["weight_decay"] * w
        beta1, beta2 = o["betas"]
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        w -= lr * (m / (1 - beta1**t)) / (math.sqrt(v / (1 - beta2**t)) + o["eps"])
    return w


@pytest.mark.parametrize(("kind", "options"), CASES, ids=IDS)
def test_updates_follow_the_equations(kind, options):
    rng = np.random.default_rng(0)
    made = parameters(rng)
    start = {name: p.data.copy() for name, p in made.items()}
    gradients = {name: rng.normal(size=(20, *shape)) for name, shape in SHAPES.items()}
    optimiser = kind(made, lr=1.0, **options)
    for step, lr in enumerate(rates(20)):
        for name, p in made.items():
            p.grad[...] = gradients[name][step]
        optimiser.lr = lr
        optimiser.step()
    for name, p in made.items():
        for at in np.ndindex(p.data.shape):
            wanted = by_hand(kind, options, float(start[name][at]), [float(g[at]) for g in gradients[name]])
            assert p.data[at] == pytest.approx(wanted, rel=1e-12, abs=1e-13), (name, at)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "options"), CASES, ids=IDS)
def test_updates_are_pytorchs(kind, options, dtype):
    import torch

    rng = np.random.default_rng(1)
    ours = parameters(rng, dtype)
    theirs = {name: torch.tensor(p.data.copy(), requires_grad=True) for name, p in ours.items()}
    optimiser = kind(ours, lr=1.0, **options)
    oracle = getattr(torch.optim, kind.__name__)(theirs.values(), lr=1.0, **options)
    for step, lr in enumerate(rates(20)):
        # The bias is frozen at first and the weight in between, so their steps are counted apart.
        frozen = {"conv.bias": step < 5, "conv.weight": 8 <= step < 11}
        optimiser.lr = oracle.param_groups[0]["lr"] = lr
        for name, p in ours.items():
            p.grad[...] = rng.normal(size=p.data.shape) * 10.0 ** rng.integers(-4, 3)
            p.trainable = not frozen.get(name, False)
            theirs[name].grad = torch.tensor(p.grad.copy()) if p.trainable else None
        optimiser.step()
        oracle.step()
    for name, p in ours.items():
        assert p.data.dtype == dtype
        bound = 1e-14 if dtype == "float64" else 2e-6
        np.testing.assert_allclose(p.data, theirs[name].detach().numpy(), rtol=bound, atol=bound, err_msg=name)


@pytest.mark.parametrize(("kind", "options"), CASES, ids=IDS)
def test_frozen_parameters_and_their_state_stay(kind, options):
    made = parameters(np.random.default_rng(2))
    optimiser = kind(made, lr=0.1, **options)
    made["conv.bias"].trainable = False
    before = {name: p.data.copy() for name, p in made.items()}
    state = optimiser.state_dict()
    for p in made.values():
        p.grad[...] = 1.0
    optimiser.step()
    for name, p in made.items():
        assert np.array_equal(p.data, before[name]) == (name == "conv.bias")
    for name, array in optimiser.state_dict().items():
        assert np.array_equal(array, state[name]) == name.endswith("conv.bias"), name


@pytest.mark.parametrize(("kind", "options"), CASES, ids=IDS)
def test_a_step_makes_no_large_array(kind, options):
    parameter = Parameter((1000, 250))
    optimiser = kind({"w": parameter}, lr=0.1, **options)
    parameter.grad[...] = 1.0
    data = parameter.data
    optimiser.step()
    tracemalloc.start()
    optimiser.step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.05 * data.nbytes
    assert parameter.data is data


@pytest.mark.parametrize(("kind", "options"), CASES, ids=IDS)
def test_state_goes_on_bit_for_bit(kind, options):
    rng = np.random.default_rng(3)
    ours = parameters(rng, np.float32)
    gradients = [{name: rng.normal(size=shape) for name, shape in SHAPES.items()} for _ in range(6)]
    optimiser = kind(ours, lr=0.1, **options)

    def steps(optimiser, made, numbers):
        for number in numbers:
            for name, p in made.items():
                p.grad[...] = gradients[number][name]
            optimiser.step()

    steps(optimiser, ours, range(3))
    saved = optimiser.state_dict()
    other = parameters(np.random.default_rng(4), np.float32)
    for name, p in other.items():
        p.data[...] = ours[name].data
    resumed = kind(other, lr=0.1, **options)
    steps(optimiser, ours, range(3, 6))
    resumed.load_state_dict(saved)
    steps(resumed, other, range(3, 6))
    for name in SHAPES:
        np.testing.assert_array_equal(ours[name].data, other[name].data)


def test_zero_grad_clears_every_gradient():
    made = parameters(np.random.default_rng(0))
    for p in made.values():
        p.grad[...] = 3.0
    SGD(made, lr=0.1).zero_grad()
    assert all(not p.grad.any() for p in made.values())


def test_state_of_another_optimiser_or_network_is_refused_and_changes_nothing():
    made = parameters(np.random.default_rng(0))
    adam = Adam(made)
    with pytest.raises(CheckpointError, match=r"Adam.*missing: mean/conv.weight.*unexpected: momentum/conv.weight"):
        adam.load_state_dict(SGD(made, lr=0.1).state_dict())
    state = adam.state_dict() | {"mean/conv.bias": np.ones(5)}
    with pytest.raises(CheckpointError, match=r"mean/conv.bias is \(5,\), wanted \(4,\)"):
        adam.load_state_dict(state)
    assert not adam.state["mean/conv.bias"].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: SGD(p, lr=-1), "lr must be at least 0; got -1"),
        (lambda p: SGD(p, lr=1, momentum=-0.5), "momentum must be at least 0"),
        (lambda p: SGD(p, lr=1, nesterov=True), "give a momentum above 0"),
        (lambda p: Adam(p, betas=(0.9, 1.0)), "betas are two numbers from 0 to below 1"),
        (lambda p: AdamW(p, weight_decay=-1), "weight_decay must be at least 0"),
        (lambda p: Adam(p, eps=-1), "eps must be at least 0"),
        (lambda p: SGD({}, lr=1), "SGD needs at least one parameter"),
    ],
)
def test_bad_options_are_named(make, message):
    with pytest.raises(OptionError, match=message):
        make(parameters(np.random.default_rng(0)))


@pytest.mark.parametrize(("kind", "options"), CASES, ids=IDS)
def test_pieces_on_several_threads_make_the_same_bits(kind, options, monkeypatch):
    def trained():
        rng = np.random.default_rng(8)
        made = parameters(rng, np.float32)
        optimiser = kind(made, lr=0.1, **options)
        for _ in range(3):
            for parameter in made.values():
                parameter.grad[...] = rng.normal(size=parameter.data.shape)
            optimiser.step()
        return [parameter.data for parameter in made.values()]

    whole = trained()
    monkeypatch.setattr(optimisers, "PIECE", 7)
    monkeypatch.setattr(optimisers, "_scratch", threading.local())
    with threadpool_limits(3, user_api="blas"):
        in_pieces = trained()
    for want, got in zip(whole, in_pieces, strict=True):
        np.testing.assert_array_equal(got, want)


def test_arrays_that_are_not_contiguous_are_refused():
    made = {"weight": Parameter((4, 3))}
    made["weight"].data = np.zeros((3, 4)).T
    with pytest.raises(OptionError, match="data and grad of weight must be contiguous"):
        SGD(made, lr=0.1).step()


@pytest.mark.parametrize(("kind", "options"), CASES, ids=IDS)
@pytest.mark.parametrize("piece", [optimisers.PIECE, 7])
@pytest.mark.parametrize(
    "parts", [[...], [slice(0, 3), slice(3, 4)], [(slice(None), slice(first, first + 2)) for first in (0, 2, 4)]]
)
def test_parts_are_updated_as_the_whole_is(kind, options, piece, parts, monkeypatch):
    """Also by gradients that lie in another order, as those of transformed kernels do; to the bit."""
    monkeypatch.setattr(optimisers, "PIECE", piece)
    rng = np.random.default_rng(3)
    found = []
    start, gradients = rng.standard_normal((4, 5, 3, 3)), rng.standard_normal((3, 3, 3, 4, 5))
    for whole in (True, False):
        w = Parameter(start.shape)
        w.data, w.grad = start.astype(np.float32), np.zeros_like(start, np.float32)
        optimiser = kind({"w": w}, lr=0.1, **options)
        for gradient in gradients.astype(np.float32).transpose(0, 3, 4, 1, 2):
            if whole:
                w.grad[...] = gradient
                optimiser.step()
                continue
            optimiser.count("w")
            for part in parts:
                optimiser.update_part("w", part, gradient[part])
        found.append([w.data, *optimiser.state.values()])
        assert whole or not w.grad.any()
    for one, other in zip(*found, strict=True):
        assert one.tobytes() == other.tobytes()


def test_a_step_besides_what_was_updated_already():
    made = parameters(np.random.default_rng(0))
    for parameter in made.values():
        parameter.grad[...] = 1
    before = {name: parameter.data.copy() for name, parameter in made.items()}
    optimiser = SGD(made, lr=0.1)
    optimiser.step(["conv.weight"])
    for name, parameter in made.items():
        assert np.array_equal(parameter.data, before[name]) == (name == "conv.weight")
        assert optimiser.state[f"steps/{name}"] == (name != "conv.weight")
