"""The receptive field of one pixel as a picture: its measured gradient, inside what the layers allow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minisegnet.errors import ShapeError
from minisegnet.graph import Graph
from minisegnet.models.alignment import coordinates
from minisegnet.receptive_field import Interval, ReceptiveField, effective_square, measured, receptive_field
from minisegnet.shapes import Shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRADIENT, INK, FAINT = "#2f6fab", "#263238", "#90a4ae"
FRAMES: tuple[tuple[str, Any], ...] = (("#c2572b", "-"), ("#1b7f4d", (0, (4, 2))))  # theoretical, effective
SHARE = 0.95
TIMES = "\N{MULTIPLICATION SIGN}"
LONGEST, PROFILE, GAP = 5.2, 0.95, 0.12  # inches: the image's longer side, the profiles' height, between them
LEFT, RIGHT, TOP, BOTTOM = 0.75, 0.3, 0.75, 1.35
NARROWEST = 6.2  # that the title fits


def draw(
    graph: Graph,
    input_shape: Shape,
    row: int,
    column: int,
    path: Any = None,
    node: str | None = None,
    samples: int = 8,
    seed: int = 0,
) -> Figure:
    """Draw where in the image one pixel of the output looks: how strongly, and how far it could.

    Dark is the measured gradient, its square root, so that the tails show; the frames are the theoretical receptive
    field and the square that holds 95 % of the gradient; the curves are the gradient summed over columns and rows.

    Arguments and errors as for `minisegnet.receptive_field.measured`. Returns the matplotlib Figure, saved where a path
    is given (its ending chooses PNG, SVG or PDF).
    """
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm
    from matplotlib.figure import Figure

    field = receptive_field(graph, input_shape, row, column, node)
    gradient = measured(graph, input_shape, row, column, node, samples, seed)
    square = effective_square(gradient, SHARE)
    H, W = gradient.shape
    name = node or graph.outputs[0].name

    scale = LONGEST / max(H, W)
    height, width = (max(side * scale, 0.4) for side in (H, W))  # so that a strip is seen, too
    size = (max(LEFT + width + GAP + PROFILE + RIGHT, NARROWEST), TOP + PROFILE + GAP + height + BOTTOM)
    figure = Figure(figsize=size, facecolor="white")

    def axes(left: float, bottom: float, width: float, height: float) -> Axes:
        return figure.add_axes((left / size[0], bottom / size[1], width / size[0], height / size[1]))

    image = axes(LEFT, BOTTOM, width, height)
    above = axes(LEFT, BOTTOM + height + GAP, width, PROFILE)
    beside = axes(LEFT + width + GAP, BOTTOM, PROFILE, height)

    shades = LinearSegmentedColormap.from_list("gradient", ["#ffffff", "#cfe0f1", GRADIENT, "#10263d"])
    image.imshow(gradient, cmap=shades, norm=PowerNorm(0.5, vmin=0), aspect="auto", interpolation="nearest")
    for seen, (colour, style) in zip((field, square), FRAMES, strict=True):
        _frame(image, seen, colour, style)
    place = _own_place(graph, input_shape, row, column, name)
    if place is not None:
        image.plot(place[1], place[0], "+", color=INK, markersize=11, markeredgewidth=1.6)
    image.set(xlim=(-0.5, W - 0.5), ylim=(H - 0.5, -0.5), xlabel="column of the image", ylabel="row of the image")
    image.tick_params(labelsize=8, colors=INK)
    image.spines[:].set_color(FAINT)

    _profile(above, gradient.sum(axis=0), (field.columns, square.columns), upright=True)
    _profile(beside, gradient.sum(axis=1), (field.rows, square.rows), upright=False)
    above.set_xlim(image.get_xlim())
    beside.set_ylim(image.get_ylim())

    figure.text(LEFT / size[0], 1 - 0.3 / size[1], graph.name, fontsize=13, fontweight="bold", color=INK, va="center")
    told = f"where {name} at row {row}, column {column} looks in an image of {H} {TIMES} {W}"
    figure.text(LEFT / size[0], 1 - 0.55 / size[1], told, fontsize=9, color=INK, va="center")
    _legend(figure, size, field, square, marked=place is not None)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _own_place(graph: Graph, input_shape: Shape, row: int, column: int, name: str) -> tuple[float, float] | None:
    """Where in the image the pixel lies; None where paths that do not line up give it no one place."""
    try:
        vertical, horizontal = coordinates(graph, input_shape)[name]
    except ShapeError:
        return None
    return float(vertical.scale * row + vertical.offset), float(horizontal.scale * column + horizontal.offset)


def _frame(ax: Axes, field: ReceptiveField, colour: str, style: Any) -> None:
    from matplotlib.patches import Rectangle

    (top, bottom), (left, right) = field
    corner = (left - 0.5, top - 0.5)
    frame = Rectangle(corner, right - left + 1, bottom - top + 1, fill=False, edgecolor=colour, linewidth=1.8)
    frame.set_linestyle(style)
    frame.set_clip_on(False)
    ax.add_patch(frame)


def _profile(ax: Axes, profile: np.ndarray, spans: tuple[Interval, Interval], upright: bool) -> None:
    """A curve of the gradient's sums, with lines across where each frame begins and ends."""
    places = np.arange(len(profile))
    if upright:
        ax.fill_between(places, profile, color=GRADIENT, alpha=0.25, linewidth=0)
        ax.plot(places, profile, color=GRADIENT, linewidth=1.3)
        ax.set_ylim(0, 1.08 * profile.max())
    else:
        ax.fill_betweenx(places, profile, color=GRADIENT, alpha=0.25, linewidth=0)
        ax.plot(profile, places, color=GRADIENT, linewidth=1.3)
        ax.set_xlim(0, 1.08 * profile.max())
    across = ax.axvline if upright else ax.axhline
    for (first, last), (colour, style) in zip(spans, FRAMES, strict=True):
        for end in (first - 0.5, last + 0.5):
            across(end, color=colour, linestyle=style, linewidth=1.2)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.spines["bottom" if upright else "left"].set_visible(True)
    ax.spines["bottom" if upright else "left"].set_color(FAINT)


def _legend(
    figure: Figure, size: tuple[float, float], field: ReceptiveField, square: ReceptiveField, marked: bool
) -> None:
    from matplotlib.lines import Line2D

    names = ("theoretical receptive field", f"{SHARE:.0%} of the gradient")
    entries = []
    for name, seen, (colour, style) in zip(names, (field, square), FRAMES, strict=True):
        told = f"{name}: {seen.shape[0]} {TIMES} {seen.shape[1]}"
        entries.append(Line2D([], [], color=colour, linestyle=style, linewidth=1.8, label=told))
    if marked:
        entries.append(Line2D([], [], color=INK, linestyle="", marker="+", markersize=9, label="the pixel's own place"))
    corner = (LEFT / size[0] - 0.012, 0)
    figure.legend(handles=entries, loc="lower left", bbox_to_anchor=corner, frameon=False, fontsize=8.5)
