"""Activations and normalisation at the ends of their range."""

import numpy as np
import pytest
from conftest import assert_close

nan, inf = np.nan, np.inf


def test_relu_keeps_nan_and_passes_no_gradient_there(backend):
    y, cache = backend.relu_forward(np.array([nan, -inf, inf, 0.0, -1.0, 1.0]))
    assert np.isnan(y[0]) and y[1:].tolist() == [0, inf, 0, 0, 1]
    assert backend.relu_backward(np.full(6, 5.0), cache).tolist() == [0, 0, 5, 0, 0, 5]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_does_not_overflow(backend, dtype):
    with np.errstate(all="raise", under="ignore"):
        y, cache = backend.sigmoid_forward(np.array([-inf, -1e4, -100, 100, 1e4, inf], dtype))
        dx = backend.sigmoid_backward(np.ones(6, dtype), cache)
    assert y[[0, 1]].tolist() == [0, 0] and y[[3, 4, 5]].tolist() == [1, 1, 1]
    assert_close(y[2], np.exp(np.array(-100, dtype)), 1e-5)
    assert 0 < y[2] < 1e-40
    assert np.isfinite(dx).all()


def test_softmax_does_not_overflow(backend):
    x = np.array([[1e4, 0, -1e4], [-1e4, -1e4, -inf], [3e38, 3e38, 3e38]], np.float32)
    with np.errstate(all="raise", under="ignore"):
        y, _ = backend.softmax_forward(x)
    assert_close(y, np.array([[1, 0, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]], np.float32), 1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_softmax_sums_to_one_and_takes_no_notice_of_a_shift(backend, seed):
    rng = np.random.default_rng(seed)
    x, shift = rng.standard_normal((2, 4, 3, 3)), rng.standard_normal((2, 1, 3, 3))
    y, cache = backend.softmax_forward(x)
    assert_close(y.sum(1), np.ones((2, 3, 3)), 1e-14)
    assert_close(backend.softmax_forward(x + shift)[0], y, 1e-14)
    dx = backend.softmax_backward(rng.standard_normal(x.shape), cache)
    assert_close(1 + dx.sum(1), np.ones((2, 3, 3)), 1e-15, "the slopes add up to nothing, on a scale of 1")


@pytest.mark.parametrize("seed", range(3))
def test_batch_norm_gives_mean_0_and_variance_1(backend, seed):
    rng = np.random.default_rng(seed)
    x = 5 + 3 * rng.standard_normal((3, 2, 4, 5))
    (y, mean, var), cache = backend.batch_norm2d_forward(x, np.ones(2), np.zeros(2))
    assert_close(1 + y.mean((0, 2, 3)), np.ones(2), 1e-14, "0 on a scale of 1")
    assert_close(y.var((0, 2, 3)), var / (var + 1e-5), 1e-12)
    assert_close(mean, x.mean((0, 2, 3)), 1e-14)
    assert_close(var, x.var((0, 2, 3)), 1e-14)
    dx, _, _ = backend.batch_norm2d_backward(rng.standard_normal(x.shape), cache)
    assert_close(1 + dx.sum((0, 2, 3)), np.ones(2), 1e-14, "a shift of the channel changes nothing: the slopes cancel")


def test_batch_norm_with_the_statistics_it_found_gives_the_same(backend):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    weight, bias = np.array([1.0, 2.0, 3.0]), np.array([-1.0, 0.0, 1.0])
    (y, mean, var), _ = backend.batch_norm2d_forward(x, weight, bias)
    (again, _, _), _ = backend.batch_norm2d_forward(x, weight, bias, mean, var)
    assert_close(again, y, 1e-14)


def test_batch_norm_of_a_constant_channel_is_its_bias(backend):
    (y, _, var), cache = backend.batch_norm2d_forward(np.full((2, 1, 3, 3), 4.0), np.array([2.0]), np.array([7.0]))
    assert (y == 7).all() and var == 0
    assert np.isfinite(backend.batch_norm2d_backward(np.ones_like(y), cache)[0]).all()
