"""Layers that change from call to call: batch norm's running statistics, dropout's masks."""

import numpy as np
import pytest

from minisegnet import functional
from minisegnet.errors import ShapeError
from minisegnet.layers import BatchNorm2d, Dropout


@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0, None])
def test_running_statistics_follow_the_rule(momentum):
    rng = np.random.default_rng(1)
    layer = BatchNorm2d(3, momentum=momentum).astype("float64")
    held = layer.arrays()
    mean, var = np.zeros(3), np.ones(3)
    for batch in range(1, 4):
        x = 2 + 3 * rng.standard_normal((2, 3, 4, 5))
        layer.forward(x)
        weight = 1 / batch if momentum is None else momentum
        mean = (1 - weight) * mean + weight * x.mean(axis=(0, 2, 3))
        var = (1 - weight) * var + weight * x.var(axis=(0, 2, 3), ddof=1)
        np.testing.assert_allclose(held["running_mean"], mean, rtol=1e-12)
        np.testing.assert_allclose(held["running_var"], var, rtol=1e-12)
        assert held["num_batches_tracked"] == batch
    assert all(layer.arrays()[name] is array for name, array in held.items()), "an array was rebound"


def test_evaluation_uses_the_running_statistics_and_leaves_them():
    rng = np.random.default_rng(2)
    layer = BatchNorm2d(3)
    for name, array in layer.arrays().items():
        array[...] = 4 if name == "num_batches_tracked" else rng.uniform(0.5, 2, 3)
    before = layer.state_dict()
    x = rng.standard_normal((2, 3, 4, 5)).astype("float32")
    y, _ = layer.eval().forward(x)
    column = {name: array.reshape(-1, 1, 1) for name, array in before.items()}
    wanted = (x - column["running_mean"]) / np.sqrt(column["running_var"] + 1e-5) * column["weight"] + column["bias"]
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)
    for name, array in layer.arrays().items():
        np.testing.assert_array_equal(array, before[name])
    single, _ = layer.forward(x[:1, :, :1, :1])  # one value a channel is fine here
    np.testing.assert_allclose(single, wanted[:1, :, :1, :1], rtol=1e-5, atol=1e-5)


def test_one_value_a_channel_has_no_statistics():
    layer = BatchNorm2d(3)
    with pytest.raises(ShapeError, match=r"more than one value a channel; got x of shape \(1, 3, 1, 1\)"):
        layer.forward(np.zeros((1, 3, 1, 1), "float32"))
    assert layer.arrays()["num_batches_tracked"] == 0


def test_batch_norm_names_the_channels_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"BatchNorm2d\(3\) got 4 channels"):
        BatchNorm2d(3).forward(np.zeros((1, 4, 2, 2), "float32"))


def test_each_pass_of_dropout_draws_the_mask_of_seed_plus_calls():
    x = np.ones((1, 2, 8, 8), "float32")
    layer = Dropout(0.5, seed=2**64 - 2)
    for call, seed in enumerate([2**64 - 2, 2**64 - 1, 0]):
        assert layer.calls == call
        y, cache = layer.forward(x)
        np.testing.assert_array_equal(y, functional.dropout_forward(x, 0.5, seed)[0])
        np.testing.assert_array_equal(layer.backward(x, cache), y)
    layer.calls = 0
    np.testing.assert_array_equal(layer.forward(x)[0], functional.dropout_forward(x, 0.5, 2**64 - 2)[0])


def test_dropout_does_nothing_in_evaluation():
    x = np.random.default_rng(3).standard_normal((1, 2, 4, 4)).astype("float32")
    layer = Dropout(0.5, seed=1).eval()
    y, cache = layer.forward(x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(layer.backward(2 * x, cache), 2 * x)
    assert layer.calls == 0


def test_initialise_draws_dropouts_seed():
    layer = Dropout(seed=1)
    layer.calls = 5
    layer.initialise(np.random.default_rng(4))
    again = Dropout(seed=2)
    again.initialise(np.random.default_rng(4))
    assert (layer.seed, layer.calls) == (again.seed, 0) and layer.seed not in (1, 2)


def test_batch_norm_that_tracks_nothing_keeps_nothing_and_sees_no_brightness_in_evaluation():
    layer = BatchNorm2d(3, track_running_stats=False)
    x = np.random.default_rng(5).standard_normal((1, 3, 6, 7)).astype("float32")
    trained, _ = layer.forward(x)
    assert layer.buffers == {} and list(layer.state_dict()) == ["weight", "bias"]
    evaluated, _ = layer.eval().forward(4 * x + 9)
    np.testing.assert_allclose(evaluated, trained, atol=2e-5)
    with pytest.raises(ShapeError, match="more than one value a channel"):
        layer.forward(np.zeros((1, 3, 1, 1), "float32"))
