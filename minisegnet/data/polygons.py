"""Outlines drawn into masks: polygons pixel for pixel as COCO's own tools fill them, rectangles, ellipses.

A pixel (row, column) is the square from (column, row) to (column + 1, row + 1), and inside if its middle is. COCO
rounds corners and edges to fifths of a pixel, which decides what is on an edge; that is done here in the same way.

Source: the COCO API's maskApi.c, whose results these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minisegnet.data.run_length import RunLength, between, encode, merge
from minisegnet.errors import DataError

FIFTHS = 5  # of a pixel
FARTHEST = 1e8  # of a coordinate, in pixels: what is farther out is no outline of anything in an image


def polygon(points: Any, size: tuple[int, int]) -> RunLength:
    """What one closed polygon covers; where it crosses itself, by the even-odd rule.

    points  (k, 2), x and y of each corner in pixels; or the same flat, x1, y1, x2, y2, ..., as COCO has it
    size    (H, W) of the mask; parts outside are cut off

    Raises DataError for fewer than three corners, NaN or infinity, or coordinates beyond 1e8.
    """
    height, width = size
    x, y = _in_fifths(corners(points)).T
    dx, dy = np.abs(np.roll(x, -1) - x), np.abs(np.roll(y, -1) - y)
    flat, steep = dx >= dy, dx < dy
    columns, rows = zip(_flat_crossings(x, y, flat, width), _steep_crossings(x, y, steep, width), strict=True)
    row = np.clip(np.ceil((np.concatenate(rows) + 0.5) / FIFTHS - 0.5), 0, height).astype(np.int64)
    # Going down each column, every crossing changes outside to inside or back; two at one place change nothing.
    places, times = np.unique(np.concatenate(columns) * height + row, return_counts=True)
    places = places[times % 2 == 1]
    return between(size, places[places < height * width])


def polygons(parts: Sequence[Any], size: tuple[int, int]) -> RunLength:
    """What any of several polygons covers, the parts of one object. Raises DataError as `polygon` does, or for none."""
    if not len(parts):
        raise DataError("an object of no polygon has no outline")
    return merge([polygon(part, size) for part in parts])


def rectangle(x: float, y: float, width: float, height: float, size: tuple[int, int]) -> RunLength:
    """What a rectangle covers, given its upper left corner, as COCO's "bbox" is."""
    right, lower = x + width, y + height
    return polygon([(x, y), (x, lower), (right, lower), (right, y)], size)


def ellipse(
    x: float, y: float, radius_x: float, radius_y: float, size: tuple[int, int], turn: float = 0.0
) -> RunLength:
    """What an ellipse covers: its middle, its two radii, and by how many radians the first is turned towards y."""
    height, width = size
    reach = max(abs(radius_x), abs(radius_y), 0.0)
    mask = np.zeros(size, bool)
    if min(radius_x, radius_y) <= 0:
        return encode(mask)
    top, bottom = np.clip([np.floor(y - reach), np.ceil(y + reach)], 0, height).astype(int)
    left, right = np.clip([np.floor(x - reach), np.ceil(x + reach)], 0, width).astype(int)
    down, across = np.arange(top, bottom)[:, None] + 0.5 - y, np.arange(left, right) + 0.5 - x
    along, beside = np.cos(turn) * across + np.sin(turn) * down, np.cos(turn) * down - np.sin(turn) * across
    mask[top:bottom, left:right] = (along / radius_x) ** 2 + (beside / radius_y) ** 2 <= 1
    return encode(mask)


def corners(points: Any) -> np.ndarray:
    """Corners (k, 2) float64 of a polygon, as pairs or flat. Raises DataError where `polygon` does."""
    try:
        given = np.asarray(points)
    except ValueError:  # lists of different lengths
        given = np.array(None)
    if given.size and given.dtype.kind not in "iuf":
        raise DataError("a polygon is a list of numbers, x1, y1, x2, y2, ...; got something else among them")
    array = given.astype(np.float64)
    if array.ndim == 1 and len(array) % 2:
        raise DataError(f"a polygon is x1, y1, x2, y2, ...; got {len(array)} numbers, so that one has no partner")
    if array.size and array.ndim != 1 and array.shape[1:] != (2,):
        raise DataError(f"a polygon has shape (corners, 2), or is flat; got {array.shape}")
    array = array.reshape(-1, 2)
    if len(array) < 3:
        raise DataError(f"a polygon has at least 3 corners; got {len(array)}")
    if not (np.abs(array) <= FARTHEST).all():  # NaN is not
        x, y = array[~(np.abs(array) <= FARTHEST).all(axis=1)][0]
        raise DataError(f"a polygon's corner is ({x:g}, {y:g}), which is at no place of an image")
    return array


def _in_fifths(points: np.ndarray) -> np.ndarray:
    return np.trunc(FIFTHS * points + 0.5).astype(np.int64)


def _flat_crossings(x: np.ndarray, y: np.ndarray, edges: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns, and heights in fifths, where edges that are wider than high cross the middle of a column.

    Such an edge has one point for each x. The middle of column c lies between the points of 5 c + 2 and 5 c + 3; the
    upper one of them counts.
    """
    x0, y0, x1, y1 = _from_first(x, y, edges, by=x)
    edge, column = _columns_between(x0, x1, width)
    slope = (y1 - y0) / np.maximum(x1 - x0, 1)
    step = FIFTHS * column + 2 - x0[edge]
    before, after = (np.trunc(y0[edge] + slope[edge] * at + 0.5) for at in (step, step + 1))
    return column, np.minimum(before, after)


def _steep_crossings(x: np.ndarray, y: np.ndarray, edges: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The same of edges that are higher than wide, which have one point for each y: the last before x crosses over."""
    x0, y0, x1, y1 = _from_first(x, y, edges, by=y)
    edge, column = _columns_between(np.minimum(x0, x1), np.maximum(x0, x1), width)
    slope = ((x1 - x0) / np.maximum(y1 - y0, 1))[edge]
    wanted = FIFTHS * column + 2
    # Where it crosses by exact arithmetic; rounding may put it one step to either side, so the steps are tried.
    guess = np.floor((wanted + 0.5 - x0[edge]) / np.where(slope == 0, 1, slope)).astype(np.int64)
    steps = guess[:, None] + np.arange(-1, 3)
    beyond = np.trunc(x0[edge][:, None] + slope[:, None] * steps + 0.5) > wanted[:, None]
    crossed = beyond == (slope > 0)[:, None]
    return column, (y0[edge] + steps[np.arange(len(steps)), crossed.argmax(axis=1)] - 1).astype(np.float64)


def _from_first(x: np.ndarray, y: np.ndarray, edges: np.ndarray, by: np.ndarray) -> list[np.ndarray]:
    """x0, y0, x1, y1 of the chosen edges, from the end where `by` is smaller to the other."""
    turned = (by > np.roll(by, -1))[edges]
    ends = [(values[edges], np.roll(values, -1)[edges]) for values in (x, y)]
    (x0, x1), (y0, y1) = ends
    return [np.where(turned, b, a) for a, b in ((x0, x1), (y0, y1))] + [
        np.where(turned, a, b) for a, b in ((x0, x1), (y0, y1))
    ]


def _columns_between(low: np.ndarray, high: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Each edge with each column whose middle lies between two points of it, as two arrays of one length."""
    first = np.maximum(-(-(low - 2) // FIFTHS), 0)
    last = np.minimum((high - 3) // FIFTHS, width - 1)
    counts = np.maximum(last - first + 1, 0)
    edge = np.repeat(np.arange(len(counts)), counts)
    column = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    return edge, column
