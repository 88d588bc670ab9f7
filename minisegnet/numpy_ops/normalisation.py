"""Batch normalisation."""

import numpy as np

from minisegnet.numpy_ops.images import image_by_image

CHANNELS_LAST_TWO = (slice(None), None, None)  # (C,) -> (C, 1, 1), to broadcast over N, C, H, W


def batch_norm2d_forward(x, weight, bias, mean=None, var=None, eps=1e-5):
    batch = mean is None
    if batch:
        mean = channel_means(lambda x: x, x)
        var = channel_means(lambda x: np.square(x - mean[CHANNELS_LAST_TWO]), x)
    scale = (1 / np.sqrt(var + eps)).astype(x.dtype)
    normal, y = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)

    def normalise(x, normal, y):
        np.subtract(x, mean[CHANNELS_LAST_TWO], out=normal)
        normal *= scale[CHANNELS_LAST_TWO]
        np.multiply(normal, weight[CHANNELS_LAST_TWO], out=y)
        y += bias[CHANNELS_LAST_TWO]

    image_by_image(normalise, x, normal, y)
    return (y, mean.copy(), var.copy()), (normal, scale, weight, batch)


def batch_norm2d_backward(dy, saved):
    normal, scale, weight, batch = saved
    mean_dy = channel_means(lambda dy: dy, dy)
    mean_dy_normal = channel_means(np.multiply, dy, normal)
    dx = np.empty(dy.shape, dy.dtype)

    def gradient(dy, normal, dx):
        if batch:  # the statistics depend on x: take their share out of dy
            share = normal * mean_dy_normal[CHANNELS_LAST_TWO]
            share += mean_dy[CHANNELS_LAST_TWO]
            np.subtract(dy, share, out=dx)
        else:
            dx[...] = dy
        dx *= (scale * weight)[CHANNELS_LAST_TWO]

    image_by_image(gradient, dy, normal, dx)
    count = dy.size // len(weight)
    return dx, mean_dy_normal * count, mean_dy * count


def channel_means(function, *arrays):
    """The mean of function(*arrays) in each channel (C,), over N, H and W."""
    N, C, H, W = arrays[0].shape
    sums = np.empty((N, C), arrays[0].dtype)
    image_by_image(lambda *parts: function(*parts[:-1]).sum((2, 3), out=parts[-1]), *arrays, sums)
    return sums.sum(0) / max(1, N * H * W)
