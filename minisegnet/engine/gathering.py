"""y = R x C^T on stored images: rows and columns that are sums of a few of another image's."""

from __future__ import annotations

from typing import Any

import numpy as np

from minisegnet.engine.scratch import Scratch
from minisegnet.engine.value import Value


class Gathering:
    """Makes rows of one value out of another: row i is the sum of R[i, k] row k, and columns likewise.

    Where each line has one source, of weight 1, it is copied and nothing is multiplied. Otherwise rows are few products
    of a band of R; columns, each m-th of which lies apart, are gathered once for each source that a column has, which
    takes a time that grows with the image's width and not with its square.

    rows, columns   R (H', H) and C (W', W), from a value `source` to one of `target`'s height and width
    """

    def __init__(self, rows: np.ndarray, columns: np.ndarray, source: Value, target: Value, dtype: Any) -> None:
        stored = np.zeros((target.stored[1], source.stored[1]))
        stored[: rows.shape[0], : rows.shape[1]] = rows
        self.row = only_source(stored)  # of each row, -1 for none; None where a row has several
        self.rows = stored.astype(dtype)
        places = stored_columns(target)
        whole = np.zeros((len(places), source.m * source.tiles))
        inside = places < target.width
        whole[np.ix_(inside, stored_place(source))] = columns[places[inside]]
        holes = inside & ~whole.any(1)
        channels = source.channels
        self.column = only_source(whole)
        if self.column is None:
            self.sources, weights = several_sources(whole)
            self.weights = np.repeat(weights, channels, axis=1).astype(dtype)
        # All bits of each value kept, none of those in columns that have no source: exact zeros, even out of NaN.
        self.mask: np.ndarray | None = None
        if holes.any():
            self.mask = np.repeat(np.where(holes, 0, -1), channels).astype(integers(dtype))

    def write(self, x: np.ndarray, start: int, out: np.ndarray, scratch: Scratch) -> None:
        """Rows out (count, m, T, C), the first of which is row `start`, of an image x (rows, m, T, C).

        What lies beyond the image's width is left undefined.
        """
        count, channels = len(out), out.shape[3]
        rows = self._rows(x.reshape(len(x), -1), start, start + count, scratch).reshape(count, -1, channels)
        y = out.reshape(count, -1, channels)
        if self.column is not None:
            np.take(rows, self.column, axis=1, out=y, mode="clip")
        else:
            for number, (source, weight) in enumerate(zip(self.sources, self.weights, strict=True)):
                there = y if number == 0 else scratch.array("columns gathered", y.shape, y.dtype)
                np.take(rows, source, axis=1, out=there, mode="clip")
                np.multiply(flat(there), weight, out=flat(there))
                if there is not y:
                    np.add(y, there, out=y)
        if self.mask is not None:
            bits = flat(y).view(self.mask.dtype)
            np.bitwise_and(bits, self.mask, out=bits)

    def _rows(self, x: np.ndarray, start: int, stop: int, scratch: Scratch) -> np.ndarray:
        """Rows start to stop, with the source's columns."""
        if self.row is not None:
            row = self.row[start:stop]
            if row[0] >= 0 and np.array_equal(row, np.arange(row[0], row[0] + len(row))):
                return x[row[0] : row[0] + len(row)]
        rows = scratch.array("rows gathered", (stop - start, x.shape[1]), x.dtype)
        if self.row is not None:
            np.take(x, row, axis=0, out=rows, mode="clip")
            rows[row < 0] = 0
            return rows
        band = self.rows[start:stop]
        sources = np.flatnonzero(band.any(0))
        if len(sources) == 0:
            rows.fill(0)
            return rows
        low, high = sources[0], sources[-1] + 1
        return np.matmul(band[:, low:high], x[low:high], out=rows)


def flat(y: np.ndarray) -> np.ndarray:
    """(rows, columns, C) as (rows, columns C)."""
    return y.reshape(len(y), -1)


def integers(dtype: Any) -> type:
    """The integers that are as long as the floats of a type."""
    return np.int32 if np.dtype(dtype).itemsize == 4 else np.int64


def stored_columns(value: Value) -> np.ndarray:
    """The column of the image that lies at each of a stored row's m T places; beyond the width where there is none."""
    return (np.arange(value.m)[:, None] + value.m * np.arange(value.tiles)).reshape(-1)


def stored_place(value: Value) -> np.ndarray:
    """The place in a stored row at which each column of the image lies."""
    tile, slot = np.divmod(np.arange(value.width), value.m)
    return slot * value.tiles + tile


def only_source(matrix: np.ndarray) -> np.ndarray | None:
    """The one column at which each row of a matrix is 1, -1 for a row of zeros; None for other matrices."""
    if ((matrix != 0) & (matrix != 1)).any() or (np.count_nonzero(matrix, axis=1) > 1).any():
        return None
    return np.where(matrix.any(1), matrix.argmax(1), -1)


def several_sources(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each row the columns that are not zero, and their values: two arrays (K, rows), K being the most of any row.

    A row with fewer names its first source again, with weight 0.
    """
    count = max(1, np.count_nonzero(matrix, axis=1).max())
    sources = np.argsort(matrix == 0, axis=1, kind="stable")[:, :count]
    weights = np.take_along_axis(matrix, sources, 1)
    sources = np.where(weights != 0, sources, sources[:, :1])
    return np.ascontiguousarray(sources.T), np.ascontiguousarray(weights.T)
