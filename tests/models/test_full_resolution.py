"""The full-resolution network: nothing is made smaller, and each layer sees one pixel farther."""

import numpy as np
import pytest

from minisegnet.errors import OptionError, ShapeError
from minisegnet.models.full_resolution import full_resolution
from minisegnet.teaching import check_graph


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 4), (33, 20)])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_every_layer_has_the_images_size(in_channels, size):
    graph = full_resolution(4, in_channels, width=2, depth=3)
    assert {shape[2:] for shape in graph.shapes((2, in_channels, *size)).values()} == {size}
    x = np.random.default_rng(0).standard_normal((2, in_channels, *size)).astype(np.float32)
    score = graph.forward(x)
    assert score.shape == (2, 4, *size)
    assert graph.backward(np.ones_like(score)).shape == x.shape


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_pixel_sees_as_far_as_the_network_is_deep(depth):
    graph = full_resolution(2, 1, width=16, depth=depth, seed=depth).eval()
    graph.forward(np.random.default_rng(1).standard_normal((1, 1, 15, 15)).astype(np.float32))
    dy = np.zeros((1, 2, 15, 15), np.float32)
    dy[0, 0, 7, 7] = 1
    rows, columns = np.nonzero(graph.backward(dy)[0, 0])
    seen = list(range(7 - depth, 7 + depth + 1))
    assert sorted(set(rows)) == sorted(set(columns)) == seen


@pytest.mark.parametrize(("width", "depth"), [(1, 1), (5, 3), (64, 6)])
def test_parameters(width, depth):
    graph = full_resolution(7, 2, width, depth)
    convolutions = 9 * (2 * width + (depth - 1) * width * width)
    wanted = convolutions + 2 * width * depth + 7 * (width + 1)
    assert sum(parameter.data.size for parameter in graph.parameters.values()) == wanted


@pytest.mark.parametrize("training", [True, False])
def test_gradient_check(training):
    graph = full_resolution(3, 1, width=3, depth=2, seed=1)
    graph.train() if training else graph.eval()
    report = check_graph(graph, np.random.default_rng(2).standard_normal((2, 1, 5, 4)))
    assert report.ok, report
    assert report.worst.error < 1e-6


def test_the_seed_makes_the_weights():
    one, same, other = (full_resolution(2, width=2, depth=2, seed=seed).state_dict() for seed in (3, 3, 4))
    for name in one:
        np.testing.assert_array_equal(one[name], same[name], name)
    assert (one["layer0.0.weight"] != other["layer0.0.weight"]).all()


@pytest.mark.parametrize("name", ["num_classes", "in_channels", "width", "depth"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "3", None])
def test_numbers_it_does_not_take(name, value):
    with pytest.raises(OptionError, match=f"{name} must be a whole number of at least 1; got {value!r}"):
        full_resolution(**({"num_classes": 2, "width": 1} | {name: value}))


def test_images_of_other_channels():
    with pytest.raises(ShapeError, match="has 3 channels"):
        full_resolution(2, width=1, depth=1).output_shape((1, 1, 8, 8))
