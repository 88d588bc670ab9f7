"""Slopes of a function by finite differences, held against an analytic slope, with kinks told from mistakes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

# No one step suits every function: strong curvature and a kink nearby ask for a smaller one, rounding for a larger one.
# A wrong slope agrees with none of them, so agreement with any is agreement.
STEPS = (1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-4, 1e-3)
COARSE, FINE = 1e-6, 1e-7  # a curve's one-sided slopes draw together from one to the other, those of a kink do not
FINEST = 1e-9  # among a network's many kinks, only such a step may meet none


class Comparison(NamedTuple):
    """An analytic slope held against the numeric one.

    verdict   "right", "wrong" or "kink"
    analytic  the slope that backward says
    numeric   the central difference; where none agrees, the one that changes least with the step
    sides     the least and the greatest slope at a kink, else None
    """

    verdict: str
    analytic: float
    numeric: float
    sides: tuple[float, float] | None = None


def compare(
    along: Callable[[float], np.ndarray],
    middle: np.ndarray,
    upstream: np.ndarray,
    analytic: float,
    tolerance: float,
    several_kinks: bool = False,
) -> Comparison:
    """Hold the analytic slope of sum(upstream * output) along a line against central differences.

    along          function of t: the flat output at t along the line
    middle         the output at t = 0
    tolerance      how far the slopes may be apart
    several_kinks  an output may depend on several kinks at once, as in a whole network

    At a kink the slopes below and above differ, and go on differing as the step shrinks. Each output may lean to either
    side, so the analytic slope must lie between the sum of the lesser and the sum of the greater slopes; outside it is
    wrong, kink or no kink. Several kinks behind one output may cancel, so that these bounds say nothing: the verdict is
    then "kink" anyway, and the caller has to look at a point nearby.
    """
    outputs: dict[float, tuple[np.ndarray, np.ndarray]] = {}
    slopes: dict[float, float] = {}
    decisive = FINEST if several_kinks else FINE
    for step in STEPS:
        above, below = outputs[step] = along(step), along(-step)
        slopes[step] = float(upstream @ (above - below)) / (2 * step)
        nearest = min(slopes.values(), key=lambda slope: (np.isnan(slope), abs(slope - analytic)))
        error = abs(nearest - analytic)
        if error <= tolerance / 10 or (step == STEPS[-1] and error <= tolerance):
            return Comparison("right", analytic, nearest)
        if step == decisive and error > tolerance:
            sides = _kink(outputs, middle, upstream, tolerance)
            if sides is not None:
                between = sides[0] - tolerance <= analytic <= sides[1] + tolerance
                return Comparison("kink" if between or several_kinks else "wrong", analytic, slopes[FINE], sides)
            if max(slopes.values()) - min(slopes.values()) < error / 100:
                break  # the steps agree on another slope
    return Comparison("wrong", analytic, _steadiest(slopes))


def _kink(
    outputs: dict[float, tuple[np.ndarray, np.ndarray]], middle: np.ndarray, upstream: np.ndarray, tolerance: float
) -> tuple[float, float] | None:
    """The least and the greatest slope at a kink, or None on a smooth stretch."""
    gaps = {}
    for step in (COARSE, FINE):
        after, before = outputs[step]
        above, below = upstream * (after - middle) / step, upstream * (middle - before) / step
        gaps[step] = float(np.abs(above - below).sum())
    least, greatest = float(np.minimum(above, below).sum()), float(np.maximum(above, below).sum())
    rounding = max(tolerance, 1e-6 * abs(least), 1e-6 * abs(greatest))
    lasting = rounding < gaps[FINE] and gaps[COARSE] / 2 < gaps[FINE] < gaps[COARSE] * 2
    return (least, greatest) if lasting else None


def _steadiest(slopes: dict[float, float]) -> float:
    """The slope that changes least from the next smaller step to this one."""
    ordered = [slopes[step] for step in sorted(slopes)]
    changes = np.array([abs(larger - smaller) for smaller, larger in pairwise(ordered)])
    return ordered[int(np.argmin(np.nan_to_num(changes, nan=np.inf))) + 1]
