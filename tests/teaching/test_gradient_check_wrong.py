"""Every wrong backward pass of the bank is caught and called by its name."""

import numpy as np
import pytest
import wrong_layers  # noqa: F401  (fills the bank)
import wrong_operations  # noqa: F401  (fills the bank)
from wrong_answers import BANK

from minisegnet.teaching import GradientError

NUMBERED = [pytest.param(seed, answer, id=f"{answer.name}, seed {seed}") for seed, answer in enumerate(BANK)]


def test_the_bank_is_large():
    assert len(BANK) >= 60 and len({answer.name for answer in BANK}) == len(BANK)


@pytest.mark.parametrize(("seed", "answer"), NUMBERED)
def test_a_wrong_answer_is_caught_and_named(seed, answer):
    report = answer.check(np.random.default_rng(seed), seed)
    assert not report.ok, report
    assert tuple(report.wrong) == answer.arrays, report
    assert answer.words in str(report), report
    if answer.arrays and report.worst is not None:
        assert report.worst.array in answer.arrays, report
    with pytest.raises(GradientError) as caught:
        report.raise_if_wrong()
    assert str(caught.value) == str(report)
