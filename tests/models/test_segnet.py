"""SegNet and SegNet-Basic: the paper's numbers, sizes restored, and indices that go where they belong."""

import copy
import pickle
import re
from functools import reduce

import numpy as np
import pytest

from minisegnet.errors import OptionError, ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, Conv2d, MaxUnpool2d, ReLU
from minisegnet.models.encoders.vgg import vgg16_bn
from minisegnet.models.segnet import segnet, segnet_basic
from minisegnet.teaching import check_graph

NETWORKS = {
    "basic": lambda classes, channels, seed=0: segnet_basic(classes, channels, width=3, kernel_size=3, seed=seed),
    "vgg": lambda classes, channels, seed=0: segnet(classes, channels, width=1, seed=seed),
    "vgg without batch norm": lambda classes, channels, seed=0: segnet(classes, channels, 1, False, seed),
}
every_network = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)


def parameter_count(graph):
    return sum(parameter.data.size for parameter in graph.parameters.values())


# ------------------------------------------------------------------------------------------------ the paper's numbers


def test_segnet_basic_as_published():
    graph = segnet_basic(11)
    assert parameter_count(graph) == 49 * 64 * (3 + 7 * 64) + 8 * 2 * 64 + 11 * 65
    assert parameter_count(graph) == pytest.approx(1.425e6, rel=0.01)  # table 1
    before_the_decoder = list(graph.nodes).index("unpool4")
    path = [node.layer for node in list(graph.nodes.values())[1:before_the_decoder]]
    footprints = [layer.footprints((1, 1, 99, 99), (1, 1, 99, 99))[0] for layer in path]
    field = reduce(lambda before, layer: layer.after(before), footprints)
    assert field.scale == 16
    assert field.last - field.first + 1 == 106  # section 3.1: "a context window of 106 x 106 pixels"


def test_the_basic_decoder_has_no_relu_and_no_convolution_a_bias():
    layers = segnet_basic(2, width=1).layers
    assert [type(layers[f"decoder1.{i}"]) for i in (0, 1)] == [Conv2d, BatchNorm2d]
    assert sum(isinstance(layer, ReLU) for layer in layers.values()) == 4
    assert [name for name in layers if type(layers[name]) is Conv2d and layers[name].bias is not None] == ["score"]


def test_segnet_as_published():
    """29.45 million parameters: VGG-16's convolutions twice, and batch norm."""
    graph = segnet(11)
    weights, channels = 14_710_464, 4_224  # of VGG-16's convolutions; channels that they make, each with a bias
    encoder = weights + channels + 2 * channels
    decoder = weights - 9 * 3 * 64 + 2 * (channels - 512)  # each makes as many channels as its mirror image takes
    assert parameter_count(graph) == encoder + decoder + 9 * 64 * 11 + 11
    assert round(parameter_count(graph) / 1e6, 2) == 29.45
    shapes = graph.shapes((1, 3, 360, 480))  # CamVid, as in the authors' segnet_train.prototxt
    assert shapes["features.43"] == (1, 512, 12, 15)
    assert shapes["unpool5"][2:] == (23, 30)
    assert shapes["unpool4"][2:] == (45, 60)
    assert [shapes[f"decoder{level}.5"][1] for level in (5, 4, 3, 2)] == [512, 512, 256, 64]
    assert [shapes[f"decoder{level}.8"][1] for level in (5, 4, 3)] == [512, 256, 128]
    assert shapes["decoder1.2"] == (1, 64, 360, 480)
    assert shapes["score"] == (1, 11, 360, 480)


def test_weights_of_vgg_load_by_name():
    encoder = Graph("VGG")
    vgg16_bn(encoder, encoder.input("image", channels=3), width=2)
    keys = segnet(2, width=2).state_dict().keys()
    assert encoder.state_dict().keys() <= keys
    assert {key.split(".")[0] for key in keys - encoder.state_dict().keys()} == {
        "decoder1", "decoder2", "decoder3", "decoder4", "decoder5", "score"
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------- sizes and indices


@every_network
@pytest.mark.parametrize("size", [(33, 50), (64, 32), (37, 95)])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_any_size_comes_back(build, in_channels, size):
    graph = build(4, in_channels)
    x = np.random.default_rng(0).standard_normal((2, in_channels, *size)).astype(np.float32)
    score = graph.forward(x)
    assert score.shape == graph.output_shape(x.shape) == (2, 4, *size)
    assert np.isfinite(score).all()
    assert graph.backward(np.ones_like(score)).shape == x.shape


@every_network
@pytest.mark.parametrize("size", [(1, 1), (1, 20), (3, 2)])
def test_the_smallest_images(build, size):
    x = np.random.default_rng(1).standard_normal((1, 3, *size)).astype(np.float32)
    assert build(2, 3).predict(x).shape == (1, 2, *size)


@every_network
def test_each_unpooling_reads_the_indices_of_the_pooling_it_mirrors(build):
    graph = build(2, 3)
    unpoolings = [node for node in graph.layer_nodes() if isinstance(node.layer, MaxUnpool2d)]
    poolings = [node for node in graph.layer_nodes() if node.layer.outputs == 2]
    assert len(unpoolings) == len(poolings) in (4, 5)
    for pooling, unpooling in zip(poolings, reversed(unpoolings), strict=True):
        values, indices = unpooling.inputs
        assert indices.node is pooling and indices.position == 1
        assert unpooling.size_of.node is pooling.inputs[0].node
        assert values.node is not pooling or pooling is poolings[-1]


# ------------------------------------------------------------------------------------------------ gradients, options


@pytest.mark.parametrize(
    ("name", "training", "shape"),
    [
        ("basic", True, (2, 1, 17, 11)),
        ("vgg", True, (3, 3, 33, 18)),
        ("vgg", False, (1, 1, 18, 33)),
        ("vgg without batch norm", True, (1, 1, 19, 32)),
    ],
)
def test_gradient_check(name, training, shape):
    graph = NETWORKS[name](2, shape[1], seed=3)
    graph.train() if training else graph.eval()
    if name == "vgg" and training:
        leave_out_biases_before_batch_norm(graph)
    report = check_graph(graph, np.random.default_rng(4).standard_normal(shape), elements=0, directions=1)
    assert report.ok, report
    assert report.worst.error < 1e-6


def leave_out_biases_before_batch_norm(graph):
    """In training batch norm takes them away again: their slope is 0, beside which differences show rounding alone."""
    for name, layer in graph.layers.items():
        if name.startswith("features.") and type(layer) is Conv2d:
            layer.bias = None
            del layer.parameters["bias"]


@every_network
def test_a_copy_computes_the_same(build):
    graph = build(2, 3)
    x = np.random.default_rng(5).standard_normal((1, 3, 35, 32)).astype(np.float32)
    for twin in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph)), build(2, 3, seed=0)):
        np.testing.assert_array_equal(twin.predict(x), graph.predict(x))
    assert (build(2, 3, seed=1).predict(x) != graph.predict(x)).any()


@pytest.mark.parametrize("build", [segnet_basic, segnet])
@pytest.mark.parametrize("name", ["num_classes", "in_channels", "width"])
@pytest.mark.parametrize("value", [0, 1.5, "3"])
def test_numbers_it_does_not_take(build, name, value):
    with pytest.raises(OptionError, match=re.escape(f"{name} must be a whole number of at least 1; got {value!r}")):
        build(**({"num_classes": 2, "width": 1} | {name: value}))


@pytest.mark.parametrize(
    ("value", "message"), [(4, "must be odd, .* got 4"), (0, "at least 1; got 0"), (3.0, "whole number .* got 3.0")]
)
def test_kernel_sizes_that_would_move_the_image(value, message):
    with pytest.raises(OptionError, match=f"kernel_size .*{message}"):
        segnet_basic(2, width=1, kernel_size=value)


@every_network
def test_images_of_other_channels(build):
    with pytest.raises(ShapeError, match="has 3 channels"):
        build(2, 3).output_shape((1, 1, 32, 32))
