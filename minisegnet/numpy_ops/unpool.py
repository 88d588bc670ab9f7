"""Unpooling: values put back on a larger plane, by indices, by blocks, or at the corner of each block."""

import numpy as np

from minisegnet import shapes
from minisegnet.numpy_ops.selection import select, unselect


def max_unpool2d_forward(x, indices, output_size):
    N, C, H, W = shapes.sized(x.shape, output_size)
    y = np.zeros((N, C, H * W), x.dtype)
    np.put_along_axis(y, _planes(indices), _planes(x), axis=2)
    return y.reshape(N, C, H, W), indices


def max_unpool2d_backward(dy, indices):
    dx = np.take_along_axis(_planes(dy), _planes(indices), axis=2)
    return np.ascontiguousarray(dx.reshape(indices.shape))


def nearest_unpool2d_forward(x, output_size):
    rows, columns = (
        np.arange(large) * small // large
        for small, large in zip(x.shape[2:], shapes.pair(output_size), strict=True)
    )
    return select(x, rows, columns), (rows, columns, x.shape[2:])


def nearest_unpool2d_backward(dy, saved):
    return unselect(dy, *saved)


def bed_of_nails2d_forward(x, stride=2, output_size=None):
    y = np.zeros(shapes.bed_of_nails2d(x.shape, stride, output_size), x.dtype)
    nails = _nails(stride, x.shape)
    y[nails] = x
    return y, nails


def bed_of_nails2d_backward(dy, nails):
    return dy[nails].copy()


def _nails(stride, shape):
    (vertical, horizontal), (h, w) = shapes.pair(stride), shape[2:]
    return ..., slice(0, h * vertical, vertical), slice(0, w * horizontal, horizontal)


def _planes(x):
    return x.reshape(*x.shape[:2], x.shape[2] * x.shape[3])
