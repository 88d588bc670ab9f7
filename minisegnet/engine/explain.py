"""A plan as a table: which steps the nodes became, how each computes, and what lies where."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from minisegnet.engine.value import Planes

if TYPE_CHECKING:
    from minisegnet.engine.plan import Plan
    from minisegnet.engine.step import Step

TITLES = ("Step", "Algorithm", "Output", "Stored", "Mult-adds (M)", "done", "MB", "Back")
LEFT = 4  # columns of words; the others are numbers
NOTHING = "--"


def explained(plan: Plan) -> str:
    """The table: a row for each step, in the order of the way forward.

    Mult-adds    what the layers ask for, over the whole batch, forward; "done" is the share of them that is computed
    MB           of the arrays that the step makes and keeps, over the whole batch
    Back         whether the way back comes through here
    """
    rows = [TITLES, *(_row(plan, step) for step in plan.steps)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(TITLES))]
    lines = [
        "   ".join(
            cell.ljust(width) if column < LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "=" * (sum(widths) + 3 * (len(widths) - 1))
    return "\n".join([rule, lines[0], rule, *lines[1:], rule, *_totals(plan), rule])


def _row(plan: Plan, step: Step) -> tuple[str, ...]:
    asked = multiply_adds(plan, step)
    made = [*step.outputs, *step.kept]
    nbytes = plan.worker.plans * sum(prod(value.stored) * plan.itemsize(value) for value in made)
    output = step.outputs[0] if step.outputs else None
    shape = NOTHING if output is None else str((plan.worker.plans * output.shape[0], *output.shape[1:]))
    plain = output is None or isinstance(output, Planes)
    return (
        step.name,
        step.algorithm,
        shape,
        NOTHING if output is None else "N, C, H, W" if plain else f"columns of {output.m}",
        f"{asked / 1e6:,.1f}" if asked else NOTHING,
        f"{step.products:.2f}" if asked else NOTHING,
        f"{nbytes / 1e6:,.1f}",
        "yes" if step.goes_back else "no",
    )


def multiply_adds(plan: Plan, step: Step) -> int:
    """What the step's layers ask for, over the whole batch; see `minisegnet.summary`."""
    total = 0
    for node in step.nodes:
        inputs = [plan.shapes[handle.node.name] for handle in node.inputs]
        total += node.layer.multiply_adds(inputs, plan.shapes[node.name])
    return plan.worker.plans * total


def _totals(plan: Plan) -> list[str]:
    worker = plan.worker
    asked = [multiply_adds(plan, step) for step in plan.steps]
    done = sum(count * step.products for count, step in zip(asked, plan.steps, strict=True))
    shared = "each with images of its own" if worker.apart else "each with rows of every image"
    separate = sum(buffer.nbytes for buffer, _, _ in plan.buffers)
    return [
        f"{plan.graph.name}: {len(plan.steps)} steps, {worker.team} worker{f's, {shared}' if worker.team > 1 else ''}",
        f"mult-adds forward: {sum(asked) / 1e9:,.2f} G asked for, {done / 1e9:,.2f} G done",
        f"buffers: {worker.plans * plan.own_nbytes / 1e6:,.0f} MB; {worker.plans * separate / 1e6:,.0f} MB if none of "
        "them shared memory with another",
        f"seen by every worker: {plan.shared_nbytes / 1e6:,.0f} MB of inputs, outputs and gradients to be summed",
    ]
