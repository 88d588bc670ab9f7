"""The lives of a plan's buffers as a picture: time to the right, memory upwards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from minisegnet.engine.plan import Plan

INK = "#263238"
COLOURS = {"data": "#2f6fab", "gradient": "#c2572b", "data, then gradient": "#7b5a94"}
TOLD = 0.03  # of the picture's height and width: smaller rectangles have no name


def draw_memory(plan: Plan, path: Any = None) -> Figure:
    """Draw each buffer as a rectangle, from the step that first writes it to the last that reads it.

    path   where to save the picture; None saves nothing
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch, Rectangle

    steps, end = len(plan.steps), 2 * len(plan.steps) if plan.goes_back else len(plan.steps)
    height = plan.own_nbytes / 1e6
    figure = Figure(figsize=(12, 6), facecolor="white", layout="constrained")
    axes = figure.subplots()
    for buffer, _, what in plan.buffers:
        width, tall = min(buffer.death, end) + 1 - buffer.birth, buffer.nbytes / 1e6
        corner = (buffer.birth, buffer.offset / 1e6)
        axes.add_patch(Rectangle(corner, width, tall, facecolor=COLOURS[what], alpha=0.75, edgecolor="white", lw=0.8))
        if tall > TOLD * height and width > TOLD * end:
            axes.annotate(
                _fitted(buffer.name.removesuffix(f" {what}"), width / end),
                (corner[0] + width / 2, corner[1] + tall / 2),
                ha="center", va="center", fontsize=7, color="white", annotation_clip=True,
            )  # fmt: skip
    axes.set_xlim(0, end)
    axes.set_ylim(0, max(height, 1e-6))
    axes.set_xlabel("step: forward" + (", then back" if plan.goes_back else ""), color=INK)
    axes.set_ylabel("MB" + (" in each worker" if plan.worker.apart else ""), color=INK)
    if plan.goes_back:
        axes.axvline(steps, color=INK, lw=1, ls=(0, (4, 3)))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    separate = sum(buffer.nbytes for buffer, _, _ in plan.buffers) / 1e6
    axes.set_title(
        f"{plan.graph.name}: {height:,.0f} MB hold {separate:,.0f} MB of buffers", loc="left", fontsize=12, color=INK
    )
    kinds = {"data": "values"}
    if plan.goes_back:
        kinds |= {"gradient": "gradients", "data, then gradient": "values, then their gradients in place"}
    figure.legend(
        handles=[Patch(facecolor=COLOURS[what], alpha=0.75, label=word) for what, word in kinds.items()],
        loc="outside lower right", ncols=len(kinds), frameon=False, fontsize=9,
    )  # fmt: skip
    if path is not None:
        figure.savefig(Path(path), dpi=110)
    return figure


def _fitted(name: str, share: float) -> str:
    """The name, cut to about what fits into this share of the picture's width."""
    room = max(3, int(190 * share))
    return name if len(name) <= room else name[: room - 1] + "…"
