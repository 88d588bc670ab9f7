"""The schedules against their equations, at the ends and outside."""

import math

import pytest

from minisegnet.errors import OptionError
from minisegnet.training import Constant, Cosine, Poly, Step, WarmUp

STEPS = [0, 1, 7, 49, 50, 99]


@pytest.mark.parametrize("step", STEPS)
def test_equations(step):
    assert Constant(0.3)(step) == 0.3
    assert Poly(0.1, 100)(step) == pytest.approx(0.1 * (1 - step / 100) ** 0.9)
    assert Poly(0.1, 100, power=2)(step) == pytest.approx(0.1 * (1 - step / 100) ** 2)
    assert Cosine(0.1, 100)(step) == pytest.approx(0.05 * (1 + math.cos(math.pi * step / 100)))
    assert Step(0.1, every=50)(step) == pytest.approx(0.1 if step < 50 else 0.01)
    assert Step(0.1, 0.5, milestones=(7, 50))(step) == pytest.approx(0.1 * 0.5 ** ((step >= 7) + (step >= 50)))
    assert WarmUp(10, Poly(0.1, 100))(step) == pytest.approx(Poly(0.1, 100)(step) * min(1, (step + 1) / 10))


def test_ends():
    for schedule in (Poly(0.1, 100), Cosine(0.1, 100), Poly(0.1, 100, power=0)):
        assert schedule(0) == pytest.approx(0.1)
        assert schedule(100) == pytest.approx(0, abs=1e-17)
        assert schedule(1000) == pytest.approx(0, abs=1e-17)
        assert schedule(99) > 0
    assert WarmUp(4, Constant(1.0))(0) == 0.25
    assert [WarmUp(4, Constant(1.0))(step) for step in (3, 4, 500)] == [1.0, 1.0, 1.0]
    assert WarmUp(1, Constant(1.0))(0) == 1.0


@pytest.mark.parametrize(
    "schedule", [Constant(1), Poly(1, 10), Cosine(1, 10), Step(1, every=2), WarmUp(3, Constant(1))], ids=repr
)
def test_negative_step_is_refused(schedule):
    with pytest.raises(OptionError, match="counted from 0; got -1"):
        schedule(-1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Poly(0.1, 0), "Poly: steps must be above 0; got 0"),
        (lambda: Poly(-0.1, 5), "lr must be at least 0"),
        (lambda: Poly(0.1, 5, power=-1), "power must be at least 0"),
        (lambda: Cosine(0.1, -3), "steps must be above 0"),
        (lambda: Step(0.1), "give either every or milestones"),
        (lambda: Step(0.1, every=3, milestones=(4,)), "give either every or milestones"),
        (lambda: Step(0.1, every=0), "every must be above 0"),
        (lambda: WarmUp(0, Constant(1)), "steps must be above 0"),
        (lambda: Constant(float("nan")), "lr must be at least 0"),
    ],
)
def test_bad_options_are_named(make, message):
    with pytest.raises(OptionError, match=message):
        make()
