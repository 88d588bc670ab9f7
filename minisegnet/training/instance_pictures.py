"""Objects drawn over their image: each in a colour of its own, with its outline, its box and what it was taken for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minisegnet.data.images import with_channels
from minisegnet.detection.stages import Instances
from minisegnet.errors import OptionError, ShapeError
from minisegnet.metrics.assignment import assign
from minisegnet.metrics.objects import DetectedObjects, TrueObjects
from minisegnet.metrics.overlap import overlaps
from minisegnet.training.pictures import INK, abridged, as_picture, save_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Bright, and none like its neighbours in the row: on a grey image any two objects side by side are told apart.
OBJECT_COLOURS = (
    "#56b4e9", "#e69f00", "#2bc48a", "#f06ba8", "#f0e442", "#8f7cf0",
    "#c9a06a", "#37d5d8", "#b5dd3c", "#d87ce8", "#f7b48b", "#5f93ff",
)  # fmt: skip
FILL = 0.42  # the share of its colour that an object's pixels take
MISTAKEN = "#ff2a2a"  # of what was found where there is no such object
TAG, LETTER = 6.5, 0.05  # points of what is written at an object, inches that a letter of it takes
NARROWEST = 0.35  # inches: boxes at which something is written
LONGEST, COLUMN = 6.0, 2.9  # inches: of a picture alone, of one in a row of three
DARK = 0.6  # an image with nothing brighter is shown brighter


def draw_instances(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray | None,
    masks: np.ndarray | None,
    classes: Sequence[str],
    path: str | Path,
) -> None:
    """Draw the objects of one image over it, as a PNG; see `show_instances`.

    image   (C, H, W)  float, 0 to 1
    boxes   (R, 4)     x1, y1, x2, y2 in pixels
    labels  (R,)       int, 1 to len(classes) - 1
    scores  (R,)       or None
    masks   (R, H, W)  bool, or None

    Raises ShapeError for masks of another size than the image, OptionError for a label without a name.
    """
    from matplotlib.figure import Figure

    height, width = image.shape[1:]
    scale = LONGEST / max(height, width)
    figure = Figure(figsize=(max(width * scale, 0.5), max(height * scale, 0.5)), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    show_instances(axes, image, Instances(boxes, labels, masks, scores), classes)
    save_picture(figure, path)


def draw_instance_panel(
    images: Sequence[np.ndarray],
    truths: Sequence[Instances],
    found: Sequence[Instances],
    classes: Sequence[str],
    path: str | Path,
    names: Sequence[str] | None = None,
    notes: Sequence[str] | None = None,
) -> None:
    """Draw a row for each image: the image, its true objects, and those that were found, as a PNG.

    What was found has the colour of the true object that it overlaps by at least half (IoU), the surest first; it is
    red where there is none of its class.

    images  (C, H, W) each, of any sizes
    found   with scores
    names   what stands beside a row;  notes: below its third picture, such as a score

    Raises as `draw_instances` does.
    """
    from matplotlib.figure import Figure

    heights = [COLUMN * min(max(image.shape[1] / image.shape[2], 0.4), 1.6) for image in images]
    size = (3 * COLUMN + 0.5, sum(heights) + 0.22 * len(images) + 0.35)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    grid = figure.subplots(len(images), 3, squeeze=False, height_ratios=heights)
    for row, (image, true, detected) in enumerate(zip(images, truths, found, strict=True)):
        show_image(grid[row, 0], as_picture(brightened(image)))
        show_instances(grid[row, 1], image, true, classes)
        show_instances(grid[row, 2], image, detected, classes, colours_of_partners(true, detected))
        grid[row, 0].set_ylabel("" if names is None else abridged(names[row]), fontsize=8, color=INK)
        told = f"{len(detected.labels)} found" if notes is None else notes[row]
        for ax, note in ((grid[row, 1], f"{len(true.labels)} objects"), (grid[row, 2], told)):
            ax.set_xlabel(note, fontsize=8.5, color=INK, labelpad=2)
    for ax, title in zip(grid[0], ("image", "truth", "prediction, wrong ones in red"), strict=True):
        ax.set_title(title, fontsize=10.5, color=INK)
    save_picture(figure, path)


def show_instances(
    ax: Axes, image: np.ndarray, instances: Instances, classes: Sequence[str], colours: Sequence[str] | None = None
) -> None:
    """Fill axes with the image in grey and its objects in colours; the surest lie on top, then the first.

    An object shows its mask, where there is one, and its box, and where there is room its class, of several, and score.
    """
    _check(image, instances, classes)
    boxes, masks, scores = instances.boxes, instances.masks, instances.scores
    order = np.arange(len(boxes)) if scores is None else np.argsort(-np.asarray(scores), kind="stable")
    picture = as_picture(with_channels(brightened(image), 1)) if len(image) in (1, 3) else as_picture(image)
    colours = object_colours(len(boxes)) if colours is None else colours
    show_image(ax, picture if masks is None else tinted(picture, masks, colours, order[::-1]))
    if masks is not None:
        draw_outlines(ax, masks, colours)
    draw_boxes(ax, boxes, colours, linewidth=0.9, alpha=0.9 if masks is None else 0.6)
    for i in order[::-1]:
        name = "" if len(classes) == 2 else classes[instances.labels[i]]
        told = f"{name} " * (name != "") + ("" if scores is None else f"{scores[i]:.2f}")
        _tag(ax, boxes[i], told.strip(), colours[i])


def object_colours(count: int) -> list[str]:
    """A colour for each object, in turn."""
    return [OBJECT_COLOURS[i % len(OBJECT_COLOURS)] for i in range(count)]


def colours_of_partners(true: Instances, found: Instances) -> list[str]:
    """For each detection the colour of the true object that it has found, red where there is none."""
    kind = "boxes" if true.masks is None or found.masks is None else "masks"
    scores = np.asarray(found.scores, float)
    order = np.argsort(-scores, kind="stable")
    detected = DetectedObjects(found.labels, scores, found.boxes, found.masks)
    overlap = overlaps(detected, TrueObjects(true.labels, true.boxes, true.masks), kind)
    overlap[found.labels[:, None] != true.labels] = 0
    nothing = np.zeros(len(true.labels), bool)
    partners = assign(overlap[order], np.array([0.5]), nothing[None], nothing)[0, 0]
    known = [*object_colours(len(true.labels)), MISTAKEN]  # the last stands for NONE, which is -1
    return [known[partner] for partner in partners[np.argsort(order)]]


def brightened(image: np.ndarray) -> np.ndarray:
    """The image (C, H, W); if nearly all of it is dark, as under a microscope, with its brightest parts at 1."""
    brightest = float(np.quantile(image, 0.998)) if image.size else 0.0
    return np.clip(image / brightest, 0, 1) if 0 < brightest < DARK else image


def show_image(ax: Axes, picture: np.ndarray, **options: Any) -> None:
    """A picture (H, W, 3), or (H, W) with a colour map, on bare axes; pixel i covers [i, i + 1], as boxes count."""
    height, width = picture.shape[:2]
    ax.imshow(picture, **{"extent": (0, width, height, 0), "interpolation": "nearest", **options})
    ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def tinted(picture: np.ndarray, masks: np.ndarray, colours: Sequence[str], order: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 with the masks (R, H, W) in their colours, laid on in this order."""
    from matplotlib.colors import to_rgb

    result = picture.astype(float)
    for i in order:
        result[masks[i]] = (1 - FILL) * picture[masks[i]] + FILL * 255 * np.array(to_rgb(colours[i]))
    return (result + 0.5).astype(np.uint8)


def draw_outlines(ax: Axes, masks: np.ndarray, colours: Sequence[Any], linewidth: float = 1.3) -> None:
    """The edges of masks (R, H, W), along the sides of their pixels."""
    from matplotlib.collections import PathCollection
    from matplotlib.path import Path as Line

    paths = []
    for mask in masks:
        ends = mask_edges(mask).reshape(-1, 2)
        paths.append(Line(ends, np.tile([Line.MOVETO, Line.LINETO], len(ends) // 2)))
    outlines = PathCollection(
        paths, facecolors="none", edgecolors=list(colours), linewidths=linewidth, capstyle="round"
    )
    ax.add_collection(outlines, autolim=False)


def mask_edges(mask: np.ndarray) -> np.ndarray:
    """The sides of pixels that part a mask (H, W) from what is outside: (edges, 2 ends, x and y)."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return np.zeros((0, 2, 2))
    padded = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
    row, x = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
    upright = np.stack([np.stack([x, row], axis=1), np.stack([x, row + 1], axis=1)], axis=1)
    y, column = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
    level = np.stack([np.stack([column, y], axis=1), np.stack([column + 1, y], axis=1)], axis=1)
    return np.concatenate([upright, level]) + np.array([columns[0], rows[0]], float)


def draw_boxes(ax: Axes, boxes: np.ndarray, colours: Any, **options: Any) -> None:
    """Boxes (R, 4) as frames; colours one for each, or one for all. Options are those of a line collection."""
    from matplotlib.collections import LineCollection

    x1, y1, x2, y2 = np.asarray(boxes, float).reshape(-1, 4).T
    corners = np.stack([x1, y1, x2, y1, x2, y2, x1, y2, x1, y1], axis=1).reshape(-1, 5, 2)
    frames = LineCollection(list(corners), colors=colours, joinstyle="miter", **options)
    ax.add_collection(frames, autolim=False)


def _tag(ax: Axes, box: np.ndarray, text: str, colour: str) -> None:
    """Small text on the object's colour, at the upper left corner of its box; none where the box is narrower."""
    inches = ax.bbox.width / ax.figure.dpi / ax.get_xlim()[1]  # of a pixel
    if not text or inches * (box[2] - box[0]) < max(NARROWEST, LETTER * len(text)):
        return
    under = {"facecolor": colour, "edgecolor": "none", "pad": 1.0, "alpha": 0.85}
    x, y = max(box[0], 0), max(box[1], 0)
    place = "top" if inches * y < 0.15 else "bottom"  # inside the box where there is no room above
    ax.text(x, y, text, fontsize=TAG, color="#111111", bbox=under, clip_on=True, ha="left", va=place)


def _check(image: np.ndarray, instances: Instances, classes: Sequence[str]) -> None:
    wanted = (len(instances.boxes), *image.shape[1:])
    if instances.masks is not None and instances.masks.shape != wanted:
        raise ShapeError(f"masks to draw have the shape {wanted} of objects and image; got {instances.masks.shape}")
    stray = [int(label) for label in instances.labels if not 0 < label < len(classes)]
    if stray:
        raise OptionError(f"label {stray[0]} of an object has no name in {', '.join(classes)}")
