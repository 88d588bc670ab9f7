"""The receptive field of one pixel of a network's output: the pixels of the image that it can see, and those it does.

    field = receptive_field(graph, (1, 3, 96, 128), row=40, column=64)      # what the layers allow
    gradient = measured(graph, (1, 3, 96, 128), row=40, column=64)          # what the weights make of it
    effective_square(gradient)                                              # where 95 % of that lies

Source: Luo et al. 2016, Understanding the effective receptive field, who found it to be far smaller than the
theoretical one and shaped like a Gaussian.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil, floor
from typing import NamedTuple

import numpy as np

from minisegnet.errors import GraphError, OptionError, ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import PadToMultiple, ReflectionPad2d
from minisegnet.layers.footprint import Footprint
from minisegnet.nodes import Node, located
from minisegnet.passes import Pass
from minisegnet.shapes import Shape, images

Interval = tuple[int, int]  # first and last, both in it; (0, -1) is empty
EMPTY = (0, -1)


class ReceptiveField(NamedTuple):
    """The rectangle of the image that a pixel sees: its (first, last) row and column, (0, -1) where it sees none."""

    rows: Interval
    columns: Interval

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows and columns."""
        height, width = (last - first + 1 for first, last in self)
        return height, width


def receptive_field(graph: Graph, input_shape: Shape, row: int, column: int, node: str | None = None) -> ReceptiveField:
    """The smallest rectangle of the image outside of which no pixel has a part in one value of the network.

    At each layer on the way back, only whole rows that exist are followed, over every path, so that the edges are exact
    too; the holes of dilated windows count as seen. Batch normalisation looks at its own place alone, as in evaluation.

    input_shape  (N, C, H, W) of the image, the graph's one input
    row, column  the pixel of the output, or of the node's value
    node         the name of another node than the output

    Raises ShapeError for a pixel outside the value, and for a layer that does not say where it looks; GraphError for a
    node there is not, or a graph of several inputs.
    """
    image, target, shapes = _ends(graph, input_shape, row, column, node)
    seen: dict[str, list[tuple[Interval, Interval]]] = {target.name: [((row, row), (column, column))]}
    for reader in reversed(graph.layer_nodes()):
        if reader.name not in seen:
            continue
        spans = [_hull(spans) for spans in zip(*seen[reader.name], strict=True)]
        given = shapes[reader.inputs[0].node.name]
        with located(graph.name, reader):
            footprints = reader.layer.footprints(given, shapes[reader.name])
        mirrors = isinstance(reader.layer, ReflectionPad2d | PadToMultiple)
        rows, columns = (_read(*sides, mirrors) for sides in zip(footprints, spans, given[2:], strict=True))
        if EMPTY in (rows, columns):
            continue
        for handle in reader.inputs:
            seen.setdefault(handle.node.name, []).append((rows, columns))
    paths = seen.get(image.name, [(EMPTY, EMPTY)])
    return ReceptiveField(*(_hull(spans) for spans in zip(*paths, strict=True)))


def measured(
    graph: Graph,
    input_shape: Shape,
    row: int,
    column: int,
    node: str | None = None,
    samples: int = 8,
    seed: int = 0,
) -> np.ndarray:
    """How much each pixel of the image moves one pixel of the output: the size of the gradient, in evaluation mode.

    It is the mean of |dx|, over the channels of the image and over `samples` pairs of random images and random upstream
    gradients of the output's channels at that pixel, both normal.

    Returns (H, W) in the parameters' float type. Leaves the graph as it was. Arguments and errors as for
    `receptive_field`; besides, GraphError where the gradient is zero everywhere, and OptionError for samples below 1.
    """
    if samples < 1:
        raise OptionError(f"samples is how many random images to average over, at least 1; got {samples}")
    _, target, shapes = _ends(graph, input_shape, row, column, node)
    dtype, rng = graph.dtype or np.dtype(np.float64), np.random.default_rng(seed)
    _, C, H, W = input_shape
    total = np.zeros((H, W), dtype)
    dy = np.zeros((1, *shapes[target.name][1:]), dtype)
    with _as_in_evaluation(graph):
        for _ in range(samples):
            run = Pass(graph, (rng.standard_normal((1, C, H, W)).astype(dtype),))
            run.outputs = (target,)
            run.forward()
            dy[0, :, row, column] = rng.standard_normal(dy.shape[1])
            dx = run.backward(dy)
            if dx is not None:
                total += np.abs(dx[0]).mean(axis=0) / samples
    if not total.any():
        raise GraphError(
            f"the gradient of {graph.name} {target.name!r} at row {row}, column {column} by the image is zero "
            "everywhere: a network whose scores start at zero (FCN) sees nothing before it is trained; load trained "
            "weights, or look at a node before the scores"
        )
    return total


def effective_square(gradient: np.ndarray, share: float = 0.95) -> ReceptiveField:
    """The smallest square around a gradient's centre of mass that holds this share of it, cut off at the image's edges.

    gradient  (H, W), as `measured` returns it

    Raises OptionError for a share outside 0 to 1.
    """
    if not 0 < share <= 1:
        raise OptionError(f"share is the part of the gradient inside the square, above 0 up to 1; got {share}")
    rows, columns = (np.arange(side) for side in gradient.shape)
    mass = gradient.sum()
    row, column = round(rows @ gradient.sum(axis=1) / mass), round(columns @ gradient.sum(axis=0) / mass)
    distances = np.maximum(np.abs(rows - row)[:, None], np.abs(columns - column))
    held = np.bincount(distances.ravel(), gradient.ravel()).cumsum()
    reach = int(np.searchsorted(held, share * held[-1]))
    centred = zip((row, column), gradient.shape, strict=True)
    return ReceptiveField(*((max(0, centre - reach), min(side - 1, centre + reach)) for centre, side in centred))


def _ends(
    graph: Graph, input_shape: Shape, row: int, column: int, node: str | None
) -> tuple[Node, Node, dict[str, Shape]]:
    """The graph's input, the node that the pixel is of, and every node's shape."""
    graph.check_built()
    if len(graph.inputs) != 1:
        raise GraphError(f"{graph.name} has {len(graph.inputs)} inputs; a receptive field is looked at in one image")
    shapes = graph.shapes(images(input_shape, "the image"))
    target = graph.outputs[0] if node is None else graph.handle(node).node
    _, _, H, W = images(shapes[target.name], repr(target.name))
    if not (0 <= row < H and 0 <= column < W):
        raise ShapeError(
            f"{graph.name} {target.name!r} has {H} x {W} pixels for an image of {input_shape[2]} x {input_shape[3]}: "
            f"got row {row}, column {column}; choose rows 0 to {H - 1}, columns 0 to {W - 1}"
        )
    return graph.inputs[0], target, shapes


def _read(footprint: Footprint, span: Interval, size: int, mirrors: bool) -> Interval:
    """The rows of a layer's input, `size` in all, that it reads for this span of its output's rows."""
    first, last = (footprint.scale * i + end for i, end in zip(span, (footprint.first, footprint.last), strict=True))
    if mirrors:  # rows outside are those inside, back and forth
        rows = np.arange(int(first), int(last) + 1) % max(1, 2 * (size - 1))
        rows = np.where(rows < size, rows, 2 * (size - 1) - rows)
        return int(rows.min()), int(rows.max())
    inside = max(0, ceil(first)), min(size - 1, floor(last))
    return inside if inside[0] <= inside[1] else EMPTY


def _hull(spans: tuple[Interval, ...]) -> Interval:
    """From the first row of any of the spans to the last."""
    return min(first for first, _ in spans), max(last for _, last in spans)


@contextmanager
def _as_in_evaluation(graph: Graph) -> Iterator[None]:
    """Evaluation mode, with gradients that leave the parameters' own alone; afterwards all is as before."""
    training = [layer for layer in graph.layers.values() if layer.training]
    trained = [parameter for parameter in graph.parameters.values() if parameter.trainable]
    for layer in training:
        layer.eval()
    for parameter in trained:
        parameter.trainable = False
    try:
        yield
    finally:
        for layer in training:
            layer.train()
        for parameter in trained:
            parameter.trainable = True
