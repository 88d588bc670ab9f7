"""Max and average pooling: one value for each window of the image."""

import numpy as np

from minisegnet import shapes
from minisegnet.reference.windows import window
from minisegnet.shapes import pair


def max_pool2d_forward(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    kernel, padding, dilation = pair(kernel_size), pair(padding), pair(dilation)
    stride = kernel if stride is None else pair(stride)
    H, W = x.shape[2:]
    y = np.zeros(shapes.pool2d(x.shape, kernel, stride, padding, dilation, ceil_mode), x.dtype)
    indices = np.zeros(y.shape, np.int32)
    for n, c, i, j in np.ndindex(y.shape):
        largest = None
        for _, _, row, column in window(i, j, kernel, stride, padding, dilation, (H, W)):
            value = x[n, c, row, column]
            # Only a larger value takes over, so the first of equals stays; so does the first NaN, which beats all.
            if largest is None or value > largest or (np.isnan(value) and not np.isnan(largest)):
                largest = value
                indices[n, c, i, j] = row * W + column
        y[n, c, i, j] = largest
    return (y, indices), (indices, x.shape)


def max_pool2d_backward(dy, saved):
    indices, shape = saved
    dx = np.zeros(shape, dy.dtype)
    for n, c, i, j in np.ndindex(dy.shape):
        row, column = divmod(indices[n, c, i, j], shape[3])
        dx[n, c, row, column] += dy[n, c, i, j]
    return dx


def avg_pool2d_forward(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    kernel, padding = pair(kernel_size), pair(padding)
    stride = kernel if stride is None else pair(stride)
    y = np.zeros(shapes.pool2d(x.shape, kernel, stride, padding, 1, ceil_mode), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        count = _counted(i, j, kernel, stride, padding, count_include_pad, x.shape[2:])
        for _, _, row, column in window(i, j, kernel, stride, padding, (1, 1), x.shape[2:]):
            y[n, c, i, j] += x[n, c, row, column] / count
    return y, (x.shape, kernel, stride, padding, count_include_pad)


def avg_pool2d_backward(dy, saved):
    shape, kernel, stride, padding, count_include_pad = saved
    dx = np.zeros(shape, dy.dtype)
    for n, c, i, j in np.ndindex(dy.shape):
        count = _counted(i, j, kernel, stride, padding, count_include_pad, shape[2:])
        for _, _, row, column in window(i, j, kernel, stride, padding, (1, 1), shape[2:]):
            dx[n, c, row, column] += dy[n, c, i, j] / count
    return dx


def _counted(i, j, kernel, stride, padding, count_include_pad, image):
    """How many pixels the mean of a window is over; what hangs over the padded image never counts."""
    count = 1
    for place, k, s, p, size in zip((i, j), kernel, stride, padding, image, strict=True):
        first, last = place * s - p, place * s - p + k  # last is exclusive
        low, high = (-p, size + p) if count_include_pad else (0, size)
        count *= min(last, high) - max(first, low)
    return count
