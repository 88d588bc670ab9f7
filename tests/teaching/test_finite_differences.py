"""A slope is right, wrong, or at a kink: along lines whose slopes are known."""

import numpy as np
import pytest

from minisegnet.teaching.finite_differences import compare

TOLERANCE = 1e-6


def verdict(function, analytic, several_kinks=False):
    """Of one output whose upstream gradient is 1."""
    found = compare(
        lambda t: np.array([function(t)]), np.array([function(0.0)]), np.ones(1), analytic, TOLERANCE, several_kinks
    )
    return found.verdict


def kinked(at):
    return lambda t: max(t - at, 0.0)


@pytest.mark.parametrize("function", [np.sin, lambda t: 3 + t + 50 * t**2, lambda t: np.expm1(300 * t) / 300])
def test_smooth(function):
    assert verdict(function, 1.0) == "right"
    assert verdict(function, 1.0 + 1e-5) == verdict(function, 0.0) == verdict(function, -1.0) == "wrong"


def test_on_a_kink():
    for between in (0.0, 0.3, 1.0):
        assert verdict(kinked(0.0), between) == "kink"
    for outside in (-0.01, 1.01, 2.0):
        assert verdict(kinked(0.0), outside) == "wrong"


@pytest.mark.parametrize("at", [3e-4, -3e-4, 3e-6, -3e-6])
def test_beside_a_kink(at):
    assert verdict(kinked(at), 1.0 if at < 0 else 0.0) == "right"
    assert verdict(kinked(at), 0.0 if at < 0 else 1.0) == verdict(kinked(at), 0.4) == "wrong"


@pytest.mark.parametrize("at", [5e-9, -5e-9])
def test_among_the_kinks_of_a_network(at):
    """A large network has kinks at almost every distance: only the finest step may meet none."""
    right = 1.0 if at < 0 else 0.0
    assert verdict(kinked(at), right, several_kinks=True) == "right"
    assert verdict(kinked(at), 5.0, several_kinks=True) == "kink"  # to be settled at a point nearby


def test_out_of_the_domain():
    with np.errstate(invalid="ignore"):
        assert verdict(lambda t: np.sqrt(1e-5 + t), 0.5 / np.sqrt(1e-5)) == "right"
        assert verdict(lambda t: np.float64("nan"), 0.0) == "wrong"
