"""Class probabilities of an image of any size: whole, in tiles mirrored at the edge, or averaged over its turns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minisegnet import functional
from minisegnet.cuda.arrays import to_host
from minisegnet.errors import DataError, OptionError, ShapeError
from minisegnet.graph import Graph

# How much larger than asked a tile may get before a network with valid convolutions is said to fit no size.
LARGEST_SEARCH = 4096


def predict_labels(graph: Graph, image: np.ndarray, tile: int | None = None, symmetries: bool = False) -> np.ndarray:
    """The most probable class of each pixel, int32 (H, W); arguments as in `predict_probabilities`."""
    return predict_probabilities(graph, image, tile, symmetries).argmax(axis=0).astype(np.int32)


def predict_probabilities(
    graph: Graph, image: np.ndarray, tile: int | None = None, symmetries: bool = False
) -> np.ndarray:
    """Softmax of the network's scores at every pixel.

    graph       maps (1, C, h, w) to scores (1, classes, h', w'); where h' < h (valid convolutions) the missing context
                at the image's edge is mirrored
    image       (C, H, W) float, normalised as in training
    tile        side of the tiles' outputs in pixels (about: the next that fits); None takes the image whole
    symmetries  average the eight turns and mirror images of the square, turned back (Ronneberger et al. 2015
                average seven rotations)

    Returns float32 (classes, H, W). Raises DataError for an image with no pixels or with NaN, ShapeError for other
    channels than the network's or where it fits no size, OptionError for a tile below 1.
    Source: Ronneberger et al. 2015, figure 2 (the overlap-tile strategy).
    """
    if image.ndim != 3 or 0 in image.shape:
        raise DataError(f"an image must be (channels, height, width) with at least one pixel; got shape {image.shape}")
    if not np.isfinite(image).all():
        raise DataError(f"the image holds NaN or infinity at {int((~np.isfinite(image)).sum())} values")
    channels = graph.inputs[0].channels
    if channels not in (None, len(image)):
        raise ShapeError(f"the network takes images of {channels} channels; got {len(image)}, shape {image.shape}")
    if tile is not None and tile < 1:
        raise OptionError(f"tile is the side of a tile in pixels, at least 1, or None for the whole image; got {tile}")
    turns = list(_turns()) if symmetries else [(0, False)]
    total: np.ndarray | float = 0.0
    for quarters, mirrored in turns:
        seen = np.rot90(image[:, :, ::-1] if mirrored else image, quarters, axes=(1, 2))
        probability = np.rot90(_tiled(graph, np.ascontiguousarray(seen), tile), -quarters, axes=(1, 2))
        total = total + (probability[:, :, ::-1] if mirrored else probability)
    return np.ascontiguousarray(total / len(turns), np.float32)


def _turns() -> Iterator[tuple[int, bool]]:
    for mirrored in (False, True):
        for quarters in range(4):
            yield quarters, mirrored


def _tiled(graph: Graph, image: np.ndarray, tile: int | None) -> np.ndarray:
    rows, columns = (_cut(graph, len(image), side, tile) for side in image.shape[1:])
    frame = (*columns.frame(image.shape[2]), *rows.frame(image.shape[1]))
    mirrored = functional.reflection_pad2d_forward(image[None], frame)[0]
    probability: np.ndarray | None = None
    for top in rows.starts:
        for left in columns.starts:
            window = mirrored[:, :, top : top + rows.given, left : left + columns.given]
            with graph.computing():
                scores = graph.predict(graph.placed(np.ascontiguousarray(window)))
                here = to_host(functional.softmax_forward(scores)[0])[0]
            here = here[:, rows.kept_from :, columns.kept_from :]
            if probability is None:
                probability = np.empty((len(here), *image.shape[1:]), here.dtype)
            place = probability[:, top : top + rows.kept, left : left + columns.kept]
            place[...] = here[:, : place.shape[1], : place.shape[2]]
    assert probability is not None
    return probability


class _Cut(NamedTuple):
    """How one direction of an image is cut into tiles; in pixels."""

    given: int  # what the network sees
    margin: int  # how much of that lies before the pixels kept
    kept: int  # of the output
    kept_from: int  # where in the output
    starts: range  # of the pixels kept

    def frame(self, side: int) -> tuple[int, int]:
        """What the tiles need of the image's mirror image: before it, and after."""
        return self.margin, self.starts[-1] + self.given - self.margin - side


def _cut(graph: Graph, channels: int, side: int, tile: int | None) -> _Cut:
    (given, made), (next_given, next_made) = _fitting(graph, channels, min(tile or side, side))
    kept_from, grid = 0, 1
    if given > made and made < side:
        # Valid convolutions: tiles that start on the network's pooling grid join without a seam.
        grid = max(next_given - given, 1)
        if made < grid:
            given, made = next_given, next_made
    elif given == made and made < side:
        # Padded ones do worse near a tile's edge, where they see zeros: tiles overlap, and their middles are kept.
        kept_from = made // 4
    kept = made - 2 * kept_from
    step = kept - kept % grid
    return _Cut(given, (given - kept) // 2, kept, kept_from, range(0, max(side - kept, 0) + step, step))


def _fitting(graph: Graph, channels: int, wanted: int) -> list[tuple[int, int]]:
    """The two smallest inputs whose output is at least as large as wanted: (input, output) of each, in pixels."""
    found: list[tuple[int, int]] = []
    refusal = "its outputs are smaller"
    for size in range(wanted, wanted + LARGEST_SEARCH):
        try:
            output = graph.output_shape((1, channels, size, size))[2]
        except ShapeError as error:
            refusal = str(error)
            continue
        if output >= wanted:
            found.append((size, output))
            if len(found) == 2:
                return found
    if found:  # a network of one size
        return found * 2
    raise ShapeError(f"the network gives no output of {wanted} pixels for any input up to {size}: {refusal}")
