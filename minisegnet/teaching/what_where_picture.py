"""One image as several networks label it, side by side, with the place where they differ enlarged.

What a network saw decides the classes, where it saw it decides the boundaries: FCN's figure 4, for any networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from minisegnet.data.images import with_channels
from minisegnet.data.palettes import VOID_COLOUR, as_rgb, colourise, overlay
from minisegnet.errors import OptionError, ShapeError
from minisegnet.metrics import ConfusionMatrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, FRAME = "#333333", "#777777", "#e6007e"
SMALLEST_WINDOW = 16  # pixels
COLUMN, TALLEST, GAP = 2.3, 3.2, 0.12  # inches
TITLE, SCORE = 0.34, 0.18  # inches
LEGEND_ENTRY, LEGEND_LINE = 1.4, 0.2  # inches
COLOUR_SHARE = 0.65  # of the class's colour, laid over the enlarged image in grey, so that the colour stays its own


class Window(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, array: np.ndarray) -> np.ndarray:
        """That part of an array (..., H, W)."""
        return array[..., self.top : self.top + self.height, self.left : self.left + self.width]


def window_around(row: int, column: int, side: int, size: Sequence[int]) -> Window:
    """A square about a pixel, moved to lie inside an image of `size` (H, W), and cut where the image is smaller.

    Raises OptionError for a pixel outside the image or a side below 1.
    """
    height, width = size
    if not (0 <= row < height and 0 <= column < width) or side < 1:
        raise OptionError(
            f"the window's middle must be a pixel of the image, of {height} x {width}, and its side at least 1; got "
            f"row {row}, column {column}, side {side}"
        )
    tall, wide = min(side, height), min(side, width)
    top, left = row - tall // 2, column - wide // 2
    return Window(min(max(top, 0), height - tall), min(max(left, 0), width - wide), tall, wide)


def where_they_differ(
    predictions: Sequence[np.ndarray],
    truth: np.ndarray | None = None,
    ignore_index: int | None = None,
    side: int | None = None,
) -> Window:
    """The window about the place that has most of both: boundary, and pixels on which two labellings differ.

    predictions  int (H, W) each
    truth        int (H, W): its boundary is meant then, and it is one of the labellings; else that of any prediction
    ignore_index the truth's label of pixels on which a difference does not count
    side         of the window; by default a quarter of the image's shorter side, at least 16

    Without any boundary it is the middle of the image.
    """
    size = predictions[0].shape
    side = max(min(size) // 4, SMALLEST_WINDOW) if side is None else side
    labellings = [*predictions, *([] if truth is None else [truth])]
    differing = np.zeros(size)
    for one, other in combinations(labellings, 2):
        differing += one != other
    if truth is not None and ignore_index is not None:
        differing[truth == ignore_index] = 0
    boundary = np.any([boundary_pixels(labels) for labels in (predictions if truth is None else [truth])], axis=0)

    def around(plane: np.ndarray) -> np.ndarray:
        """The mean of a plane about each pixel, the nearer the more."""
        return gaussian_filter(plane, side / 4, mode="constant")

    # A trace of weight for places where nothing differs: without any that does, the boundary alone decides.
    score = (around(differing) + 1e-9) * around(boundary.astype(float))
    row, column = divmod(int(score.argmax()), size[1]) if score.any() else (size[0] // 2, size[1] // 2)
    return window_around(row, column, side, size)


def boundary_pixels(labels: np.ndarray) -> np.ndarray:
    """bool (H, W): pixels whose right or lower neighbour is of another class."""
    boundary = np.zeros(labels.shape, bool)
    boundary[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    boundary[:-1] |= labels[1:] != labels[:-1]
    return boundary


def draw_what_where(
    image: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    palette: np.ndarray,
    classes: Sequence[str],
    truth: np.ndarray | None = None,
    ignore_index: int | None = None,
    window: Window | None = None,
) -> Figure:
    """A column for the image, the truth and each prediction: whole above, the window enlarged below.

    image         (1 or 3, H, W)  float, 0 to 1
    predictions   int (H, W) each, by the network's name
    palette       (number of classes, 3) uint8
    truth         int (H, W), of classes and ignore_index; its boundary is drawn into every enlarged part, and each
                  prediction is told its mean IoU on this image. None if not known: each part shows its own boundary
    window        what to enlarge; by default `where_they_differ`

    Raises ShapeError for labels of another size than the image, LabelError for a class without a colour.
    """
    from matplotlib.figure import Figure

    size = image.shape[1:]
    labellings = {**({} if truth is None else {"truth": truth}), **predictions}
    for name, given in labellings.items():
        if given.shape != size:
            raise ShapeError(
                f"{name}: the labels are {given.shape[0]} x {given.shape[1]}, the image is {size[0]} x {size[1]}; "
                "give those of this image, unscaled"
            )
    window = window or where_they_differ(list(predictions.values()), truth, ignore_index)
    columns = 1 + len(labellings)
    whole = COLUMN * min(size[0] / size[1], TALLEST / COLUMN)  # the height of the upper pictures, in inches
    part = COLUMN * window.height / window.width if window.height < window.width else COLUMN
    handles = _legend(labellings, palette, classes, ignore_index, truth is not None)
    width = columns * (COLUMN + GAP) + GAP
    lines = -(-len(handles) // int(width / LEGEND_ENTRY))
    legend = LEGEND_LINE * lines + 0.12
    title = TITLE + (0 if truth is None else SCORE)
    height = title + whole + GAP + part + GAP + legend
    figure = Figure(figsize=(width, height), facecolor="white")

    def place(column: int, top: float, tall: float) -> Axes:
        left = GAP + column * (COLUMN + GAP)
        return figure.add_axes((left / width, 1 - (top + tall) / height, COLUMN / width, tall / height))

    grey = with_channels(image, 1)
    shown: dict[str, np.ndarray | None] = {"image": None, **labellings}
    for column, (name, labels) in enumerate(shown.items()):
        upper, lower = place(column, title, whole), place(column, title + whole + GAP, part)
        if labels is None:
            _show(upper, as_rgb(image))
            _show(lower, as_rgb(window.of(image)))
        else:
            _show(upper, colourise(labels, palette, ignore_index))
            _show(lower, overlay(window.of(grey), window.of(labels), palette, COLOUR_SHARE, ignore_index))
            _draw_boundary(lower, window.of(labels if truth is None else truth))
        score = _score(labels, truth, len(classes), ignore_index) if name in predictions else ""
        upper.set_title(name, fontsize=11, color=INK, pad=6 if truth is None else 18)
        upper.text(0.5, 1.02, score, transform=upper.transAxes, ha="center", va="bottom", fontsize=8.5, color=QUIET)
        _mark(upper, lower, window)
    across = -(-len(handles) // lines)
    figure.legend(handles=handles, loc="lower center", ncols=across, fontsize=9, frameon=False, borderaxespad=0.3)
    return figure


def _show(axes: Axes, picture: np.ndarray) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _score(labels: Any, truth: np.ndarray | None, num_classes: int, ignore_index: int | None) -> str:
    """The mean IoU over the classes in this one image, in words."""
    if truth is None:
        return ""
    confusion = ConfusionMatrix(num_classes, ignore_index)
    confusion.update(labels, truth)
    return f"mean IoU {confusion.mean_iou:.3f}"


def _draw_boundary(axes: Axes, labels: np.ndarray) -> None:
    """The edges between pixels of different classes, white in a dark casing, over whatever colours lie below."""
    from matplotlib.collections import LineCollection

    upright = np.argwhere(labels[:, 1:] != labels[:, :-1])
    level = np.argwhere(labels[1:] != labels[:-1])
    edges = [((x + 0.5, y - 0.5), (x + 0.5, y + 0.5)) for y, x in upright]
    edges += [((x - 0.5, y + 0.5), (x + 0.5, y + 0.5)) for y, x in level]
    for colour, thickness in ((INK, 2.6), ("white", 1.2)):
        lines = LineCollection(edges, colors=colour, linewidths=thickness, capstyle="round")
        axes.add_collection(lines, autolim=False)


def _mark(upper: Axes, lower: Axes, window: Window) -> None:
    """Frame the window in the whole picture and in the enlarged one, and join the two."""
    from matplotlib.patches import ConnectionPatch, Rectangle

    left, top = window.left - 0.5, window.top - 0.5
    upper.add_patch(Rectangle((left, top), window.width, window.height, fill=False, edgecolor=FRAME, linewidth=1.4))
    lower.spines[:].set(visible=True, color=FRAME, linewidth=1.4)
    for corner, x in ((left, -0.5), (left + window.width, window.width - 0.5)):
        joint = ConnectionPatch(
            (corner, top + window.height), (x, -0.5), "data", "data", axesA=upper, axesB=lower, color=FRAME,
            linewidth=0.6, alpha=0.6,
        )  # fmt: skip
        upper.figure.add_artist(joint)


def _legend(
    labellings: Mapping[str, np.ndarray],
    palette: np.ndarray,
    classes: Sequence[str],
    ignore_index: int | None,
    known: bool,
) -> list[Any]:
    """The classes that occur, what is ignored, and whose boundary the line is."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.patheffects import Normal, Stroke

    present: Iterable[int] = np.unique(np.concatenate([np.unique(labels) for labels in labellings.values()])).tolist()
    entries = [
        (VOID_COLOUR, "ignored") if label == ignore_index else (palette[label], classes[label]) for label in present
    ]
    handles: list[Any] = [
        Patch(facecolor=(red / 255, green / 255, blue / 255), edgecolor=INK, linewidth=0.4, label=name)
        for (red, green, blue), name in entries
    ]
    casing = [Stroke(linewidth=3.2, foreground=INK), Normal()]
    told = "the truth's boundary" if known else "boundary"
    handles.append(Line2D([], [], color="white", linewidth=1.6, path_effects=casing, label=told))
    return handles
