"""The encoder-decoder: every upsampling restores every size, and does what it says to a value."""

import copy
import pickle
import re

import numpy as np
import pytest

from minisegnet.errors import OptionError, ShapeError
from minisegnet.layers import AvgPool2d, MaxPool2d
from minisegnet.models.encoder_decoder import UPSAMPLINGS, encoder_decoder
from minisegnet.teaching import check_graph

every_upsampling = pytest.mark.parametrize("upsampling", UPSAMPLINGS)


@every_upsampling
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (16, 24), (15, 17), (37, 50)])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_any_size_comes_back(in_channels, size, upsampling):
    graph = encoder_decoder(4, in_channels, width=2, depth=3, upsampling=upsampling)
    x = np.random.default_rng(0).standard_normal((2, in_channels, *size)).astype(np.float32)
    score = graph.forward(x)
    assert score.shape == graph.output_shape(x.shape) == (2, 4, *size)
    assert np.isfinite(score).all()
    assert graph.backward(np.ones_like(score)).shape == x.shape


@every_upsampling
def test_levels_halve_and_double(upsampling):
    shapes = encoder_decoder(5, width=8, depth=3, upsampling=upsampling).shapes((1, 3, 45, 62))
    sizes = [(45, 62), (23, 31), (12, 16), (6, 8)]
    last = f"up{{}}{'.1' if upsampling == 'transposed' else ''}"
    for level in range(3):
        channels = 8 * 2**level
        assert shapes[f"encoder{level}.2"] == (1, channels, *sizes[level])
        assert shapes[f"pool{level}"] == (1, channels, *sizes[level + 1])
        assert shapes[last.format(level)] == (1, channels, *sizes[level])
        assert shapes[f"decoder{level}.2"] == (1, max(8, channels // 2), *sizes[level])
    assert shapes["bottom.2"] == (1, 32, 6, 8)


@every_upsampling
def test_the_pooling_fits_the_upsampling(upsampling):
    graph = encoder_decoder(2, width=1, depth=2, upsampling=upsampling)
    pool = graph.layers["pool0"]
    assert type(pool) is (AvgPool2d if upsampling == "nearest" else MaxPool2d)
    assert (pool.outputs == 2) == (upsampling == "max_unpool")


@pytest.mark.parametrize("size", [(12, 10), (11, 13)])
def test_what_each_upsampling_does(size):
    """At its node, on odd and even sizes: where the values of the node before it are found again."""
    x = np.random.default_rng(1).standard_normal((2, 3, *size)).astype(np.float32)
    for upsampling in ("max_unpool", "nearest", "bed_of_nails"):
        graph = encoder_decoder(2, width=4, depth=2, upsampling=upsampling)
        steps = {step.node: step for step in graph.steps(x)}
        small, large = steps["up0"].inputs[0], steps["up0"].output
        blocks = np.repeat(np.repeat(small, 2, axis=2), 2, axis=3)[:, :, : size[0], : size[1]]
        found = np.zeros_like(large, bool)
        if upsampling == "nearest":
            found[...] = True
        elif upsampling == "bed_of_nails":
            found[:, :, ::2, ::2] = True
        else:
            before = steps["pool0"].inputs[0]
            pooled = steps["pool0"].output[0]
            maxima = np.repeat(np.repeat(pooled, 2, axis=2), 2, axis=3)[:, :, : size[0], : size[1]]
            found = (before == maxima) & (before > 0)  # where ReLU left zeros, the first of them
            large = np.where(maxima > 0, large, 0)
        np.testing.assert_array_equal(large, np.where(found, blocks, 0), upsampling)


@every_upsampling
@pytest.mark.parametrize("shape", [(2, 1, 8, 4), (2, 3, 5, 7)])
def test_gradient_check(shape, upsampling):
    graph = encoder_decoder(3, shape[1], width=3, depth=2, upsampling=upsampling, seed=2)
    report = check_graph(graph, np.random.default_rng(3).standard_normal(shape), elements=1, directions=1)
    assert report.ok, report
    assert report.worst.error < 1e-6


@every_upsampling
@pytest.mark.parametrize(("width", "depth"), [(1, 1), (3, 2), (4, 4)])
def test_parameters(width, depth, upsampling):
    graph = encoder_decoder(7, 2, width, depth, upsampling)
    widths = [width * 2**level for level in range(depth)]
    down = list(zip([2, *widths], [*widths, widths[-1]], strict=True))  # and the bottom
    up = list(zip(widths, [width, *widths], strict=False))
    wanted = sum(9 * given * made + 2 * made for given, made in down + up) + 7 * (width + 1)
    if upsampling == "transposed":
        wanted += sum(16 * channels**2 for channels in widths)
    assert sum(parameter.data.size for parameter in graph.parameters.values()) == wanted


def test_upsamplings_without_weights_start_from_the_same_network():
    states = {upsampling: encoder_decoder(2, width=2, upsampling=upsampling).state_dict() for upsampling in UPSAMPLINGS}
    for upsampling in UPSAMPLINGS:
        for name, array in states["max_unpool"].items():
            np.testing.assert_array_equal(states[upsampling][name], array, f"{upsampling} {name}")
        assert (states[upsampling].keys() == states["max_unpool"].keys()) == (upsampling != "transposed")


@every_upsampling
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda graph: pickle.loads(pickle.dumps(graph))])
def test_a_copy_computes_the_same(duplicate, upsampling):
    graph = encoder_decoder(2, width=2, depth=1, upsampling=upsampling)
    x = np.random.default_rng(4).standard_normal((1, 3, 6, 7)).astype(np.float32)
    np.testing.assert_array_equal(duplicate(graph).predict(x), graph.predict(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"upsampling": "cubic"}, f"upsampling must be one of {', '.join(UPSAMPLINGS)}; got 'cubic'"),
        ({"depth": 0}, "depth must be a whole number of at least 1; got 0"),
        ({"width": 1.5}, "width must be a whole number of at least 1; got 1.5"),
        ({"in_channels": -1}, "in_channels must be a whole number of at least 1; got -1"),
        ({"num_classes": True}, "num_classes must be a whole number of at least 1; got True"),
    ],
)
def test_options_it_does_not_know(arguments, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        encoder_decoder(**({"num_classes": 2, "width": 1} | arguments))


def test_images_of_other_channels():
    with pytest.raises(ShapeError, match="has 3 channels"):
        encoder_decoder(2, width=1).output_shape((1, 1, 8, 8))
