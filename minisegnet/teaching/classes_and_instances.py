"""One image twice: a class for each pixel, as a U-Net labels it, beside an object each, as Mask R-CNN finds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minisegnet.data.images import with_channels
from minisegnet.data.palettes import overlay
from minisegnet.detection.stages import Instances
from minisegnet.metrics.rand import connected_segments
from minisegnet.teaching.picture_rows import COLUMN, INK, TIMES, heading, row_of_pictures
from minisegnet.training.instance_pictures import brightened, show_image, show_instances
from minisegnet.training.pictures import as_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOUR_SHARE = 0.6  # of a class's colour, over the image in grey


def draw_classes_and_instances(
    image: np.ndarray,
    labels: np.ndarray,
    instances: Instances,
    palette: np.ndarray,
    classes: Sequence[str],
    names: tuple[str, str] = ("U-Net", "Mask R-CNN"),
) -> Figure:
    """Draw the image, its pixels in the colours of their classes, and its objects each in a colour of its own.

    image      (C, H, W)  float, 0 to 1
    labels     (H, W)     int, a semantic network's
    instances  a detector's, with masks
    palette    (number of classes, 3) uint8
    names      of the two networks

    Below the classes stands how many regions of one class they fall into: objects that touch are one. Raises
    ShapeError for labels or masks of another size than the image, LabelError for a class without a colour.
    """
    from matplotlib.patches import Patch

    picture = overlay(with_channels(brightened(image), 1), labels, palette, COLOUR_SHARE, ignore_index=0)
    figure, axes = row_of_pictures(image, 3, column=1.15 * COLUMN, below=0.4)
    show_image(axes[0], as_picture(brightened(image)))
    show_image(axes[1], picture)
    show_instances(axes[2], image, instances, classes)
    regions = count_regions(labels)
    heading(axes[0], "image", f"{labels.shape[0]} {TIMES} {labels.shape[1]} pixels")
    heading(axes[1], f"{names[0]}: a class for each pixel", _counted(regions, "region"))
    heading(axes[2], f"{names[1]}: an object each", _counted(len(instances.boxes), "object"))
    present = [label for label in np.unique(labels).tolist() if label]
    patches = [Patch(facecolor=palette[label] / 255, label=classes[label]) for label in present]
    if patches:
        legend = figure.legend(handles=patches, loc="lower center", ncols=len(patches), fontsize=8.5, frameon=False)
        for text in legend.get_texts():
            text.set_color(INK)
    return figure


def count_regions(labels: np.ndarray) -> int:
    """How many connected regions of one class the labels (H, W) fall into, the background left out."""
    return sum(int(connected_segments(labels == label).max()) for label in np.unique(labels) if label)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count != 1)
