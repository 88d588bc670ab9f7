"""The fully connected operation."""

import numpy as np


def linear_forward(x, weight, bias=None):
    y = np.zeros((x.shape[0], weight.shape[0]), x.dtype)
    for n, o in np.ndindex(y.shape):
        for i in range(x.shape[1]):
            y[n, o] += weight[o, i] * x[n, i]
        if bias is not None:
            y[n, o] += bias[o]
    return y, (x, weight, bias)


def linear_backward(dy, saved):
    x, weight, bias = saved
    dx, dweight = np.zeros(x.shape, x.dtype), np.zeros(weight.shape, x.dtype)
    dbias = None if bias is None else np.zeros(bias.shape, x.dtype)
    for n, o in np.ndindex(dy.shape):
        for i in range(x.shape[1]):
            dx[n, i] += weight[o, i] * dy[n, o]
            dweight[o, i] += x[n, i] * dy[n, o]
        if bias is not None:
            dbias[o] += dy[n, o]
    return dx, dweight, dbias
