"""Which few of very many anchors or proposals count in the loss."""

from __future__ import annotations

import numpy as np

from minisegnet import checks
from minisegnet.detection.matching import BELOW
from minisegnet.errors import OptionError


def balanced_sample(
    matches: np.ndarray, count: int, positive_share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` boxes without repetition: positive ones up to their share, and background for the rest.

    Background is nearly everything; were all of it counted, "nothing here" would be the best answer everywhere.

    matches         (A,)  int, what `match` returned: an object's number, or BELOW for background; others never count
    count           how many are wanted
    positive_share  from 0 to 1; positive ones that are missing are made up for by background, never the reverse

    Returns (positives, negatives), the numbers of the boxes, ascending; fewer than `count` where there are fewer.
    Source: Ren et al. 2015, section 3.1.3.
    """
    checks.integers("matches", matches)
    if count < 0 or not 0 <= positive_share <= 1:
        raise OptionError(
            "balanced_sample: count must be at least 0 and positive_share from 0 to 1; "
            f"got {count!r} and {positive_share!r}"
        )
    positives = _some(np.flatnonzero(matches >= 0), int(count * positive_share), rng)
    negatives = _some(np.flatnonzero(matches == BELOW), count - len(positives), rng)
    return positives, negatives


def _some(numbers: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    if len(numbers) <= count:
        return numbers
    return np.sort(rng.choice(numbers, count, replace=False))
