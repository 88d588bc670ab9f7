"""The pictures of a run: its curves, and a panel of what the network predicts beside the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minisegnet.data.sample import Sample
from minisegnet.metrics import ConfusionMatrix
from minisegnet.training.checkpoint import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, BLUE, ORANGE, GREEN = "#333333", "#1f77b4", "#d95f02", "#1b7f4d"
IGNORED, WRONG = (150, 150, 150), (214, 39, 40)
LEGEND_COLUMNS = 6


def draw_curves(
    log: Mapping[str, np.ndarray],
    validation: Mapping[str, np.ndarray],
    path: str | Path,
    score: tuple[str, str] = ("mean_iou", "mean IoU"),
) -> None:
    """Draw loss, learning rate and validation score over the steps of a run, as a PNG.

    log         columns "step", "loss", "lr"
    validation  columns "step" and the score's; may be empty
    score       the score's column, and what it is called
    """
    from matplotlib.figure import Figure

    column, words = score
    scored = np.isfinite(validation[column])
    rows = ["loss", "score", "lr"] if scored.any() else ["loss", "lr"]
    heights = {"loss": 3, "score": 3, "lr": 1.4}
    height = 0.85 * sum(heights[row] for row in rows)
    figure = Figure(figsize=(8, height))
    # Margins by hand: matplotlib's layout engines take as long as the drawing, which is done after every validation.
    figure.subplots_adjust(left=0.1, right=0.98, top=1 - 0.15 / height, bottom=0.55 / height, hspace=0.12)
    grid = figure.subplots(len(rows), 1, sharex=True, squeeze=False, height_ratios=[heights[row] for row in rows])
    axes = dict(zip(rows, grid[:, 0], strict=True))

    _draw_loss(axes["loss"], log["step"], log["loss"])
    if scored.any():
        _draw_scores(axes["score"], validation["step"][scored], validation[column][scored], words)
    axes["lr"].plot(log["step"], log["lr"], color=INK, linewidth=1.3)
    axes["lr"].set_ylim(0, 1.1 * max(log["lr"], default=0) or 1)
    axes["lr"].set_ylabel("learning rate")
    axes["lr"].set_xlabel("step")
    axes["lr"].xaxis.get_major_locator().set_params(integer=True)
    for ax in axes.values():
        ax.grid(alpha=0.25, linewidth=0.6)
        ax.spines[["top", "right"]].set_visible(False)
    figure.align_ylabels()
    save_picture(figure, path)


def _draw_loss(ax: Axes, steps: np.ndarray, losses: np.ndarray) -> None:
    """Every step's loss faintly, and over it the mean of about a fiftieth of the run."""
    alone = "." if len(steps) < 50 else None
    ax.plot(steps, losses, color=BLUE, alpha=0.25, linewidth=0.8, marker=alone, label="each step")
    window = len(steps) // 50
    if window > 1:
        label = f"mean of the last {window} steps"
        ax.plot(steps, running_mean(losses, window), color=BLUE, linewidth=1.8, label=label)
    if len(losses) and 0 < 5 * losses.min() < losses.max():  # else the first steps dwarf all that follows
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(lambda value, place: f"{value:g}" if f"{value:e}"[0] in "25" else "")
    ax.set_ylabel("training loss")
    ax.legend(frameon=False, fontsize=9, loc="upper right")


def _draw_scores(ax: Axes, steps: np.ndarray, scores: np.ndarray, words: str) -> None:
    """The score of each validation, the best one marked."""
    best = int(scores.argmax())
    label = f"best: {scores[best]:.4f} at step {int(steps[best])}"
    ax.plot(steps, scores, color=GREEN, marker="o", markersize=3, linewidth=1.5)
    ax.plot(steps[best], scores[best], "o", color=ORANGE, label=label)
    ax.set_ylim(0, 1)
    ax.set_ylabel(f"validation {words}")
    ax.legend(frameon=False, fontsize=9, loc="lower right")


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of each value and those before it, `window` of them (fewer at the start)."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - window, 0)
    return (sums[last] - sums[first]) / (last - first)


def draw_panel(
    samples: Sequence[Sample],
    predictions: Sequence[np.ndarray],
    palette: np.ndarray,
    path: str | Path,
    classes: Sequence[str] | None = None,
    ignore_index: int | None = None,
    first_column: str = "image",
) -> None:
    """Draw a row for each sample: image, truth, prediction, and where they differ, as a PNG.

    samples      with labels
    predictions  int (H, W) each, the predicted classes
    palette      (num_classes, 3) uint8
    classes      their names, for the legend; by default their numbers
    first_column what the samples' images are, where they are not photographs
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    rows = len(samples)
    height, width = samples[0].image.shape[1:]
    names = classes or [f"class {i}" for i in range(len(palette))]
    entries = [*zip(palette, names, strict=True), (WRONG, "wrong")]
    if ignore_index is not None:
        entries.append((IGNORED, "ignored"))
    cell = 2.3  # inches
    cell_height = cell * min(max(height / width, 0.4), 1.6) + 0.16
    legend_height = 0.22 * -(-len(entries) // LEGEND_COLUMNS)
    figure = Figure(figsize=(4 * cell + 0.5, rows * cell_height + legend_height + 0.45), layout="constrained")
    grid = figure.subplots(rows, 4, squeeze=False)
    for axes, sample, prediction in zip(grid, samples, predictions, strict=True):
        picture, labels = as_picture(sample.image), np.asarray(sample.labels)
        pictures = [
            picture,
            colours(labels, palette, ignore_index),
            colours(prediction, palette),
            error_map(picture, prediction, labels, ignore_index),
        ]
        for ax, array in zip(axes, pictures, strict=True):
            ax.imshow(array, interpolation=None if array is picture else "nearest")  # no mixed colours in maps
            ax.set_xticks([])
            ax.set_yticks([])
            ax.spines[:].set_visible(False)
        confusion = ConfusionMatrix(len(palette), ignore_index)
        confusion.update(prediction, labels)
        axes[0].set_ylabel(abridged(sample.name), fontsize=8, color=INK)
        axes[3].set_xlabel(f"mean IoU {confusion.mean_iou:.3f}", fontsize=8.5, color=INK, labelpad=2)
    for ax, title in zip(grid[0], (first_column, "truth", "prediction", "error"), strict=True):
        ax.set_title(title, fontsize=10.5, color=INK)
    patches = []
    for (red, green, blue), name in entries:
        colour = (red / 255, green / 255, blue / 255)
        patches.append(Patch(facecolor=colour, edgecolor=INK, linewidth=0.4, label=name))
    columns = min(len(patches), LEGEND_COLUMNS)
    figure.legend(handles=patches, loc="outside lower center", ncols=columns, fontsize=8.5, frameon=False)
    save_picture(figure, path)


def abridged(name: str, most: int = 30) -> str:
    """A name that fits beside a picture: of a longer one the beginning and the end."""
    return name if len(name) <= most else f"{name[: most // 2 - 2]} ... {name[-(most // 2 - 3) :]}"


def as_picture(image: np.ndarray) -> np.ndarray:
    """An image (C, H, W) of 0..1 as uint8 (H, W, 3); of other than three channels the mean, in grey."""
    if image.shape[0] != 3:
        image = np.repeat(image.mean(axis=0, keepdims=True), 3, axis=0)
    return (np.clip(image, 0, 1).transpose(1, 2, 0) * 255).round().astype(np.uint8)


def colours(labels: np.ndarray, palette: np.ndarray, ignore_index: int | None = None) -> np.ndarray:
    """Labels (H, W) in the colours of their classes, uint8 (H, W, 3); ignored pixels are grey."""
    ignored = np.zeros(labels.shape, bool) if ignore_index is None else labels == ignore_index
    picture = palette[np.where(ignored, 0, labels)]
    picture[ignored] = IGNORED
    return picture


def error_map(
    picture: np.ndarray, prediction: np.ndarray, labels: np.ndarray, ignore_index: int | None = None
) -> np.ndarray:
    """A faded picture (H, W, 3) with wrong pixels in red and ignored ones in grey, uint8."""
    faded = picture.mean(axis=2, keepdims=True) * 0.3 + 178
    result = np.repeat(faded, 3, axis=2).astype(np.uint8)
    result[prediction != labels] = WRONG
    if ignore_index is not None:
        result[labels == ignore_index] = IGNORED
    return result


def save_picture(figure: Figure, path: str | Path) -> None:
    """Write a figure as a PNG that is whole at every moment. Raises CheckpointError if the disk does not take it."""
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=130)
