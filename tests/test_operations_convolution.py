"""How convolution, its transpose, the fully connected operation and the bed of nails hang together."""

import numpy as np
import pytest
from conftest import assert_close

from minisegnet import functional

OPTIONS = [
    {},
    {"stride": 2, "padding": 1},
    {"stride": (1, 3), "padding": (2, 0), "dilation": (2, 1)},
]


@pytest.mark.parametrize("seed, options", list(enumerate(OPTIONS)))
def test_transposed_convolution_is_the_gradient_of_convolution(backend, seed, options):
    rng = np.random.default_rng(seed)
    x, weight = rng.standard_normal((2, 3, 7, 8)), rng.standard_normal((4, 3, 3, 2))
    y, cache = backend.conv2d_forward(x, weight, None, **options)
    dy = rng.standard_normal(y.shape)
    dx, dweight, dbias = backend.conv2d_backward(dy, cache)
    assert dbias is None

    smallest, _ = backend.conv_transpose2d_forward(dy, weight, None, **options)
    left_over = tuple(wanted - given for wanted, given in zip(x.shape[2:], smallest.shape[2:], strict=True))
    stamped, cache = backend.conv_transpose2d_forward(dy, weight, None, **options, output_padding=left_over)
    assert_close(stamped, dx, 1e-14, "forward")
    back, dweight_of_transpose, _ = backend.conv_transpose2d_backward(x, cache)
    assert_close(back, y, 1e-14, "backward")
    assert_close(dweight_of_transpose, dweight, 1e-14, "dweight")


def test_a_fully_connected_operation_is_a_convolution_as_large_as_the_image(backend):
    rng = np.random.default_rng(0)
    x, weight, bias = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((6, 3, 4, 5)), rng.standard_normal(6)
    y, _ = backend.conv2d_forward(x, weight, bias)
    flat, _ = backend.linear_forward(x.reshape(2, -1), weight.reshape(6, -1), bias)
    assert_close(y[:, :, 0, 0], flat, 1e-14)


def test_transposed_convolution_is_a_bed_of_nails_and_a_convolution_with_the_filter_turned(backend):
    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((3, 2, 3, 3))
    y, _ = backend.conv_transpose2d_forward(x, weight, None, stride=2)
    nails, _ = backend.bed_of_nails2d_forward(x, 2, output_size=(7, 9))
    turned = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    wanted, _ = backend.conv2d_forward(nails, turned, None, padding=2)
    assert_close(y, wanted, 1e-14)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_large_image_is_its_parts_put_together(stride):
    """On numpy, which computes an image of this size in several blocks, and each of its parts in one."""
    rng = np.random.default_rng(stride)
    x, weight = rng.standard_normal((2, 8, 241, 70)), rng.standard_normal((3, 8, 3, 3))
    y, cache = functional.conv2d_forward(x, weight, None, stride)
    dy = rng.standard_normal(y.shape)
    dx, dweight, _ = functional.conv2d_backward(dy, cache)
    up, cache_of_transpose = functional.conv_transpose2d_forward(
        dy, weight, None, stride, output_padding=(0, stride - 1)
    )
    back, dweight_of_transpose, _ = functional.conv_transpose2d_backward(x, cache_of_transpose)

    dx_of_parts, dweight_of_parts = np.zeros_like(dx), np.zeros_like(dweight)
    for first in range(0, y.shape[2], 9):
        rows = slice(first, min(first + 9, y.shape[2]))
        seen = slice(rows.start * stride, (rows.stop - 1) * stride + 3)
        part, cache = functional.conv2d_forward(x[:, :, seen], weight, None, stride)
        assert_close(part, y[:, :, rows], 1e-13)
        dpart, dweight_of_part, _ = functional.conv2d_backward(dy[:, :, rows], cache)
        dx_of_parts[:, :, seen] += dpart
        dweight_of_parts += dweight_of_part
    assert_close(dx, dx_of_parts, 1e-13)
    assert_close(dweight, dweight_of_parts, 1e-12)
    assert_close(up, dx, 1e-13, "transposed, forward")
    assert_close(back, y, 1e-13, "transposed, backward")
    assert_close(dweight_of_transpose, dweight, 1e-12, "transposed, dweight")


def test_where_a_window_sees_only_padding_there_is_only_bias(backend):
    y, _ = backend.conv2d_forward(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), np.array([7.0]), padding=3)
    assert (y[0, 0, 0] == 7).all() and (y[0, 0, :, -1] == 7).all()
