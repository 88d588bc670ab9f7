"""Freezing part of a graph: nothing in it changes, and the way back ends where nothing behind is trained."""

import numpy as np
import pytest
from networks import small_unet, two_streams

from minisegnet.errors import GraphError
from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, BilinearConvTranspose2d, Conv2d, Layer, ReLU


def image(seed, shape=(2, 3, 6, 6)):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


class Counted(Layer):
    """The identity, counting the ways back."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def forward(self, x):
        return x, None

    def backward(self, dy, cache):
        self.count += 1
        return dy

    def output_shape(self, x):
        return tuple(x)


def with_encoder():
    graph, counted = Graph("Two parts"), Counted()
    x = graph.chain("encoder", graph.input("image", channels=3), counted, Conv2d(3, 4, 3, padding=1), BatchNorm2d(4))
    x = graph.add("relu", ReLU(), x)
    return graph.output("decoder", Conv2d(4, 2, 1), x), counted


def test_frozen_layers_keep_weights_and_statistics():
    graph, _ = with_encoder()
    graph.initialise(0)
    assert graph.freeze("encoder") == ["encoder.1", "encoder.2"]
    before = graph.state_dict()
    graph.train()
    y = graph.forward(image(1))
    graph.backward(np.random.default_rng(2).standard_normal(y.shape).astype(np.float32))
    changed = {name for name, array in graph.state_dict().items() if not np.array_equal(array, before[name])}
    assert not changed
    reached = {name for name, parameter in graph.parameters.items() if parameter.grad.any()}
    assert reached == {"decoder.weight", "decoder.bias"}


def test_the_way_back_ends_where_nothing_is_trained():
    graph, counted = with_encoder()
    graph.freeze("encoder")
    y = graph.forward(image(1))
    assert graph.backward(y, to_inputs=False) is None and counted.count == 0
    assert graph.parameters["decoder.weight"].grad.any()
    graph.backward(y)
    assert counted.count == 1


@pytest.mark.parametrize("build", [small_unet, two_streams])
@pytest.mark.parametrize("frozen", [None, "encoder", "colour"])
def test_parameters_get_the_same_gradients_either_way(build, frozen):
    grads = []
    for to_inputs in (True, False):
        graph = build().initialise(3)
        if frozen and any(name.startswith(frozen) for name in graph.layers):
            graph.freeze(frozen)
        graph.reseed(4)
        y = graph.forward(*(image(5 + i) for i in range(len(graph.inputs))))
        rng = np.random.default_rng(9)
        dy = tuple(rng.standard_normal(one.shape).astype(np.float32) for one in (y if isinstance(y, tuple) else (y,)))
        graph.backward(dy, to_inputs=to_inputs)
        grads.append({name: parameter.grad for name, parameter in graph.parameters.items()})
    assert any(grad.any() for grad in grads[0].values())
    for name, grad in grads[0].items():
        np.testing.assert_array_equal(grad, grads[1][name], err_msg=name)


def test_a_parameter_before_frozen_layers_is_still_reached():
    graph = Graph("Upsampling at the end")
    x = graph.add("score", Conv2d(3, 2, 1), graph.input("image", channels=3))
    graph.output("up", BilinearConvTranspose2d(2, 4, 2, padding=1, fixed=True), x)
    graph.initialise(0)
    y = graph.forward(image(0))
    graph.backward(y, to_inputs=False)
    assert graph.parameters["score.weight"].grad.any() and not graph.parameters["up.weight"].grad.any()


def test_freezing_nothing_is_an_error():
    graph, _ = with_encoder()
    with pytest.raises(GraphError, match="no layers with weights under 'backbone'; names begin with encoder, decoder"):
        graph.freeze("backbone")
    with pytest.raises(GraphError, match="under 'relu'"):
        graph.freeze("relu")


def test_a_layer_frozen_before_it_joins_stays_frozen():
    layer = BatchNorm2d(3).freeze()
    graph = Graph("Joined later")
    graph.output("norm", layer, graph.input("image", channels=3))
    assert graph.training and not layer.training
