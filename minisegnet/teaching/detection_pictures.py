"""The stages of a detector on one image, each as a picture: from anchors to the masks in the image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minisegnet.detection.stages import Instances, Level, Stages
from minisegnet.errors import OptionError
from minisegnet.teaching.mask_picture import draw_masks
from minisegnet.teaching.picture_rows import (
    COLUMN,
    FAINT,
    INK,
    TIMES,
    colour_bar,
    faded,
    heading,
    heat,
    row_of_pictures,
)
from minisegnet.teaching.roi_align_picture import draw_roi_align
from minisegnet.training.instance_pictures import (
    brightened,
    draw_boxes,
    object_colours,
    show_image,
    show_instances,
    tinted,
)
from minisegnet.training.pictures import as_picture, save_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRUE = "#2f6fab"
LEVEL_COLOURS = ("#2f6fab", "#388e3c", "#c2572b", "#7146ad", "#b08d13", "#b0335f")
SIZES_LINE = 0.2  # inches
SIZES_A_LINE = 5
OVERHANG = 0.35  # of the image's longer side: how much of anchors beyond it is shown
MOST_CANDIDATES = 60  # that are drawn: more are a tangle of lines


def draw_stages(stages: Stages, classes: Sequence[str], folder: str | Path | None = None) -> dict[str, Figure]:
    """Draw every stage that there is, by name in their order; with a folder also as PNGs, "1 anchors.png" and so on.

    classes  their names, by label, the background first
    """
    figures = {
        "anchors": draw_anchors(stages.image, stages.levels),
        "objectness": draw_objectness(stages.image, stages.levels, stages.truth),
        "proposals": draw_proposals(stages),
    }
    if stages.sampled is not None and stages.truth is not None:
        figures["sampled regions"] = draw_sampled(stages)
    if len(stages.detections.boxes):
        figures["RoIAlign"] = _largest_region(stages)
    if stages.mask_probabilities is not None:
        figures["masks"] = draw_masks(stages, classes)
    figures["result"] = draw_result(stages, classes)
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for number, (name, figure) in enumerate(figures.items(), start=1):
            save_picture(figure, Path(folder) / f"{number} {name}.png")
    return figures


def draw_anchors(
    image: np.ndarray, levels: Sequence[Level], centres: Sequence[tuple[float, float]] | None = None
) -> Figure:
    """Draw for each level its places as dots, and at a few of them the anchors of all sizes.

    centres  (x, y) in the image's pixels, to which the nearest places are taken; by default one in the upper left and
             one in the lower right
    """
    height, width = image.shape[1:]
    centres = [(width / 3, height / 3), (0.68 * width, 0.68 * height)] if centres is None else centres
    most = max((level.anchors.shape[2] for level in levels), default=0)
    figure, axes = row_of_pictures(image, len(levels), below=0.1 + SIZES_LINE * -(-most // SIZES_A_LINE))
    picture = faded(image)
    beyond = OVERHANG * max(height, width)
    shown = [0.0, 0.0, width, height]  # the image, and as much of the drawn anchors beyond it as is allowed
    for number, (ax, level) in enumerate(zip(axes, levels, strict=True)):
        show_image(ax, picture)
        h, w, count = level.anchors.shape[:3]
        middles = _middles(level.anchors[:, :, 0])
        ax.plot(*middles.reshape(-1, 2).T, ".", color=INK, markersize=_dot(w), alpha=0.45, markeredgewidth=0)
        for at in dict.fromkeys(_nearest(middles, centre) for centre in centres):
            boxes = level.anchors[at]
            draw_boxes(ax, boxes, object_colours(count), linewidth=1.7)
            ax.plot(*middles[at], "o", color=INK, markersize=4.5, markeredgecolor="white", markeredgewidth=0.8)
            shown[:2] = np.maximum(np.minimum(shown[:2], boxes[:, :2].min(axis=0)), -beyond)
            shown[2:] = np.minimum(np.maximum(shown[2:], boxes[:, 2:].max(axis=0)), [width + beyond, height + beyond])
        every = f"level {number}: every {level.stride[0]} pixels"
        heading(ax, every, f"{h} {TIMES} {w} places {TIMES} {count} anchors")
        _write_sizes(ax, level.anchors[0, 0])
    for ax in axes:
        ax.set(xlim=shown[::2], ylim=shown[:0:-2])
    return figure


def draw_objectness(image: np.ndarray, levels: Sequence[Level], truth: Instances | None = None) -> Figure:
    """Draw the image, and for each level how likely the best of each place's anchors is about an object.

    With the truth, each true box is drawn at the level one of whose anchors fits it best.
    """
    figure, axes = row_of_pictures(image, 1 + len(levels), below=0.42)
    show_image(axes[0], as_picture(brightened(image)))
    heading(axes[0], "image", "" if truth is None else f"{len(truth.boxes)} objects, each at its level")
    fits = np.full((0, len(levels)), 0.0) if truth is None else _best_overlaps(truth.boxes, levels)
    height, width = image.shape[1:]
    shown = None
    for number, (ax, level) in enumerate(zip(axes[1:], levels, strict=True)):
        best = level.objectness.max(axis=2)
        (sy, sx), (h, w) = level.stride, best.shape
        left, top = _middles(level.anchors[0, 0, 0]) - (
            sx / 2,
            sy / 2,
        )  # so that a place lies around its anchors' middle
        extent = (left, left + w * sx, top + h * sy, top)
        shown = ax.imshow(best, cmap=heat(), vmin=0, vmax=1, interpolation="nearest", extent=extent)
        ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
        ax.spines[:].set(color=FAINT, linewidth=0.8)
        if truth is not None:
            own = truth.boxes[fits.argmax(axis=1) == number] if len(fits) else truth.boxes
            draw_boxes(ax, own, TRUE, linewidth=1.2)
        surest = f"surest {best.max():.2f}" if best.size else ""
        heading(ax, f"level {number}: {h} {TIMES} {w}", surest)
    if shown is not None:
        colour_bar(figure, shown)
    return figure


def draw_proposals(stages: Stages, most: int = MOST_CANDIDATES) -> Figure:
    """Draw the surest boxes that the region proposal network proposes, and which of them suppression leaves.

    most  how many of the candidates
    """
    before, after = stages.before_nms, stages.proposals
    surest = np.argsort(-before.scores, kind="stable")[:most]
    least = before.scores[surest].min() if len(surest) else np.inf
    left = np.flatnonzero(after.scores >= least)
    figure, axes = row_of_pictures(stages.image, 2, column=1.35 * COLUMN, below=0.3)
    for ax, boxes, rows in ((axes[0], before, surest), (axes[1], after, left)):
        show_image(ax, faded(stages.image))
        colours = [LEVEL_COLOURS[int(level) % len(LEVEL_COLOURS)] for level in boxes.levels[rows]]
        draw_boxes(ax, boxes.boxes[rows], colours, linewidth=1.1, alpha=0.75)
    counted = "all" if len(surest) == len(before.scores) else f"the surest {len(surest)} of"
    heading(axes[0], "before suppression", f"{counted} {len(before.scores):,} candidates")
    heading(axes[1], "after suppression", f"{len(left)} of them are left (of all, {len(after.scores):,})")
    _level_legend(figure, len(stages.levels))
    return figure


def draw_sampled(stages: Stages) -> Figure:
    """Draw the true objects, the sampled regions that match one, in its colour, and those that match none.

    Raises OptionError for stages without the truth.
    """
    truth, sampled = stages.truth, stages.sampled
    if truth is None or sampled is None:
        raise OptionError("sampled regions belong to training: give detector.stages the image's target, too")
    colours = object_colours(len(truth.boxes))
    positive = sampled.matches >= 0
    matched = [colours[match] for match in sampled.matches[positive]]
    figure, axes = row_of_pictures(stages.image, 3)
    picture = faded(stages.image)
    for ax in axes:
        show_image(ax, picture)
    if truth.masks is not None:
        show_image(axes[0], tinted(picture, truth.masks, colours, np.arange(len(colours))))
    draw_boxes(axes[0], truth.boxes, colours, linewidth=1.5)
    draw_boxes(axes[1], sampled.boxes[positive], matched, linewidth=1.0, alpha=0.85)
    draw_boxes(axes[2], sampled.boxes[~positive], INK, linewidth=0.7, alpha=0.45)
    found = len(np.unique(sampled.matches[positive]))
    heading(axes[0], "the truth", f"{len(truth.boxes)} objects")
    heading(axes[1], f"{positive.sum()} positive regions", f"in the colour of their object; {found} objects have some")
    heading(axes[2], f"{(~positive).sum()} negative regions", "background, to the class head")
    return figure


def draw_result(stages: Stages, classes: Sequence[str]) -> Figure:
    """Draw the image beside all its detections in it."""
    figure, axes = row_of_pictures(stages.image, 2, column=1.35 * COLUMN)
    show_image(axes[0], as_picture(brightened(stages.image)))
    heading(axes[0], "image", f"{stages.image.shape[1]} {TIMES} {stages.image.shape[2]} pixels")
    show_instances(axes[1], stages.image, stages.detections, classes)
    heading(axes[1], "detections", f"{len(stages.detections.boxes)} objects")
    return figure


def _largest_region(stages: Stages) -> Figure:
    """RoIAlign on the detection that covers most places of its map, where bins are largest."""
    sides = stages.detections.boxes[:, 2:] - stages.detections.boxes[:, :2]
    strides = np.array([stages.levels[level].stride[::-1] for level in stages.region.levels])
    chosen = int((sides / strides).min(axis=1).argmax())
    level, region = stages.levels[stages.region.levels[chosen]], stages.region
    return draw_roi_align(
        stages.image, stages.detections.boxes[chosen], level.features, 1 / level.stride[0], region.output_size,
        region.sampling_ratio, region.aligned,
    )  # fmt: skip


def _middles(boxes: np.ndarray) -> np.ndarray:
    """(..., 2) the x and y of boxes' (..., 4) middles."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _nearest(middles: np.ndarray, centre: tuple[float, float]) -> tuple[int, int]:
    """Row and column of the place that is nearest to a point."""
    distance = np.square(middles - np.array(centre)).sum(axis=2)
    row, column = np.unravel_index(distance.argmin(), distance.shape)
    return int(row), int(column)


def _dot(across: int) -> float:
    """The size of a place's dot, in points, so that dots do not touch."""
    return float(np.clip(0.45 * COLUMN * 72 / across, 0.9, 3.5))


def _write_sizes(ax: Axes, anchors: np.ndarray) -> None:
    """Width and height of each of a place's anchors (A, 4) below the axes, in its colour."""
    sides = (anchors[:, 2:] - anchors[:, :2]).round().astype(int)
    lines = -(-len(anchors) // SIZES_A_LINE)
    across = -(-len(anchors) // max(lines, 1))
    for i, ((wide, high), colour) in enumerate(zip(sides, object_colours(len(anchors)), strict=True)):
        line, place = divmod(i, across)
        ax.annotate(
            f"{wide} {TIMES} {high}", ((place + 0.5) / across, 0), (0, -12 - 72 * SIZES_LINE * line), "axes fraction",
            textcoords="offset points", fontsize=8, ha="center", va="center", color=INK,
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.5, "alpha": 0.7},
        )  # fmt: skip


def _best_overlaps(boxes: np.ndarray, levels: Sequence[Level]) -> np.ndarray:
    """(G, levels) the intersection over union of each box with the best anchor of each level."""
    from minisegnet.detection.boxes import intersection_over_union

    best = [intersection_over_union(boxes, level.anchors.reshape(-1, 4)).max(axis=1, initial=0) for level in levels]
    return np.stack(best, axis=1)


def _level_legend(figure: Figure, count: int) -> None:
    from matplotlib.lines import Line2D

    lines: list[Any] = [
        Line2D([], [], color=LEVEL_COLOURS[level % len(LEVEL_COLOURS)], linewidth=2, label=f"level {level}")
        for level in range(count)
    ]
    figure.legend(handles=lines, loc="lower center", ncols=count, fontsize=8.5, frameon=False, borderaxespad=0.1)
