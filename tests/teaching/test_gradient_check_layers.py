"""Every layer passes the gradient check on both backends, and is left as it was."""

import copy
import inspect

import numpy as np
import pytest

from minisegnet import layers
from minisegnet.errors import OptionError, ShapeError
from minisegnet.layers import Layer
from minisegnet.teaching import check_layer, check_loss

BOUND = 1e-6  # what every layer must keep, relative


def classes():
    """Every layer class that the package exports."""
    found = {name: value for name, value in vars(layers).items() if inspect.isclass(value) and issubclass(value, Layer)}
    return {name: value for name, value in found.items() if value is not Layer}


def images(*shape):
    return lambda rng: rng.standard_normal(shape)


def labels(*shape, classes=3):
    return lambda rng: rng.integers(0, classes, shape)


def indices(rng):
    """For a pooled (2, 2, 2, 3) of images of 5 x 7, distinct in each plane."""
    return np.stack([rng.permutation(35)[:6] for _ in range(4)]).reshape(2, 2, 2, 3)


IMAGE = images(2, 2, 4, 5)
# For each layer, ways to build it, with what its forward takes and the options by name.
TABLE = {
    "Conv2d": [
        (lambda: layers.Conv2d(2, 3, 3), [IMAGE], {}),
        (lambda: layers.Conv2d(2, 2, (2, 3), (2, 1), (1, 0), (1, 2), bias=False), [images(2, 2, 4, 6)], {}),
    ],
    "ConvTranspose2d": [
        (lambda: layers.ConvTranspose2d(2, 3, 2, stride=2), [images(2, 2, 3, 2)], {}),
        (lambda: layers.ConvTranspose2d(2, 2, 3, 2, 1, 1, False, 2), [images(1, 2, 3, 2)], {}),
    ],
    "Linear": [
        (lambda: layers.Linear(4, 3), [images(3, 4)], {}),
        (lambda: layers.Linear(4, 3, bias=False), [images(3, 4)], {}),
    ],
    "MaxPool2d": [
        (lambda: layers.MaxPool2d(2), [IMAGE], {}),
        (lambda: layers.MaxPool2d(3, 2, 1, return_indices=True, ceil_mode=True), [IMAGE], {}),
    ],
    "AvgPool2d": [(lambda: layers.AvgPool2d(2), [IMAGE], {}), (lambda: layers.AvgPool2d((3, 2), 1, 1), [IMAGE], {})],
    "MaxUnpool2d": [(layers.MaxUnpool2d, [images(2, 2, 2, 3), indices], {"output_size": (5, 7)})],
    "NearestUnpool2d": [
        (layers.NearestUnpool2d, [IMAGE], {}),
        (layers.NearestUnpool2d, [IMAGE], {"output_size": (7, 9)}),
    ],
    "BedOfNails2d": [(layers.BedOfNails2d, [IMAGE], {}), (lambda: layers.BedOfNails2d((1, 3)), [IMAGE], {})],
    "UpsampleBilinear2d": [
        (layers.UpsampleBilinear2d, [IMAGE], {}),
        (lambda: layers.UpsampleBilinear2d(align_corners=True), [IMAGE], {"output_size": (7, 3)}),
    ],
    "ReflectionPad2d": [(lambda: layers.ReflectionPad2d((1, 2, 3, 0)), [IMAGE], {})],
    "PadToMultiple": [(lambda: layers.PadToMultiple(4), [IMAGE], {})],
    "ZeroConv2d": [(lambda: layers.ZeroConv2d(2, 3, 1), [IMAGE], {})],
    "BilinearConvTranspose2d": [
        (lambda: layers.BilinearConvTranspose2d(2, 4, 2, padding=1), [images(2, 2, 3, 2)], {}),
        (lambda: layers.BilinearConvTranspose2d(2, 3, 2, output_padding=1, fixed=True), [images(2, 2, 3, 2)], {}),
    ],
    "Flatten": [(layers.Flatten, [IMAGE], {})],
    "GlobalAvgPool2d": [(layers.GlobalAvgPool2d, [IMAGE], {})],
    "Add": [(layers.Add, [IMAGE, IMAGE], {})],
    "Crop": [(lambda: layers.Crop(1, 2), [IMAGE], {"output_size": (3, 2)})],
    "CenterCrop": [(layers.CenterCrop, [IMAGE], {"output_size": (3, 2)})],
    "Concat": [(layers.Concat, [IMAGE, images(2, 1, 4, 5), images(2, 3, 4, 5)], {})],
    "BatchNorm2d": [
        (lambda: layers.BatchNorm2d(2), [IMAGE], {}),
        (lambda: layers.BatchNorm2d(2, eps=0.1, momentum=None), [IMAGE], {}),
        (lambda: layers.BatchNorm2d(2).eval(), [IMAGE], {}),
    ],
    "ReLU": [(layers.ReLU, [IMAGE], {})],
    "Sigmoid": [(layers.Sigmoid, [IMAGE], {})],
    "Softmax": [(layers.Softmax, [IMAGE], {}), (lambda: layers.Softmax(-1), [images(3, 4)], {})],
    "Dropout": [
        (lambda: layers.Dropout(0.4), [IMAGE], {}),
        (lambda: layers.Dropout(0.4, seed=3), [images(3, 7)], {}),
        (lambda: layers.Dropout(0.4).eval(), [IMAGE], {}),
    ],
    "CrossEntropyLoss": [
        (layers.CrossEntropyLoss, [images(2, 3, 2, 3), labels(2, 2, 3)], {}),
        (
            lambda: layers.CrossEntropyLoss([1, 0.2, 3], ignore_index=1, reduction="none"),
            [images(2, 3, 2, 3), labels(2, 2, 3), lambda rng: rng.random((2, 2, 3))],
            {},
        ),
    ],
    "BCEWithLogitsLoss": [(layers.BCEWithLogitsLoss, [images(2, 5), lambda rng: rng.random((2, 5))], {})],
    "SmoothL1Loss": [(lambda: layers.SmoothL1Loss("sum", beta=0.3), [images(2, 5), images(2, 5)], {})],
    "DiceLoss": [(lambda: layers.DiceLoss(ignore_index=2), [images(2, 3, 2, 3), labels(2, 2, 3)], {})],
}


def test_no_layer_is_left_out():
    assert set(TABLE) == set(classes()), "a layer needs a row in this table, or a row has lost its layer"
    for name, rows in TABLE.items():
        assert all(type(build()) is classes()[name] for build, _, _ in rows)


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, rows in TABLE.items() for number in range(len(rows))]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_layer(float64_backend, name, number, seed):
    build, drawn, options = TABLE[name][number]
    rng = np.random.default_rng(seed)
    layer, inputs = build(), [draw(rng) for draw in drawn]
    for parameter in layer.parameters.values():
        parameter.data[...] = rng.standard_normal(parameter.data.shape)
    before = copy.deepcopy(layer)
    check = check_loss if name.endswith("Loss") else check_layer
    report = check(layer, *inputs, **options, upstream_seed=seed, bound=BOUND, elements=20)
    assert report.ok, report
    assert set(layer.parameters) <= {array.name for array in report.arrays}
    assert report.worst.error < BOUND
    assert_untouched(layer, before)


def assert_untouched(layer, before):
    assert {name: array.dtype for name, array in layer.arrays().items()} == {
        name: array.dtype for name, array in before.arrays().items()
    }
    for name, array in before.arrays().items():
        np.testing.assert_array_equal(layer.arrays()[name], array)
    for name, parameter in before.parameters.items():
        np.testing.assert_array_equal(layer.parameters[name].grad, parameter.grad)
    assert layer.training == before.training and getattr(layer, "calls", 0) == getattr(before, "calls", 0)


def test_a_layer_is_left_as_it_was():
    layer = layers.BatchNorm2d(2)
    layer.weight.grad[...] = 7
    layer.weight.trainable = False
    before = copy.deepcopy(layer)
    report = check_layer(layer, IMAGE(np.random.default_rng(0)))
    assert [array.name for array in report.arrays] == ["x", "weight", "bias"] and report.ok
    assert_untouched(layer, before)
    assert layer.weight.trainable is False


def test_what_cannot_be_checked_says_so():
    rng = np.random.default_rng(0)
    with pytest.raises(OptionError, match="check_layer takes a layer"):
        check_layer(lambda x: x, IMAGE(rng))
    with pytest.raises(OptionError, match="x holds NaN or infinity"):
        check_layer(layers.ReLU(), np.array([1.0, np.nan]))
    with pytest.raises(ShapeError, match="no float array with elements"):
        check_layer(layers.ReLU(), np.zeros((0, 3)))
    with pytest.raises(OptionError, match="at least one element or direction"):
        check_layer(layers.ReLU(), IMAGE(rng), elements=0, directions=0)
    with pytest.raises(OptionError, match="bound above 0"):
        check_layer(layers.ReLU(), IMAGE(rng), bound=0)
    with pytest.raises(OptionError, match="'labels', which is no float array of the inputs \\(logits are\\)"):
        check_layer(layers.CrossEntropyLoss(), IMAGE(rng), labels(2, 4, 5)(rng), differentiable=["labels"])
