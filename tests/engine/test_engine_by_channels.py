"""What convolutions by channels share: joined inputs, what follows them, frozen weights."""

import numpy as np
import pytest
from agreement import assert_agrees
from test_engine_large_kernels import kind_of, network

from minisegnet.engine.engine import Engine
from minisegnet.engine.large_kernels import LargeKernels
from minisegnet.engine.winograd_by_channels import WinogradByChannels
from minisegnet.layers import BatchNorm2d, Conv2d, ConvTranspose2d, ReLU

IMAGES = (2, 3, 9, 10)


WAYS = {"large kernels": (LargeKernels, 7, 64), "winograd": (WinogradByChannels, 3, 64)}
WAYS["winograd, few channels at once"] = (WinogradByChannels, 3, 3)


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def layer(request, monkeypatch):
    """layer(kind): a convolution that keeps its image's size and becomes the step in question."""
    step, kernel, at_once = request.param
    monkeypatch.setattr("minisegnet.engine.winograd_by_channels.CHANNELS", at_once)
    monkeypatch.setattr("minisegnet.engine.forms.MANY_WEIGHTS", 1)
    monkeypatch.setattr("minisegnet.engine.forms.WEIGHTS_TO_SHARE", 1)

    def built(kind):
        return kind(5, 7, kernel, padding=kernel // 2)

    assert kind_of(network(built(Conv2d)), IMAGES) is step
    return built


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("kind", [Conv2d, ConvTranspose2d])
@pytest.mark.parametrize(("images", "workers"), [(2, 1), (2, 3), (4, 2)])
def test_with_what_follows(kind, joined, images, workers, layer):
    graph = network(layer(kind), BatchNorm2d(7), ReLU(), joined=joined)
    assert_agrees(graph, (images, *IMAGES[1:]), workers=workers)
    assert_agrees(graph, (images, *IMAGES[1:]), workers=workers, to_inputs=False)  # images apart where they divide


@pytest.mark.parametrize("kind", [Conv2d, ConvTranspose2d])
def test_a_normalisation_by_constants_is_folded_into_the_products(kind, layer):
    graph = network(layer(kind), BatchNorm2d(7), ReLU()).astype(np.float64)
    rng = np.random.default_rng(5)
    for buffer in graph.buffers.values():
        buffer[...] = rng.uniform(0.5, 2, buffer.shape)
    graph.layers["layer.1"].freeze()
    assert_agrees(graph, IMAGES, workers=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_steps_share_the_memory_of_their_exchange(workers, layer, monkeypatch):
    convolution = layer(Conv2d)
    again = Conv2d(7, 7, convolution.kernel_size, padding=convolution.padding)
    graph = network(convolution, ReLU(), again)
    assert_agrees(graph, IMAGES, workers=workers)
    seen = []
    step = kind_of(network(layer(Conv2d)), IMAGES)
    made = step.make_output
    monkeypatch.setattr(step, "make_output", lambda self, x, y, scale: (seen.append((x, y)), made(self, x, y, scale)))
    with Engine(graph, workers=workers) as engine:
        engine.forward(np.random.default_rng(5).standard_normal(IMAGES))
        engine.forward(np.random.default_rng(6).standard_normal(IMAGES))
    *_, (x1, y1), (x2, y2) = seen
    assert np.shares_memory(x1, x2)
    assert not np.shares_memory(x1, y1)
    assert not np.shares_memory(x2, y2)


def test_a_frozen_kernel_has_no_gradient(layer):
    graph = network(layer(Conv2d))
    graph.layers["layer.0"].freeze()
    assert_agrees(graph, IMAGES, workers=3)
    assert not graph.parameters["layer.0.weight"].grad.any()
