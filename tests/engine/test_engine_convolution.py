"""Convolutions by the engine, with what follows them: against the layers in float64, in float32 within a bound."""

import numpy as np
import pytest
from conftest import assert_close

from minisegnet.engine import kernels
from minisegnet.engine.engine import Engine
from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, Conv2d, ConvTranspose2d, ReLU

SEED = 7


def network(*layers, channels):
    graph = Graph("some layers")
    x = graph.input("image", channels)
    if len(layers) > 1:
        x = graph.chain("layer", x, *layers[:-1])
    return graph.output("last", layers[-1], x).initialise(SEED)


def both_ways(graph, shape, workers=1, dtype=np.float64, **options):
    """(by layers, by the engine) of the output and every gradient, the images' included."""
    rng = np.random.default_rng(SEED)
    graph.astype(dtype).train()
    x = rng.standard_normal(shape).astype(dtype)
    before = graph.state_dict()
    y = graph.forward(x)
    dy = rng.standard_normal(y.shape).astype(dtype)
    graph.zero_grad()
    plain = [y, graph.backward(dy), *(parameter.grad.copy() for parameter in graph.parameters.values())]
    plain += graph.state_dict().values()
    graph.load_state_dict(before)
    graph.zero_grad()
    with Engine(graph, workers=workers, to_inputs=True, **options) as engine:
        fast = [engine.forward(x), engine.backward(dy)]
    fast += [parameter.grad.copy() for parameter in graph.parameters.values()]
    fast += graph.state_dict().values()
    return plain, fast


def check(graph, shape, bound=1e-12, **options):
    names = ["output", "dimages", *graph.parameters, *graph.state_dict()]
    for name, one, other in zip(names, *both_ways(graph, shape, **options), strict=True):
        assert_close(other, one, bound, name)


CASES = [
    # kernel, padding, channels, out_channels, shape of the image
    (3, 1, 5, 7, (2, 8, 12)),
    (3, 1, 3, 4, (1, 5, 3)),
    (3, 0, 4, 6, (2, 11, 9)),
    (3, 2, 4, 3, (3, 6, 7)),
    (2, 1, 3, 5, (2, 9, 10)),
    (2, 0, 3, 5, (1, 4, 4)),
    (4, 1, 6, 2, (2, 10, 13)),
    (5, 2, 4, 4, (2, 13, 6)),
    (5, 0, 4, 4, (1, 8, 9)),
    (3, 1, 70, 66, (2, 5, 6)),
    (1, 0, 6, 9, (3, 7, 5)),
    (3, 1, 2, 3, (2, 1, 1)),
]


@pytest.mark.parametrize("kernel, padding, channels, out_channels, size", CASES)
@pytest.mark.parametrize("follows", ["nothing", "bias relu", "norm", "bias norm relu"])
def test_convolution_and_what_follows(kernel, padding, channels, out_channels, size, follows):
    N, H, W = size
    layers = [Conv2d(channels, out_channels, kernel, padding=padding, bias="bias" in follows)]
    layers += [BatchNorm2d(out_channels)] * ("norm" in follows) + [ReLU()] * ("relu" in follows)
    graph = network(*layers, channels=channels)
    for parameter in graph.parameters.values():
        parameter.data += 0.3 * np.random.default_rng(1).standard_normal(parameter.data.shape, np.float32)
    check(graph, (N, channels, H, W), bound=1e-11)


@pytest.mark.parametrize("workers", [2, 3, 5])
@pytest.mark.parametrize("images", [1, 2, 3])
@pytest.mark.parametrize("few", [0, 2**17], ids=["kernels shared out", "kernels by each"])
def test_workers_make_the_same_numbers(monkeypatch, workers, images, few):
    """By images of their own where these divide evenly, by rows of every image where not."""
    monkeypatch.setattr(kernels, "FEW_WEIGHTS", few)
    layers = [Conv2d(3, 6, 3, padding=1, bias=False), BatchNorm2d(6), ReLU(), ConvTranspose2d(6, 4, 2, stride=2)]
    check(network(*layers, ReLU(), Conv2d(4, 2, 1), channels=3), (images, 3, 13, 10), workers=workers, bound=1e-11)


@pytest.mark.parametrize("stamp, channels", [(2, 5), (3, 4), (4, 2)])
@pytest.mark.parametrize("size", [(2, 6, 9), (1, 1, 2), (3, 4, 4)])
def test_stamps_that_touch(stamp, channels, size):
    graph = network(ConvTranspose2d(channels, 3, stamp, stride=stamp), BatchNorm2d(3), ReLU(), channels=channels)
    check(graph, (size[0], channels, *size[1:]), bound=1e-11)


def test_float32_stays_within_winograds_rounding():
    """docs/engine.md tells the bound; direct convolution has 3e-7 here."""
    rng = np.random.default_rng(SEED)
    for channels in (16, 64):
        graph = network(Conv2d(channels, 32, 3, padding=1), channels=channels)
        x = np.maximum(rng.standard_normal((2, channels, 20, 24)), 0)
        with Engine(graph) as engine:
            fast = engine.predict(x.astype(np.float32))
        exact = graph.astype(np.float64).predict(x)
        assert np.abs(fast - exact).max() <= 6e-6 * np.abs(exact).max()


@pytest.mark.parametrize("mean", [0, 300])
def test_batch_statistics_of_a_large_mean(mean):
    """In float32: the statistics of the second pass know the running ones, those of the first do not."""
    graph = network(Conv2d(8, 9, 1, bias=False), BatchNorm2d(9), ReLU(), Conv2d(9, 2, 1), channels=8)
    rng = np.random.default_rng(SEED)
    x, dy = rng.standard_normal((2, 8, 9, 21)) + mean, rng.standard_normal((2, 2, 9, 21))
    graph.astype(np.float64)
    exact = graph.forward(x)
    graph.astype(np.float32)
    with Engine(graph) as engine:
        for _ in range(2):
            graph.zero_grad()
            y = engine.forward(x.astype(np.float32))
            engine.backward(dy.astype(np.float32))
            assert np.abs(y - exact).max() <= (2e-6 if mean == 0 else 2e-4) * np.abs(exact).max()
            assert all(np.isfinite(parameter.grad).all() for parameter in graph.parameters.values())


def test_batch_norm_whose_weights_are_zero():
    """Its output says nothing about its input then, so the gradient by the weight needs the input itself."""
    graph = network(Conv2d(3, 4, 3, padding=1), BatchNorm2d(4), ReLU(), Conv2d(4, 2, 1), channels=3)
    norm = graph.nodes["layer.1"].layer
    norm.weight.data[:2] = 0
    norm.bias.data[...] = [0.5, 0, -1, 2]
    check(graph, (2, 3, 6, 7), bound=1e-11)


def test_frozen_statistics_are_folded_into_the_weights():
    graph = network(Conv2d(3, 4, 3, padding=1), BatchNorm2d(4), ReLU(), Conv2d(4, 2, 3, padding=1), channels=3)
    norm = graph.nodes["layer.1"].layer
    norm.buffers["running_mean"][...] = [0.3, -1, 0, 2]
    norm.buffers["running_var"][...] = [0.3, 2, 1, 4]
    norm.freeze()
    check(graph, (2, 3, 6, 7), bound=1e-11)
    with Engine(graph) as engine:
        assert len(engine.plan((2, 3, 6, 7)).steps) == 3  # two convolutions and the exit: the norm is no step
