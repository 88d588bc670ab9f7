"""Matching against torchvision's Matcher, and what it leaves open."""

import numpy as np
import pytest
from torchvision_twin import import_torchvision

from minisegnet.detection.matching import BELOW, BETWEEN, match
from minisegnet.errors import DtypeError, OptionError, ShapeError


def test_by_hand():
    overlaps = np.array([[0.8, 0.1, 0.5, 0.0, 0.4], [0.2, 0.1, 0.5, 0.0, 0.6]])
    assert match(overlaps, 0.7, 0.3).tolist() == [0, BELOW, BETWEEN, BELOW, BETWEEN]
    # Object 1 claims the last box, which overlaps it most.
    assert match(overlaps, 0.7, 0.3, low_quality=True).tolist() == [0, BELOW, BETWEEN, BELOW, 1]
    assert match(overlaps, 0.8, 0.6).tolist() == [0, BELOW, BELOW, BELOW, BETWEEN]
    assert match(overlaps, 0.5, 0.5).tolist() == [0, BELOW, 0, BELOW, 1]


def test_a_claimed_box_goes_to_the_object_that_it_overlaps_most():
    overlaps = np.array([[0.6, 0.2], [0.4, 0.1]])
    assert match(overlaps, 0.7, 0.3, low_quality=True).tolist() == [0, BELOW]


def test_ties_are_all_claimed():
    overlaps = np.array([[0.2, 0.2, 0.1]])
    assert match(overlaps, 0.7, 0.3, low_quality=True).tolist() == [0, 0, BELOW]


@pytest.mark.torch
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("low_quality", [False, True])
@pytest.mark.parametrize("steps", [4, 10, 10**6])
def test_as_torchvision(seed, low_quality, steps):
    # Few steps make many ties, and values that are just a threshold.
    import torch

    matcher = import_torchvision().models.detection._utils.Matcher(0.7, 0.3, low_quality)
    rng = np.random.default_rng(seed)
    overlaps = rng.integers(0, steps + 1, (rng.integers(1, 8), rng.integers(1, 60))) / steps
    overlaps *= rng.uniform(0, 1, (len(overlaps), 1)) if seed % 2 else 1
    overlaps[:, 0] = np.maximum(overlaps[:, 0], 0.01)
    wanted = matcher(torch.from_numpy(overlaps)).numpy()
    found = match(overlaps, 0.7, 0.3, low_quality)
    assert found.dtype == np.int32
    assert found.tolist() == wanted.tolist()


def test_an_object_that_nothing_overlaps_claims_nothing():
    # Its best overlap is 0, which it has with nearly every box: all of them would become its own.
    overlaps = np.array([[0.0, 0.0, 0.0], [0.9, 0.2, 0.0]])
    assert match(overlaps, 0.7, 0.3, low_quality=True).tolist() == [1, BELOW, BELOW]


@pytest.mark.parametrize("low_quality", [False, True])
def test_nothing_to_match(low_quality):
    assert match(np.zeros((0, 3)), 0.7, 0.3, low_quality).tolist() == [BELOW] * 3
    assert match(np.zeros((3, 0)), 0.7, 0.3, low_quality).tolist() == []
    assert match(np.zeros((0, 0)), 0.7, 0.3, low_quality).tolist() == []


def test_overlaps_stay_as_they_are():
    overlaps = np.random.default_rng(0).uniform(size=(4, 9))
    before = overlaps.copy()
    match(overlaps, 0.7, 0.3, low_quality=True)
    assert np.array_equal(overlaps, before)


def test_what_does_not_fit():
    with pytest.raises(ShapeError, match=r"\(objects, boxes\)"):
        match(np.zeros(3), 0.7, 0.3)
    with pytest.raises(OptionError, match=r"low 0\.7 and high 0\.3"):
        match(np.zeros((1, 3)), 0.3, 0.7)
    with pytest.raises(DtypeError, match="float32 or float64"):
        match(np.zeros((1, 3), int), 0.7, 0.3)
