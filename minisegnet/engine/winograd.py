"""Winograd's convolution of a band of rows, each stage a stacked matrix product on arrays that stay in the cache.

A row of an image is stored as m columns of T tiles (see `layout`), so that one product with B^T transforms the rows of
all tiles of a row at once, and one more each of their columns. In the arrays here, i and j count the rows and columns
of a tile, r the rows of tiles, t the tiles of a row, c the channels:

    rows      (r m + k - 1, m, T, C)    of the image, with the kernel's margin above and below
    image     V (a, a, r, T C)          transformed data
    products  M (a, a, r, T C)          V U, tile place by tile place
    outputs   (r m, m, T, C)
"""

from __future__ import annotations

import numpy as np

from minisegnet.engine.blas import has_small_products
from minisegnet.engine.products import is_small
from minisegnet.engine.scratch import Scratch
from minisegnet.engine.transforms import Transforms


def products_a_row(t: Transforms, run: int) -> int:
    """In how many products the rows of a row of tiles are transformed: one, or one for each of their columns.

    One takes less time, but not where it is no small product any more (see `products`): then it takes twice as long.
    """
    return 1 if not has_small_products() or is_small(t.tile, t.tile, t.outputs * run) else t.outputs


def transform_data(rows: np.ndarray, padding: int, t: Transforms, scratch: Scratch, V: np.ndarray) -> None:
    """V = B^T X B for every tile of `rows`; tile column t covers the columns m t - padding to m t - padding + a - 1.

    Columns outside the image are zero; rows follow one another in memory.
    """
    m, a = t.outputs, t.tile
    count, run = V.shape[2], V.shape[3]  # rows of tiles; length of one column of all tiles of a row
    channels = rows.shape[3]
    g = products_a_row(t, run)
    column = m // g * run  # or all of them
    strides = (m * m * run, column, m * run, 1)
    own: np.ndarray = np.ndarray((count, g, a, column), rows.dtype, rows, strides=[rows.itemsize * n for n in strides])
    if padding == 1 and t.kernel == 3:
        Z = scratch.array("tile rows transformed", (a, count, m, run), rows.dtype)  # i, r, s, t c
        np.matmul(t.data, own, out=Z.reshape(a, count, g, -1).transpose(1, 2, 0, 3))
        _transform_own_columns(Z, channels, t, V)
        return
    Z = scratch.array("tile rows transformed", (a, count, a, run), rows.dtype)  # i, r, j, t c
    there = Z[:, :, padding : padding + m]
    np.matmul(t.data, own, out=there.reshape(a, count, g, -1).transpose(1, 2, 0, 3))
    for place in (*range(padding), *range(padding + m, a)):  # columns that belong to a neighbouring tile
        off, s = divmod(place - padding, m)
        shift = min(abs(off) * channels, run)
        here, neighbours = Z[:, :, place], there[:, :, s]
        if off < 0:
            here[:, :, :shift] = 0
            here[:, :, shift:] = neighbours[:, :, : run - shift]
        else:
            here[:, :, run - shift :] = 0
            here[:, :, : run - shift] = neighbours[:, :, shift:]
    np.matmul(t.data, Z, out=V.transpose(0, 2, 1, 3))


def _transform_own_columns(Z: np.ndarray, channels: int, t: Transforms, V: np.ndarray) -> None:
    """V of tiles whose rows are transformed, (a, r, m, T C), where a tile has one column of each of its neighbours.

    B^T's first column has one number that is not zero, its first, and its last column the last, and both are 1: the
    neighbours' columns count for one column of V each, to which they are added.
    """
    run = V.shape[3]
    np.matmul(t.data_own, Z, out=V.transpose(0, 2, 1, 3))
    first, last = V[:, 0, :, channels:], V[:, -1, :, : run - channels]
    np.add(first, Z[:, :, -1, : run - channels], out=first)
    np.add(last, Z[:, :, 0, channels:], out=last)


def transform_products(M: np.ndarray, t: Transforms, scratch: Scratch, rows: np.ndarray) -> None:
    """rows = A^T M A: the outputs (r m, m, T, C) of every tile."""
    a, m = t.tile, t.outputs
    count, run = M.shape[2:]
    half = scratch.array("products half transformed", (count, a, m, run), M.dtype)
    np.matmul(t.output, M.transpose(2, 0, 1, 3), out=half)
    g = products_a_row(t, run)
    np.matmul(
        t.output, half.reshape(count, a, g, -1).swapaxes(1, 2), out=rows.reshape(count, m, g, -1).swapaxes(1, 2)
    )


def transform_outputs(rows: np.ndarray, t: Transforms, scratch: Scratch, D: np.ndarray) -> None:
    """D = A Y A^T for every tile of outputs: the transpose of `transform_products`."""
    a, m = t.tile, t.outputs
    count, run = D.shape[2:]
    half = scratch.array("products half transformed", (count, a, m, run), D.dtype)
    g = products_a_row(t, run)
    np.matmul(
        t.output_back, rows.reshape(count, m, g, -1).swapaxes(1, 2), out=half.reshape(count, a, g, -1).swapaxes(1, 2)
    )
    np.matmul(t.output_back, half, out=D.transpose(2, 0, 1, 3))
