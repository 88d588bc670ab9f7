"""The encoders and their classifiers: sizes, channels and names for every image, width and option."""

import pickle
import re

import numpy as np
import pytest

from minisegnet.errors import OptionError, ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import CrossEntropyLoss, MaxUnpool2d
from minisegnet.models.classifiers import CLASSIFIERS
from minisegnet.models.encoders import ENCODERS, vgg_levels
from minisegnet.teaching import check_graph

CHANNELS = {  # at each stride, as multiples of the width
    "vgg16": {2: 1, 4: 2, 8: 4, 16: 8, 32: 8},
    "vgg16_bn": {2: 1, 4: 2, 8: 4, 16: 8, 32: 8},
    "resnet18": {2: 1, 4: 1, 8: 2, 16: 4, 32: 8},
    "resnet34": {2: 1, 4: 1, 8: 2, 16: 4, 32: 8},
    "resnet50": {2: 1, 4: 4, 8: 8, 16: 16, 32: 32},
    "squeezenet1_1": {4: 2, 8: 4, 16: 8},
    "laptop": {2: 1, 4: 2, 8: 4, 16: 8, 32: 8},
}
LAST = {  # the node of the value at each stride
    "vgg16": ("features.4", "features.9", "features.16", "features.23", "features.30"),
    "vgg16_bn": ("features.6", "features.13", "features.23", "features.33", "features.43"),
    "resnet18": ("relu", "layer1.1.relu", "layer2.1.relu", "layer3.1.relu", "layer4.1.relu"),
    "resnet34": ("relu", "layer1.2.relu", "layer2.3.relu", "layer3.5.relu", "layer4.2.relu"),
    "resnet50": ("relu", "layer1.2.relu", "layer2.3.relu", "layer3.5.relu", "layer4.2.relu"),
    "squeezenet1_1": ("features.4.concat", "features.7.concat", "features.12.concat"),
    "laptop": ("level1.2", "level2.5", "level3.5", "level4.5", "level5.5"),
}
LEAST = {"vgg16": 32, "vgg16_bn": 32, "squeezenet1_1": 17}  # of a side that it takes; the others take 1
EVEN = {"squeezenet1_1": 4}  # what its width is a multiple of


def built(name, in_channels=3, width=None, **options):
    """A graph of one encoder alone, which ends in its coarsest value, and the features."""
    graph = Graph(name)
    features = ENCODERS[name](
        graph, graph.input("image", in_channels), in_channels, width or EVEN.get(name, 1), **options
    )
    graph.outputs.append(features[max(features)].value.node)
    return graph.initialise(0), features


def sizes_of(name, graph, features, size):
    """The sizes of the values at each stride, for images of this size."""
    shapes = graph.shapes((1, graph.inputs[0].channels, *size))
    return [shapes[feature.value.node.name][2:] for feature in features.values()]


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize(("in_channels", "factor"), [(1, 1), (3, 2), (5, 3)])
def test_the_value_at_each_stride(name, in_channels, factor):
    width = factor * EVEN.get(name, 1)
    graph, features = built(name, in_channels, width)
    assert {stride: feature.channels for stride, feature in features.items()} == {
        stride: multiple * width for stride, multiple in CHANNELS[name].items()
    }
    assert tuple(feature.value.node.name for feature in features.values()) == LAST[name]
    shapes = graph.shapes((2, in_channels, 96, 64))
    for stride, (value, channels) in features.items():
        assert shapes[value.node.name][:2] == (2, channels)
        if name != "squeezenet1_1":  # its first convolution has no padding
            assert shapes[value.node.name][2:] == (96 // stride, 64 // stride)
    first = next(iter(graph.parameters.values())).data.shape
    assert first[:2] == (width, in_channels)


@pytest.mark.parametrize("name", [name for name in ENCODERS if name != "laptop"])
def test_the_published_width_is_the_default(name):
    graph = Graph(name)
    features = ENCODERS[name](graph, graph.input("image", 3))
    assert [feature.channels for feature in features.values()] == [64 * m for m in CHANNELS[name].values()]


@pytest.mark.parametrize("name", ENCODERS)
def test_images_of_every_size(name):
    graph, features = built(name, 2)
    graph.eval()
    least = LEAST.get(name, 1)
    rng = np.random.default_rng(1)
    for size in [(least, least), (least, least + 9), (67, 37), (33, 50)]:
        x = rng.standard_normal((1, 2, *size)).astype(np.float32)
        y = graph.forward(x)
        assert y.shape == (1, features[max(features)].channels, *sizes_of(name, graph, features, size)[-1])
        assert np.isfinite(y).all()
        assert graph.backward(np.ones_like(y)).shape == x.shape
    if least > 1:
        with pytest.raises(ShapeError, match=rf"{name} node 'features\.\d+' MaxPool2d.* give a larger image"):
            graph.forward(np.zeros((1, 2, least - 1, 64), np.float32))


def test_rounding_up_loses_no_pixel_of_vgg():
    size = (67, 1)
    for name in ("vgg16", "vgg16_bn"):
        graph, features = built(name, ceil_mode=True)
        assert sizes_of(name, graph, features, size) == [(34, 1), (17, 1), (9, 1), (5, 1), (3, 1)]
        graph.eval()
        image = np.random.default_rng(2).standard_normal((1, 3, *size)).astype(np.float32)
        assert graph.forward(image).shape == (1, 8, 3, 1)
        plain, features = built(name)
        assert sizes_of(name, plain, features, (67, 32)) == [(33, 16), (16, 8), (8, 4), (4, 2), (2, 1)]


@pytest.mark.parametrize("name", [name for name in ENCODERS if not name.startswith("vgg")])
def test_rounding_up_changes_nothing_where_sizes_are_rounded_up_as_they_are(name):
    plain, rounded = built(name), built(name, ceil_mode=True)
    for side in range(LEAST.get(name, 1), 80):
        size = (side, side + 1)
        sizes = sizes_of(name, *plain, size)
        assert sizes == sizes_of(name, *rounded, size)
        if name != "squeezenet1_1":
            assert sizes == [(-(-side // stride), -(-(side + 1) // stride)) for stride in CHANNELS[name]]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vgg16", {"width": 0}, "width must be a whole number of at least 1; got 0"),
        ("resnet18", {"width": 2.5}, "width must be a whole number of at least 1; got 2.5"),
        ("laptop", {"width": -1}, "width must be a whole number of at least 1; got -1"),
        ("squeezenet1_1", {"width": 6}, "width 6 makes 1.5 channels of the published 16; take a multiple of 4"),
        ("resnet50", {"in_channels": 0}, "must be a whole number of at least 1; got 0"),
    ],
)
def test_options_it_does_not_know(name, options, message):
    graph = Graph(name)
    with pytest.raises(OptionError, match=re.escape(message)):
        ENCODERS[name](graph, graph.input("image"), **options)


# --------------------------------------------------------------------------------------------------------- VGG's levels


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_the_indices_of_each_level_put_its_values_back(batch_norm, ceil_mode):
    graph = Graph("levels")
    image = graph.input("image", 3)
    levels = vgg_levels(graph, image, 3, 1, batch_norm, ceil_mode, return_indices=True)
    assert [level.channels for level in levels] == [1, 2, 4, 8, 8]
    for i, level in enumerate(levels, start=1):
        graph.output(f"unpool{i}", MaxUnpool2d(2), level.pooled, level.indices, size_of=level.before)
    graph.initialise(3).eval()
    x = np.random.default_rng(4).standard_normal((2, 3, 45, 70)).astype(np.float32)
    values = {step.node: step.output for step in graph.steps(x)}
    for i, level in enumerate(levels, start=1):
        before, back = values[level.before.node.name], values[f"unpool{i}"]
        assert back.shape == before.shape
        kept = back != 0
        assert kept.any()
        np.testing.assert_array_equal(back[kept], before[kept])
        assert kept.sum() == (values[level.pooled.node.name][0] != 0).sum()


@pytest.mark.parametrize("name", ["vgg16", "vgg16_bn"])
def test_the_levels_are_the_encoder(name):
    graph = Graph("levels")
    levels = vgg_levels(graph, graph.input("image", 3), width=2, batch_norm=name == "vgg16_bn")
    assert [level.indices for level in levels] == [None] * 5
    graph.outputs.append(levels[-1].pooled.node)
    other, _ = built(name, width=2)
    graph.initialise(0)
    x = np.random.default_rng(5).standard_normal((2, 3, 32, 64)).astype(np.float32)
    np.testing.assert_array_equal(graph.forward(x), other.forward(x))


# ---------------------------------------------------------------------------------------------------------- classifiers


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_is_its_encoder_with_a_head(name):
    width = EVEN.get(name, 1)
    graph = CLASSIFIERS[name](7, 2, width, **({"size": 64} if name.startswith("vgg") else {}))
    x = np.random.default_rng(6).standard_normal((3, 2, 64, 64)).astype(np.float32)
    wanted = (3, 7, 1, 1) if name == "laptop" else (3, 7)
    assert graph.output_shape(x.shape) == wanted
    assert graph.predict(x).shape == wanted
    encoder, _ = built(name, 2, width)
    keys = graph.state_dict()
    assert set(encoder.state_dict()) < set(keys)
    head = {"vgg": {"classifier.0", "classifier.3", "classifier.6"}, "res": {"fc"}, "squ": {"classifier.1"}}
    others = {key.rpartition(".")[0] for key in set(keys) - set(encoder.state_dict())}
    assert others == head.get(name[:3], {"score"})


def test_the_published_size_of_the_first_fully_connected_layer():
    graph = CLASSIFIERS["vgg16"](width=1)
    assert graph.parameters["classifier.0.weight"].data.shape == (64, 8 * 7 * 7)
    assert graph.parameters["classifier.6.weight"].data.shape == (1000, 64)
    tall = CLASSIFIERS["vgg16_bn"](4, 1, 1, size=(70, 40), dropout=0.0)
    assert tall.parameters["classifier.0.weight"].data.shape == (64, 8 * 2 * 1)
    assert tall.output_shape((2, 1, 70, 40)) == (2, 4)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_seed_makes_the_weights(name):
    def weights(seed):
        options = {"size": 32} if name.startswith("vgg") else {}
        return CLASSIFIERS[name](3, 1, EVEN.get(name, 1), seed=seed, **options).state_dict()

    one, same, other = weights(0), weights(0), weights(1)
    assert all(np.array_equal(one[key], same[key]) for key in one)
    drawn = [key for key in one if key.endswith("weight") and one[key].ndim > 1]
    assert not any(np.array_equal(one[key], other[key]) for key in drawn)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vgg16", {"size": 31}, "size must be at least 32; got 31"),
        ("vgg16", {"dropout": 1.5}, "p is the probability of a zero"),
        ("vgg16_bn", {"num_classes": 0}, "num_classes must be a whole number of at least 1; got 0"),
        ("resnet18", {"num_classes": -2}, "num_classes must be a whole number of at least 1; got -2"),
        ("squeezenet1_1", {"width": 2}, "take a multiple of 4"),
        ("laptop", {"num_classes": "3"}, "num_classes must be a whole number of at least 1; got '3'"),
        ("laptop", {"seed": -1}, "a seed is a whole number of at least 0; got -1"),
    ],
)
def test_options_a_classifier_does_not_know(name, options, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        CLASSIFIERS[name](**({"num_classes": 2, "width": 1} | options))


def test_images_a_classifier_does_not_take():
    graph = pickle.loads(pickle.dumps(CLASSIFIERS["vgg16"](2, width=1, size=64)))
    with pytest.raises(ShapeError, match=r"built for images of 64 x 64.*: got 64 x 96; resize, build it with another"):
        graph.forward(np.zeros((1, 3, 64, 96), np.float32))
    graph = pickle.loads(pickle.dumps(CLASSIFIERS["squeezenet1_1"](2, width=4)))
    assert graph.output_shape((1, 3, 17, 40)) == (1, 2)
    with pytest.raises(ShapeError, match=r"SqueezeNet 1\.1 needs images of at least 17 x 17: got 40 x 16; resize"):
        graph.output_shape((1, 3, 40, 16))


CHECKED = {
    "vgg16": (2, {"size": 32}),
    "resnet18": (1, {}),
    "squeezenet1_1": (4, {}),
    "laptop": (2, {}),
}


@pytest.mark.parametrize("name", CHECKED)
def test_gradients(name):
    width, options = CHECKED[name]
    graph = CLASSIFIERS[name](2, 1, width, seed=2, **options).eval()
    report = check_graph(graph, np.random.default_rng(7).standard_normal((1, 1, 32, 32)), elements=1, directions=1)
    assert report.ok, report


def test_the_laptop_classifier_learns_which_half_is_bright():
    """Classification as dense prediction of one pixel, by the loss that segmentation uses."""
    rng = np.random.default_rng(8)
    images, labels = rng.standard_normal((8, 1, 32, 32)).astype(np.float32), np.arange(8) % 2
    for image, label in zip(images, labels, strict=True):
        image[:, :, 16 * label : 16 * label + 16] += 2
    graph, loss = CLASSIFIERS["laptop"](2, 1, width=4), CrossEntropyLoss()
    losses = []
    for _ in range(40):
        value, cache = loss.forward(graph.forward(images), labels.reshape(8, 1, 1))
        losses.append(float(value))
        graph.zero_grad()
        graph.backward(loss.backward(1.0, cache))
        for parameter in graph.parameters.values():
            parameter.data -= 0.05 * parameter.grad
    assert losses[-1] < 0.05 < 0.5 < losses[0]
    np.testing.assert_array_equal(graph.predict(images).argmax(1).ravel(), labels)
