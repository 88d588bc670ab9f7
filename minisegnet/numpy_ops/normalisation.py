"""Batch normalisation."""

import numpy as np

CHANNELS_LAST_TWO = (slice(None), None, None)  # (C,) -> (C, 1, 1), to broadcast over N, C, H, W


def batch_norm2d_forward(x, weight, bias, mean=None, var=None, eps=1e-5):
    batch = mean is None
    if batch:
        mean = x.mean((0, 2, 3))
        var = np.square(x - mean[CHANNELS_LAST_TWO]).mean((0, 2, 3))
    scale = (1 / np.sqrt(var + eps)).astype(x.dtype)
    normal = np.subtract(x, mean[CHANNELS_LAST_TWO], order="C")
    normal *= scale[CHANNELS_LAST_TWO]
    y = normal * weight[CHANNELS_LAST_TWO]
    y += bias[CHANNELS_LAST_TWO]
    return (y, mean.copy(), var.copy()), (normal, scale, weight, batch)


def batch_norm2d_backward(dy, saved):
    normal, scale, weight, batch = saved
    dbias = dy.sum((0, 2, 3))
    dweight = (dy * normal).sum((0, 2, 3))
    if batch:  # the statistics depend on x: take their share out of dy
        count = dy.size // len(weight)
        share = normal * (dweight / count)[CHANNELS_LAST_TWO]
        share += (dbias / count)[CHANNELS_LAST_TWO]
        dx = np.subtract(dy, share, order="C")
    else:
        dx = dy.copy()
    dx *= (scale * weight)[CHANNELS_LAST_TWO]
    return dx, dweight, dbias
