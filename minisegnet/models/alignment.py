"""Where in the image the pixels of each value of a network lie, and the crops that make two paths line up.

    print(derivation(fcn8s(21, as_published=True)))      # how the paper's 5, 9 and 31 come about

Convolution, pooling and transposed convolution put the pixels of their output in the middle of what each of them reads
(`Layer.footprints`). Along one direction that is a scale and an offset, and those of a path follow layer by layer.
Where two paths meet they must agree, or each pixel would be fused with a neighbour's: cropping makes up for a whole
number of pixels, the kernel of a transposed convolution for a half.

Source: Long et al. 2015, FCN, section 3; the authors' own code composes the same numbers, in the opposite direction.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from minisegnet.errors import ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import CenterCrop, Crop
from minisegnet.layers.footprint import Footprint
from minisegnet.nodes import Handle, Node, located
from minisegnet.summary import several_shapes

NOMINAL = 512  # a side for graphs whose offsets are the same for any, as those of fixed strides and paddings are


class Position(NamedTuple):
    """Along one direction: row i of a value lies at row scale i + offset of the image, in exact fractions."""

    scale: Fraction
    offset: Fraction

    def through(self, footprint: Footprint) -> Position:
        """The position of what a layer makes out of a value at this one."""
        both = footprint.after(Footprint(self.scale, self.offset, self.offset))
        return Position(both.scale, both.offset)

    def __str__(self) -> str:
        return f"{written(self.scale)} i {'-' if self.offset < 0 else '+'} {written(abs(self.offset))}"


Positions = tuple[Position, Position]  # vertical, horizontal
DIRECTIONS = ("row", "column")


def coordinates(graph: Graph, input_shape: Any = None) -> dict[str, Positions]:
    """Where the pixels of each node's output lie in the image, vertically and horizontally.

    input_shape  (N, C, H, W), or a sequence of shapes where there are several inputs, images that lie on one another;
                 None takes 512 x 512, for graphs whose offsets are the same for any size

    Raises ShapeError naming both paths where a node joins values that do not lie on one another, and where a layer does
    not say where it looks (fully connected ones look everywhere).
    """
    shapes = graph.shapes(*several_shapes(input_shape or _nominal(graph)))
    image = (Position(Fraction(1), Fraction(0)),) * 2
    found: dict[str, Positions] = {node.name: image for node in graph.inputs}
    for node in graph.layer_nodes():
        with located(graph.name, node):
            first, *others = (handle.node.name for handle in node.inputs)
            for other in others:
                _check_agree(first, found[first], other, found[other])
            vertical, horizontal = node.layer.footprints(shapes[first], shapes[node.name])
            found[node.name] = found[first][0].through(vertical), found[first][1].through(horizontal)
    return found


def crop_to_align(graph: Graph, value: Handle, onto: Handle, input_shape: Any = None) -> tuple[int, int]:
    """The (top, left) at which `Crop` must cut `value`, so that its pixels lie on those of `onto` from the first on.

    Raises ShapeError, saying what to do, where pixels lie differently far apart, where a part of a pixel would have to
    be cut, and where rows would have to be added.
    """
    top, left = (_crop(*pair) for pair in _pairs(graph, value, onto, input_shape))
    return top, left


def stamp_to_align(graph: Graph, value: Handle, onto: Handle, input_shape: Any = None) -> tuple[int, int]:
    """(kernel_size, padding) of a bilinear transposed convolution that lays `value` on the pixels of `onto`.

    Its stride is how many times as far apart the value's pixels are.

    Row 0 of the value comes to lie in the middle of its stamp, at row (kernel_size - 1) / 2 - padding of the output.
    So a distance of whole rows to the first row of `onto` takes an odd kernel, 2 stride - 1, one of half a row an even
    one, 2 stride; both hold all of the tent that interpolates. The padding cuts off what comes before.

    Raises ShapeError where no stride and kernel do, or the first rows of `onto` are out of the stamps' reach.
    """
    down, across = (_stamp(*pair) for pair in _pairs(graph, value, onto, input_shape))
    if down != across:
        raise ShapeError(
            f"{value.node.name!r} lies on {onto.node.name!r} differently down and across: that takes kernel size and "
            f"padding {down} down, {across} across; give a transposed convolution pairs of them"
        )
    return down


def derivation(graph: Graph, input_shape: Any = None) -> str:
    """How the position of every value follows from the layers on its path, as a table, and then the graph's crops.

    Layers that leave each pixel where it is, such as ReLU, are left out. `input_shape` and errors as in `coordinates`.
    """
    found = coordinates(graph, input_shape)
    rows: list[tuple[str, ...]] = [("node", "layer", "reads", "kernel", "stride", "padding", "scale", "offset")]
    rows += [_row(node, found) for node in graph.nodes.values() if _moves(node)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    crops = [line for node in graph.layer_nodes() if _crops(node) for line in _crop_told(node, found)]
    title = f"{graph.name}: row i of a value lies at row (scale i + offset) of the image"
    return "\n".join([title, "", lines[0], rule, *lines[1:], rule, *(crops or ["nothing is cropped"])])


def written(value: Fraction) -> str:
    """A fraction as a decimal number where that is exact and short, else as p/q."""
    decimal = f"{float(value):g}"
    return decimal if Fraction(decimal) == value else str(value)


def _nominal(graph: Graph) -> list[tuple[int, ...]]:
    return [(1, 3 if node.channels is None else node.channels, NOMINAL, NOMINAL) for node in graph.inputs]


def _check_agree(first: str, place: Positions, other: str, other_place: Positions) -> None:
    for direction, one, two in zip(DIRECTIONS, place, other_place, strict=True):
        if one != two:
            raise ShapeError(
                f"what is joined here does not line up: {direction} i of {first!r} lies at {direction} {one} of the "
                f"image, that of {other!r} at {two}; crop one of them as `crop_to_align` says, or choose kernel and "
                "padding of the upsampling as `stamp_to_align` does"
            )


def _pairs(graph: Graph, value: Handle, onto: Handle, input_shape: Any) -> Iterator[tuple[Position, Position, str]]:
    """For each direction where both values lie, and that in words for an error."""
    found = coordinates(graph, input_shape)
    name, onto_name = value.node.name, onto.node.name
    for direction, place, other in zip(DIRECTIONS, found[name], found[onto_name], strict=True):
        told = f"{direction} i of {name!r} lies at {direction} {place} of the image, that of {onto_name!r} at {other}"
        yield place, other, told


def _crop(place: Position, onto: Position, told: str) -> int:
    """The first row (or column) to keep: scale (i + first) + offset must be the other's scale i + offset."""
    if place.scale != onto.scale:
        raise ShapeError(f"{told}: no crop changes the scale; up- or downsample one of them first")
    first = (onto.offset - place.offset) / place.scale
    if first.denominator != 1:
        raise ShapeError(
            f"{told}: a crop would have to begin at {written(first)}, inside a pixel; change the kernel of the "
            "transposed convolution before it by one (even kernels shift by half a pixel)"
        )
    if first < 0:
        raise ShapeError(
            f"{told}: a crop would have to begin {-first} before the first; crop the other one instead, or give the "
            "transposed convolution before it less padding"
        )
    return int(first)


def _stamp(place: Position, onto: Position, told: str) -> tuple[int, int]:
    stride, distance = place.scale / onto.scale, (place.offset - onto.offset) / onto.scale
    if stride.denominator != 1:
        raise ShapeError(f"{told}: a stride of {written(stride)} is no whole number; upsample the coarser one")
    if (2 * distance).denominator != 1:
        raise ShapeError(
            f"{told}: {written(distance)} apart, and kernels shift by halves; change the layers before them"
        )
    kernel = 2 * stride - (1 if distance.denominator == 1 else 0)
    padding = (kernel - 1) / 2 - distance
    if padding < 0:
        raise ShapeError(
            f"{told}: stamps of {kernel} would begin {-padding} after the first; crop the other one, or give the "
            "layers before this one more padding"
        )
    return int(kernel), int(padding)


def _moves(node: Node) -> bool:
    """Whether a node is worth a row: the inputs, the joins, and whatever may change where pixels lie."""
    return node.layer is None or not node.layer.pointwise or len(node.inputs) > 1


def _with_a_row(node: Node) -> Node:
    """The node, or the one before it of which it leaves each pixel in its place."""
    while not _moves(node):
        node = node.inputs[0].node
    return node


def _crops(node: Node) -> bool:
    return isinstance(node.layer, Crop | CenterCrop)


def _row(node: Node, found: dict[str, Positions]) -> tuple[str, ...]:
    kernel, stride, padding = (_option(node.layer, name) for name in ("kernel_size", "stride", "padding"))
    if kernel and not stride:
        stride = kernel  # poolings that name none
    if _crops(node):
        layer = f"crop {', '.join(dict.fromkeys(str(first) for first in _first_kept(node, found)))}"
    else:
        layer = type(node.layer).__name__ if node.layer else "input"
    reads = ", ".join(_with_a_row(handle.node).name for handle in node.inputs)
    vertical, horizontal = found[node.name]
    scale, offset = (
        ", ".join(dict.fromkeys(written(value) for value in both)) for both in zip(vertical, horizontal, strict=True)
    )
    return node.name, layer, reads, kernel, stride, padding, scale, offset


def _option(layer: Any, name: str) -> str:
    """An option of the layer as "3", or "3, 5" where directions or sides differ; empty where it has none."""
    value = getattr(layer, name, None)
    if value is None or callable(value):  # PadToMultiple's padding is a function of the image; the offset tells it
        return ""
    numbers = value if isinstance(value, tuple | list) else (value,)
    return str(numbers[0]) if len(set(numbers)) == 1 else ", ".join(map(str, numbers))


def _first_kept(node: Node, found: dict[str, Positions]) -> Iterator[Fraction]:
    """The first row and column that a crop keeps."""
    for before, after in zip(found[node.inputs[0].node.name], found[node.name], strict=True):
        yield (after.offset - before.offset) / before.scale


def _crop_told(node: Node, found: dict[str, Positions]) -> Iterator[str]:
    """The arithmetic of a crop, once where it is the same down and across, and the truth where it is cut elsewhere."""
    value, onto = node.inputs[0].node.name, (node.size_of or node.inputs[0]).node.name
    told: dict[str, str] = {}
    for direction, before, wanted, kept in zip(
        DIRECTIONS, found[value], found[onto], _first_kept(node, found), strict=True
    ):
        first = (wanted.offset - before.offset) / before.scale
        sum_written = f"({written(wanted.offset)} - {_signed(before.offset)}) / {written(before.scale)} = {first}"
        told.setdefault(sum_written if first == kept else f"{sum_written}, but it is cut at {kept}", direction)
    for sum_written, direction in told.items():
        where = f" {direction}" if len(told) > 1 else ""
        yield f"{node.name}: {value} laid on {onto}{where}: {sum_written}"


def _signed(value: Fraction) -> str:
    return f"({written(value)})" if value < 0 else written(value)
