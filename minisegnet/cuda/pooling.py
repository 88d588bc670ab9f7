"""Max and average pooling."""

import numpy as np

from minisegnet import shapes
from minisegnet.cuda import arrays
from minisegnet.cuda.grids import WARP, pixel_each, thread_each, warp_each
from minisegnet.shapes import pair


def max_pool2d_forward(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    x = arrays.contiguous(x)
    shape = shapes.pool2d(x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    kernel, padding, dilation = pair(kernel_size), pair(padding), pair(dilation)
    stride = kernel if stride is None else pair(stride)
    y, indices = arrays.empty(shape, x.dtype, like=x), arrays.empty(shape, np.int32, like=x)
    if _tiled_by_2x2(x.shape, shape, kernel, stride, padding, dilation):
        thread_each("max_pool2d.cu", "max_pool2d_forward_2x2", y.size // 2, x, y, indices, y.size // 2, *shape[2:])
    else:
        sizes = y.size, *x.shape[2:], *shape[2:], *kernel, *stride, *padding, *dilation
        thread_each("max_pool2d.cu", "max_pool2d_forward", y.size, x, y, indices, *sizes)
    return (y, indices), (indices, x.shape, kernel, stride, padding, dilation)


def max_pool2d_backward(dy, saved):
    indices, shape, kernel, stride, padding, dilation = saved
    dy = arrays.contiguous(dy)
    dx = arrays.empty(shape, dy.dtype, like=dy)
    if _tiled_by_2x2(shape, dy.shape, kernel, stride, padding, dilation):
        pairs = dy.size // 2
        thread_each("max_pool2d.cu", "max_pool2d_backward_2x2", pairs, dy, indices, dx, pairs, *dy.shape[2:])
    else:
        extent = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
        sizes = dx.size, *shape[2:], *dy.shape[2:], *extent, *stride, *padding
        thread_each("max_pool2d.cu", "max_pool2d_backward", dx.size, dy, indices, dx, *sizes)
    return dx


def _tiled_by_2x2(image, places, kernel, stride, padding, dilation):
    """Whether windows of 2 x 2 tile the image, an even number of them in a row."""
    plain = kernel == stride == (2, 2) and padding == (0, 0) and dilation == (1, 1)
    h, w = places[2:]
    return plain and image[2:] == (2 * h, 2 * w) and w % 2 == 0


def avg_pool2d_forward(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    x = arrays.contiguous(x)
    y = arrays.empty(shapes.pool2d(x.shape, kernel_size, stride, padding, 1, ceil_mode), x.dtype, like=x)
    kernel, padding = pair(kernel_size), pair(padding)
    stride = kernel if stride is None else pair(stride)
    margin = padding if count_include_pad else (0, 0)
    sizes = *x.shape[2:], *y.shape[2:], *kernel, *stride, *padding, *margin
    if kernel[0] * kernel[1] < WARP:
        thread_each("avg_pool2d.cu", "avg_pool2d_forward", y.size, x, y, y.size, *sizes)
    else:
        warp_each("avg_pool2d.cu", "avg_pool2d_forward_warp", y.size, x, y, y.size, *sizes)
    return y, (x.shape, sizes)


def avg_pool2d_backward(dy, saved):
    shape, sizes = saved
    dy = arrays.contiguous(dy)
    dx = arrays.empty(shape, dy.dtype, like=dy)
    N, C, H, W = shape
    pixel_each("avg_pool2d.cu", "avg_pool2d_backward", H * W, N * C, dy, dx, dx.size, *sizes)
    return dx
