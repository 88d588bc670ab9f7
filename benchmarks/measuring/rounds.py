"""The arithmetic of rounds: medians, ratios taken within a round, and whether sides agree. Pure functions."""

from statistics import median

TOLERANCE = 1e-3


def best(rounds, candidates):
    """The candidate that is fastest by its median over the rounds, None if there is none.

    rounds   a list of {side: seconds}, every side once in each
    """
    present = [side for side in candidates if side in rounds[0]]
    return min(present, key=lambda side: median(r[side] for r in rounds), default=None)


def times_faster(rounds, ours, peer):
    """(median, smallest, largest) of peer's seconds over ours in the same round: above 1, ours is the faster."""
    ratios = [r[peer] / r[ours] for r in rounds]
    return median(ratios), min(ratios), max(ratios)


def disagreement(answer, wanted):
    """The first name under which two sides' numbers differ, with how much; "" where all agree.

    answer, wanted   {name: list of numbers}; each |a - w| may be TOLERANCE of the list's largest |w|
    """
    for name, numbers in wanted.items():
        given = answer[name]
        if len(given) != len(numbers):
            return f"{name}: {len(given)} of them, wanted {len(numbers)}"
        largest = max(map(abs, numbers))
        for a, w in zip(given, numbers, strict=True):
            if not abs(a - w) <= TOLERANCE * largest:  # NaN too
                return f"{name}: {a:.6g} instead of {w:.6g}, the largest being {largest:.6g}"
    return ""


def exponent(pixels, seconds):
    """k of the power law seconds = c pixels^k that is nearest in the least squares of logarithms."""
    from numpy import log, polyfit

    return float(polyfit(log(pixels), log(seconds), 1)[0])
