"""How the engine stores images: channels innermost, and each row as m columns of T tiles.

A value (N, C, H, W) becomes (N, rows, m, T, C), where column w = m t + s of the image lies at [.., s, t, :], and height
and width are rounded up to multiples of m. What lies beyond H and W is zero. So a whole row of tiles is transformed by
one matrix product, and the channels of a pixel lie together, as products of matrices want them. With m = 1 this is
the plain layout N, H, W, C.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from minisegnet.shapes import Shape


def stored_shape(shape: Shape, m: int) -> tuple[int, int, int, int, int]:
    """(N, rows, m, T, C) for a value (N, C, H, W)."""
    N, C, H, W = shape
    T = -(-W // m)
    return N, -(-H // m) * m, m, T, C


def store(image: np.ndarray, rows: np.ndarray, first: int = 0) -> None:
    """Write one image (C, H, W), from row `first` on, into rows (count, m, T, C)."""
    count, m = rows.shape[:2]
    there = min(count, image.shape[1] - first)
    rows[there:] = 0
    for s in range(m):
        columns = image[:, first : first + there, s::m]
        rows[:there, s, : columns.shape[2]] = columns.transpose(1, 2, 0)
        rows[:there, s, columns.shape[2] :] = 0


def unstore(rows: np.ndarray, image: np.ndarray, first: int = 0) -> None:
    """The opposite: write rows (count, m, T, C) into one image (C, H, W), from row `first` on."""
    m = rows.shape[1]
    there = min(len(rows), image.shape[1] - first)
    for s in range(m):
        columns = image[:, first : first + there, s::m]
        columns[...] = rows[:there, s, : columns.shape[2]].transpose(2, 0, 1)


def clear_margin(rows: np.ndarray, first: int, height: int, width: int) -> None:
    """Set to zero what lies beyond the image in rows (count, m, T, C), the first of which is row `first`."""
    count, m, T, _ = rows.shape
    if first + count > height:
        rows[max(0, height - first) :] = 0
    if width < m * T:
        full, rest = divmod(width, m)
        if rest:
            rows[:, rest:, full] = 0
            full += 1
        rows[:, :, full:] = 0


@lru_cache(4096)
def tap(m: int, stride: int, offset: int, tiles_in: int, tiles_out: int) -> tuple[tuple[int, slice, slice], ...]:
    """Where column stride w + offset of one image lies for each column w of another: for each of its m columns of
    tiles, (column of the first, its tiles, tiles of the second); only where the first has such tiles."""
    found = []
    for s in range(m):
        off, column = divmod(stride * s + offset, m)
        start = max(0, -(off // stride))
        stop = min(tiles_out, -((off - tiles_in) // stride))
        stop = max(start, stop)
        first = stride * start + off
        found.append((column, slice(first, first + stride * (stop - start), stride), slice(start, stop)))
    return tuple(found)
