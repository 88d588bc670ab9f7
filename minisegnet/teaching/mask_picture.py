"""The masks of a detector as a picture: for each object its box, the m x m probabilities, and the mask in the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minisegnet.detection.stages import Stages
from minisegnet.errors import OptionError
from minisegnet.teaching.picture_rows import INK, TIMES, colour_bar, heat
from minisegnet.training.instance_pictures import brightened, draw_boxes, draw_outlines, object_colours, show_image
from minisegnet.training.pictures import as_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_MASKS = 8
SQUARE, GAP, LEFT, TOP, BELOW = 1.35, 0.1, 0.95, 0.4, 0.5  # inches


def draw_masks(stages: Stages, classes: Sequence[str], most: int = MOST_MASKS) -> Figure:
    """Draw for the surest detections the box in the image, the m x m mask, and the mask in the image.

    Raises OptionError for stages without masks.
    """
    found, probabilities = stages.detections, stages.mask_probabilities
    if probabilities is None or found.masks is None:
        raise OptionError("these stages have no masks: Faster R-CNN finds boxes alone; take mask_rcnn")
    from matplotlib.figure import Figure

    scores = np.zeros(len(found.boxes)) if found.scores is None else np.asarray(found.scores)
    order = np.argsort(-scores, kind="stable")[:most]
    m = probabilities.shape[-1]
    pitch = SQUARE + GAP
    size = (LEFT + max(len(order), 1) * pitch + GAP, TOP + 3 * pitch + BELOW)
    figure = Figure(figsize=size, facecolor="white")
    colours = object_colours(len(found.boxes))
    picture = as_picture(brightened(stages.image))

    def place(row: int, column: int) -> Axes:
        left, bottom = LEFT + column * pitch, size[1] - TOP - row * pitch - SQUARE
        return figure.add_axes((left / size[0], bottom / size[1], SQUARE / size[0], SQUARE / size[1]))

    shown = None
    for column, i in enumerate(order):
        crop, mask, pasted = (place(row, column) for row in range(3))
        for ax in (crop, pasted):
            show_image(ax, picture)
            draw_boxes(ax, found.boxes[[i]], colours[i], linewidth=1.6)
            _look_at(ax, found.boxes[i])
        draw_outlines(pasted, found.masks[[i]], [colours[i]], linewidth=2.0)
        shown = mask.imshow(probabilities[i], cmap=heat(), vmin=0, vmax=1, interpolation="nearest")
        mask.set(xticks=[], yticks=[])
        mask.spines[:].set(color=colours[i], linewidth=1.8)
        told = "" if found.scores is None else f" {scores[i]:.2f}"
        crop.set_title(f"{classes[found.labels[i]]}{told}", fontsize=8.5, color=INK, pad=4)
    for row, name in enumerate(("box", f"mask,\n{m} {TIMES} {m}", "mask in\nthe image")):
        middle = 1 - (TOP + row * pitch + SQUARE / 2) / size[1]
        figure.text((LEFT - GAP) / size[0], middle, name, fontsize=9.5, color=INK, ha="right", va="center")
    if shown is not None:
        colour_bar(figure, shown, "probability of the object")
    return figure


def _look_at(ax: Axes, box: np.ndarray) -> None:
    """Show the square around a box, with a margin of an eighth of its longer side."""
    (x, y), side = (box[:2] + box[2:]) / 2, max(box[2] - box[0], box[3] - box[1], 1.0)
    half = 0.625 * side
    ax.set(xlim=(x - half, x + half), ylim=(y + half, y - half))
    ax.set_facecolor("#eceff1")
