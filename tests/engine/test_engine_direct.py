"""The engine's direct convolution: any kernel, stride, padding and dilation; the taps that join two images."""

import itertools

import numpy as np
import pytest
from agreement import assert_agrees, assert_near

from minisegnet.engine.direct_convolution import DirectConvolution, roll, unroll
from minisegnet.engine.taps import to_input, to_output
from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, Concat, Conv2d, ConvTranspose2d, ReLU

BATCHES = [(1, 1, (21, 35)), (2, 3, (14, 17))]  # images, workers, size


def network(layer, *followers, joined=False):
    """The layer between convolutions; joined: its input is two values side by side."""
    graph = Graph("direct")
    image = graph.input("image", channels=3)
    x = graph.add("first", Conv2d(3, layer.in_channels - 2 * joined, 3, padding=1), image)
    if joined:
        x = graph.add("joined", Concat(), x, graph.add("beside", Conv2d(3, 2, 3, padding=1), image))
    x = graph.chain("layer", x, layer, *followers)
    return graph.output("score", Conv2d(layer.out_channels, 2, 3, padding=1), x).initialise(1)


def direct_steps(graph, shape):
    with graph.compile(shape) as compiled:
        return [step for step in compiled.plan.steps if isinstance(step, DirectConvolution)]


LAYERS = [
    lambda: Conv2d(5, 6, 3, 2, 1),
    lambda: Conv2d(5, 6, 1, 2),
    lambda: Conv2d(5, 3, 1, 2, 1),
    lambda: Conv2d(4, 6, 7, 2, 3),
    lambda: Conv2d(5, 6, 3, 1, 2, 2),
    lambda: Conv2d(5, 6, 3, 1, 4, 4, bias=False),
    lambda: Conv2d(5, 6, 3, 2, 1, 2),
    lambda: Conv2d(3, 5, 3, 3),
    lambda: Conv2d(5, 4, (7, 1), 1, (3, 0)),
    lambda: Conv2d(5, 4, (1, 5), 1, (0, 2)),
    lambda: Conv2d(5, 3, (2, 3), (3, 2), (1, 0), (2, 1)),
    lambda: Conv2d(4, 3, 9, 1, 4),
    lambda: Conv2d(4, 3, 3, 1, 4),
    lambda: Conv2d(4, 3, 7, 1, 2),
    lambda: Conv2d(4, 3, 2, 4, 0, 3),
    lambda: Conv2d(4, 3, 5, 7),
    lambda: ConvTranspose2d(4, 3, 3, 1, 1, dilation=2),
    lambda: ConvTranspose2d(4, 3, (3, 1), 1, (2, 0)),
    lambda: ConvTranspose2d(4, 3, 9, 1, 2, bias=False),
]


@pytest.mark.parametrize(("images", "workers", "size"), BATCHES)
@pytest.mark.parametrize("build", LAYERS, ids=[repr(build()) for build in LAYERS])
def test_any_convolution(build, images, workers, size):
    graph, shape = network(build()), (images, 3, *size)
    assert len(direct_steps(graph, shape)) == 1
    assert_agrees(graph, shape, workers=workers)


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("followers", [(ReLU(),), (BatchNorm2d(6),), (BatchNorm2d(6), ReLU())], ids=repr)
def test_what_follows_is_computed_in_the_same_blocks(followers, joined):
    assert_agrees(network(Conv2d(5, 6, 3, 2, 1), *followers, joined=joined), (2, 3, 21, 35), workers=3)


@pytest.mark.parametrize("layer", [Conv2d(5, 6, 3, 2, 1), ConvTranspose2d(5, 6, 3, dilation=2)], ids=repr)
def test_evaluation_folds_the_normalisation(layer):
    graph = network(layer, BatchNorm2d(6), ReLU()).astype(np.float64)
    rng = np.random.default_rng(5)
    for buffer in graph.buffers.values():
        buffer[...] = rng.uniform(0.5, 2, buffer.shape)
    x = rng.standard_normal((2, 3, 21, 35))
    with graph.compile(x.shape, training=False) as compiled:
        assert_near(compiled.predict(x), graph.predict(x), 1e-12)


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_with_images_of_their_own(workers):
    assert_agrees(network(Conv2d(5, 6, 3, 2, 1), BatchNorm2d(6)), (6, 3, 11, 9), workers=workers, to_inputs=False)


def test_blocks_cut_rows_without_changing_them(monkeypatch):
    monkeypatch.setattr("minisegnet.engine.direct_convolution.BLOCK", 300)
    monkeypatch.setattr("minisegnet.engine.direct_convolution.ROWS", 100)
    for layer in (Conv2d(5, 6, 3, 2, 1), Conv2d(5, 6, 9, 1, 4), Conv2d(5, 6, 5, 3, 2, 2)):
        assert_agrees(network(layer), (2, 3, 21, 35))


def test_a_frozen_convolution_hands_its_gradient_on():
    graph = network(Conv2d(5, 6, 3, 2, 1))
    graph.layers["layer.0"].freeze()
    assert_agrees(graph, (2, 3, 21, 35), workers=2)
    assert not graph.parameters["layer.0.weight"].grad.any()


OPTIONS = list(itertools.product((1, 2, 5), (1, 2, 3, 4), (0, 2), (1, 2, 3)))


@pytest.mark.parametrize("kernel, stride, padding, dilation", OPTIONS)
def test_every_tap_joins_the_pixels_that_it_should(kernel, stride, padding, dilation):
    """Once in the group of each output position, once in those of each input position."""
    size = 19
    outputs = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    want = {
        (stride * i - padding + dilation * k, i, k)
        for i in range(outputs)
        for k in range(kernel)
        if 0 <= stride * i - padding + dilation * k < size
    }

    def met(groups, length):
        for group in groups:
            taps = range(kernel)[group.taps]
            assert len(taps) == group.length
            windows = group.among(0, length)
            for u in windows:
                for place, k in enumerate(taps):
                    source = group.stride * u + group.start + group.spread * place
                    assert source in group.sources(windows)
                    yield group.step * u + group.first, source, k

    options = kernel, stride, padding, dilation
    down = [(j, i, k) for i, j, k in met(to_output(*options), outputs) if 0 <= j < size]
    up = [(j, i, k) for j, i, k in met(to_input(*options), size) if 0 <= i < outputs]
    assert len(down) == len(up) == len(want)
    assert set(down) == set(up) == want


@pytest.mark.parametrize("m, left, columns", [(4, 0, 13), (4, -3, 20), (4, 2, 9), (2, -1, 15), (4, 14, 5), (1, -2, 18)])
def test_unrolled_rows_are_the_image_with_zeros_around(m, left, columns):
    rng = np.random.default_rng(m + columns)
    width = 13
    image = rng.standard_normal((3, width, 2))
    rows = np.full((4, m, -(-width // m), 2), np.nan)
    roll(image, rows)
    assert not rows[3].any()
    got = np.full((3, columns, 2), np.nan)
    unroll(rows[:3], left, got)
    for column in range(columns):
        want = image[:, left + column] if 0 <= left + column < width else np.zeros((3, 2))
        np.testing.assert_array_equal(got[:, column], want)
