"""Rows and columns picked from an image, any of them several times, and the adjoint that sums them back."""

import numpy as np


def select(x, rows, columns):
    """y[..., i, j] = x[..., rows[i], columns[j]]."""
    return np.ascontiguousarray(x[..., rows, :][..., columns])


def unselect(dy, rows, columns, size):
    """dx[..., r, c] = sum of dy[..., i, j] over rows[i] = r and columns[j] = c."""
    picked_rows = np.eye(size[0], dtype=dy.dtype)[rows]
    picked_columns = np.eye(size[1], dtype=dy.dtype)[columns]
    return np.ascontiguousarray(picked_rows.T @ dy @ picked_columns)
