"""What a layer holds: options told, parameters drawn, states saved and loaded, types changed."""

import copy
import pickle

import numpy as np
import pytest
from layer_table import TABLE, draw

from minisegnet.errors import CheckpointError, OptionError, ShapeError
from minisegnet.layers import (
    AvgPool2d,
    BatchNorm2d,
    CenterCrop,
    Conv2d,
    ConvTranspose2d,
    CrossEntropyLoss,
    Dropout,
    Layer,
    Linear,
    MaxPool2d,
    MaxUnpool2d,
    PadToMultiple,
    UpsampleBilinear2d,
)


@pytest.mark.parametrize(
    "layer, words",
    [
        (Conv2d(3, 16, 3, padding=1), "Conv2d(3, 16, 3, padding=1)"),
        (Conv2d(3, 16, (3, 1), 2, bias=False), "Conv2d(3, 16, (3, 1), stride=2, bias=False)"),
        (ConvTranspose2d(4, 2, 2, stride=2), "ConvTranspose2d(4, 2, 2, stride=2)"),
        (MaxPool2d(2, return_indices=True), "MaxPool2d(2, return_indices=True)"),
        (MaxUnpool2d(), "MaxUnpool2d()"),
        (BatchNorm2d(8, momentum=None), "BatchNorm2d(8, momentum=None)"),
        (Dropout(0.25), "Dropout(p=0.25)"),
        (CrossEntropyLoss([1, 2, 3], 255), "CrossEntropyLoss(weight=<3 values>, ignore_index=255)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_describe_is_the_call_that_builds_it(layer, words):
    assert layer.describe() == repr(layer) == words


@pytest.mark.parametrize(
    "build, fan_in",
    [
        (lambda rng: Conv2d(16, 64, (5, 3), rng=rng), 16 * 15),
        (lambda rng: ConvTranspose2d(64, 16, 4, stride=2, rng=rng), 64 * 16 / 4),
        (lambda rng: Linear(200, 100, rng=rng), 200),
    ],
    ids=["conv", "transposed conv", "linear"],
)
def test_weights_start_normal_by_fan_in_and_biases_zero(build, fan_in):
    layer = build(np.random.default_rng(5))
    weight = layer.weight.data
    spread = np.sqrt(2 / fan_in)
    assert weight.dtype == np.float32 and not layer.bias.data.any()
    assert abs(weight.mean()) < 4 * spread / np.sqrt(weight.size)
    assert weight.std() == pytest.approx(spread, rel=4 / np.sqrt(2 * weight.size))
    assert (np.abs(weight) < spread).mean() == pytest.approx(0.6827, abs=0.02)  # normal, and not uniform
    np.testing.assert_array_equal(build(np.random.default_rng(5)).weight.data, weight)


def test_layers_built_without_a_generator_differ():
    assert not np.array_equal(Conv2d(3, 4, 3).weight.data, Conv2d(3, 4, 3).weight.data)
    assert Dropout().seed != Dropout().seed


def test_initialise_fills_the_same_arrays():
    layer = BatchNorm2d(3)
    held = layer.arrays()
    for array in held.values():
        array.fill(7)
    layer.initialise(np.random.default_rng(0))
    for name, start in {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1, "num_batches_tracked": 0}.items():
        assert (held[name] == start).all() and layer.arrays()[name] is held[name]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_state_is_a_copy_that_loads(row):
    source, inputs, _ = draw(row, 6, "float32")
    source.forward(*inputs, **row.options)
    state = source.state_dict()
    other = row.layer()
    held = other.arrays()
    other.load_state_dict(state)
    assert list(state) == list(held)
    for name, array in held.items():
        np.testing.assert_array_equal(array, source.arrays()[name])
        assert other.arrays()[name] is held[name], "loading rebound an array"
        assert not np.shares_memory(state[name], source.arrays()[name])


def test_loading_names_every_key_that_does_not_fit_and_loads_nothing():
    layer = BatchNorm2d(3)
    before = layer.state_dict()
    state = {
        "weight": np.full(3, 9.0),
        "running_mean": np.zeros(4),
        "num_batches_tracked": np.array(1.5),
        "gamma": np.ones(3),
        "beta": np.ones(3),
    }
    with pytest.raises(CheckpointError) as raised:
        layer.load_state_dict(state)
    message = str(raised.value)
    for part in (
        "BatchNorm2d(3)",
        "2 missing: bias, running_var",
        "2 unexpected: gamma, beta",
        "running_mean is (4,), wanted (3,)",
        "num_batches_tracked holds float64, wanted int64",
    ):
        assert part in message
    for name, array in layer.arrays().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_state_of_another_float_type_is_converted():
    layer = Conv2d(1, 1, 1)
    layer.load_state_dict({"weight": np.full((1, 1, 1, 1), 0.1), "bias": [2]})
    assert layer.weight.data.dtype == np.float32 and layer.weight.data.item() == np.float32(0.1)
    assert layer.bias.data.item() == 2


def test_astype_turns_floats_and_keeps_counts():
    layer = BatchNorm2d(2)
    x = np.random.default_rng(7).standard_normal((2, 2, 3, 3))
    layer.astype("float64")
    y, cache = layer.forward(x)
    layer.backward(x, cache)
    types = {name: array.dtype for name, array in layer.arrays().items()}
    assert types.pop("num_batches_tracked") == np.int64 and set(types.values()) == {np.dtype("float64")}
    assert y.dtype == layer.weight.grad.dtype == np.float64
    assert layer.astype("float32").weight.data.dtype == np.float32


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_layers_can_be_copied_and_pickled(row):
    layer, inputs, _ = draw(row, 8, "float32")
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        wanted, _ = copy.deepcopy(layer).forward(*inputs, **row.options)
        answer, _ = twin.forward(*inputs, **row.options)
        np.testing.assert_array_equal(
            answer[0] if layer.outputs > 1 else answer, wanted[0] if layer.outputs > 1 else wanted
        )
        assert twin.describe() == layer.describe()


def test_modes():
    layer = Dropout()
    assert layer.training and layer.eval() is layer and not layer.training and layer.train().training


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda: Conv2d(0, 1, 3), "in_channels must be a whole number of at least 1; got 0"),
        (lambda: Conv2d(1, 2.5, 3), "out_channels must be a whole number of at least 1; got 2.5"),
        (lambda: Conv2d(1, 1, 0), "kernel_size must be at least 1; got 0"),
        (lambda: Conv2d(1, 1, 3, padding="same"), "padding must be an int or a pair"),
        (lambda: Conv2d(1, 1, 3, stride=0), "stride must be at least 1; got 0"),
        (lambda: ConvTranspose2d(1, 1, 2, stride=2, output_padding=2), "output_padding must be smaller than stride"),
        (lambda: MaxPool2d(2, padding=2), "padding must be at most half of the window"),
        (lambda: AvgPool2d((2, 2, 2)), "kernel_size must be an int or a pair"),
        (lambda: MaxUnpool2d(stride=2), "give kernel_size too"),
        (lambda: UpsampleBilinear2d(0.5), "scale_factor must be an int or a pair"),
        (lambda: BatchNorm2d(3, momentum=2), "momentum is the weight of the new batch, 0 to 1, or None; got 2"),
        (lambda: Dropout(1.5), "p is the probability of a zero, 0 to 1; got 1.5"),
        (lambda: CrossEntropyLoss(reduction="average"), "reduction must be 'sum', 'mean' or 'none'; got 'average'"),
        (lambda: PadToMultiple(0), "multiple must be at least 1; got 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_options_outside_their_range_are_refused_when_built(build, words):
    with pytest.raises(OptionError) as raised:
        build()
    assert words in str(raised.value)


def test_a_layer_of_ones_own_is_asked_for_its_output_shape():
    class Twice(Layer):
        def forward(self, x):
            return 2 * x, None

    with pytest.raises(ShapeError, match="Twice does not say its output's shape: give it a method output_shape"):
        Twice().output_shape((1, 2, 3, 4))


def test_unpooling_without_a_size_says_how_to_give_one():
    x = np.ones((1, 1, 1, 1), "float32")
    with pytest.raises(OptionError, match=r"size_of=.*MaxUnpool2d\(kernel_size\)"):
        MaxUnpool2d().forward(x, np.zeros(x.shape, int))


@pytest.mark.parametrize("H, W", [(1, 1), (5, 6), (8, 8), (9, 15)])
def test_a_centre_crop_undoes_padding_to_a_multiple(H, W):
    x = np.random.default_rng(9).standard_normal((1, 2, H, W)).astype("float32")
    padded, _ = PadToMultiple(8).forward(x)
    assert padded.shape[2] % 8 == padded.shape[3] % 8 == 0
    assert 0 <= padded.shape[2] - H < 8 and 0 <= padded.shape[3] - W < 8
    np.testing.assert_array_equal(CenterCrop().forward(padded, (H, W))[0], x)


def test_a_crop_larger_than_its_image_is_refused():
    with pytest.raises(ShapeError, match="cannot cut 5 x 3 out of an image of 4 x 6; pad the image first"):
        CenterCrop().forward(np.zeros((1, 1, 4, 6), "float32"), (5, 3))
