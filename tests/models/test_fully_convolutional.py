"""A fully connected layer is a convolution: equal scores on the classifier's size, a map of them on a larger image."""

import re

import numpy as np
import pytest
from conftest import assert_close

from minisegnet.errors import GraphError, ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import (
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    MaxPool2d,
    MaxUnpool2d,
    ReLU,
    Sigmoid,
    Softmax,
    UpsampleBilinear2d,
)
from minisegnet.models.classifiers import CLASSIFIERS
from minisegnet.models.fully_convolutional import fully_convolutional
from minisegnet.teaching import check_graph


def unpadded(seed=1):
    """A classifier of 13 x 11 images without padding, in strides of 2: it flattens 4 x 3 places."""
    graph = Graph("Unpadded")
    x = graph.chain("body", graph.input("image", channels=2), Conv2d(2, 4, 3), ReLU(), MaxPool2d(2))
    x = graph.chain("more", x, Conv2d(4, 5, 2), ReLU())
    x = graph.add("flatten", Flatten(), x)
    x = graph.chain("head", x, Dropout(0.3), Linear(5 * 4 * 3, 7), ReLU(), Dropout(0.3), Linear(7, 6), ReLU())
    return scattered(graph.output("score", Linear(6, 3), x), seed)


def scattered(graph, seed):
    """The graph in float64 and evaluation mode, with biases and running statistics off their start."""
    graph.initialise(seed).astype("float64").eval()
    rng = np.random.default_rng(seed)
    for name, array in graph.arrays().items():
        if name.endswith("running_var"):
            array[...] = rng.uniform(0.5, 1.5, array.shape)
        elif array.dtype.kind == "f":
            array += 0.1 * rng.standard_normal(array.shape)
    return graph


def images(graph, size, N=2, seed=3):
    return np.random.default_rng(seed).standard_normal((N, graph.inputs[0].channels, *size))


def assert_slides(classifier, size, stride, places=(3, 2)):
    """On a larger image each place of the map is the classifier on the crop that begins stride further on."""
    network = fully_convolutional(classifier, size)
    x = images(classifier, [s + stride * (count - 1) for s, count in zip(size, places, strict=True)])
    scores = network.forward(x)
    assert scores.shape[2:] == places
    for i, j in np.ndindex(places):
        crop = x[:, :, i * stride : i * stride + size[0], j * stride : j * stride + size[1]]
        assert_close(scores[:, :, i, j], classifier.forward(crop).reshape(scores.shape[:2]), 1e-12, f"place {i}, {j}")
    assert np.ptp(scores, axis=(2, 3)).min() > 0


# -------------------------------------------------------------------------------------------------- equal and sliding


def test_each_place_of_the_map_is_the_classifier_on_its_crop():
    assert_slides(unpadded(), (13, 11), 2, places=(4, 5))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_scores_are_equal_on_the_classifiers_size(name):
    size = (64, 96)
    options = {"size": size} if name.startswith("vgg") else {}
    classifier = scattered(CLASSIFIERS[name](5, 2, 4, **options), seed=2)
    network = fully_convolutional(classifier, size)
    assert network.name == f"{classifier.name}, fully convolutional"
    x = images(classifier, size)
    wanted = classifier.predict(x)
    assert np.ptp(wanted, axis=1).min() > 0
    assert_close(network.predict(x), wanted.reshape(2, 5, 1, 1), 1e-12)
    larger = (1, 2, 64 + 3 * 32, 96 + 32)
    steps = 16 if name == "squeezenet1_1" else 32
    assert network.output_shape(larger) == (1, 5, 3 * 32 // steps + 1, 32 // steps + 1)
    assert set(network.state_dict()) == set(classifier.state_dict())


def test_the_published_vgg_has_the_papers_kernels():
    """fc6 as 7 x 7, fc7 and the scores as 1 x 1 convolutions (Long et al. 2015, section 3.1)."""
    classifier = CLASSIFIERS["vgg16"](width=1)
    network = fully_convolutional(classifier, 224)
    shapes = {name: parameter.data.shape for name, parameter in network.parameters.items()}
    assert shapes["classifier.0.weight"] == (64, 8, 7, 7)
    assert shapes["classifier.3.weight"] == (64, 64, 1, 1)
    assert shapes["classifier.6.weight"] == (1000, 64, 1, 1)
    assert network.output_shape((1, 3, 500, 500)) == (1, 1000, 9, 9)
    with pytest.raises(ShapeError):
        network.output_shape((1, 3, 223, 224))


def test_a_global_average_becomes_one_that_slides():
    graph = Graph("Average")
    x = graph.chain("body", graph.input("image", channels=2), Conv2d(2, 3, 3, stride=2), BatchNorm2d(3), ReLU())
    x = graph.add("average", GlobalAvgPool2d(), x)
    x = graph.add("flatten", Flatten(), x)
    graph.output("score", Linear(3, 4), x)
    assert_slides(scattered(graph, 4), (9, 7), 2)
    network = fully_convolutional(graph, (9, 7))
    assert isinstance(network.layers["average"], AvgPool2d)
    assert network.layers["average"].kernel_size == (4, 3)


def test_an_average_of_scores_that_ends_in_flatten():
    graph = Graph("Average of scores")
    x = graph.chain("body", graph.input("image", channels=1), Conv2d(1, 4, 3), GlobalAvgPool2d())
    assert_slides(scattered(graph.output("flatten", Flatten(), x), 5), (5, 6), 1)


def test_a_classifier_of_pixels_alone():
    graph = Graph("Perceptron")
    x = graph.add("flatten", Flatten(), graph.input("image", channels=2))
    x = graph.chain("hidden", x, Linear(2 * 3 * 4, 6, bias=False), Sigmoid())
    graph.output("score", Linear(6, 3), x)
    assert_slides(scattered(graph, 6), (3, 4), 1)


def test_vectors_may_part_and_join():
    """A shortcut, a concatenation, probabilities by the last dimension, and a layer that stands at two nodes."""
    graph = Graph("Branches")
    x = graph.add("conv", Conv2d(1, 3, 2), graph.input("image", channels=1))
    x = graph.add("flatten", Flatten(), x)
    x = graph.add("doubled", Add(), x, graph.add("squashed", Sigmoid(), x))  # maps of 2 x 3 still
    hidden, shared = graph.add("hidden", Linear(18, 4), x), Linear(4, 4)
    y = graph.add("again", shared, graph.add("once", shared, hidden))
    y = graph.add("shortcut", Add(), y, hidden)
    y = graph.add(
        "joined", Concat(dim=-1), y, graph.add("probabilities", Softmax(-1), graph.add("other", Linear(18, 2), x))
    )
    graph.output("score", Linear(6, 3), y)
    graph.output("hint", Softmax(), hidden)
    classifier = scattered(graph, 7)
    network = fully_convolutional(classifier, (3, 4))
    x = images(classifier, (5, 4))
    for actual, wanted in zip(network.forward(x[:, :, :3]), classifier.forward(x[:, :, :3]), strict=True):
        assert_close(actual[:, :, 0, 0], wanted, 1e-12)
    for actual, wanted in zip(network.forward(x), classifier.forward(x[:, :, 2:]), strict=True):
        assert actual.shape[2:] == (3, 1)
        assert_close(actual[:, :, 2, 0], wanted, 1e-12)
    assert set(network.parameters) == set(classifier.parameters)
    assert network.nodes["once"].layer is network.nodes["again"].layer
    assert classifier.nodes["joined"].layer.dim == -1


def test_everything_before_the_flatten_stays():
    """Several outputs of a node, a size taken from another value, a layer at two nodes of other sizes."""
    graph = Graph("Unpooled")
    image = graph.input("image", channels=1)
    shared = Conv2d(1, 1, 2)
    x = graph.add("second", shared, graph.add("first", shared, image))
    pooled, indices = graph.add("pool", MaxPool2d(2, return_indices=True), x)
    x = graph.add("unpool", MaxUnpool2d(2), pooled, indices, size_of=x)
    x = graph.add("resized", UpsampleBilinear2d(), x, size_of=image)
    graph.output("score", Linear(49, 2), graph.add("flatten", Flatten(), x))
    classifier = scattered(graph, 8)
    network = fully_convolutional(classifier, 7)
    x = images(classifier, (7, 7))
    assert_close(network.forward(x)[:, :, 0, 0], classifier.forward(x), 1e-12)
    assert network.output_shape((1, 1, 10, 8)) == (1, 2, 4, 2)
    assert network.nodes["first"].layer is network.nodes["second"].layer
    assert set(network.parameters) == set(classifier.parameters)


# -------------------------------------------------------------------------------------------------- weights and modes


def test_the_weights_are_copies():
    classifier = unpadded()
    x = images(classifier, (13, 11))
    classifier.backward(np.ones_like(classifier.forward(x)))
    before = classifier.state_dict()
    network = fully_convolutional(classifier, (13, 11))
    for name, parameter in network.parameters.items():
        assert not parameter.grad.any()
        parameter.data += 1
        np.testing.assert_array_equal(classifier.parameters[name].data, before[name])
        assert classifier.parameters[name].grad.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_type_mode_and_frozen_layers_carry_over(dtype):
    classifier = unpadded().astype(dtype).train()
    classifier.layers["head.1"].freeze()
    classifier.parameters["score.bias"].trainable = False
    classifier.layers["head.3"].eval()
    network = fully_convolutional(classifier, (13, 11))
    assert network.training and network.dtype == dtype
    for name, layer in network.layers.items():
        assert (layer.training, layer.frozen) == (classifier.layers[name].training, classifier.layers[name].frozen)
    for name, parameter in network.parameters.items():
        assert parameter.trainable == classifier.parameters[name].trainable, name
    for network in (fully_convolutional(classifier.eval(), (13, 11)), fully_convolutional(unpadded(), (13, 11))):
        assert not network.training and not any(layer.training for layer in network.layers.values())


def test_it_goes_back_as_the_classifier_does():
    classifier = unpadded()
    network = fully_convolutional(classifier, (13, 11))
    x = images(classifier, (13, 11))
    dy = np.random.default_rng(9).standard_normal(classifier.forward(x).shape)
    network.forward(x)
    assert_close(network.backward(dy[:, :, None, None]), classifier.backward(dy), 1e-12, "gradient by the image")
    for name, parameter in network.parameters.items():
        wanted = classifier.parameters[name].grad.reshape(parameter.data.shape)
        assert_close(parameter.grad, wanted, 1e-12, name)


def test_gradients_on_a_larger_image():
    network = fully_convolutional(unpadded(), (13, 11))
    report = check_graph(network, images(network, (15, 13), N=1), elements=2)
    assert report.ok, report


# --------------------------------------------------------------------------------------------- what has no counterpart


class Mystery(Layer):
    """A layer of a user's own that does not say where it looks."""

    def forward(self, x):
        return 2 * x, None

    def backward(self, dy, cache):
        return 2 * dy

    def output_shape(self, x):
        return x


def vectors_given():
    graph = Graph("Vectors")
    return graph.output("score", Linear(3, 2), graph.input("features", channels=3)), 1


def flattened_twice():
    graph = Graph("Twice")
    x = graph.chain("flatten", graph.input("image", channels=1), Flatten(), Flatten())
    return graph.output("score", Linear(4, 2), x), 2


def two_flattens():
    graph = Graph("Two maps")
    image = graph.input("image", channels=1)
    fine, coarse = graph.add("fine", Flatten(), image), graph.chain("coarse", image, MaxPool2d(2), Flatten())
    return graph.output("score", Linear(20, 2), graph.add("joined", Concat(), fine, coarse)), 4


def two_flattens_behind_linears():
    graph = Graph("Two heads")
    image = graph.input("image", channels=1)
    fine = graph.chain("fine", image, Flatten(), Linear(16, 3))
    coarse = graph.chain("coarse", image, MaxPool2d(2), Flatten(), Linear(4, 3))
    return graph.output("score", Add(), fine, coarse), 4


def softmax_of_a_map():
    graph = Graph("Softmax")
    x = graph.chain("body", graph.input("image", channels=2), Flatten(), Softmax())
    return graph.output("score", Linear(18, 2), x), 3


def concatenated_map():
    graph = Graph("Concatenated")
    x = graph.add("flatten", Flatten(), graph.input("image", channels=1))
    return graph.output("score", Linear(8, 2), graph.add("joined", Concat(), x, x)), 2


def map_and_linear():
    graph = Graph("Shortcut past a Linear")
    x = graph.add("flatten", Flatten(), graph.input("image", channels=1))
    return graph.output("score", Add(), x, graph.add("linear", Linear(4, 4), x)), 2


def mystery():
    graph = Graph("Mystery")
    x = graph.chain("body", graph.input("image", channels=1), Flatten(), Linear(4, 3), Mystery())
    return graph.output("score", Linear(3, 2), x), 2


def flattened_output():
    graph = Graph("No head")
    return graph.output("flatten", Flatten(), graph.input("image", channels=1)), 2


def two_inputs():
    graph = Graph("Stereo")
    x = graph.add("sum", Add(), graph.input("left", channels=1), graph.input("right", channels=1))
    return graph.output("score", Linear(4, 2), graph.add("flatten", Flatten(), x)), 2


def any_channels():
    graph = Graph("Any")
    return graph.output("score", Linear(4, 2), graph.add("flatten", Flatten(), graph.input("image"))), 2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            vectors_given,
            "Vectors node 'score' Linear(3, 2): it reads 'features', which is no map laid out by a Flatten",
        ),
        (flattened_twice, "Twice node 'flatten.1' Flatten(): it flattens 'flatten.0', a vector already; leave it out"),
        (two_flattens, "node 'joined' Concat(): it joins vectors of several Flattens (coarse.1, fine)"),
        (two_flattens_behind_linears, "node 'score' Add(): it joins vectors of several Flattens (coarse.1, fine.0)"),
        (softmax_of_a_map, "node 'body.1' Softmax(): what it does to vectors of Flatten 'body.0' (maps of 3 x 3)"),
        (concatenated_map, "node 'joined' Concat(): what it does to vectors of Flatten 'flatten' (maps of 2 x 2)"),
        (map_and_linear, "node 'score' Add(): what it does to vectors of Flatten 'flatten' (maps of 1 x 1, 2 x 2)"),
        (mystery, "node 'body.2' Mystery(): what it does to vectors of Flatten 'body.0' (maps of 1 x 1)"),
        (flattened_output, "No head: its output 'flatten' is a whole flattened map; end it in a Linear"),
        (two_inputs, "Stereo has 2 inputs (left, right); one, the image, is wanted"),
        (any_channels, "Any: how many channels 'image' has is not known"),
        (lambda: (Graph("Empty"), 4), "Empty has no input"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_graphs_without_a_counterpart(build, message):
    graph, size = build()
    with pytest.raises(GraphError, match=re.escape(message)):
        fully_convolutional(graph, size)


def test_a_layer_of_ones_own_that_is_pointwise_has_one():
    graph, size = mystery()
    graph.layers["body.2"].pointwise = True
    assert_slides(scattered(graph, 10), (size, size), 1)


def test_another_size_than_the_classifiers():
    classifier = unpadded()
    with pytest.raises(ShapeError, match=r"Unpadded node 'head.1' Linear\(60, 7\): linear takes x"):
        fully_convolutional(classifier, (13, 13))
    with pytest.raises(ShapeError, match="VGG-16 was built for images of 32 x 32"):
        fully_convolutional(CLASSIFIERS["vgg16"](2, width=1, size=32), 64)
