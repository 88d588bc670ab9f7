import time

import numpy as np
import pytest
from scipy import ndimage

from minisegnet.data.sample import Sample
from minisegnet.data.weight_map import BorderWeight, border_weight_map
from minisegnet.errors import DataError, OptionError, ShapeError


def brute_force(instances, class_weight_map, w0, sigma):
    """Equation 2, pixel by pixel and cell by cell."""
    weight = np.zeros(instances.shape)
    cells = [np.argwhere(instances == number) for number in np.unique(instances) if number != 0]
    for place in np.ndindex(instances.shape):
        weight[place] = np.broadcast_to(class_weight_map, instances.shape)[place]
        if instances[place] == 0 and len(cells) >= 2:
            distances = sorted(np.sqrt(((cell - place) ** 2).sum(axis=1)).min() for cell in cells)
            weight[place] += w0 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2))
    return weight


def random_cells(seed, size, count, radius):
    rng = np.random.default_rng(seed)
    y, x = np.indices(size)
    instances = np.zeros(size, np.int32)
    for number in 7 * rng.permutation(count) + 1:
        inside = np.hypot(y - rng.uniform(0, size[0]), x - rng.uniform(0, size[1])) < rng.uniform(1, radius)
        instances[inside] = number
    return instances


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("w0, sigma", [(10, 5), (3, 1), (1, 2.5)])
def test_against_brute_force(seed, w0, sigma):
    size = ((30, 26), (1, 40), (17, 45))[seed % 3]
    instances = random_cells(seed, size, count=seed + 3, radius=6)
    balance = np.random.default_rng(seed).random(size)
    actual = border_weight_map(instances, balance, w0, sigma)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, brute_force(instances, balance, w0, sigma), rtol=1e-6, atol=1e-8)


def test_by_hand():
    """Two cells three pixels apart: the border between them, nothing inside them."""
    row = border_weight_map(np.array([[1, 0, 0, 2, 2]]), 0.5)
    border = 10 * np.exp(-(3**2) / 50)
    np.testing.assert_allclose(row, [[0.5, 0.5 + border, 0.5 + border, 0.5, 0.5]], rtol=1e-6)


@pytest.mark.parametrize("instances", [np.zeros((9, 7), int), np.eye(9, 7, dtype=int) * 3, np.full((9, 7), 4)])
def test_fewer_than_two_cells_have_no_border(instances):
    np.testing.assert_array_equal(border_weight_map(instances, 2.0), np.full((9, 7), 2, np.float32))


def test_hundreds_of_cells_in_little_time():
    """Measured at about 0.15 s; whole-image distances of each of 400 cells would take more than 5 s."""
    side, pitch = 20, 25
    offset = np.indices((side * pitch, side * pitch)) % pitch - pitch // 2
    cell = np.hypot(*offset) < 10
    number = 1 + np.arange(side * pitch) // pitch + side * (np.arange(side * pitch) // pitch)[:, None]
    started = time.perf_counter()
    weight = border_weight_map(np.where(cell, number, 0))
    assert time.perf_counter() - started < 1.5
    assert weight.max() == pytest.approx(1 + 10 * np.exp(-(7**2) / 50))  # seven pixels from cell to cell


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"instances": np.zeros((1, 4, 4), int)}, ShapeError, r"instances \(H, W\); got shape \(1, 4, 4\)"),
        ({"sigma": 0}, OptionError, "sigma above 0; got 10.0 and 0"),
        ({"w0": -1}, OptionError, "w0 must be at least 0"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        border_weight_map(**{"instances": np.zeros((4, 4), int), **arguments})


def sample(labels, instances=None):
    return Sample(np.zeros((1, *labels.shape), np.float32), labels.astype(np.int32), "cells", instances)


def test_transform_takes_instances():
    instances = random_cells(2, (40, 40), 8, 7)
    given = sample(instances > 0, instances)
    result = BorderWeight(w0=4, sigma=3)(given, np.random.default_rng(0))
    np.testing.assert_array_equal(result.pixel_weight, border_weight_map(instances, 1.0, 4, 3))
    assert given.pixel_weight is None


def test_transform_finds_cells_that_touch_along_an_edge():
    labels = np.zeros((12, 12), np.int32)
    labels[1:6, 1:6] = labels[6:9, 6:9] = 2  # these touch at a corner only, so they are two
    labels[1:3, 8:12] = 1  # another class
    result = BorderWeight(foreground=2)(sample(labels), np.random.default_rng(0))
    parts, count = ndimage.label(labels == 2)
    assert count == 2
    np.testing.assert_array_equal(result.pixel_weight, border_weight_map(parts))


def test_transform_balances_classes_and_gives_ignored_pixels_nothing():
    labels = np.array([[0, 1, 2, 255, -1]])
    result = BorderWeight(class_weight=np.array([0.5, 2, 3], np.float32))(sample(labels), np.random.default_rng(0))
    np.testing.assert_allclose(result.pixel_weight, [[0.5, 2, 3, 0, 0]])


def test_transform_needs_labels():
    with pytest.raises(DataError, match="BorderWeight needs labels; bare has none"):
        BorderWeight()(Sample(np.zeros((1, 4, 4), np.float32), None, "bare"), np.random.default_rng(0))
