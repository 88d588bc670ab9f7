"""Activations: ReLU, sigmoid, softmax."""

from math import prod

from minisegnet.cuda import arrays
from minisegnet.cuda.grids import WARP, four_each, thread_each, warp_each


def relu_forward(x):
    x = arrays.contiguous(x)
    y = arrays.empty(x.shape, x.dtype, like=x)
    four_each("relu.cu", "relu_forward", x.size, x, y, x.size)
    return y, y


def relu_backward(dy, y):
    dy = arrays.contiguous(dy)
    dx = arrays.empty(y.shape, y.dtype, like=y)
    four_each("relu.cu", "relu_backward", y.size, y, dy, dx, y.size)
    return dx


def sigmoid_forward(x):
    x = arrays.contiguous(x)
    y = arrays.empty(x.shape, x.dtype, like=x)
    four_each("sigmoid.cu", "sigmoid_forward", x.size, x, y, x.size)
    return y, y


def sigmoid_backward(dy, y):
    dy = arrays.contiguous(dy)
    dx = arrays.empty(y.shape, y.dtype, like=y)
    four_each("sigmoid.cu", "sigmoid_backward", y.size, y, dy, dx, y.size)
    return dx


def softmax_forward(x, dim=1):
    x = arrays.contiguous(x)
    y = arrays.empty(x.shape, x.dtype, like=x)
    columns, length, inner = _columns(x.shape, dim)
    if _along_memory(length, inner):
        warp_each("softmax.cu", "softmax_forward_warp", columns, x, y, columns, length)
    elif length:
        thread_each("softmax.cu", "softmax_forward_online", columns, x, y, columns, length, inner)
    return y, (y, dim)


def softmax_backward(dy, saved):
    y, dim = saved
    dy = arrays.contiguous(dy)
    dx = arrays.empty(y.shape, y.dtype, like=y)
    columns, length, inner = _columns(y.shape, dim)
    if _along_memory(length, inner):
        warp_each("softmax.cu", "softmax_backward_warp", columns, y, dy, dx, columns, length)
    elif length:
        thread_each("softmax.cu", "softmax_backward", columns, y, dy, dx, columns, length, inner)
    return dx


def _columns(shape, dim):
    """How many columns lie along a dimension, their length, and how far apart their values are."""
    dim %= len(shape)
    inner = prod(shape[dim + 1 :])
    return prod(shape[:dim]) * inner, shape[dim], inner


def _along_memory(length, inner):
    """Whether a warp reads a column best: its values lie side by side, enough of them for all lanes."""
    return inner == 1 and length >= WARP
