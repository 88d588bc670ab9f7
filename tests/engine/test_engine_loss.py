"""The loss as the engine's last step: value and gradients as the loss layer's, on one worker and several."""

import numpy as np
import pytest
from conftest import assert_close

from minisegnet.engine.engine import Engine
from minisegnet.errors import GraphError, LabelError, OptionError, ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, BCEWithLogitsLoss, Concat, Conv2d, CrossEntropyLoss, ReLU

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


def last_convolution(kind):
    """A graph whose last convolution may be one step with the loss, or may not."""
    graph = Graph(kind)
    image = graph.input("image", 3)
    x = graph.chain("body", image, Conv2d(3, 4, 3, padding=1), BatchNorm2d(4), ReLU())
    if kind == "joined":
        x = graph.add("join", Concat(), x, graph.chain("side", image, Conv2d(3, 3, 3, padding=1), ReLU()))
    elif kind == "of the image":
        x = image
    channels = {"joined": 7, "of the image": 3}.get(kind, 4)
    if kind == "normalised":
        x = graph.add("score", Conv2d(channels, 6, 1, bias=False), x)
        graph.output("norm", BatchNorm2d(6), x)
    elif kind == "3 x 3":
        graph.output("score", Conv2d(channels, 6, 3, padding=1), x)
    else:
        graph.output("score", Conv2d(channels, 6, 1, bias=kind != "without bias"), x)
    graph.initialise(SEED)
    frozen = {"frozen body": "body", "frozen weight": "score.weight", "frozen bias": "score.bias"}.get(kind, "none")
    for name, parameter in graph.parameters.items():
        parameter.trainable = not name.startswith(frozen)
    return graph.astype(np.float64)


KINDS = {  # whether they are one step
    "plain": True, "joined": True, "without bias": True, "frozen body": True, "frozen weight": True,
    "frozen bias": True, "of the image": False, "normalised": False, "3 x 3": False,
}  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_last_convolution_and_the_loss(kind, workers):
    rng = np.random.default_rng(SEED)
    graph, loss = last_convolution(kind), CrossEntropyLoss(ignore_index=255)
    x, labels = rng.standard_normal((2, 3, 9, 14)), rng.integers(0, 6, (2, 9, 14))
    labels[rng.random(labels.shape) < 0.2] = 255
    value, cache = loss.forward(graph.forward(x), labels)
    graph.backward(loss.backward(1.0, cache))
    wanted = {name: parameter.grad.copy() for name, parameter in graph.parameters.items()}
    graph.zero_grad()
    with Engine(graph, loss, workers) as engine:
        assert engine.step(x, labels) == pytest.approx(float(value), rel=1e-12)
        last = engine.plan(x.shape).steps[-1]
        assert ("score" in [node.name for node in last.nodes]) == KINDS[kind]
        assert_close(engine.predict(x), graph.predict(x), 1e-12, "scores")
    for name, parameter in graph.parameters.items():
        assert_close(parameter.grad, wanted[name], 1e-12, name)


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
