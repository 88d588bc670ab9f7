"""Sums, normalisation, ReLU and dropout in the engine where no convolution stands before them."""

import numpy as np
import pytest
from agreement import assert_agrees

from minisegnet.graph import Graph
from minisegnet.layers import Add, AvgPool2d, BatchNorm2d, Concat, Conv2d, Dropout, Flatten, Linear, ReLU, Softmax

BATCHES = [(1, 1), (3, 2)]  # images, workers


def chain(*layers):
    """The layers behind a pooling."""
    graph = Graph("chain")
    x = graph.add("first", Conv2d(3, 4, 3, padding=1), graph.input("image", channels=3))
    x = graph.chain("chain", graph.add("pool", AvgPool2d(2), x), *layers)
    return graph.output("score", Conv2d(4, 2, 3, padding=1), x).initialise(1)


@pytest.mark.parametrize(("images", "workers"), BATCHES)
@pytest.mark.parametrize(
    "layers",
    [
        (ReLU(),),
        (BatchNorm2d(4),),
        (BatchNorm2d(4), ReLU()),
        (BatchNorm2d(4, track_running_stats=False), ReLU()),
        (ReLU(), BatchNorm2d(4)),
        (BatchNorm2d(4), BatchNorm2d(4), ReLU(), ReLU()),
        (Dropout(0.3), ReLU()),
        (ReLU(), Dropout(0.0), Dropout(1.0), BatchNorm2d(4, momentum=None)),
    ],
    ids=repr,
)
def test_chains(layers, images, workers):
    assert_agrees(chain(*layers), (images, 3, 21, 35), workers=workers)


def residual(joined, normalised):
    """Sums whose terms are read elsewhere too, or are one value twice; with all that may follow."""
    graph = Graph("residual")
    a = graph.chain("a", graph.input("image", channels=3), Conv2d(3, 4, 3, padding=1), BatchNorm2d(4), ReLU())
    b = graph.chain("b", a, Conv2d(4, 4, 3, padding=1), BatchNorm2d(4))
    channels = 4
    if joined:
        a, b, channels = graph.add("ab", Concat(), a, b), graph.add("bb", Concat(), b, b), 8
    x = graph.add("add", Add(), a, b)
    if normalised:
        x = graph.add("norm", BatchNorm2d(channels), x)
    x = graph.add("relu", ReLU(), x)
    x = graph.add("again", Add(), x, a)
    x = graph.add("twice", Add(), x, x)
    return graph.output("score", Conv2d(channels, 2, 1), x).initialise(2)


@pytest.mark.parametrize(("images", "workers"), BATCHES)
@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("normalised", [False, True])
def test_sums(joined, normalised, images, workers):
    assert_agrees(residual(joined, normalised), (images, 3, 21, 35), workers=workers)


def draw_norms(graph):
    rng = np.random.default_rng(3)
    for layer in graph.layers.values():
        if isinstance(layer, BatchNorm2d):
            for array in layer.arrays().values():
                array[...] = rng.uniform(0.5, 2, array.shape)
    return graph


@pytest.mark.parametrize("workers", [1, 2])
def test_frozen_normalisation_is_folded(workers):
    for graph in (residual(True, True), chain(BatchNorm2d(4), ReLU())):
        for layer in draw_norms(graph).layers.values():
            if isinstance(layer, BatchNorm2d):
                layer.freeze()
        assert_agrees(graph, (3, 3, 21, 35), workers=workers)


def test_normalisation_in_evaluation_that_is_still_trained_runs_as_it_is():
    graph = draw_norms(chain(BatchNorm2d(4), ReLU()))
    graph.eval()
    assert assert_agrees(graph, (2, 3, 9, 14), fused=False) == ["chain.0"]


def test_outputs_that_are_read_further():
    graph = Graph("outputs")
    x = graph.add("first", Conv2d(3, 4, 1), graph.input("image", channels=3))
    graph.output("relu", ReLU(), x)
    graph.output("norm", BatchNorm2d(4), graph.handle("relu"))
    assert_agrees(graph.initialise(1), (2, 3, 5, 6))


# ------------------------------------------------------------------------------------------------------------ dropout


def masks(compile_with, shape, passes=3):
    """What dropout alone makes of ones, in passes one after another, and its gradient."""
    graph = Graph("masks")
    graph.output("dropout", Dropout(0.3, seed=2**64 - 2), graph.input("image"))  # the third pass's seed is 0
    x = np.ones(shape, np.float32)
    runs = graph if compile_with is None else graph.compile(shape, to_inputs=True, workers=compile_with)
    made = [(runs.forward(x), runs.backward(x)) for _ in range(passes)]
    return np.array(made), graph.layers["dropout"].calls


@pytest.mark.parametrize("shape", [(4, 3, 21, 35), (1, 5, 3, 2), (2, 1, 1, 1), (3, 7)])
@pytest.mark.parametrize("workers", [1, 3])
def test_masks_are_those_of_the_layer_to_the_bit(shape, workers):
    want, calls = masks(None, shape)
    got, compiled_calls = masks(workers, shape)
    np.testing.assert_array_equal(got, want)
    assert compiled_calls == calls == 3
    if want[0].size > 20:
        assert (want[0] != want[1]).any()


def test_masks_of_workers_with_images_of_their_own():
    graph = chain(Dropout(0.4, seed=5))
    assert_agrees(graph, (4, 3, 21, 35), workers=2, to_inputs=False)


# ------------------------------------------------------------------------------------------------- other ranks


@pytest.mark.parametrize(("images", "workers"), BATCHES)
def test_values_that_are_no_images(images, workers):
    graph = Graph("classifier")
    x = graph.chain("a", graph.input("image", channels=3), Conv2d(3, 2, 3, padding=1), ReLU())
    features = graph.input("features", channels=5)
    y = graph.chain("b", features, Linear(5, 7), ReLU(), Dropout(0.2))
    x = graph.chain("c", graph.add("flat", Flatten(), x), Linear(2 * 5 * 6, 7), ReLU())
    x = graph.add("add", Add(), x, y)
    graph.output("beside", Concat(), x, y)
    graph.output("scores", Softmax(), x).initialise(1)
    ordinary = assert_agrees(graph, (images, 3, 5, 6), (images, 5), workers=workers, fused=False)
    assert ordinary == ["beside", "scores"]
