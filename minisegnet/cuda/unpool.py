"""Unpooling: values put back on a larger plane, by indices, by blocks, or at the corner of each block."""

import numpy as np

from minisegnet import shapes
from minisegnet.cuda import arrays
from minisegnet.cuda.grids import four_each, pixel_each, thread_each


def max_unpool2d_forward(x, indices, output_size):
    x, indices = arrays.contiguous(x), arrays.contiguous(indices.astype(np.int32, copy=False))
    y = arrays.zeros(shapes.sized(x.shape, output_size), x.dtype, like=x)
    sizes = x.size, x.shape[2] * x.shape[3], y.shape[2] * y.shape[3]
    four_each("max_unpool2d.cu", "max_unpool2d_scatter", x.size, x, indices, y, *sizes)
    return y, (indices, sizes)


def max_unpool2d_backward(dy, saved):
    indices, sizes = saved
    dy = arrays.contiguous(dy)
    dx = arrays.empty(indices.shape, dy.dtype, like=dy)
    four_each("max_unpool2d.cu", "max_unpool2d_gather", dx.size, dy, indices, dx, *sizes)
    return dx


def nearest_unpool2d_forward(x, output_size):
    x = arrays.contiguous(x)
    N, C, H, W = shapes.sized(x.shape, output_size)
    y = arrays.empty((N, C, H, W), x.dtype, like=x)
    sizes = N * C, *x.shape[2:], H, W
    pixel_each("nearest_unpool2d.cu", "nearest_unpool2d_forward", H * W, N * C, x, y, *sizes)
    return y, (x.shape, sizes)


def nearest_unpool2d_backward(dy, saved):
    shape, sizes = saved
    dy = arrays.contiguous(dy)
    dx = arrays.empty(shape, dy.dtype, like=dy)
    maps, h, w = sizes[:3]
    pixel_each("nearest_unpool2d.cu", "nearest_unpool2d_backward", h * w, maps, dy, dx, *sizes)
    return dx


def bed_of_nails2d_forward(x, stride=2, output_size=None):
    x = arrays.contiguous(x)
    y = arrays.empty(shapes.bed_of_nails2d(x.shape, stride, output_size), x.dtype, like=x)
    sizes = *x.shape[2:], *y.shape[2:], *shapes.pair(stride)
    thread_each("bed_of_nails2d.cu", "bed_of_nails2d_forward_gather", y.size, x, y, y.size, *sizes)
    return y, (x.shape, sizes)


def bed_of_nails2d_backward(dy, saved):
    shape, sizes = saved
    dy = arrays.contiguous(dy)
    dx = arrays.empty(shape, dy.dtype, like=dy)
    thread_each("bed_of_nails2d.cu", "bed_of_nails2d_backward", dx.size, dy, dx, dx.size, *sizes)
    return dx
