"""What a graph refuses, and how it names the node where something goes wrong."""

import numpy as np
import pytest
from networks import NETWORKS, built

from minisegnet import functional
from minisegnet.errors import DtypeError, GraphError, ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import (
    CenterCrop,
    Concat,
    Conv2d,
    Layer,
    Linear,
    MaxPool2d,
    MaxUnpool2d,
    NearestUnpool2d,
    ReLU,
)

networks = pytest.mark.parametrize("name", NETWORKS)


def net():
    graph = Graph("Net")
    return graph, graph.input("image", channels=3)


class Broken(Layer):
    def __init__(self, error=None, gradients=None):
        super().__init__()
        self.error, self.gradients = error, gradients

    def forward(self, *xs):
        if self.error:
            raise self.error
        return xs[0] + 0, None

    def backward(self, dy, cache):
        return self.gradients(dy)

    def output_shape(self, *xs):
        return xs[0]


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda g, x: g.add("image", ReLU(), x), "Net already has a node 'image'; give each node a name of its own"),
        (lambda g, x: g.input("image"), "already has a node 'image'"),
        (lambda g, x: g.add("", ReLU(), x), "a node's name is a string that is not empty; got ''"),
        (lambda g, x: g.add("a", ReLU(), net()[1]), "Net node 'a' ReLU(): the value 'image' belongs to another graph"),
        (lambda g, x: g.add("a", MaxUnpool2d(2), x, x, size_of=net()[1]), "belongs to another graph"),
        (lambda g, x: g.add("a", ReLU(), x, x), "Net node 'a' ReLU(): the number of values it reads (x) is 1; got 2"),
        (lambda g, x: g.add("a", ReLU()), "the number of values it reads (x) is 1; got 0"),
        (lambda g, x: g.add("a", Concat()), "the number of values it reads (xs) is at least 1; got 0"),
        (lambda g, x: g.add("a", MaxUnpool2d(2), x), "it reads (x, indices) is 2; got 1"),
        (lambda g, x: g.add("a", ReLU(), x, size_of=x), "its output has one possible size; leave out size_of"),
        (lambda g, x: g.add("a", CenterCrop(), x), "pass size_of=the value of that height and width"),
        (lambda g, x: g.add("a", ReLU(), "image"), "a node reads what input() and add() return; got str"),
        (
            lambda g, x: g.add("a", ReLU(), g.add("p", MaxPool2d(2, return_indices=True), x)),
            "got tuple; take the handles of a layer with several outputs apart",
        ),
        (lambda g, x: g.add("a", np.tanh, x), "a node takes a layer, an object of a class made from Layer; got"),
        (lambda g, x: g.chain("c", x), "chain 'c' has no layers"),
        (lambda g, x: g.handle("score"), "Net has no node 'score'; its nodes are image"),
        (lambda g, x: g.forward(np.zeros((1, 3, 2, 2), "float32")), "Net has no output; end it with graph.output"),
        (lambda g, x: Graph("Net").forward(), "Net has no input; begin it with x = graph.input(name, channels)"),
        (lambda g, x: g.backward(0.0), "backward needs a forward pass first"),
        (lambda g, x: g.shapes((1, 3, 4, 4), (1, 3, 4, 4)), "Net: the number of input shapes is 1 (image); got 2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_networks_that_cannot_be_are_refused(build, words):
    with pytest.raises(GraphError) as raised:
        build(*net())
    assert words in str(raised.value)


def test_a_layer_without_super_init_is_told_so():
    class Forgetful(Layer):
        def __init__(self):
            pass

        def forward(self, x):
            return x, None

    graph, x = net()
    with pytest.raises(GraphError, match=r"begin its __init__ with super\(\).__init__\(\)"):
        graph.add("a", Forgetful(), x)


def test_inputs_that_do_not_fit_are_refused():
    graph, (image,), (dy,) = built("small U-Net", seed=20)
    for given, error, words in (
        ((), GraphError, "Small U-Net: the number of inputs is 1 (image); got 0"),
        ((image, image), GraphError, "Small U-Net: the number of inputs is 1 (image); got 2"),
        ((image[:, :2],), ShapeError, "input 'image' has 3 channels, (N, 3, H, W); got shape (2, 2, 5, 7)"),
        ((image[0, 0],), ShapeError, "input 'image' has 3 channels"),
        ((image.tolist(),), DtypeError, "input 'image' must be a NumPy array; got list"),
        ((image.astype("float64"),), DtypeError, "is float64 and the parameters are float32; give image.astype"),
        ((np.zeros(image.shape, "uint8"),), DtypeError, "is uint8 and the parameters are float32"),
    ):
        with pytest.raises(error) as raised:
            graph.forward(*given)
        assert words in str(raised.value)
    graph.forward(image)
    with pytest.raises(ShapeError, match=r"dy of output 'unpad' must .* \(2, 2, 5, 7\); got \(2, 2, 1, 1\)"):
        graph.backward(dy[:, :, :1, :1])
    with pytest.raises(GraphError, match=r"number of gradients, one for each output, is 1 \(unpad\); got 2"):
        graph.backward((dy, dy))


def test_an_inputs_own_check_sees_its_shape():
    def check(shape):
        if shape[2] % 2:
            raise ShapeError(f"odd height {shape[2]}")

    graph = Graph("Even")
    graph.output("score", ReLU(), graph.input("image", check=check))
    for call in (lambda: graph.forward(np.zeros((1, 1, 3, 4), "float32")), lambda: graph.shapes((1, 1, 3, 4))):
        with pytest.raises(ShapeError, match="odd height 3"):
            call()
    with pytest.raises(ShapeError, match=r"four dimensions \(N, C, H, W\); got shape \(1, 3\)"):
        graph.shapes((1, 3))
    assert graph.output_shape((1, 1, 4, 4)) == (1, 1, 4, 4)


@pytest.mark.parametrize(
    "error",
    [ShapeError("too small"), KeyError("too small"), MemoryError("too small"), OSError(5, "x")],
    ids=lambda error: type(error).__name__,
)
def test_an_error_inside_a_node_keeps_its_type_and_gets_the_nodes_name_once(error):
    graph, x = net()
    graph.output("score", ReLU(), graph.add("deep.1", Broken(error), x))
    with pytest.raises(type(error)) as raised:
        graph.forward(np.zeros((1, 3, 2, 2), "float32"))
    assert type(raised.value) is type(error)
    if not isinstance(error, OSError):  # which writes its message from a number
        assert str(raised.value).count("Net node 'deep.1' Broken") == 1 and "too small" in str(raised.value)


def test_numpys_memory_error_gets_the_nodes_name():
    def grab(*xs):
        return np.empty((2**20, 2**30)), None

    graph, x = net()
    layer = Broken()
    layer.forward = grab
    graph.output("big", layer, x)
    with pytest.raises(MemoryError, match=r"^Net node 'big' .*Unable to allocate"):
        graph.forward(np.zeros((1, 3, 2, 2), "float32"))


def test_errors_on_the_way_back_name_the_node():
    graph, x = net()
    x = graph.add("conv", Conv2d(3, 2, 1), x)
    for i, (gradients, words) in enumerate(
        [
            (lambda dy: dy[:, :1], r"node 'y0' .* by 'conv' must have its shape \(1, 2, 2, 2\); got \(1, 1, 2, 2\)"),
            (lambda dy: dy.astype("float64"), r"node 'y1' .* by 'conv' must be float32, as the network"),
            (lambda dy: (dy, dy), "node 'y2' .*: backward must return a gradient for each input, 1 in all; got 2"),
        ]
    ):
        graph.output(f"y{i}", Broken(gradients=gradients), x)
        graph.forward(np.zeros((1, 3, 2, 2), "float32"))
        dys = [None] * i + [np.zeros((1, 2, 2, 2), "float32")]
        with pytest.raises((ShapeError, DtypeError, GraphError), match=words):
            graph.backward(dys)


def test_a_layer_must_give_a_gradient_for_each_of_its_inputs():
    graph, x = net()
    graph.output("sum", Broken(gradients=lambda dy: dy), x, x)
    image = np.zeros((1, 3, 2, 2), "float32")
    graph.forward(image)
    with pytest.raises(GraphError, match="must return a gradient for each input, 2 in all; got 1"):
        graph.backward(image)


def test_a_size_is_read_from_images_only():
    graph = Graph("Net")
    image, vector = graph.input("image", 1), graph.input("vector", 4)
    graph.output("up", NearestUnpool2d(), image, size_of=graph.add("row", Linear(4, 4), vector))
    with pytest.raises(ShapeError, match=r"node 'up' .*a value \(N, C, H, W\); 'row' has shape \(2, 4\)"):
        graph.forward(np.zeros((2, 1, 3, 3), "float32"), np.zeros((2, 4), "float32"))


def test_a_network_without_parameters_takes_any_float_type():
    graph = Graph("Bare")
    graph.output("score", ReLU(), graph.input("image"))
    for dtype in ("float32", "float64"):
        x = np.ones((1, 1, 2, 2), dtype)
        np.testing.assert_array_equal(graph.forward(x), functional.relu_forward(x)[0])
    with pytest.raises(DtypeError, match="input 'image' is int64 and the parameters are float32"):
        graph.forward(np.ones((1, 1, 2, 2), "int64"))
