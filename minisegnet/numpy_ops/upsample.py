"""Bilinear resizing: y = R x C^T, with a matrix of interpolation weights for the rows and one for the columns."""

import numpy as np

from minisegnet.shapes import pair


def upsample_bilinear2d_forward(x, output_size, align_corners=False):
    rows, columns = (
        interpolation(small, large, align_corners, x.dtype)
        for small, large in zip(x.shape[2:], pair(output_size), strict=True)
    )
    return np.ascontiguousarray(rows @ x @ columns.T), (rows, columns)


def upsample_bilinear2d_backward(dy, saved):
    rows, columns = saved
    return np.ascontiguousarray(rows.T @ dy @ columns)


def interpolation(small, large, align_corners, dtype):
    """Matrix (large, small) whose row i holds the two weights that make output i."""
    i = np.arange(large)
    if align_corners:
        position = i * ((small - 1) / (large - 1) if large > 1 else 0.0)
    else:
        position = np.maximum((i + 0.5) * (small / large) - 0.5, 0)
    low = np.minimum(position.astype(int), small - 1)
    high = np.minimum(low + 1, small - 1)
    weights = np.zeros((large, small))
    weights[i, high] = position - low
    weights[i, low] += 1 - (position - low)
    return weights.astype(dtype)
