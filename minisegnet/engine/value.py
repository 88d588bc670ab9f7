"""What steps hand on: a value and its gradient, stored in buffers that the plan gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from minisegnet.engine.layout import clear_margin, stored_shape
from minisegnet.engine.scratch import Scratch
from minisegnet.shapes import Shape

if TYPE_CHECKING:
    from minisegnet.engine.worker import Worker


class Value:
    """An array (N, C, H, W), stored as `layout` tells.

    An array of another rank, (N, C, ...), counts as an image of one column, (N, C, all the others, 1), with m = 1.

    given            the shape that layers know
    data, gradient   (N, rows, m, T, C), once the plan has given them memory
    in_place         whether the gradient takes the data's place, row by row
    on_gradient      called with (image, first row, rows of the gradient) as soon as rows have their whole gradient,
                     which then still lie in the cache: what it makes of them is the gradient from there on, and where
                     that is in place, it writes it there; None for nothing to do
    on_read          called with (image, row) before rows up to this one are first read, for a maker that leaves its
                     last pass to the first reader, in whose cache the rows then are; None where all are there
    """

    dtype: np.dtype | None = None  # None: the parameters'

    def __init__(self, name: str, shape: Shape, m: int, wants_gradient: bool) -> None:
        self.name, self.given = name, shape
        is_image = len(shape) == 4
        self.m = m if is_image else 1
        self.shape = shape if is_image else (shape[0], prod(shape[1:2]), prod(shape[2:]), 1)
        self.stored: Shape = stored_shape(self.shape, self.m)
        self.wants_gradient = wants_gradient
        self.data: np.ndarray = np.empty(0)
        self.gradient: np.ndarray = np.empty(0)
        self.in_place = False
        self.on_gradient: Callable[[int, int, np.ndarray], None] | None = None
        self.on_read: Callable[[int, int], None] | None = None

    def complete(self) -> None:
        """Let the maker finish all rows."""
        if self.on_read is not None:
            for image in range(self.stored[0]):
                self.on_read(image, self.stored[1])
            self.on_read = None

    @property
    def channels(self) -> int:
        return self.shape[1]

    @property
    def height(self) -> int:
        return self.shape[2]

    @property
    def width(self) -> int:
        return self.shape[3]

    @property
    def tile_rows(self) -> int:
        return self.stored[1] // self.m

    @property
    def tiles(self) -> int:
        return self.stored[3]


class Planes(Value):
    """A value stored as the caller gives it, (N, C, H, W): inputs, outputs, labels.

    whole   that of all workers, of which `data` are this one's images
    """

    def __init__(self, name: str, shape: Shape, dtype: Any = None) -> None:
        super().__init__(name, shape, 1, False)
        self.stored = shape
        self.dtype = None if dtype is None else np.dtype(dtype)
        self.whole: np.ndarray = self.data

    def lie_in(self, memory: np.ndarray, worker: Worker) -> None:
        """Take a place in flat memory that all workers see, of at least the whole batch's size."""
        N, *rest = self.stored
        self.whole = memory[: worker.plans * prod(self.stored)].reshape(-1, *rest)
        first = worker.number * N if worker.apart else 0
        self.data = self.whole[first : first + N]


class Reader:
    """One step's reading of a value, which on the way back adds to the value's gradient.

    first   no gradient was written before: write, do not add
    last    none is added after: the value's maker may go on with it
    """

    def __init__(self, value: Value) -> None:
        self.value = value
        self.first = self.last = False

    @contextmanager
    def filling(self, image: int, start: int, stop: int, scratch: Scratch) -> Iterator[np.ndarray]:
        """Rows (stop - start, m, T, C) for the block to fill with what is added to the gradient.

        They are the gradient's own where nothing that is still needed lies there.
        """
        value = self.value
        there = value.gradient[image, start:stop]
        if self.first and not value.in_place:
            rows = there
        else:
            rows = scratch.array("gradient to add", there.shape, there.dtype)
        yield rows
        if not self.first:
            rows = np.add(there, rows, out=there)
        self._given(image, start, rows)

    def give(self, image: int, start: int, rows: np.ndarray, scratch: Scratch) -> None:
        """Write or add rows to the gradient."""
        if self.first:
            with self.filling(image, start, start + len(rows), scratch) as there:
                np.copyto(there, rows)
        else:
            there = self.value.gradient[image, start : start + len(rows)]
            self._given(image, start, np.add(there, rows, out=there))

    def _given(self, image: int, start: int, rows: np.ndarray) -> None:
        """Go on with rows that have this reader's part: the gradient's own, or those that are to take their place."""
        value = self.value
        clear_margin(rows, start, value.height, value.width)
        if self.last and value.on_gradient is not None:
            value.on_gradient(image, start, rows)
        elif value.in_place:
            np.copyto(value.gradient[image, start : start + len(rows)], rows)


def load(stored: np.ndarray, image: int, start: int, stop: int, tiles: int, scratch: Scratch) -> np.ndarray:
    """Rows start to stop of one image of an array (N, rows, m, T, C): (stop - start, m, tiles, C).

    Rows and tiles outside are zero. The result is a view where the rows lie in memory like that.
    """
    _, height, m, tiles_there, channels = stored.shape
    if start >= 0 and stop <= height and tiles == tiles_there:
        return stored[image, start:stop]
    rows = scratch.array("rows", (stop - start, m, tiles, channels), stored.dtype)
    low, high = min(max(start, 0), height), max(min(stop, height), 0)
    rows[: low - start] = 0
    rows[max(high - start, 0) :] = 0
    rows[:, :, tiles_there:] = 0
    rows[low - start : high - start, :, :tiles_there] = stored[image, low:high, :, :tiles]
    return rows


def load_joined(values: list[Value], image: int, start: int, stop: int, tiles: int, scratch: Scratch) -> np.ndarray:
    """As `load`, of values joined along their channels; a view where it can be and there is one value."""
    if len(values) == 1:
        return load(values[0].data, image, start, stop, tiles, scratch)
    shape = (stop - start, values[0].m, tiles, sum(value.channels for value in values))
    rows = scratch.array("joined rows", shape, values[0].data.dtype)
    done = 0
    for value in values:
        rows[..., done : done + value.channels] = load(value.data, image, start, stop, tiles, scratch)
        done += value.channels
    return rows


def give_parts(readers: list[Reader], image: int, start: int, rows: np.ndarray, scratch: Scratch) -> None:
    """The opposite: hand rows of a gradient, joined along the channels, to the values that were joined."""
    done = 0
    for reader in readers:
        more = done + reader.value.channels
        if reader.value.wants_gradient:
            reader.give(image, start, rows[..., done:more], scratch)
        done = more
