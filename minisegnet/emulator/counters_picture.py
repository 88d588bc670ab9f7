"""The counters drawn: each line that touches memory with what a warp's request costs there, against the ideal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from minisegnet.emulator.counters import Counters, Row

WIDTH = 10.0  # inches
CHARACTERS = 60  # of the source shown of a line
FINE, POOR = "#4c9f70", "#c8553d"


def draw(counters: Counters) -> Figure:
    """A figure with a bar for each line of the table: sectors of global memory, rounds of shared memory.

    The bar's part beyond the ideal is red. The text beside it says how much of what was moved was asked for, or how
    many times the conflict-free rounds an access took.
    """
    from matplotlib.figure import Figure

    rows = [row for row in counters.rows if row.requests]
    figure = Figure(figsize=(WIDTH, 1.6 + 0.42 * max(1, len(rows))), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        cost, ideal = _cost(row)
        axes.barh(place, min(cost, ideal), color=FINE, height=0.62)
        axes.barh(place, max(0.0, cost - ideal), left=min(cost, ideal), color=POOR, height=0.62)
        told = f"{row.ways:.1f} x the rounds" if row.shared else f"{row.useful:.0%} of it used"
        axes.text(cost + 0.3, place, told, va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows], fontsize=8, family="monospace")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max([4.0, *(_cost(row)[0] for row in rows)]))
    axes.set_xlabel("sectors, or rounds, that a request takes (green: the least)")
    axes.spines[["top", "right"]].set_visible(False)
    kernels = ", ".join(dict.fromkeys(row.kernel for row in rows)) or "no access of memory"
    read, written = counters.bytes_moved(writes=False), counters.bytes_moved(writes=True)
    axes.set_title(f"{kernels}: {read:,} bytes read, {written:,} written, {counters.barriers:,} barriers", fontsize=10)
    return figure


def _cost(row: Row) -> tuple[float, float]:
    """What a request takes on average, and the least that could serve it."""
    if row.shared:
        return row.rounds / row.requests, row.ideal_rounds / row.requests
    return row.sectors_per_request, row.bytes / 32 / row.requests


def _label(row: Row) -> str:
    code = row.text if len(row.text) <= CHARACTERS else row.text[: CHARACTERS - 3] + "..."
    return f"{code}\n{row.line}, {row.action} {row.array}"
