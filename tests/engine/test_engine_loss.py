"""The loss as the engine's last step: value and gradients as the loss layer's, on one worker and several."""

import numpy as np
import pytest
from conftest import assert_close

from minisegnet.engine.engine import Engine
from minisegnet.errors import GraphError, LabelError, OptionError, ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import BCEWithLogitsLoss, Conv2d, CrossEntropyLoss, ReLU

SEED, CLASSES = 3, 5


def scores(classes=CLASSES):
    graph = Graph("scores")
    x = graph.chain("body", graph.input("image", 3), Conv2d(3, 6, 3, padding=1), ReLU())
    return graph.output("score", Conv2d(6, classes, 1), x).initialise(SEED).astype(np.float64)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("ignore", [None, -1, 255, 2])
@pytest.mark.parametrize("weights", ["none", "class", "pixel", "both"])
def test_loss_and_gradients(workers, reduction, ignore, weights):
    rng = np.random.default_rng(SEED)
    graph, shape = scores(), (2, 7, 10)
    class_weight = rng.random(CLASSES) if weights in ("class", "both") else None
    pixel_weight = rng.random(shape) if weights in ("pixel", "both") else None
    loss = CrossEntropyLoss(class_weight, ignore, reduction).astype(np.float64)
    x, labels = rng.standard_normal((2, 3, 7, 10)), rng.integers(0, CLASSES, shape)
    if ignore is not None:
        labels[rng.random(shape) < 0.3] = ignore
    value, cache = loss.forward(graph.forward(x), labels, pixel_weight)
    graph.zero_grad()
    graph.backward(loss.backward(1.0, cache))
    wanted = {name: parameter.grad.copy() for name, parameter in graph.parameters.items()}
    graph.zero_grad()
    with Engine(graph, loss, workers) as engine:
        assert engine.step(x, labels, pixel_weight) == pytest.approx(float(value), rel=1e-12)
        engine.step(x, labels, pixel_weight)
    for name, parameter in graph.parameters.items():  # twice: gradients add up
        assert_close(parameter.grad, 2 * wanted[name], 1e-12, name)


def test_nothing_counts():
    graph = scores()
    with Engine(graph, CrossEntropyLoss(ignore_index=0)) as engine:
        assert engine.step(np.ones((1, 3, 4, 4)), np.zeros((1, 4, 4), np.int64)) == 0
    assert not any(parameter.grad.any() for parameter in graph.parameters.values())


def test_scores_that_overflow_an_exponential():
    graph = scores()
    graph.parameters["score.bias"].data[...] = [1000, -1000, 0, 900, 1000]
    loss, labels = CrossEntropyLoss(), np.full((1, 4, 4), 3)
    x = np.random.default_rng(SEED).standard_normal((1, 3, 4, 4))
    with Engine(graph, loss) as engine:
        assert engine.step(x, labels) == pytest.approx(float(loss.forward(graph.forward(x), labels)[0]), rel=1e-12)


def test_labels_and_weights_that_do_not_fit():
    with Engine(scores(), CrossEntropyLoss(ignore_index=255)) as engine:
        x = np.zeros((1, 3, 4, 4))
        labels = np.zeros((1, 4, 4), np.int64)
        with pytest.raises(ShapeError, match="labels"):
            engine.step(x, labels[:, :3])
        with pytest.raises(ShapeError, match="pixel_weight"):
            engine.step(x, labels, np.ones((1, 4, 5)))
        labels[0, 1, 2] = 7
        with pytest.raises(LabelError, match=r"label 7 at \(0, 1, 2\)"):
            engine.step(x, labels)


def test_a_loss_that_the_engine_does_not_compute():
    for loss in (CrossEntropyLoss(reduction="none"), BCEWithLogitsLoss()):
        with pytest.raises(OptionError, match="CrossEntropyLoss"):
            Engine(scores(), loss)
    with Engine(scores()) as engine, pytest.raises(GraphError, match="no loss"):
        engine.step(np.zeros((1, 3, 4, 4)), np.zeros((1, 4, 4), int))
