"""The arithmetic of rounds: medians, ratios taken within a round, and whether sides agree. Pure functions."""

from math import dist, hypot
from statistics import median

TOLERANCE = 1e-3
FAR = 0.05  # behind the best: so much slower that further rounds will hardly change it


def times(rounds, side):
    """Seconds of one side in each round that it took part in.

    rounds   a list of {side: seconds}
    """
    return [r[side] for r in rounds if side in r]


def best(rounds, candidates):
    """The candidate that is fastest by its median, among those of the last round; None if there is none."""
    present = [side for side in candidates if side in rounds[-1]]
    return min(present, key=lambda side: median(times(rounds, side)), default=None)


def far_behind(rounds, candidates):
    """The candidates of the last round whose median is FAR above that of the best."""
    fastest = best(rounds, candidates)
    present = [side for side in candidates if side in rounds[-1]]
    return [s for s in present if median(times(rounds, s)) > (1 + FAR) * median(times(rounds, fastest))]


def times_faster(rounds, ours, peer):
    """(median, smallest, largest) of peer's seconds over ours in the same round: above 1, ours is the faster."""
    ratios = [r[peer] / r[ours] for r in rounds if peer in r]
    return median(ratios), min(ratios), max(ratios)


def disagreement(answer, wanted):
    """The first name under which two sides' numbers differ, with how much; "" where all agree.

    answer, wanted   {name: list of numbers}; the error of a list is |answer - wanted| / |wanted|, with the length of a
                     vector, for one value of a pooling's window may win over its equal, up to rounding, elsewhere
    """
    for name, numbers in wanted.items():
        given = answer[name]
        if len(given) != len(numbers):
            return f"{name}: {len(given)} of them, wanted {len(numbers)}"
        error = dist(given, numbers) / hypot(*numbers)
        if not error <= TOLERANCE:  # NaN too
            return f"{name}: relative error {error:.1e}, above {TOLERANCE:.0e}"
    return ""


def exponent(pixels, seconds):
    """k of the power law seconds = c pixels^k that is nearest in the least squares of logarithms."""
    from numpy import log, polyfit

    return float(polyfit(log(pixels), log(seconds), 1)[0])
