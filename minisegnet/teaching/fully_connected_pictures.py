"""The pictures of the lessons on fully connected layers: a classifier that slides, and accuracy against shift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from minisegnet.data.palettes import as_rgb
from minisegnet.data.sample import Sample
from minisegnet.data.shapes import CLASSES
from minisegnet.graph import Graph
from minisegnet.teaching.fully_connected import SIZE, Slide, answers, class_of, prepared, score_maps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FRAME, FAINT = "#333333", "#d95f02", 0.35  # the share of its contrast that an image under a map keeps
COLOURS = ("#d95f02", "#b0803a", "#1f77b4", "#1b7f4d", "#7146ad")  # of the lines, in their order


def draw_slide(sample: Sample, slide: Slide, classes: Sequence[str]) -> Figure:
    """The image with the windows of two neighbouring places, and each class's map laid where its windows' middles are.

    sample  the image that was slid over, (3, H, W), as it was before it was normalised
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    (height, width), columns = sample.image.shape[1:], 3
    rows = -(-(1 + len(classes)) // columns)
    figure = Figure(figsize=(4.2 * columns, (4.2 * height / width + 0.35) * rows), facecolor="white")
    figure.set_layout_engine("constrained", h_pad=0.06, w_pad=0.06)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    _title(panels[0], f"{height} x {width} image; windows of {SIZE} x {SIZE}, {slide.stride} apart")
    panels[0].imshow(as_rgb(sample.image))
    corner = slide.first - SIZE / 2
    for step, style in ((slide.stride, ":"), (0, "-")):
        panels[0].add_patch(
            Rectangle((corner + step, corner), SIZE, SIZE, fill=False, edgecolor=FRAME, linewidth=1.6, linestyle=style)
        )
    under = (1 - FAINT) + FAINT * sample.image.mean(axis=0)
    for axes, name, probability in zip(panels[1:], classes, slide.probabilities, strict=False):
        _title(axes, name)
        axes.imshow(under, cmap="gray", vmin=0, vmax=1)
        axes.imshow(_coloured(probability), extent=_extent(slide, probability.shape), interpolation="nearest")
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    return figure


def _extent(slide: Slide, places: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of a map whose values are drawn as squares around the middles of their windows."""
    start = slide.first - slide.stride / 2
    return start, start + slide.stride * places[1], start + slide.stride * places[0], start


def _coloured(probability: np.ndarray) -> np.ndarray:
    """Probabilities (h, w) as one colour (h, w, 4), the more opaque the higher."""
    from matplotlib.colors import to_rgb

    coloured = np.empty((*probability.shape, 4))
    coloured[..., :3] = to_rgb(FRAME)
    coloured[..., 3] = probability
    return coloured


def draw_shift(
    shifts: Sequence[float],
    accuracies: Mapping[str, Sequence[float]],
    examples: Sequence[Sample],
    graphs: Mapping[str, Graph],
    mapped: Graph,
) -> Figure:
    """Accuracy against shift; under it one shape at every shift, what each network calls it, and the map of its class.

    accuracies  of each network, for every shift
    examples    the same shape at every shift
    graphs      the networks
    mapped      the one of them whose scores before their mean are shown
    """
    from matplotlib.figure import Figure

    images = np.stack([prepared(sample) for sample in examples])
    label = int(class_of(examples)[0])
    maps = score_maps(mapped, images)[:, label]
    called = [[CLASSES[answer] for answer in answers(graph, images)] for graph in graphs.values()]
    figure = Figure(figsize=(1.9 * len(shifts) + 1.4, 8.6), facecolor="white")
    figure.set_layout_engine("constrained", h_pad=0.06)
    grid = figure.add_gridspec(3, len(shifts), height_ratios=(2, 1.2, 1.2))
    _draw_curves(figure.add_subplot(grid[0, :]), shifts, accuracies)
    largest = max(float(np.abs(scores).max()) for scores in maps)
    for column, (shift, sample, scores) in enumerate(zip(shifts, examples, maps, strict=True)):
        picture, under = figure.add_subplot(grid[1, column]), figure.add_subplot(grid[2, column])
        _title(picture, f"{shift:g} pixels")
        picture.imshow(as_rgb(sample.image), interpolation="nearest")
        under.imshow(scores, cmap="PuOr_r", vmin=-largest, vmax=largest, interpolation="nearest")
        for panel in (picture, under):
            panel.set_xticks([])
            panel.set_yticks([])
        for line, (told, colour) in enumerate(zip(called, COLOURS, strict=False)):
            at = (0.5, -0.06 - 0.13 * line)
            picture.text(*at, told[column], transform=picture.transAxes, ha="center", va="top", size=9, color=colour)
        if column == 0:
            picture.set_ylabel("image, and\nwhat it is called", fontsize=9, color=INK)
            under.set_ylabel("scores of its class\nbefore their mean", fontsize=9, color=INK)
    return figure


def _draw_curves(axes: Axes, shifts: Sequence[float], accuracies: Mapping[str, Sequence[float]]) -> None:
    for (name, values), colour in zip(accuracies.items(), COLOURS, strict=False):
        axes.plot(shifts, values, color=colour, marker="o", markersize=4, linewidth=1.8, label=name)
    axes.axhline(1 / len(CLASSES), color=INK, linewidth=0.8, linestyle=":", label="guessing")
    axes.set(ylim=(0, 1.03), xlabel="how far the shape is from the middle, in pixels", ylabel="accuracy", xticks=shifts)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    told = "head, and what it was trained on"
    axes.legend(title=told, frameon=False, fontsize=9, title_fontsize=9, loc="center right", bbox_to_anchor=(1, 0.68))


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=10.5, color=INK)
