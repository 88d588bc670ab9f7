"""What pictures of one image's stages share: a row of equal pictures with headings, and their colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minisegnet.training.instance_pictures import brightened
from minisegnet.training.pictures import as_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, FAINT = "#263238", "#78909c", "#cfd8dc"
COLUMN, TALLEST, GAP, HEADING = 2.9, 3.8, 0.22, 0.56  # inches
TIMES = "\N{MULTIPLICATION SIGN}"


def row_of_pictures(
    image: np.ndarray, count: int, column: float = COLUMN, below: float = 0.3
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` axes of the image's shape, with room for a heading above each.

    column  their width, below  the room beneath them, in inches
    """
    from matplotlib.figure import Figure

    tall = column * min(max(image.shape[1] / image.shape[2], 0.4), TALLEST / COLUMN)
    width, height = count * (column + GAP) + GAP, HEADING + tall + below
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = [
        figure.add_axes(((GAP + i * (column + GAP)) / width, below / height, column / width, tall / height))
        for i in range(count)
    ]
    return figure, axes


def heading(ax: Axes, title: str, told: str) -> None:
    """What the picture shows, and in smaller letters a number of it."""
    for text, rise, size, colour in ((title, 20, 11, INK), (told, 6, 8.5, QUIET)):
        ax.annotate(
            text, (0, 1), (0, rise), "axes fraction", textcoords="offset points", va="baseline", fontsize=size,
            color=colour,
        )  # fmt: skip


def faded(image: np.ndarray) -> np.ndarray:
    """The image in light grey, uint8 (H, W, 3), so that lines of any colour are seen on it."""
    grey = as_picture(brightened(image)).mean(axis=2, keepdims=True)
    low, high = np.quantile(grey, [0.01, 0.99]) if grey.size else (0, 255)
    share = np.clip((grey - low) / max(high - low, 1), 0, 1)
    return np.repeat(168 + 80 * share, 3, axis=2).astype(np.uint8)


def heat() -> Any:
    """White for 0 to dark red for 1."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("probability", ["#ffffff", "#fbdfc9", "#ee9257", "#b3330f", "#5f1507"])


def colour_bar(figure: Figure, shown: Any, label: str = "probability of an object") -> None:
    """A thin bar of 0 to 1 below the pictures."""
    width, height = figure.get_size_inches()
    bar = figure.add_axes((0.5 - 0.9 / width, 0.24 / height, 1.8 / width, 0.09 / height))
    figure.colorbar(shown, cax=bar, orientation="horizontal", ticks=[0, 1])
    bar.tick_params(labelsize=7.5, length=0, pad=2, labelcolor=INK)
    bar.set_xlabel(label, fontsize=8, color=INK, labelpad=-8)
    bar.spines[:].set(color=FAINT, linewidth=0.6)
