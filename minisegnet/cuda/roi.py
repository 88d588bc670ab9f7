"""Pooling of regions: the part of a map that lies under a box, as h x w bins, interpolated or the largest of pixels."""

import numpy as np

from minisegnet import shapes
from minisegnet.cuda import arrays
from minisegnet.cuda.grids import blocks, ceil_div, thread_each

BLOCK = 128  # threads, of some eighty registers each
CHANNELS = 8  # that a thread of a second rung computes, as the kernels' own CHANNELS


def roi_align_forward(features, boxes, output_size, spatial_scale=1.0, sampling_ratio=0, aligned=True):
    features, boxes = arrays.contiguous(features), arrays.contiguous(boxes)
    y = _pooled(features, boxes, output_size)
    options = spatial_scale, max(sampling_ratio, 0), aligned
    R, C, h, w = y.shape
    if y.size:
        grid = ceil_div(R * h * w, BLOCK), ceil_div(C, CHANNELS)
        given = features, boxes, y, R * h * w, *features.shape, h, w, *options
        blocks("roi_align.cu", "roi_align_forward_channels", grid, *given, block=BLOCK)
    return y, (boxes, features.shape, options)


def roi_align_backward(dy, saved):
    boxes, shape, options = saved
    dy = arrays.contiguous(dy)
    dfeatures = arrays.empty(shape, dy.dtype, like=dy)
    if dfeatures.size:
        given = dy, boxes, dfeatures, len(boxes), *shape[1:], *dy.shape[2:], *options
        blocks("roi_align.cu", "roi_align_backward_gather", _pixels(shape), *given, block=BLOCK)
    return dfeatures


def roi_pool_forward(features, boxes, output_size, spatial_scale=1.0):
    features, boxes = arrays.contiguous(features), arrays.contiguous(boxes)
    y = _pooled(features, boxes, output_size)
    indices = arrays.empty(y.shape, np.int32, like=y)
    sizes = y.size, *features.shape, *y.shape[2:]
    thread_each("roi_pool.cu", "roi_pool_forward", y.size, features, boxes, y, indices, *sizes, spatial_scale)
    return y, (indices, boxes, features.shape, spatial_scale)


def roi_pool_backward(dy, saved):
    indices, boxes, shape, scale = saved
    dy = arrays.contiguous(dy)
    dfeatures = arrays.empty(shape, dy.dtype, like=dy)
    if dfeatures.size:
        given = dy, indices, boxes, dfeatures, len(boxes), *shape[1:], *dy.shape[2:], scale
        blocks("roi_pool.cu", "roi_pool_backward_gather", _pixels(shape), *given, block=BLOCK)
    return dfeatures


def _pooled(features, boxes, output_size):
    """An array for what is pooled, (R, C, h, w)."""
    return arrays.empty((len(boxes), features.shape[1], *shapes.pair(output_size)), features.dtype, like=features)


def _pixels(shape):
    """The grid of a second rung's backward: pixels, groups of channels, images."""
    N, C, H, W = shape
    return ceil_div(H * W, BLOCK), ceil_div(C, CHANNELS), N
