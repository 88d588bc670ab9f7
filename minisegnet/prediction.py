"""Class probabilities of an image of any size: whole, in overlapping tiles mirrored at the edge, or averaged over turns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minisegnet import functional
from minisegnet.errors import DataError, ShapeError
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

    Returns float32 (classes, H, W). Raises DataError for an image with no pixels or with NaN, ShapeError where the
    network fits no size.
    Source: Ronneberger et al. 2015, figure 2 (the overlap-tile strategy).
    """
    if image.ndim != 3 or 0 in image.shape:
        raise DataError(f"an image must be (channels, height, width) with at least one pixel; got shape {image.shape}")
    if not np.isfinite(image).all():
        raise DataError(f"the image holds NaN or infinity at {int((~np.isfinite(image)).sum())} values")
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
    channels, *size = image.shape
    wanted = tuple(min(tile or side, side) for side in size)
    given, made = _fitting(graph, channels, wanted)
    margin = [(g - m) // 2 for g, m in zip(given, made, strict=True)]
    if tile and given == made and made != tuple(size):  # a network that keeps the size: tiles share context by overlap
        margin = [side // 4 for side in made]
        made = tuple(side - 2 * m for side, m in zip(made, margin, strict=True))
    starts = [range(0, side, m) for side, m in zip(size, made, strict=True)]
    mirrored = np.pad(
        image,
        [(0, 0)]
        + [(m, s[-1] + g - m - side) for m, s, g, side in zip(margin, starts, given, size, strict=True)],
        mode="reflect",
    )
    probability: np.ndarray | None = None
    for top in starts[0]:
        for left in starts[1]:
            window = mirrored[None, :, top : top + given[0], left : left + given[1]]
            scores = graph.predict(np.ascontiguousarray(window))
            here = functional.softmax_forward(scores)[0][0]
            cut = [(side - m) // 2 for side, m in zip(here.shape[1:], made, strict=True)]
            here = here[:, cut[0] : cut[0] + made[0], cut[1] : cut[1] + made[1]]
            if probability is None:
                probability = np.empty((len(here), *size), here.dtype)
            place = probability[:, top : top + made[0], left : left + made[1]]
            place[...] = here[:, : place.shape[1], : place.shape[2]]
    assert probability is not None
    return probability


def _fitting(graph: Graph, channels: int, wanted: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The smallest input of the network, in each direction, whose output is as large as wanted: (input, output)."""
    given, made = [], []
    for side in wanted:
        refusal: ShapeError | None = None
        for size in range(side, side + LARGEST_SEARCH):
            try:
                output = graph.output_shape((1, channels, size, size))[2]
            except ShapeError as error:
                refusal = error
                continue
            if output >= side:
                given.append(size)
                made.append(output)
                break
        else:
            raise ShapeError(f"the network gives no output of {side} pixels for any input up to {size}: {refusal}")
    return (given[0], given[1]), (made[0], made[1])
