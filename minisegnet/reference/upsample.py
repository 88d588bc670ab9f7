"""Bilinear interpolation: each output pixel from the four around it."""

import numpy as np

from minisegnet.shapes import pair


def upsample_bilinear2d_forward(x, output_size, align_corners=False):
    H, W = pair(output_size)
    N, C, h, w = x.shape
    y = np.zeros((N, C, H, W), x.dtype)
    for n, c, i, j in np.ndindex(N, C, H, W):
        for row, row_weight in _neighbours(i, h, H, align_corners):
            for column, column_weight in _neighbours(j, w, W, align_corners):
                y[n, c, i, j] += row_weight * column_weight * x[n, c, row, column]
    return y, (x.shape, align_corners)


def upsample_bilinear2d_backward(dy, saved):
    shape, align_corners = saved
    (H, W), (h, w) = dy.shape[2:], shape[2:]
    dx = np.zeros(shape, dy.dtype)
    for n, c, i, j in np.ndindex(dy.shape):
        for row, row_weight in _neighbours(i, h, H, align_corners):
            for column, column_weight in _neighbours(j, w, W, align_corners):
                dx[n, c, row, column] += row_weight * column_weight * dy[n, c, i, j]
    return dx


def _neighbours(i, size, output_size, align_corners):
    """The two rows (or columns) between which output i lies, each with its weight; the weights add up to 1."""
    if align_corners:
        position = i * (size - 1) / (output_size - 1) if output_size > 1 else 0.0
    else:
        position = (i + 0.5) * size / output_size - 0.5
    position = min(max(position, 0.0), size - 1.0)
    before = int(position)
    after = min(before + 1, size - 1)
    return (before, before + 1 - position), (after, position - before)
