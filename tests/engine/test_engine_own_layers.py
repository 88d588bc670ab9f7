"""Layers of a user's own: what is wrong with one is told alike by the graph's own passes and by the engine."""

import numpy as np
import pytest
from conftest import assert_close

from minisegnet.engine.engine import Engine
from minisegnet.errors import DtypeError, GraphError, ShapeError
from minisegnet.functional import relu_forward
from minisegnet.graph import Graph
from minisegnet.layers import Add, BatchNorm2d, Conv2d, CrossEntropyLoss, MaxPool2d, ReLU
from minisegnet.layers.base import Layer

SEED = 5
SHAPE = 2, 3, 6, 9


class Twice(Layer):
    """A right one."""

    def forward(self, x):
        return 2 * x, None

    def backward(self, dy, cache):
        return 2 * dy

    def output_shape(self, x):
        return x


def network(layer):
    graph = Graph("mine")
    x = graph.chain("body", graph.input("image", 3), Conv2d(3, 4, 3, padding=1), layer, ReLU())
    return graph.output("score", Conv2d(4, 2, 1), x).initialise(SEED)


def run(graph, workers):
    """One pass there and back; by the graph itself where there are no workers. Returns the outputs."""
    rng = np.random.default_rng(SEED)
    x = rng.standard_normal(SHAPE, np.float32)
    graph.zero_grad()
    if workers:
        with Engine(graph, workers=workers) as engine:
            y = engine.forward(x)
            engine.backward(rng.standard_normal(y.shape, np.float32))
    else:
        y = graph.forward(x)
        graph.backward(rng.standard_normal(y.shape, np.float32))
    return y


def wrong(name, **methods):
    """A class like Twice, but for these methods."""
    return type(name, (Twice,), methods)


def transposed(layer, dy, cache):
    return np.ascontiguousarray(dy.transpose(0, 1, 3, 2))


@pytest.mark.parametrize("workers", [0, 1, 2], ids=["layer by layer", "engine", "engine of 2"])
@pytest.mark.parametrize(
    "kind, error, words",
    [
        (wrong("NoCache", forward=lambda s, x: 2 * x), GraphError, "forward must return two things.*; got ndarray"),
        (wrong("Three", forward=lambda s, x: (x, x, x)), GraphError, "forward must return two things.* a tuple of 3"),
        (wrong("Pair", forward=lambda s, x: ((x, x), 0)), GraphError, "forward must return 1 arrays.*; got 2"),
        (wrong("List", forward=lambda s, x: (x.tolist(), 0)), DtypeError, "forward returns must be a NumPy array"),
        (wrong("Double", forward=lambda s, x: (x.astype(float), 0)), DtypeError, "must be float32, .*; got float64"),
        (wrong("Mask", forward=lambda s, x: (x > 0, 0)), DtypeError, "must be float32, .*; got bool"),
        (wrong("Turned", backward=transposed), ShapeError, r"by 'body\.0' must have .* \(2, 4, 6, 9\); got \(2, 4, 9"),
        (wrong("First", backward=lambda s, dy, c: dy[:, :1]), ShapeError, r"by 'body\.0' must have its shape"),
        (wrong("Two", backward=lambda s, dy, c: (dy, dy)), GraphError, "a gradient for each input, 1 in all; got 2"),
        (wrong("Wide", backward=lambda s, dy, c: dy.astype(float)), DtypeError, r"by 'body\.0' must be float32"),
        (wrong("Failing", backward=lambda s, dy, c: 1 / 0), ZeroDivisionError, "division by zero"),
    ],
)
def test_a_wrong_layer_is_named(kind, error, words, workers):
    graph = network(kind())
    with pytest.raises(error, match=rf"mine node 'body\.1' {kind.__name__}\(\): .*{words}"):
        run(graph, workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_shape_that_is_not_what_the_layer_said(workers):
    class Liar(Twice):
        def output_shape(self, x):
            return x[0], x[1], x[3], x[2]

    words = r"Liar\(\): forward returns an array of shape \(2, 4, 6, 9\), and output_shape said \(2, 4, 9, 6\)"
    with pytest.raises(ShapeError, match=words):
        run(network(Liar()), workers)


def gradients(graph, workers):
    y = run(graph, workers)
    return {"y": y} | {name: parameter.grad.copy() for name, parameter in graph.parameters.items()}


def assert_same(graph):
    wanted = gradients(graph, 0)
    for workers in (1, 2):
        for name, array in gradients(graph, workers).items():
            assert_close(array, wanted[name], 1e-5, name)
    return wanted


def test_a_layer_that_does_not_say_its_shape_is_tried_out():
    class Halved(Layer):
        """The mean of neighbouring rows; counts its calls."""

        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return (x[:, :, ::2] + x[:, :, 1::2]) / 2, None

        def backward(self, dy, cache):
            return np.repeat(dy / 2, 2, axis=2)

    layer = Halved()
    graph = network(layer)
    assert graph.output_shape(SHAPE) == (2, 2, 3, 9)
    assert "Halved" in graph.summary(SHAPE)
    assert layer.calls == 0
    assert_same(graph)
    assert layer.calls == 3
    with pytest.raises(ValueError, match=r"mine node 'body\.1' Halved\(\): operands could not be broadcast"):
        graph.output_shape((2, 3, 5, 9))


def test_a_layer_of_indices_that_does_not_say_its_shape():
    class Picked(Layer):
        """Adds 1 where the index is even."""

        def forward(self, x, indices):
            assert indices.dtype.kind == "i"
            return x + (indices % 2 == 0).astype(x.dtype), None

        def backward(self, dy, cache):
            return dy

    graph = Graph("mine")
    x = graph.add("conv", Conv2d(3, 4, 3, padding=1), graph.input("image", 3))
    x, indices = graph.add("pool", MaxPool2d(2, return_indices=True), x)
    graph.output("score", Conv2d(4, 2, 1), graph.add("picked", Picked(), x, indices)).initialise(SEED)
    assert_same(graph)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_gradient_is_one_of_zeros(dtype):
    class Cut(Twice):
        def backward(self, dy, cache):
            return None

    graph = Graph("mine")
    x = graph.add("conv", Conv2d(3, 4, 3, padding=1), graph.input("image", 3))
    x = graph.add("both", Add(), graph.add("cut", Cut(), x), graph.add("norm", BatchNorm2d(4), x))
    graph.output("score", Conv2d(4, 2, 1), graph.add("also cut", Cut(), x)).initialise(SEED)
    assert not assert_same(graph)["conv.weight"].any()
    graph.outputs.append(graph.nodes["norm"])  # a second way back, past the first cut alone
    graph.astype(dtype)
    x = np.random.default_rng(SEED).standard_normal(SHAPE).astype(dtype)
    dys = [np.random.default_rng(i).standard_normal(y.shape).astype(dtype) for i, y in enumerate(graph.forward(x))]
    graph.backward(dys)
    wanted = graph.parameters["conv.weight"].grad.copy()
    assert wanted.any()
    for workers in (1, 2):
        with Engine(graph, workers=workers) as engine:
            graph.zero_grad()
            engine.forward(x)
            engine.backward(dys)
        assert_close(graph.parameters["conv.weight"].grad, wanted, 1e-4)


def test_a_method_put_on_the_object_is_called():
    calls = []

    def mine(x):
        calls.append(x.shape)
        return relu_forward(x)

    graph = network(Twice())
    graph.nodes["body.2"].layer.forward = mine
    assert_same(graph)
    assert calls == 3 * [(2, 4, 6, 9)]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "weights, error, words",
    [
        ({"weight": [1, 2, 3]}, ShapeError, r"class_weight must have shape \(2,\), one value a channel; got \(3,\)"),
        ({"pixel": np.ones((2, 6), np.float32)}, ShapeError, r"pixel_weight must have .*\(2, 6, 9\); got \(2, 6\)"),
        ({"pixel": np.ones((2, 6, 9), int)}, DtypeError, "pixel_weight must be float32 or float64; got int64"),
        ({"pixel": [1.0]}, DtypeError, "pixel_weight must be a NumPy array; got list"),
    ],
)
def test_weights_of_the_loss_that_do_not_fit(weights, error, words, workers):
    graph = network(Twice())
    x, labels = np.zeros(SHAPE, np.float32), np.zeros((2, 6, 9), int)
    loss, pixel = CrossEntropyLoss(weights.get("weight")), weights.get("pixel")
    with pytest.raises(error, match=words):
        loss.forward(graph.forward(x), labels, pixel)
    with Engine(graph, loss, workers=workers) as engine, pytest.raises(error, match=words):
        engine.step(x, labels, pixel)
