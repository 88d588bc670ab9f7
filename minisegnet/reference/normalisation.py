"""Batch normalisation: each channel brought to mean 0 and variance 1, then scaled and shifted."""

import numpy as np


def batch_norm2d_forward(x, weight, bias, mean=None, var=None, eps=1e-5):
    N, C, H, W = x.shape
    of_batch, eps = mean is None, x.dtype.type(eps)
    mean = np.zeros(C, x.dtype) if of_batch else np.array(mean)
    var = np.zeros(C, x.dtype) if of_batch else np.array(var)
    y = np.zeros(x.shape, x.dtype)
    for c in range(C):
        if of_batch:
            mean[c] = x[:, c].sum() / (N * H * W)
            var[c] = ((x[:, c] - mean[c]) ** 2).sum() / (N * H * W)
        y[:, c] = weight[c] * (x[:, c] - mean[c]) / np.sqrt(var[c] + eps) + bias[c]
    return (y, mean, var), (x, weight, mean, var, eps, of_batch)


def batch_norm2d_backward(dy, saved):
    """The chain rule of Ioffe and Szegedy 2015, section 3, for one channel after another."""
    x, weight, mean, var, eps, of_batch = saved
    N, C, H, W = x.shape
    count = N * H * W
    dx, dweight, dbias = np.zeros(x.shape, x.dtype), np.zeros(C, x.dtype), np.zeros(C, x.dtype)
    for c in range(C):
        centred = x[:, c] - mean[c]
        deviation = np.sqrt(var[c] + eps)
        normalised = centred / deviation
        dweight[c] = (dy[:, c] * normalised).sum()
        dbias[c] = dy[:, c].sum()
        dnormalised = dy[:, c] * weight[c]
        dx[:, c] = dnormalised / deviation
        if of_batch:  # every value also moves the mean and the variance of its channel
            dvar = (dnormalised * centred).sum() * -0.5 / deviation**3
            dmean = -dnormalised.sum() / deviation
            dx[:, c] += dvar * 2 * centred / count + dmean / count
    return dx, dweight, dbias
