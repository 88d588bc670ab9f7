"""Kernels too large for a tile, cut into quarters; transposed ones turned; weights that workers share by channels."""

import numpy as np
import pytest
from agreement import assert_agrees, assert_near

from minisegnet import functional, models
from minisegnet.engine.convolution import WinogradConvolution
from minisegnet.engine.kernels import cuts_for
from minisegnet.engine.large_kernels import LargeKernels
from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, Concat, Conv2d, ConvTranspose2d, ReLU

BATCHES = [(1, 1, (21, 35)), (2, 3, (9, 12))]  # images, workers, size


@pytest.fixture
def many_weights(monkeypatch):
    """Every kernel counts as one of many weights."""
    monkeypatch.setattr("minisegnet.engine.forms.MANY_WEIGHTS", 1)


def network(layer, *followers, joined=False):
    """The layer between convolutions; joined: its input is two values side by side."""
    graph = Graph("large")
    image = graph.input("image", channels=3)
    x = graph.add("first", Conv2d(3, layer.in_channels - 2 * joined, 3, padding=1), image)
    if joined:
        x = graph.add("joined", Concat(), x, graph.add("beside", Conv2d(3, 2, 3, padding=1), image))
    x = graph.chain("layer", x, layer, *followers)
    return graph.output("score", Conv2d(layer.out_channels, 2, 3, padding=1), x).initialise(1)


def kind_of(graph, shape):
    """The class of the step that the layer became."""
    with graph.compile(shape) as compiled:
        (step,) = (step for step in compiled.plan.steps if step.name.startswith("layer"))
        return type(step)


# ------------------------------------------------------------------------------------------------ by Winograd's tiles

TILED = [(Conv2d, k, p) for k, p in ((4, 1), (5, 2), (6, 2), (6, 3), (7, 3))]
TILED += [(ConvTranspose2d, k, p) for k, p in ((2, 0), (3, 1), (3, 0), (3, 2), (5, 2), (5, 1), (7, 3), (6, 2))]


@pytest.mark.parametrize(("images", "workers", "size"), BATCHES)
@pytest.mark.parametrize(("kind", "kernel", "padding"), TILED)
def test_kernels_cut_and_turned(kind, kernel, padding, images, workers, size):
    graph, shape = network(kind(5, 6, kernel, padding=padding)), (images, 3, *size)
    assert kind_of(graph, shape) is WinogradConvolution
    assert_agrees(graph, shape, workers=workers)


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("kind", [Conv2d, ConvTranspose2d])
def test_quarters_of_joined_values_with_what_follows(kind, joined):
    graph = network(kind(5, 6, 7, padding=3), BatchNorm2d(6), ReLU(), joined=joined)
    assert_agrees(graph, (2, 3, 21, 35), workers=3)


@pytest.mark.parametrize("kind", [Conv2d, ConvTranspose2d])
@pytest.mark.parametrize("kernel", [3, 7])
def test_evaluation_folds_the_normalisation(kernel, kind):
    graph = network(kind(5, 6, kernel, padding=kernel // 2, bias=False), BatchNorm2d(6), ReLU()).astype(np.float64)
    rng = np.random.default_rng(5)
    for buffer in graph.buffers.values():
        buffer[...] = rng.uniform(0.5, 2, buffer.shape)
    x = rng.standard_normal((1, 3, 21, 35))
    with graph.compile(x.shape, training=False) as compiled:
        assert_near(compiled.predict(x), graph.predict(x), 1e-12)


def test_which_kernels_are_cut():
    assert [cuts_for(kernel, kernel // 2, 4) for kernel in range(1, 10)] == [None, 1, 1, 1, 1, 2, 2, None, None]
    assert cuts_for(7, 3, 2) == 1
    assert [cuts_for(7, padding, 4) for padding in range(7)] == [None, None, None, 2, None, None, None]
    assert cuts_for(3, 3, 4) is None


def test_error_in_float32():
    """Of the largest value, with 64 channels and weights as they start: 8e-6 was measured, 6e-6 for 3 x 3 kernels."""
    graph = Graph("one")
    graph.output("layer", Conv2d(64, 16, 7, padding=3), graph.input("image", channels=64)).initialise(1)
    weight = graph.parameters["layer.weight"].data
    x = np.random.default_rng(2).standard_normal((1, 64, 24, 24), np.float32)
    want, _ = functional.conv2d_forward(x.astype(float), weight.astype(float), None, 1, 3, 1)
    with graph.compile(x.shape, training=False) as compiled:
        error = np.abs(compiled.predict(x) - want).max() / np.abs(want).max()
    assert 0 < error < 3e-5


# ------------------------------------------------------------------------------------------------- channels by worker

SHARED = [
    lambda: Conv2d(5, 7, 7, padding=3),
    lambda: Conv2d(5, 7, 7),
    lambda: Conv2d(5, 7, 1),
    lambda: Conv2d(5, 7, 6, 2, 1),
    lambda: Conv2d(5, 7, (7, 6), (1, 2), (2, 0)),
    lambda: Conv2d(5, 2, 1, bias=False),
    lambda: ConvTranspose2d(5, 7, 7),
    lambda: ConvTranspose2d(5, 7, 7, padding=3),
    lambda: ConvTranspose2d(5, 7, 6, 2, 1, output_padding=1),
    lambda: ConvTranspose2d(5, 2, 1),
]


@pytest.mark.parametrize(("images", "workers", "size"), BATCHES)
@pytest.mark.parametrize("build", SHARED, ids=[repr(build()) for build in SHARED])
def test_channels_by_worker(build, images, workers, size, many_weights):
    graph, shape = network(build()), (images, 3, *size)
    assert kind_of(graph, shape) is LargeKernels
    assert_agrees(graph, shape, workers=workers)


@pytest.mark.parametrize("small_products", [False, True])
def test_few_pixels_and_few_kernels_at_once(small_products, monkeypatch, many_weights):
    monkeypatch.setattr("minisegnet.engine.large_kernels.has_small_products", lambda: small_products)
    monkeypatch.setattr("minisegnet.engine.large_kernels.PIXELS", 20)
    monkeypatch.setattr("minisegnet.engine.large_kernels.KERNELS", (2, 3))
    monkeypatch.setattr("minisegnet.engine.large_kernels.FEW_KERNELS", 4)
    for layer in (Conv2d(5, 7, 7, padding=3), ConvTranspose2d(5, 7, 7)):
        assert_agrees(network(layer), (3, 3, 9, 7), workers=2)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("layer", [Conv2d(24, 30, 7, padding=3), ConvTranspose2d(30, 24, 7, padding=3)], ids=repr)
def test_long_sums_in_parts(layer, workers, many_weights):
    assert_agrees(network(layer), (1, 3, 9, 7), workers=workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_deconvnet(workers, many_weights):
    graph = models.deconvnet(3, width=2, size=32, middle=6)
    assert_agrees(graph, (2, 3, 40, 65), workers=workers, bound=1e-10, to_inputs=False)


def test_few_pixels_are_not_worth_transforming_weights():
    for size, kind in (((16, 16), LargeKernels), ((16, 17), WinogradConvolution)):
        assert kind_of(network(Conv2d(176, 176, 3, padding=1)), (1, 3, *size)) is kind
