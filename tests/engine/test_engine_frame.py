"""Layers that make rows and columns of others, in the engine: crops, mirrored edges; and how lines are gathered."""

import numpy as np
import pytest
from agreement import assert_agrees, assert_near

from minisegnet.engine.borders import collect, spread
from minisegnet.engine.gathering import Gathering
from minisegnet.engine.resampling import FramedInput
from minisegnet.engine.scratch import Scratch
from minisegnet.engine.value import Value
from minisegnet.graph import Graph
from minisegnet.layers import CenterCrop, Concat, Conv2d, Crop, PadToMultiple, ReflectionPad2d

BATCHES = [(1, 1), (2, 3), (3, 2)]  # images, workers


def framed(layer):
    """The layer between convolutions; its input is joined of two values, one of which is read elsewhere too."""
    graph = Graph("framed")
    image = graph.input("image", channels=3)
    a = graph.add("a", Conv2d(3, 2, 3, padding=1), image)
    b = graph.add("b", Conv2d(2, 3, 1), a)
    joined = graph.add("joined", Concat(), a, b)
    x = graph.add("layer", layer, joined)
    graph.output("other", Conv2d(2, 1, 1), a)
    return graph.output("score", Conv2d(5, 2, 3, padding=1), x).initialise(1)


@pytest.mark.parametrize(("images", "workers"), BATCHES)
@pytest.mark.parametrize("padding", [(0, 1, 0, 1), (3, 7, 5, 2), 4, (1, 0, 0, 0)])
def test_mirrored_edges(padding, images, workers):
    assert_agrees(framed(ReflectionPad2d(padding)), (images, 3, 21, 35), workers=workers)


@pytest.mark.parametrize("multiple", [8, (4, 16), (1, 32)])
def test_padding_to_a_multiple(multiple):
    assert_agrees(framed(PadToMultiple(multiple)), (2, 3, 21, 35), workers=2)


def cropped(layer):
    """A crop to the size of another input."""
    graph = Graph("cropped")
    image, other = graph.input("image", channels=3), graph.input("other", channels=1)
    x = graph.add("a", Conv2d(3, 4, 3, padding=1), image)
    size = graph.add("size", Conv2d(1, 4, 1), other)
    cut = graph.add("cut", layer, x, size_of=size)
    joined = graph.add("joined", Concat(), cut, size)
    graph.output("whole", Conv2d(4, 1, 1), x)
    return graph.output("score", Conv2d(8, 2, 3, padding=1), joined).initialise(2)


@pytest.mark.parametrize(("images", "workers"), BATCHES)
@pytest.mark.parametrize(
    ("layer", "size"),
    [(Crop(2, 3), (8, 11)), (Crop(4, 8), (17, 27)), (Crop(20, 34), (1, 1)), (Crop(), (21, 35)), (CenterCrop(), (9, 8))],
)
def test_crops(layer, size, images, workers):
    assert_agrees(cropped(layer), (images, 3, 21, 35), (images, 1, *size), workers=workers)


def test_an_input_that_lends_its_size_alone_has_no_gradient():
    graph = Graph("lent")
    image, other = graph.input("image", channels=2), graph.input("other", channels=1)
    graph.output("cut", Crop(1, 0), graph.add("a", Conv2d(2, 3, 1), image), size_of=other)
    assert_agrees(graph.initialise(1), (1, 2, 5, 6), (1, 1, 3, 4))
    compiled = graph.compile((1, 2, 5, 6), (1, 1, 3, 4), to_inputs=True)
    dy = compiled.forward(np.ones((1, 2, 5, 6)), np.ones((1, 1, 3, 4)))
    assert compiled.backward(dy)[1] is None


@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_is_cut_away_leaves_no_trace():
    graph = cropped(Crop(2, 3)).astype(np.float64)
    x, size = np.ones((1, 3, 21, 35)), np.ones((1, 1, 8, 11))
    x[:, :, 0], x[:, :, :, 20] = np.nan, np.inf
    want, got = graph.forward(x, size), graph.compile(x.shape, size.shape).forward(x, size)
    assert np.isfinite(want[1]).all() and np.isnan(want[0]).any()
    for y, array in zip(got, want, strict=True):
        assert_near(y, array, 1e-12)


def test_an_input_is_framed_as_it_is():
    """So that a first convolution still reads the image as the caller gives it."""
    graph = Graph("first")
    x = graph.add("pad", PadToMultiple(8), graph.input("image", channels=3))
    graph.output("score", Conv2d(3, 4, 3, padding=1), x).initialise(3)
    assert_agrees(graph, (3, 3, 21, 35), workers=2, to_inputs=False)
    assert_agrees(graph, (3, 3, 21, 35), workers=2)
    steps = graph.compile((1, 3, 21, 35)).plan.steps
    assert type(steps[0]) is FramedInput


@pytest.mark.parametrize("density", [0.02, 0.1, 0.9])
@pytest.mark.parametrize(("m", "sizes"), [(4, (9, 14, 11, 6)), (1, (5, 3, 1, 7)), (3, (4, 4, 13, 13))])
def test_gathering_is_two_products(density, m, sizes):
    H, W, height, width = sizes
    rng = np.random.default_rng(7)
    rows, columns = (rng.standard_normal(shape) for shape in ((height, H), (width, W)))
    rows[rng.random(rows.shape) > density] = 0
    columns[rng.random(columns.shape) > density] = 0
    x = rng.standard_normal((1, 3, H, W))
    source, target = Value("source", x.shape, m, False), Value("target", (1, 3, height, width), m, False)
    source.data, target.data = np.zeros(source.stored), np.full(target.stored, np.nan)
    spread(x, source.data, source)
    gathering = Gathering(rows, columns, source, target, np.float64)
    for start in range(0, target.stored[1], m):
        gathering.write(source.data[0], start, target.data[0, start : start + m], Scratch())
    y = np.empty(target.shape)
    collect(target.data, target, y)
    assert_near(y, rows @ x @ columns.T, 1e-13)
