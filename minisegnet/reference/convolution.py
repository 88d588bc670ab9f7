"""Convolution and its transpose: a filter that slides over the image, and one that stamps it."""

import numpy as np

from minisegnet import shapes
from minisegnet.reference.windows import window
from minisegnet.shapes import pair


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1):
    stride, padding, dilation = pair(stride), pair(padding), pair(dilation)
    in_channels, image, kernel = x.shape[1], x.shape[2:], weight.shape[2:]
    y = np.zeros(shapes.conv2d(x.shape, weight.shape, None, stride, padding, dilation), x.dtype)
    for n, o, i, j in np.ndindex(y.shape):
        for p, q, row, column in window(i, j, kernel, stride, padding, dilation, image):
            for c in range(in_channels):
                y[n, o, i, j] += weight[o, c, p, q] * x[n, c, row, column]
        if bias is not None:
            y[n, o, i, j] += bias[o]
    return y, (x, weight, bias, stride, padding, dilation)


def conv2d_backward(dy, saved):
    x, weight, bias, stride, padding, dilation = saved
    in_channels, image, kernel = x.shape[1], x.shape[2:], weight.shape[2:]
    dx, dweight = np.zeros(x.shape, x.dtype), np.zeros(weight.shape, x.dtype)
    dbias = None if bias is None else np.zeros(bias.shape, x.dtype)
    for n, o, i, j in np.ndindex(dy.shape):
        for p, q, row, column in window(i, j, kernel, stride, padding, dilation, image):
            for c in range(in_channels):
                dx[n, c, row, column] += weight[o, c, p, q] * dy[n, o, i, j]
                dweight[o, c, p, q] += x[n, c, row, column] * dy[n, o, i, j]
        if bias is not None:
            dbias[o] += dy[n, o, i, j]
    return dx, dweight, dbias


def conv_transpose2d_forward(x, weight, bias=None, stride=1, padding=0, output_padding=0, dilation=1):
    stride, padding, dilation = pair(stride), pair(padding), pair(dilation)
    out_channels, kernel = weight.shape[1], weight.shape[2:]
    y = np.zeros(
        shapes.conv_transpose2d(x.shape, weight.shape, None, stride, padding, output_padding, dilation), x.dtype
    )
    for n, c, i, j in np.ndindex(x.shape):  # one stamp of the filter for each value of x
        for p, q, row, column in window(i, j, kernel, stride, padding, dilation, y.shape[2:]):
            for o in range(out_channels):
                y[n, o, row, column] += weight[c, o, p, q] * x[n, c, i, j]
    if bias is not None:
        for n, o, row, column in np.ndindex(y.shape):
            y[n, o, row, column] += bias[o]
    return y, (x, weight, bias, stride, padding, dilation)


def conv_transpose2d_backward(dy, saved):
    x, weight, bias, stride, padding, dilation = saved
    out_channels, kernel = weight.shape[1], weight.shape[2:]
    dx, dweight = np.zeros(x.shape, x.dtype), np.zeros(weight.shape, x.dtype)
    dbias = None if bias is None else np.zeros(bias.shape, x.dtype)
    for n, c, i, j in np.ndindex(x.shape):
        for p, q, row, column in window(i, j, kernel, stride, padding, dilation, dy.shape[2:]):
            for o in range(out_channels):
                dx[n, c, i, j] += weight[c, o, p, q] * dy[n, o, row, column]
                dweight[c, o, p, q] += x[n, c, i, j] * dy[n, o, row, column]
    if bias is not None:
        for n, o, row, column in np.ndindex(dy.shape):
            dbias[o] += dy[n, o, row, column]
    return dx, dweight, dbias
