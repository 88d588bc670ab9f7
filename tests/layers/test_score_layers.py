"""How FCN's own layers start: scores at zero, upsampling at bilinear interpolation; and what freezing keeps."""

import numpy as np
import pytest

from minisegnet.layers import BatchNorm2d, BilinearConvTranspose2d, Conv2d, ZeroConv2d
from minisegnet.layers.score import bilinear
from minisegnet.training import SGD


def test_zero_convolution_starts_at_zero_and_learns():
    layer = ZeroConv2d(3, 4, 1)
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 5)).astype(np.float32)
    y, cache = layer.forward(x)
    assert not y.any()
    layer.backward(np.ones_like(y), cache)
    assert layer.weight.grad.any() and layer.bias.grad.any()
    layer.weight.data.fill(3)
    layer.initialise(np.random.default_rng(0))
    assert not layer.weight.data.any()


@pytest.mark.parametrize("stride", [2, 3, 8])
@pytest.mark.parametrize("odd", [False, True])
def test_bilinear_upsampling_draws_straight_lines(stride, odd):
    """A ramp comes out as a ramp, each pixel at its own place, and a constant as that constant; channels stay apart."""
    kernel = 2 * stride - odd
    layer = BilinearConvTranspose2d(2, kernel, stride)
    j = np.arange(9.0, dtype=np.float32)
    x = np.stack([np.broadcast_to(j, (9, 9)), np.broadcast_to(7 - 2 * j[:, None], (9, 9))])[None]
    y, _ = layer.forward(x)
    at = (np.arange(y.shape[2]) - (kernel - 1) / 2) / stride  # where each output pixel lies among the input's
    inner = np.flatnonzero((at >= 1) & (at <= 7))
    wanted = np.broadcast_to(at[inner], (len(inner), len(inner)))
    np.testing.assert_allclose(y[0, 0][np.ix_(inner, inner)], wanted, atol=1e-5)
    np.testing.assert_allclose(y[0, 1][np.ix_(inner, inner)], 7 - 2 * wanted.T, atol=1e-5)


def test_bilinear_stamp_by_hand():
    np.testing.assert_array_equal(bilinear(2, 2), [[0.75**2] * 2] * 2)
    np.testing.assert_allclose(bilinear((3, 4), 2)[1], [0.25, 0.75, 0.75, 0.25])
    np.testing.assert_allclose(bilinear((3, 4), 2)[:, 1] / 0.75, [0.5, 1, 0.5])


@pytest.mark.parametrize("fixed", [False, True])
def test_fixed_upsampling_is_not_trained(fixed):
    layer = BilinearConvTranspose2d(2, 4, 2, padding=1, fixed=fixed)
    before = layer.weight.data.copy()
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32)
    y, cache = layer.forward(x)
    assert layer.backward(y, cache).any()
    SGD(layer.parameters, lr=0.1, momentum=0.9, weight_decay=0.1).step()
    assert np.array_equal(layer.weight.data, before) == fixed
    assert repr(layer) == f"BilinearConvTranspose2d(2, 4, 2, padding=1{', fixed=True' * fixed})"


def test_a_frozen_layer_keeps_weights_and_statistics():
    for layer in (BatchNorm2d(3), Conv2d(3, 3, 1)):
        assert layer.freeze() is layer and not layer.training
        layer.train()
        assert not layer.training
        before = layer.state_dict()
        x = 5 + np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32)
        y, cache = layer.forward(x)
        layer.backward(y, cache)
        SGD(layer.parameters, lr=0.1).step()
        for name, array in layer.state_dict().items():
            np.testing.assert_array_equal(array, before[name])
