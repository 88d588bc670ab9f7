"""DeconvNet: the published layers, the middle that ties it to a size, and larger images."""

import copy
import pickle
import re
from itertools import pairwise

import numpy as np
import pytest

from minisegnet.errors import OptionError, ShapeError
from minisegnet.layers import Conv2d, ConvTranspose2d
from minisegnet.models.deconvnet import deconvnet
from minisegnet.teaching import check_graph

SMALL = {"num_classes": 3, "width": 1, "size": 64, "middle": 5}


def parameters_by_formula(num_classes, in_channels, width, side, middle):
    """Of the published channels 64, 128, 256, 512, 512, times width / 64; with a batch norm behind each convolution."""
    levels = [(width,) * 2, (2 * width,) * 2, (4 * width,) * 3, (8 * width,) * 3, (8 * width,) * 3]
    made = [channels for level in levels for channels in level]
    encoder = sum(9 * a * b + b + 2 * b for a, b in zip([in_channels, *made], made, strict=False))
    fully = 2 * (side * side * 8 * width * middle) + middle * middle + 2 * (2 * middle + 8 * width)
    mirrored = [*reversed(made), width]  # the way back; the last keeps its channels
    decoder = sum(9 * a * b + 2 * b for a, b in pairwise(mirrored))
    return encoder + fully + decoder + num_classes * (width + 1)


@pytest.mark.parametrize("numbers", [(3, 3, 1, 2, 5), (21, 1, 4, 1, 32), (2, 3, 2, 3, 7)])
def test_parameters(numbers):
    num_classes, in_channels, width, side, middle = numbers
    graph = deconvnet(num_classes, in_channels, width, 32 * side, middle)
    assert sum(parameter.data.size for parameter in graph.parameters.values()) == parameters_by_formula(*numbers)


def test_the_published_size():
    """251.8 million parameters, nearly all of them in the middle; built narrow here, counted by the same formula."""
    assert round(parameters_by_formula(21, 3, 64, 7, 4096) / 1e6, 1) == 251.8
    shapes = deconvnet(21, width=1, middle=4).shapes((1, 3, 224, 224))  # figure 2
    assert shapes["features.43"] == (1, 8, 7, 7)
    assert shapes["fc6.2"] == shapes["fc7.2"] == (1, 4, 1, 1)
    assert shapes["fc6_deconv.2"] == (1, 8, 7, 7)
    sides = [14, 28, 56, 112, 224]
    channels = [8, 4, 2, 1, 1]  # after the last deconvolution of each level: 512, 256, 128, 64, 64
    for number, side, made in zip((5, 4, 3, 2, 1), sides, channels, strict=True):
        assert shapes[f"unpool{number}"][2:] == (side, side)
        last = max((name for name in shapes if name.startswith(f"deconv{number}.")), key=lambda name: int(name[8:]))
        assert shapes[last] == (1, made, side, side)
    assert shapes["score"] == (1, 21, 224, 224)


def test_the_way_back_is_made_of_transposed_convolutions():
    layers = deconvnet(**SMALL).layers
    assert sum(type(layer) is ConvTranspose2d for layer in layers.values()) == 1 + 13
    assert sum(type(layer) is Conv2d for layer in layers.values()) == 13 + 2 + 1


@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize("size", [(64, 64), (96, 64), (65, 101), (70, 128)])
def test_its_size_and_larger_images(in_channels, size):
    graph = deconvnet(**SMALL, in_channels=in_channels)
    x = np.random.default_rng(0).standard_normal((3, in_channels, *size)).astype(np.float32)
    score = graph.forward(x)
    assert score.shape == graph.output_shape(x.shape) == (3, 3, *size)
    assert np.isfinite(score).all()
    assert graph.backward(np.ones_like(score)).shape == x.shape


def test_on_a_larger_image_the_middle_stands_at_several_places():
    graph = deconvnet(**SMALL).eval()
    x = np.random.default_rng(1).standard_normal((1, 3, 128, 96)).astype(np.float32)
    values = {step.node: step.output for step in graph.steps(x)}
    last_map, middle = values["features.43"][0], values["fc7.2"]
    assert last_map.shape[2:] == (4, 3) and middle.shape == (1, 5, 3, 2)
    for row, column in np.ndindex(3, 2):
        window = last_map[:, :, row : row + 2, column : column + 2]
        for name in ("fc6.0", "fc6.1", "fc6.2", "fc7.0", "fc7.1", "fc7.2"):
            window, _ = graph.layers[name].forward(window)
        np.testing.assert_allclose(window, middle[:, :, row : row + 1, column : column + 1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(63, 64), (64, 63), (32, 200), (1, 1)])
@pytest.mark.parametrize("duplicate", [lambda graph: graph, copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))])
def test_smaller_images_are_refused(size, duplicate):
    wanted = f"DeconvNet of size 64 needs images of at least 64 x 64.*got {size[0]} x {size[1]}; .*multiple of 32"
    with pytest.raises(ShapeError, match=wanted):
        duplicate(deconvnet(**SMALL)).predict(np.zeros((1, 3, *size), np.float32))


def test_a_single_image_of_its_size_cannot_train():
    with pytest.raises(ShapeError, match=r"fc6\.1.*more than one value a channel"):
        deconvnet(**SMALL).forward(np.zeros((1, 3, 64, 64), np.float32))


@pytest.mark.parametrize(
    ("training", "shape"), [(True, (3, 1, 32, 32)), (True, (2, 3, 40, 33)), (False, (1, 1, 33, 65))]
)
def test_gradient_check(training, shape):
    graph = deconvnet(2, shape[1], width=1, size=32, middle=4, seed=2)
    graph.train() if training else graph.eval()
    if training:
        leave_out_biases_before_batch_norm(graph)
    report = check_graph(graph, np.random.default_rng(3).standard_normal(shape), elements=0, directions=1)
    assert report.ok, report
    assert report.worst.error < 1e-6


def leave_out_biases_before_batch_norm(graph):
    """In training batch norm takes them away again: their slope is 0, beside which differences show rounding alone."""
    for name, layer in graph.layers.items():
        if name.startswith("features.") and type(layer) is Conv2d:
            layer.bias = None
            del layer.parameters["bias"]


@pytest.mark.parametrize("size", [0, 16, 100, 225, 32.0, "64"])
def test_sizes_it_does_not_take(size):
    wanted = "multiple of 32" if isinstance(size, int) and size else "size must be a whole number"
    with pytest.raises(OptionError, match=f"{wanted}.* got {size!r}"):
        deconvnet(2, width=1, middle=2, size=size)


@pytest.mark.parametrize("name", ["num_classes", "in_channels", "width", "middle"])
@pytest.mark.parametrize("value", [0, 1.5, "3"])
def test_numbers_it_does_not_take(name, value):
    with pytest.raises(OptionError, match=re.escape(f"{name} must be a whole number of at least 1; got {value!r}")):
        deconvnet(**(SMALL | {name: value}))
