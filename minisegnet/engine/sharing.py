"""Who works on which rows: a batch is split evenly by rows of tiles, and a share is gone through in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Band(NamedTuple):
    """Some rows of tiles of one image."""

    image: int
    first: int
    stop: int

    @property
    def height(self) -> int:
        """How many rows of tiles."""
        return self.stop - self.first


def share(images: int, tile_rows: int, rank: int, count: int) -> list[Band]:
    """The bands that worker `rank` of `count` works on: whole images where the images divide evenly."""
    total = images * tile_rows
    start, stop = total * rank // count, total * (rank + 1) // count
    bands = []
    while start < stop:
        image, first = divmod(start, tile_rows)
        last = min(tile_rows, first + stop - start)
        bands.append(Band(image, first, last))
        start += last - first
    return bands


def blocks(bands: list[Band], rows: int) -> Iterator[list[Band]]:
    """The bands cut into blocks of at most `rows` rows of tiles; bands of small images share a block."""
    block: list[Band] = []
    room = rows
    for band in bands:
        first = band.first
        while first < band.stop:
            stop = min(band.stop, first + room)
            block.append(Band(band.image, first, stop))
            room -= stop - first
            first = stop
            if room == 0:
                yield block
                block, room = [], rows
    if block:
        yield block


def pieces(bands: list[Band], rows: int) -> Iterator[Band]:
    """The bands cut into pieces of at most `rows` rows of tiles."""
    for band in bands:
        for first in range(band.first, band.stop, rows):
            yield Band(band.image, first, min(band.stop, first + rows))
