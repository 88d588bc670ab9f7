"""A graph as a picture, by matplotlib alone: a U-Net is seen as a U."""

from __future__ import annotations

import textwrap
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from minisegnet.diagram import TIMES, Block, arrange
from minisegnet.summary import several_shapes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from minisegnet.graph import Graph
    from minisegnet.shapes import Shape

# (fill, edge) of each kind of block, and its words in the legend.
COLOURS = {
    "input": ("#ffffff", "#37474f"),
    "convolution": ("#d6e6f7", "#2f6fab"),
    "down": ("#fbdccd", "#c2572b"),
    "up": ("#d5eed6", "#388e3c"),
    "join": ("#e6daf4", "#7146ad"),
    "frame": ("#e8ecef", "#69808c"),
    "pointwise": ("#fdf1c7", "#b08d13"),
    "loss": ("#f8d3e0", "#b0335f"),
}
LEGEND = {
    "input": "input", "convolution": "convolution", "down": "down", "up": "up", "join": "concatenation, sum",
    "frame": "pad, crop", "pointwise": "pointwise, normalisation", "loss": "loss", "output": "output",
}  # fmt: skip
INK, FAINT, SKIP = "#263238", "#90a4ae", "#8d6e9f"
BAND = ("#f6f8f9", "#ffffff")

# Lengths in inches, which are also the axes' units; text sizes in points.
TITLE_SIZE, CAPTION_SIZE, HEADING_SIZE = 9.0, 7.5, 13.0
LINE, PADDING, COLUMN_GAP, ROW_GAP, LANE_GAP, MARGIN = 0.145, 0.09, 0.27, 0.36, 0.3, 0.22
HEADING, LEGEND_HEIGHT, LEGEND_GAP = 0.55, 0.4, 0.5
WRAP, MOST_LINES = 13, 7  # characters of a caption's line, and lines of a caption


class Box(NamedTuple):
    """A block's rectangle, by its centre, and the lines of text inside: the label, what it does, its shape."""

    block: Block
    x: float
    y: float
    width: float
    height: float
    lines: list[str]


def draw(graph: Graph, path: Any = None, input_shape: Any = None) -> Figure:
    """Draw the network: a box for each node or chain, further right the later, further down the smaller its image.

    Boxes are coloured by what they do, those with a thick edge are outputs; dashed arrows carry pooling indices. With
    input_shape, (N, C, H, W) or a sequence of shapes, each box tells the shape that it gives.

    Returns the matplotlib Figure, saved where a path is given (its ending chooses PNG, SVG or PDF). No display needed.
    A graph may be drawn before it has an output, but not before it has an input (GraphError).
    """
    from matplotlib.figure import Figure

    if not graph.inputs:
        graph.check_built()
    shapes = graph.shapes(*several_shapes(input_shape)) if input_shape is not None else {}
    blocks = arrange(graph)
    boxes, bands = place(blocks, shapes)
    kinds = [kind for kind in LEGEND if kind == "output" or any(block.kind == kind for block in blocks)]
    count = sum(parameter.data.size for parameter in graph.parameters.values())
    note = f"{count:,} parameters"
    top = max(band[0] for band in bands.values()) + HEADING
    width = max(
        max(box.x + box.width / 2 for box in boxes) + MARGIN + COLUMN_GAP,
        2 * MARGIN + text_width(graph.name, HEADING_SIZE, "bold") + 0.2 + text_width(note, TITLE_SIZE),
        2 * MARGIN + sum(text_width(LEGEND[kind], TITLE_SIZE) + LEGEND_GAP for kind in kinds),
    )
    figure = Figure(figsize=(width, top), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, top))
    axes.set_axis_off()
    for i, level in enumerate(sorted(bands)):
        axes.axhspan(*bands[level], color=BAND[i % 2], zorder=0)
        axes.text(MARGIN, sum(bands[level]) / 2, fraction(level), color=FAINT, size=TITLE_SIZE, va="center")
    places = {box.block: box for box in boxes}
    for box in boxes:
        for source, indices in box.block.reads:
            _draw_arrow(axes, places[source], box, boxes, bands, indices)
    for box in boxes:
        _draw_box(axes, box, any(node in graph.outputs for node in box.block.nodes))
    y = top - HEADING / 2
    axes.text(MARGIN, y, graph.name, size=HEADING_SIZE, weight="bold", color=INK, va="center")
    x = MARGIN + text_width(graph.name, HEADING_SIZE, "bold") + 0.2
    axes.text(x, y - 0.02, note, size=TITLE_SIZE, color=FAINT, va="center")
    _draw_legend(axes, kinds)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


# ------------------------------------------------------------------------------------------------------- placing


def place(blocks: list[Block], shapes: dict[str, Shape]) -> tuple[list[Box], dict[float, tuple[float, float]]]:
    """The blocks as boxes, and the top and bottom of each level's band; all above the legend."""
    lines = {block: lines_of(block, shapes) for block in blocks}
    widths = {block: max(line_widths(lines[block])) + 2 * PADDING for block in blocks}
    heights = {block: len(lines[block]) * LINE + 2 * PADDING for block in blocks}
    centres = {}
    x = 2 * MARGIN + 0.3
    for column in range(max(block.column for block in blocks) + 1):
        width = max((widths[block] for block in blocks if block.column == column), default=0.0)
        centres[column] = x + width / 2
        x += width + COLUMN_GAP
    middles, bands = {}, {}
    y = LEGEND_HEIGHT
    for level in sorted({block.level for block in blocks}, reverse=True):  # from the bottom up
        bottom = y
        y += ROW_GAP / 2
        for lane in sorted({block.lane for block in blocks if block.level == level}, reverse=True):
            height = max(heights[block] for block in blocks if block.height == (level, lane))
            middles[level, lane] = y + height / 2
            y += height + LANE_GAP
        y += ROW_GAP / 2 - LANE_GAP
        bands[level] = (y, bottom)
    boxes = [Box(b, centres[b.column], middles[b.height], widths[b], heights[b], lines[b]) for b in blocks]
    return boxes, bands


def lines_of(block: Block, shapes: dict[str, Shape]) -> list[str]:
    """A block's text: label, caption, and its shape where it is known, else its channels where they are."""
    node = block.nodes[-1]
    lines = [block.label]
    caption = [line for words in block.caption for line in textwrap.wrap(words, WRAP, break_long_words=False)]
    if len(caption) > MOST_LINES:
        caption = [*caption[: MOST_LINES - 1], "and more"]
    if not block.label.startswith(" ".join(caption)):
        lines += caption
    if node.name in shapes:
        return [*lines, f" {TIMES} ".join(str(size) for size in shapes[node.name][1:])]
    channels = [node.channels or getattr(node.layer, "out_channels", None) for node in block.nodes]
    known = [count for count in channels if count]
    return [*lines, f"{known[-1]} channels"] if known else lines


def line_widths(lines: list[str]) -> list[float]:
    """In inches; the first line is bold."""
    return [text_width(lines[0], TITLE_SIZE, "bold"), *(text_width(line, CAPTION_SIZE) for line in lines[1:])]


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """In inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    outline = TextPath((0, 0), text, prop=FontProperties(size=size, weight=weight))
    return outline.vertices[:, 0].max(initial=0.0) / 72  # far faster than its exact get_extents


def fraction(level: float) -> str:
    """How large an image is against the input's: 1, 1/2, 1/4, or 2 times."""
    factor = 2 ** abs(level)
    return "1" if level == 0 else f"1/{factor:.3g}" if level > 0 else f"{TIMES}{factor:.3g}"


# ------------------------------------------------------------------------------------------------------ painting


def _draw_box(axes: Axes, box: Box, is_output: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    fill, edge = COLOURS[box.block.kind]
    corner = (box.x - box.width / 2, box.y - box.height / 2)
    axes.add_patch(
        FancyBboxPatch(
            corner, box.width, box.height, boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=fill, edgecolor=edge, linewidth=2.4 if is_output else 1.1, zorder=3,
        )
    )  # fmt: skip
    y = box.y + (len(box.lines) - 1) / 2 * LINE
    for i, line in enumerate(box.lines):
        size, weight = (TITLE_SIZE, "bold") if i == 0 else (CAPTION_SIZE, "normal")
        axes.text(box.x, y, line, size=size, weight=weight, color=INK, ha="center", va="center", zorder=4)
        y -= LINE


def _draw_arrow(
    axes: Axes,
    source: Box,
    target: Box,
    boxes: list[Box],
    bands: dict[float, tuple[float, float]],
    indices: bool,
) -> None:
    from matplotlib.patches import FancyArrowPatch

    skips = indices or target.block.column - source.block.column > 1
    axes.add_patch(
        FancyArrowPatch(
            path=rounded(route(source, target, boxes, bands, indices)), arrowstyle="-|>", mutation_scale=9,
            color=SKIP if skips else INK, linewidth=1.4 if skips else 1.0,
            linestyle=(0, (4, 2)) if indices else "-", zorder=2,
        )
    )  # fmt: skip


def route(source: Box, target: Box, boxes: list[Box], bands: dict[float, tuple[float, float]], indices: bool) -> list:
    """The corners of an arrow's way from one box to another: the first of the ways that crosses no box."""
    upward = target.y > source.y
    side = 1 if upward else -1
    leave, arrive = source.x + source.width / 2, target.x - target.width / 2
    leave_edge, arrive_edge = source.y + side * source.height / 2, target.y - side * target.height / 2
    right, left = source.x + source.width / 4, target.x - target.width / 4  # where bent ways leave and arrive
    ways = []
    if source.block.column == target.block.column and not indices:
        ways.append([(source.x, leave_edge), (target.x, arrive_edge)])
    if source.y == target.y:
        ways.append([(leave, source.y), (arrive, target.y)])
        between = [box for box in boxes if box.y == source.y and source.x <= box.x <= target.x]
        above = max(box.y + box.height / 2 for box in between) + 0.12
        top_edges = source.y + source.height / 2, target.y + target.height / 2
        ways.append([(right, top_edges[0]), (right, above), (left, above), (left, top_edges[1])])
    elif source.block.level == target.block.level:
        for turn in (arrive - COLUMN_GAP / 2, leave + COLUMN_GAP / 2):
            ways.append([(leave, source.y), (turn, source.y), (turn, target.y), (arrive, target.y)])
        between = [box for box in boxes if box.y == target.y and source.x <= box.x <= target.x]
        gap = max(-side * box.y + box.height / 2 for box in between) * -side - side * 0.2
        ways.append([(right, leave_edge), (right, gap), (target.x, gap), (target.x, arrive_edge)])
    else:
        if target.x > leave and not indices:
            ways.append([(leave, source.y), (target.x, source.y), (target.x, arrive_edge)])
        borders = bands[target.block.level][upward], bands[source.block.level][not upward]
        ways += [[(right, leave_edge), (right, y), (left, y), (left, arrive_edge)] for y in borders]
    others = [box for box in boxes if box is not source and box is not target]
    return next((way for way in ways if not any(crosses(way, box) for box in others)), ways[-1])


def crosses(way: list, box: Box) -> bool:
    """Whether one of a way's pieces, each horizontal or vertical, runs through the box."""
    return any(
        min(x0, x1) < box.x + box.width / 2
        and max(x0, x1) > box.x - box.width / 2
        and min(y0, y1) < box.y + box.height / 2
        and max(y0, y1) > box.y - box.height / 2
        for (x0, y0), (x1, y1) in pairwise(way)
    )


def rounded(corners: list, radius: float = 0.1) -> Any:
    """A path through the corners, each rounded off."""
    from matplotlib.path import Path

    points, codes = [corners[0]], [Path.MOVETO]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        points += [_towards(corner, before, radius), corner, _towards(corner, after, radius)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path([*points, corners[-1]], [*codes, Path.LINETO])


def _towards(start: tuple[float, float], end: tuple[float, float], distance: float) -> tuple[float, float]:
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = max((dx * dx + dy * dy) ** 0.5, 1e-9)
    part = min(distance / length, 0.5)
    return start[0] + part * dx, start[1] + part * dy


def _draw_legend(axes: Axes, kinds: list[str]) -> None:
    """A small box for each kind, and the thick one of outputs."""
    from matplotlib.patches import FancyBboxPatch

    x, y = MARGIN, LEGEND_HEIGHT / 2
    for kind in kinds:
        fill, edge = COLOURS.get(kind, ("#ffffff", INK))
        axes.add_patch(
            FancyBboxPatch(
                (x, y - 0.055), 0.16, 0.11, boxstyle="round,pad=0,rounding_size=0.03", facecolor=fill, edgecolor=edge,
                linewidth=2.4 if kind == "output" else 1.0,
            )
        )  # fmt: skip
        axes.text(x + 0.23, y, LEGEND[kind], size=TITLE_SIZE, color=INK, va="center")
        x += text_width(LEGEND[kind], TITLE_SIZE) + LEGEND_GAP
