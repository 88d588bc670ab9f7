"""The comparison as a picture: a bar for each network under each of its costs and its score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from minisegnet.teaching.comparison import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, QUIET, FULL, HALVED = "#333333", "#777777", "#d95f02", "#1f77b4"

# title, unit, and how it is read off a result
PANELS: tuple[tuple[str, str, Callable[[Result], float]], ...] = (
    ("multiply-adds", "million an image", lambda result: result.multiply_adds / 1e6),
    ("activations", "MB an image", lambda result: result.activation_bytes / 1e6),
    ("training step", "milliseconds", lambda result: 1000 * result.seconds),
    ("mean IoU", "on other images", lambda result: result.mean_iou),
)


def draw_comparison(results: Sequence[Result], title: str) -> Figure:
    """A row for each network, a panel for each quantity; the first result, of full resolution, in another colour."""
    from matplotlib.figure import Figure

    rows = range(len(results))
    figure = Figure(figsize=(12, 0.36 * len(results) + 1.7), facecolor="white", layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)  # type: ignore[call-arg, union-attr]
    figure.suptitle(title, fontsize=12, color=INK, x=0.01, ha="left")
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (name, unit, read) in zip(panels, PANELS, strict=True):
        values = [read(result) for result in results]
        axes.barh(rows, values, height=0.66, color=[HALVED if row else FULL for row in rows])
        for row, value in zip(rows, values, strict=True):
            told = f"{value:.3f}" if name == "mean IoU" else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
            axes.annotate(told, (value, row), (4, 0), textcoords="offset points", va="center", fontsize=9, color=INK)
        axes.set_xlim(0, 1.22 * max(values))
        axes.set_title(name, fontsize=10.5, color=INK, loc="left", pad=16)
        axes.text(0, 1.02, unit, transform=axes.transAxes, va="bottom", fontsize=8.5, color=QUIET)
        axes.set_xticks([])
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.tick_params(left=False, labelsize=10, labelcolor=INK)
    panels[0].set_yticks(rows, [result.name for result in results])
    panels[0].set_ylim(len(results) - 0.5, -0.5)
    return figure
