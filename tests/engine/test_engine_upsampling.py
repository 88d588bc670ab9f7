"""Upsampling and pooling in the engine, by layers that make each row and column out of a few of another image's."""

import numpy as np
import pytest
from agreement import assert_agrees, assert_near

from minisegnet.graph import Graph
from minisegnet.layers import (
    AvgPool2d,
    BedOfNails2d,
    Concat,
    Conv2d,
    GlobalAvgPool2d,
    MaxPool2d,
    NearestUnpool2d,
    ReLU,
    UpsampleBilinear2d,
)

BATCHES = [(1, 1), (3, 2)]  # images, workers


def resampled(layer, size=None):
    """The layer behind a value that is read twice; with a size, the output is of the size of another value."""
    graph = Graph("resampled")
    x = graph.chain("a", graph.input("image", channels=3), Conv2d(3, 4, 3, padding=1), ReLU())
    size_of = None if size is None else graph.add("size", Conv2d(1, 4, 1), graph.input("other", channels=1))
    y = graph.add("layer", layer, x, size_of=size_of)
    if size_of is not None:
        y = graph.add("joined", Concat(), y, size_of)
    graph.output("before", Conv2d(4, 1, 1), x)
    return graph.output("score", Conv2d(4 if size is None else 8, 2, 3, padding=1), y).initialise(1)


def agrees(layer, images, workers, size=None, **options):
    others = [] if size is None else [(images, 1, *size)]
    assert_agrees(resampled(layer, size), (images, 3, 13, 22), *others, workers=workers, **options)


@pytest.mark.parametrize(("images", "workers"), BATCHES)
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("scale", "size"), [(2, None), ((3, 1), None), (2, (13, 50)), (2, (1, 1)), (8, (90, 40))])
def test_bilinear(scale, size, align_corners, images, workers):
    agrees(UpsampleBilinear2d(scale, align_corners), images, workers, size)


@pytest.mark.parametrize(("images", "workers"), BATCHES)
@pytest.mark.parametrize(("scale", "size"), [(2, None), ((2, 3), (40, 101)), (2, (30, 20)), (1, (7, 64))])
def test_nearest(scale, size, images, workers):
    agrees(NearestUnpool2d(scale), images, workers, size)


@pytest.mark.parametrize(("images", "workers"), BATCHES)
@pytest.mark.parametrize(("stride", "size"), [(2, None), ((3, 2), (64, 70)), (2, (41, 69))])
def test_bed_of_nails(stride, size, images, workers):
    agrees(BedOfNails2d(stride), images, workers, size)


def test_between_nails_there_are_zeros_whatever_stands_on_them():
    graph = Graph("nails")
    x = graph.add("nails", BedOfNails2d(2), graph.input("image", channels=1))
    graph.output("relu", ReLU(), x)
    x = np.full((1, 1, 3, 5), np.inf, np.float32)
    np.testing.assert_array_equal(graph.compile(x.shape).forward(x), graph.forward(x))


@pytest.mark.parametrize(("images", "workers"), BATCHES)
@pytest.mark.parametrize(
    "layer",
    [
        AvgPool2d(2),
        AvgPool2d(2, ceil_mode=True),
        AvgPool2d((3, 5)),
        AvgPool2d(3, 2, 1),
        AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        AvgPool2d(7, 1),
        GlobalAvgPool2d(),
    ],
    ids=repr,
)
def test_average_pooling(layer, images, workers):
    agrees(layer, images, workers)


POOLINGS = [
    MaxPool2d(3, 2, 1),
    MaxPool2d(3, 2, ceil_mode=True),
    MaxPool2d(3, 1, 1),
    MaxPool2d((2, 3), (3, 1), (1, 0)),
    MaxPool2d(3, 2, 1, dilation=2),
    MaxPool2d(5, 4, 2, ceil_mode=True),
    MaxPool2d(2, 3),
    MaxPool2d((18, 15), 9, (9, 7)),  # more pixels a window than a byte can number
]


@pytest.mark.parametrize(("images", "workers"), BATCHES)
@pytest.mark.parametrize("layer", POOLINGS, ids=repr)
def test_max_pooling_by_any_windows(layer, images, workers):
    agrees(layer, images, workers)


@pytest.mark.parametrize("layer", POOLINGS, ids=repr)
def test_ties_go_to_the_first_pixel(layer):
    graph = Graph("ties")
    x = graph.add("pool", layer, graph.input("image", channels=2))
    graph.output("score", Conv2d(2, 3, 1), x).initialise(2)

    def few_numbers(rng, size):
        return rng.choice([-1.0, -2.0, -3.0], size=size)

    assert_agrees(graph, (2, 2, 13, 22), sample=few_numbers)


def test_max_pooling_hands_a_gradient_to_the_first_nan():
    graph = Graph("nan")
    graph.output("pool", MaxPool2d(3, 2, 1), graph.input("image", channels=1))
    x = np.random.default_rng(3).standard_normal((1, 1, 9, 9)).astype(np.float32)
    x[0, 0, [2, 2, 5], [3, 4, 5]] = np.nan
    y = graph.forward(x)
    dy = np.random.default_rng(4).standard_normal(y.shape).astype(np.float32)
    want = graph.backward(dy)
    compiled = graph.compile(x.shape, to_inputs=True)
    np.testing.assert_array_equal(compiled.forward(x), y)
    assert_near(compiled.backward(dy), want, 1e-6)
