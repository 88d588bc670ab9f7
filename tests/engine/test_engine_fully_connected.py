"""Fully connected layers by the engine beside the layers' own passes."""

import numpy as np
import pytest
from agreement import assert_agrees

import minisegnet
from minisegnet.graph import Graph
from minisegnet.layers import Conv2d, Flatten, Linear, ReLU
from minisegnet.models.detector_heads import box_head
from minisegnet.reference.linear import linear_backward, linear_forward

BATCHES = [(1, 1), (5, 1), (5, 2), (1, 2), (4, 2)]  # vectors, workers
every_batch = pytest.mark.parametrize(("vectors", "workers"), BATCHES)


def features(graph, count):
    return graph.input("features", channels=count)


@every_batch
def test_alone(vectors, workers):
    graph = Graph("linear")
    graph.output("y", Linear(7, 3), features(graph, 7)).initialise(1)
    assert_agrees(graph, (vectors, 7), workers=workers)


@every_batch
def test_a_box_head(vectors, workers):
    """Two outputs that read one value, behind two layers with ReLU."""
    graph = box_head(3, 4, 5, width=6).initialise(1)
    for parameter in graph.parameters.values():
        parameter.data += 0.1 * np.random.default_rng(2).standard_normal(parameter.data.shape).astype(np.float32)
    assert_agrees(graph, (vectors, 3, 4, 4), workers=workers)


@every_batch
def test_without_bias_and_read_beside_its_relu(vectors, workers):
    graph = Graph("linear")
    x = graph.add("a", Linear(5, 6, bias=False), features(graph, 5))
    y = graph.add("relu", ReLU(), x)
    graph.output("first", Linear(6, 2), y)
    graph.output("second", Linear(6, 4, bias=False), x).initialise(1)
    assert_agrees(graph, (vectors, 5), workers=workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_one_layer_at_several_nodes(workers):
    graph = Graph("shared")
    layer = Linear(4, 4)
    x = graph.chain("a", features(graph, 4), layer, ReLU())
    x = graph.chain("b", x, layer, ReLU())
    graph.output("c", layer, x).initialise(1)
    assert_agrees(graph, (3, 4), workers=workers)


@pytest.mark.parametrize("to_inputs", [True, False])
def test_behind_a_convolution(to_inputs):
    """Workers with images of their own, and together."""
    graph = Graph("classifier")
    x = graph.chain("body", graph.input("image", channels=3), Conv2d(3, 4, 3, padding=1), ReLU())
    x = graph.add("flatten", Flatten(), x)
    graph.output("score", Linear(4 * 5 * 6, 3), x).initialise(1)
    assert_agrees(graph, (4, 3, 5, 6), workers=2, to_inputs=to_inputs)


def test_frozen():
    graph = box_head(3, 4, 5, width=6).initialise(1)
    graph.freeze("roi_heads.box_head.fc6")
    assert_agrees(graph, (4, 3, 4, 4), workers=2)
    assert not graph.parameters["roi_heads.box_head.fc6.weight"].grad.any()


def test_a_replaced_operation_is_called():
    graph = Graph("linear")
    graph.output("y", Linear(7, 3), features(graph, 7)).initialise(1)
    called = []

    def forward(*arguments, **options):
        called.append(len(arguments))
        return linear_forward(*arguments, **options)

    with minisegnet.replace(linear_forward=forward, linear_backward=linear_backward):
        ordinary = assert_agrees(graph, (2, 7), fused=False)
    assert ordinary == ["y"]
    assert called
