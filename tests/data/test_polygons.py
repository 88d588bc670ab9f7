"""Outlines drawn into masks: pixel for pixel those of pycocotools, and by the rule that a pixel's middle decides."""

import numpy as np
import pytest

from minisegnet.data.polygons import corners, ellipse, polygon, polygons, rectangle
from minisegnet.errors import DataError

KINDS = ("anywhere", "whole", "halves", "tenths", "repeated corners", "far outside", "inside")


def random_polygon(kind, seed):
    """Corners (k, 2) and a size (H, W)."""
    rng = np.random.default_rng([KINDS.index(kind), seed])
    height, width = (int(side) for side in rng.integers(1, 60, 2))
    points = rng.uniform(-0.3, 1.3, (int(rng.integers(3, 12)), 2)) * (width, height)
    if kind == "repeated corners":
        points = points[rng.integers(0, len(points), len(points))]
    if kind == "far outside":
        points = rng.uniform(-50, 60, points.shape) * (width, height)
    if kind == "inside":
        points = points.clip(0, (width, height))
    steps = {"whole": 1, "halves": 2, "tenths": 10}.get(kind)
    return (np.round(points * steps) / steps if steps else points), (height, width)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", range(4))
def test_polygons_are_those_of_pycocotools(kind, part):
    theirs = pytest.importorskip("pycocotools.mask")
    for seed in range(40 * part, 40 * (part + 1)):
        points, (height, width) = random_polygon(kind, seed)
        expected = theirs.frPyObjects([points.ravel().tolist()], height, width)[0]["counts"].decode()
        assert polygon(points, (height, width)).to_coco()["counts"] == expected, (kind, seed)
        other = np.random.default_rng(seed).uniform(0, 30, (5, 2))
        both = [points.ravel().tolist(), other.ravel().tolist()]
        expected = theirs.merge(theirs.frPyObjects(both, height, width))["counts"].decode()
        assert polygons(both, (height, width)).to_coco()["counts"] == expected, (kind, seed)


@pytest.mark.parametrize("seed", range(30))
def test_rectangles_are_those_of_pycocotools(seed):
    theirs = pytest.importorskip("pycocotools.mask")
    box = np.random.default_rng(seed).uniform(-5, 40, 4)
    expected = theirs.frPyObjects(box[None], 33, 44)[0]["counts"].decode()
    assert rectangle(*box, (33, 44)).to_coco()["counts"] == expected


@pytest.mark.parametrize("seed", range(20))
def test_a_pixel_is_inside_where_its_middle_is(seed):
    """Farther from the edge of a convex polygon than a fifth of a pixel, so that rounding cannot matter."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
    points = np.stack([20 + 15 * np.cos(angles), 18 + 15 * np.sin(angles)], axis=1)
    mask = polygon(points, (36, 40)).mask()
    y, x = np.mgrid[:36, :40] + 0.5
    edges = np.roll(points, -1, axis=0) - points
    lengths = np.hypot(*edges.T)
    apart = np.stack([
        (dx * (y - y0) - dy * (x - x0)) / length
        for (x0, y0), (dx, dy), length in zip(points, edges, lengths, strict=True)
    ]).min(axis=0)  # fmt: skip
    assert mask[apart > 0.3].all() and not mask[apart < -0.3].any() and mask.any()


def test_by_hand():
    square = polygon([1, 1, 4, 1, 4, 3, 1, 3], (5, 6))
    np.testing.assert_array_equal(square.mask(), np.pad(np.ones((2, 3), bool), ((1, 2), (1, 2))))
    assert square.box.tolist() == [1, 1, 4, 3]
    # The even-odd rule: a bow tie's two triangles meet in one point and leave out what is above and below.
    bow_tie = polygon([(0, 0), (8, 8), (8, 0), (0, 8)], (8, 8)).mask()
    assert bow_tie[4, 0] and bow_tie[4, 7] and not bow_tie[0, 4] and not bow_tie[7, 4]
    assert polygon([(0, 0), (0.2, 0), (0, 0.2)], (5, 6)).area == 0  # smaller than a pixel, and no middle in it
    assert polygon([(2, 2), (2, 2), (2, 2)], (5, 6)).area == 0
    assert polygon([(-99, -99), (99, -99), (99, 99), (-99, 99)], (5, 6)).area == 30
    assert polygon([(50, 0), (60, 0), (60, 10)], (5, 6)).area == 0


def test_work_is_that_of_the_image_and_not_of_the_coordinates():
    assert polygon([(-1e8, -1e8), (1e8, -1e8), (1e8, 1e8), (-1e8, 1e8)], (5, 6)).area == 30


@pytest.mark.parametrize("seed", range(10))
def test_ellipses_hold_the_middles_within(seed):
    rng = np.random.default_rng(seed)
    (x, y), (a, b), turn = rng.uniform(-3, 30, 2), rng.uniform(0.5, 20, 2), rng.uniform(-4, 4)
    mask = ellipse(x, y, a, b, (25, 30), turn).mask()
    for row, column in np.ndindex(25, 30):
        away = (column + 0.5 - x) + 1j * (row + 0.5 - y)
        turned = away * np.exp(-1j * turn)
        assert mask[row, column] == ((turned.real / a) ** 2 + (turned.imag / b) ** 2 <= 1)


def test_an_ellipse_without_a_radius_or_outside_is_empty():
    assert ellipse(5, 5, 0, 3, (10, 10)).area == 0
    assert ellipse(-50, 5, 3, 3, (10, 10)).area == 0
    assert ellipse(5, 5, 1e8, 1e8, (10, 10)).area == 100


@pytest.mark.parametrize(
    "points, message",
    [
        ([], "at least 3 corners; got 0"),
        ([1, 2, 3, 4], "at least 3 corners; got 2"),
        ([1, 2, 3, 4, 5, 6, 7], "7 numbers, so that one has no partner"),
        ([1, 2, 3, float("nan"), 5, 6], r"\(3, nan\)"),
        ([1, 2, 3, 4, float("inf"), 6], r"\(inf, 6\)"),
        ([1, 2, 3, 4, 5, 1e12], r"\(5, 1e\+12\)"),
        ([1, 2, 3, 4, 5, 10**400], "something else"),
        (["1", "2", "3", "4", "5", "6"], "something else"),
        ([1, 2, 3, 4, 5, None], "something else"),
        ([[1, 2], [3, 4], [5]], "something else"),
        ([[1, 2, 3], [4, 5, 6], [7, 8, 9]], r"shape \(corners, 2\)"),
        ("polygon", "something else"),
    ],
)
def test_what_is_no_polygon_is_refused(points, message):
    with pytest.raises(DataError, match=message):
        corners(points)


def test_an_object_of_no_polygon_is_refused():
    with pytest.raises(DataError, match="no polygon"):
        polygons([], (5, 6))
