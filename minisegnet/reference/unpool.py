"""The ways back from a pooled map: max-unpooling, nearest-neighbour unpooling and the bed of nails."""

import numpy as np

from minisegnet import shapes
from minisegnet.shapes import pair


def max_unpool2d_forward(x, indices, output_size):
    N, C, h, w = x.shape
    H, W = pair(output_size)
    y = np.zeros((N, C, H, W), x.dtype)
    for n, c, i, j in np.ndindex(N, C, h, w):
        row, column = divmod(int(indices[n, c, i, j]), W)
        y[n, c, row, column] = x[n, c, i, j]
    return y, indices


def max_unpool2d_backward(dy, indices):
    N, C, h, w = indices.shape
    W = dy.shape[3]
    dx = np.zeros((N, C, h, w), dy.dtype)
    for n, c, i, j in np.ndindex(N, C, h, w):
        row, column = divmod(int(indices[n, c, i, j]), W)
        dx[n, c, i, j] = dy[n, c, row, column]
    return dx


def nearest_unpool2d_forward(x, output_size):
    H, W = pair(output_size)
    N, C, h, w = x.shape
    y = np.zeros((N, C, H, W), x.dtype)
    for n, c, i, j in np.ndindex(N, C, H, W):
        y[n, c, i, j] = x[n, c, i * h // H, j * w // W]
    return y, x.shape


def nearest_unpool2d_backward(dy, shape):
    N, C, H, W = dy.shape
    h, w = shape[2:]
    dx = np.zeros(shape, dy.dtype)
    for n, c, i, j in np.ndindex(N, C, H, W):
        dx[n, c, i * h // H, j * w // W] += dy[n, c, i, j]
    return dx


def bed_of_nails2d_forward(x, stride=2, output_size=None):
    stride_h, stride_w = pair(stride)
    y = np.zeros(shapes.bed_of_nails2d(x.shape, stride, output_size), x.dtype)
    for n, c, i, j in np.ndindex(x.shape):
        y[n, c, i * stride_h, j * stride_w] = x[n, c, i, j]
    return y, (x.shape, stride_h, stride_w)


def bed_of_nails2d_backward(dy, saved):
    shape, stride_h, stride_w = saved
    dx = np.zeros(shape, dy.dtype)
    for n, c, i, j in np.ndindex(shape):
        dx[n, c, i, j] = dy[n, c, i * stride_h, j * stride_w]
    return dx
