"""How many boxes are sampled of each kind, and that chance is even."""

import numpy as np
import pytest

from minisegnet.detection.matching import BELOW, BETWEEN
from minisegnet.detection.sampling import balanced_sample
from minisegnet.errors import DtypeError, OptionError


def matches(positives, negatives, ignored, rng):
    given = np.array([3] * positives + [BELOW] * negatives + [BETWEEN] * ignored, np.int32)
    return rng.permutation(given)


# (positives, negatives, ignored) there, (count, share) asked for, (positives, negatives) wanted
COUNTS = [
    ((50, 500, 20), (256, 0.5), (50, 206)),
    ((500, 500, 20), (256, 0.5), (128, 128)),
    ((500, 40, 20), (256, 0.5), (128, 40)),
    ((500, 500, 0), (512, 0.25), (128, 384)),
    ((7, 3, 5), (256, 0.5), (7, 3)),
    ((0, 30, 5), (16, 0.5), (0, 16)),
    ((30, 0, 5), (16, 0.5), (8, 0)),
    ((0, 0, 30), (16, 0.5), (0, 0)),
    ((0, 0, 0), (16, 0.5), (0, 0)),
    ((30, 30, 0), (7, 0.5), (3, 4)),
    ((30, 30, 0), (8, 0.0), (0, 8)),
    ((30, 30, 0), (8, 1.0), (8, 0)),
    ((30, 30, 0), (0, 0.5), (0, 0)),
]


@pytest.mark.parametrize(("there", "asked", "wanted"), COUNTS)
@pytest.mark.parametrize("seed", range(2))
def test_counts(there, asked, wanted, seed):
    rng = np.random.default_rng(seed)
    given = matches(*there, rng)
    positives, negatives = balanced_sample(given, *asked, rng)
    assert (len(positives), len(negatives)) == wanted
    assert (given[positives] == 3).all()
    assert (given[negatives] == BELOW).all()
    for numbers in (positives, negatives):
        assert (np.diff(numbers) > 0).all()


def test_chance_is_even():
    given = np.array([0, BELOW] * 8)
    rng = np.random.default_rng(0)
    drawn = np.zeros(16)
    for _ in range(2000):
        for numbers in balanced_sample(given, 4, 0.5, rng):
            drawn[numbers] += 1
    # Each is drawn with probability 1 / 4: 500 times, give or take 5 standard deviations of 19.4.
    assert np.abs(drawn - 500).max() < 97


def test_one_seed_is_one_sample():
    given = matches(40, 40, 5, np.random.default_rng(1))
    one, other, another = (balanced_sample(given, 20, 0.5, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, another, strict=True))


def test_what_does_not_fit():
    rng = np.random.default_rng(0)
    with pytest.raises(OptionError, match="count must be at least 0"):
        balanced_sample(np.zeros(3, int), -1, 0.5, rng)
    with pytest.raises(OptionError, match="from 0 to 1"):
        balanced_sample(np.zeros(3, int), 3, 1.5, rng)
    with pytest.raises(DtypeError, match="integers"):
        balanced_sample(np.zeros(3), 3, 0.5, rng)
