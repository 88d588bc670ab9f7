"""A graph computes what its layers do by hand, forward, backward and step by step, and holds no more than it needs."""

import copy
import gc
import weakref

import numpy as np
import pytest
from conftest import assert_close, skip_without_compiler
from networks import NETWORKS, assert_equal, built, by_node, gradients, several, small_unet

import minisegnet
from minisegnet.errors import ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import Concat, Conv2d, Dropout, Layer, MaxUnpool2d, ReLU

networks = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(params=["cpu", "emulator"])
def device(request):
    skip_without_compiler(request.param)
    return request.param


def test_a_network_equals_its_layers_by_hand(device):
    graph, (image,), (dy,) = built("small U-Net", seed=1)
    graph.to(device)
    layer = {name: graph.nodes[name].layer for name in graph.nodes}
    by_hand = copy.deepcopy(layer)
    score, dimage = graph.forward(image), graph.backward(dy)

    caches = {}

    def run(name, *inputs, **options):
        y, caches[name] = by_hand[name].forward(*inputs, **options)
        return y

    def back(name, dy):
        return by_hand[name].backward(dy, caches[name])

    with graph.computing():
        skip = run("encoder.2", run("encoder.1", run("encoder.0", run("pad", image))))
        up = run("up", run("bottom.1", run("bottom.0", run("pool", skip))))
        wanted = run("unpad", run("score", run("concat", skip, up)), output_size=(5, 7))
        dskip, dup = back("concat", back("score", back("unpad", dy)))
        dskip = dskip + back("pool", back("bottom.0", back("bottom.1", back("up", dup))))
        dwanted = back("pad", back("encoder.0", back("encoder.1", back("encoder.2", dskip))))

    np.testing.assert_array_equal(score, wanted)
    np.testing.assert_allclose(dimage, dwanted, rtol=1e-5, atol=1e-6)  # two gradients may add up in either order
    for name, node in graph.nodes.items():
        for key, parameter in (node.layer.parameters if node.layer else {}).items():
            wanted = by_hand[name].parameters[key].grad
            np.testing.assert_allclose(parameter.grad, wanted, rtol=1e-5, atol=1e-5, err_msg=f"{name}.{key}")
            assert wanted.any()


@networks
@pytest.mark.parametrize("backend", ["reference", "numpy"])
def test_gradients_equal_central_differences(name, backend):
    graph, inputs, dys = built(name, seed=2, dtype="float64")
    rng = np.random.default_rng(3)
    arrays = {f"input {i}": x for i, x in enumerate(inputs)}
    arrays |= {name: parameter.data for name, parameter in graph.parameters.items()}
    directions = {name: rng.standard_normal(array.shape) for name, array in arrays.items()}

    def loss():
        graph.reseed(4)  # the same dropout masks each time
        return sum(np.vdot(dy, y) for dy, y in zip(dys, several(graph.forward(*inputs)), strict=True))

    with minisegnet.backend(backend):
        loss()
        dinputs = several(graph.backward(dys))
        held = {f"input {i}": dx for i, dx in enumerate(dinputs)} | gradients(graph)
        for key, array in arrays.items():
            step = 1e-6 * directions[key]
            array += step
            above = loss()
            array -= 2 * step
            below = loss()
            array += step
            wanted, given = (above - below) / 2e-6, np.vdot(held[key], directions[key])
            assert given == pytest.approx(wanted, rel=1e-6, abs=1e-7), key


@networks
@pytest.mark.parametrize("seed", range(2))
def test_gradients_on_the_emulator_are_numpys_in_float64(name, seed):
    skip_without_compiler("emulator")
    graph, inputs, dys = built(name, seed, dtype="float64")
    found, _, _ = built(name, seed)
    outputs, dinputs = several(graph.forward(*inputs)), several(graph.backward(dys))
    found.to("emulator")
    outputs_too = several(found.forward(*(x.astype("float32") for x in inputs)))
    dinputs_too = several(found.backward(tuple(dy.astype("float32") for dy in dys)))
    gradients_too = by_node(gradients(found))
    for y, wanted in zip((*outputs_too, *dinputs_too), (*outputs, *dinputs), strict=True):
        assert_close(y, wanted.astype("float32"), 1e-5)
    for key, wanted in by_node(gradients(graph)).items():
        assert_close(gradients_too[key], wanted.astype("float32"), 1e-5, key)
    for key, wanted in graph.buffers.items():
        assert_close(found.buffers[key], wanted.astype(found.buffers[key].dtype), 1e-5, key)


@networks
@pytest.mark.parametrize("by_position", [False, True])
def test_steps_are_forward_and_backward_to_the_bit(device, name, by_position):
    graph, inputs, dys = built(name, seed=5)
    graph.to(device)
    stepped = copy.deepcopy(graph)
    for net in (graph, stepped):  # gradients that are there already are added to
        for parameter in net.parameters.values():
            parameter.grad.fill(0.25)
    outputs = several(graph.forward(*inputs))
    dinputs = several(graph.backward(dys))

    steps = list(stepped.steps(*inputs, dys) if by_position else stepped.steps(*inputs, dy=lambda outputs: dys))
    forward = [step for step in steps if step.direction == "forward"]
    back = [step for step in steps if step.direction == "backward"]
    assert [step.node for step in forward] == [node.name for node in graph.layer_nodes()]
    assert [step.node for step in back] == [step.node for step in reversed(forward) if step.node != "unread"]
    output = {step.node: several(step.output) for step in forward}
    for node, wanted in zip(graph.outputs, outputs, strict=True):
        np.testing.assert_array_equal(output[node.name][0], wanted)
    assert_equal(gradients(stepped), gradients(graph))
    assert_equal(stepped.state_dict(), graph.state_dict())
    for step in steps:
        assert step.layer is stepped.nodes[step.node].layer
        for array, handle in zip(step.inputs, stepped.nodes[step.node].inputs, strict=True):
            wanted = output.get(handle.node.name) or (inputs[stepped.inputs.index(handle.node)],)
            np.testing.assert_array_equal(array, wanted[handle.position])
    for step in back:
        assert step.gradients["dy"].shape == output[step.node][0].shape
        for dx, x, handle in zip(
            several(step.gradients["dx"]), step.inputs, stepped.nodes[step.node].inputs, strict=True
        ):
            assert dx is None if handle.position else dx.shape == x.shape
    total = {key: np.float32(0.25) for key in graph.parameters}
    for step in back:
        first = next(key for key, layer in stepped.layers.items() if layer is step.layer)
        for key in step.layer.parameters:
            total[f"{first}.{key}"] = step.gradients[f"d{key}"] + total[f"{first}.{key}"]
    total["unread.weight"] = total["unread.bias"] = 0.25
    for key, grad in gradients(graph).items():
        np.testing.assert_array_equal(grad, np.broadcast_to(total[key], grad.shape))
    for dx, wanted in zip(several(stepped.backward(dys)), dinputs, strict=True):  # after steps, one may go back again
        np.testing.assert_array_equal(dx, wanted)


@networks
def test_predict_is_the_forward_pass_in_evaluation(device, name):
    graph, inputs, _ = built(name, seed=6)
    graph.to(device)
    graph.forward(*inputs)
    state, training = graph.state_dict(), {key: layer.training for key, layer in graph.layers.items()}
    frozen = next(iter(graph.layers.values())).eval()
    graph.reseed(1)
    predicted = several(graph.predict(*inputs))
    assert_equal(graph.state_dict(), state)
    assert graph.training and not frozen.training
    assert all(layer.training for layer in graph.layers.values() if layer is not frozen) and all(training.values())
    wanted = several(graph.eval().forward(*inputs))
    for y, other in zip(predicted, wanted, strict=True):
        np.testing.assert_array_equal(y, other)
    assert graph.train() is graph and graph.training and frozen.training


def test_predict_puts_the_mode_back_after_an_error_and_leaves_the_pass_under_way():
    graph, (image,), (dy,) = built("small U-Net", seed=7)
    graph.forward(image)
    wanted = graph.backward(dy)
    with pytest.raises(ShapeError):
        graph.predict(image[:, :2])
    graph.predict(np.zeros((1, 3, 8, 8), "float32"))
    assert all(layer.training for layer in graph.layers.values())
    np.testing.assert_array_equal(graph.backward(dy), wanted)


# ---------------------------------------------------------------------------------------------------- gradients


def test_backward_twice_adds_twice_until_zeroed():
    graph, inputs, dys = built("two streams", seed=8)
    graph.forward(*inputs)
    graph.backward(dys)
    once = gradients(graph)
    graph.backward(dys)
    for name, grad in gradients(graph).items():
        np.testing.assert_allclose(grad, 2 * once[name], rtol=1e-5, atol=1e-5)
    graph.zero_grad()
    assert not any(grad.any() for grad in gradients(graph).values())


def test_a_node_that_no_output_reads_gets_no_gradient():
    graph, inputs, dys = built("two streams", seed=9)
    asked = []
    unread = graph.nodes["unread"].layer
    backward = unread.backward
    unread.backward = lambda dy, cache: asked.append(dy) or backward(dy, cache)
    graph.forward(*inputs)
    graph.backward(dys)
    assert not asked and not graph.parameters["unread.weight"].grad.any()
    assert graph.parameters["colour.weight"].grad.any()


def test_an_output_may_come_without_gradient():
    graph, inputs, (dcoarse, dfine) = built("two streams", seed=10)
    graph.forward(*inputs)
    graph.backward((dcoarse, None))
    assert not graph.parameters["fine.weight"].grad.any()
    coarse = gradients(graph)
    graph.zero_grad()
    graph.backward((dcoarse, dfine))
    assert graph.parameters["fine.weight"].grad.any()
    assert not np.array_equal(gradients(graph)["colour.weight"], coarse["colour.weight"])


def test_an_input_that_no_gradient_reaches_has_none():
    graph = Graph("Half")
    a, _ = graph.input("used", 1), graph.input("unused", 1)
    graph.output("score", Conv2d(1, 1, 1), a)
    x = np.ones((1, 1, 2, 2), "float32")
    graph.forward(x, x)
    used, unused = graph.backward(x)
    assert used.shape == x.shape and unused is None


def test_a_layer_that_hands_on_its_gradient_is_safe():
    """Dropout in evaluation gives back the array it got: adding must not change it, nor the caller's."""
    graph = Graph("Doubled")
    x = graph.input("image", 1)
    graph.output("sum", Concat(), graph.add("a", Dropout(), x), graph.add("b", Dropout(), x), x)
    graph.eval()
    dy = np.random.default_rng(11).standard_normal((2, 3, 4, 4)).astype("float32")
    before = dy.copy()
    graph.forward(np.zeros((2, 1, 4, 4), "float32"))
    np.testing.assert_allclose(graph.backward(dy), dy.sum(axis=1, keepdims=True), rtol=1e-6)
    np.testing.assert_array_equal(dy, before)


def test_what_a_layer_gives_back_for_indices_is_no_gradient():
    class Unpool(MaxUnpool2d):
        def backward(self, dy, cache):
            dx = super().backward(dy, cache)
            return dx, np.ones_like(dx)

    graph, (image,), (dy,) = built("unpooling", seed=22)
    graph.forward(image)
    wanted = graph.backward(dy)
    graph.nodes["unpool"].layer.__class__ = Unpool
    graph.forward(image)
    np.testing.assert_array_equal(graph.backward(dy), wanted)


def test_replaced_operations_train_a_network():
    graph, (image,), (dy,) = built("small U-Net", seed=12)
    wanted, calls = graph.forward(image), []
    graph.backward(dy)
    grads = gradients(graph)
    graph.zero_grad()

    def forward(x):
        calls.append(x.shape)
        return np.maximum(x, 0), x

    with minisegnet.replace(relu_forward=forward, relu_backward=lambda dy, x: dy * (x > 0)):
        np.testing.assert_array_equal(graph.forward(image), wanted)
    graph.backward(dy)
    assert len(calls) == 2
    assert_equal(gradients(graph), grads)


# ------------------------------------------------------------------------------------------------------ memory


class Watched(Layer):
    """Doubles its input, and notes how many of the values and caches made before are still alive."""

    def __init__(self, made, alive):
        super().__init__()
        self.made, self.alive = made, alive

    def forward(self, x):
        y, cache = self.double(x), np.empty(3)
        self.made.append((weakref.ref(y), weakref.ref(cache)))
        return y, cache

    def backward(self, dy, cache):
        dx = self.double(dy)
        self.made.append((weakref.ref(dx), lambda: None))
        return dx

    def double(self, x):
        self.alive.append(tuple(sum(made() is not None for made in kind) for kind in zip(*self.made, strict=True)))
        return 2 * x


def test_a_graph_goes_with_its_last_name():
    """No cycle holds the caches of the last pass until the garbage collector comes by."""
    graph, inputs, _ = built("chain", seed=21)
    graph.forward(*inputs)
    gone = weakref.ref(graph)
    gc.disable()
    try:
        del graph
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("direction", ["forward", "predict", "backward"])
def test_values_are_let_go_after_their_last_use(direction):
    made, alive = [], []
    graph = Graph("Watched")
    x = graph.chain("body", graph.input("image", 1), *(Watched(made, alive) for _ in range(5)))
    graph.output("score", Watched(made, alive), x)
    image = np.ones((1, 1, 2, 2), "float32")
    if direction == "backward":
        graph.forward(image)
        made.clear()
        alive.clear()
        graph.backward(image)
    else:
        getattr(graph, direction)(image)
    caches = range(1, 6) if direction == "forward" else [0] * 5
    assert alive == [(), *((1, kept) for kept in caches)]


# ------------------------------------------------------------------------------------------------------ shapes


@networks
def test_shapes_are_those_of_a_pass(name):
    graph, inputs, _ = built(name, seed=19)
    shapes = graph.shapes(*(x.shape for x in inputs))
    assert list(shapes) == list(graph.nodes)
    for step in graph.steps(*inputs):
        assert shapes[step.node] == several(step.output)[0].shape
    outputs = tuple(y.shape for y in several(graph.forward(*inputs)))
    assert several(graph.output_shape(*(x.shape for x in inputs)), tuple) == outputs


def test_shapes_name_the_node_that_they_do_not_fit():
    with pytest.raises(ShapeError, match=r"^Chain node 'body.0' Conv2d\(3, 4, 9\): a 9 x 9 kernel .* leaves nothing"):
        graph = Graph("Chain")
        graph.output("score", ReLU(), graph.chain("body", graph.input("image", 3), Conv2d(3, 4, 9)))
        graph.shapes((1, 3, 4, 4))


def test_a_graph_tells_its_size():
    assert repr(small_unet()) == "Graph('Small U-Net', 12 nodes, 566 parameters)"
