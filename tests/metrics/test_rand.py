"""The Rand score against counting of every pair of pixels."""

import itertools

import numpy as np
import pytest

from minisegnet.errors import DtypeError, OptionError, ShapeError
from minisegnet.metrics import best_rand_score, connected_segments, interior_rand_score, pixel_error, rand_score


def scores_by_pairs(prediction, truth):
    """Every ordered pair of foreground pixels of one slice, a pixel with itself included."""
    together_in_both = together_in_prediction = together_in_truth = 0
    for prediction_slice, truth_slice in zip(prediction, truth, strict=True):
        pixels = [tuple(p) for p in np.argwhere(truth_slice != 0)]
        for a, b in itertools.product(pixels, pixels):
            in_truth = truth_slice[a] == truth_slice[b]
            # A pixel predicted as border is together with itself alone.
            in_prediction = a == b or prediction_slice[a] == prediction_slice[b] != 0
            together_in_both += in_truth and in_prediction
            together_in_prediction += in_prediction
            together_in_truth += in_truth
    split, merge = together_in_both / together_in_truth, together_in_both / together_in_prediction
    return 2 * split * merge / (split + merge), split, merge


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("segments", [2, 5])
def test_score_equals_counting_of_pairs(seed, segments):
    rng = np.random.default_rng(seed)
    prediction, truth = rng.integers(0, segments, (2, 2, 5, 6))
    assert rand_score(prediction, truth) == pytest.approx(scores_by_pairs(prediction, truth), abs=1e-14)
    assert rand_score(prediction[0], truth[0]) == pytest.approx(scores_by_pairs(prediction[:1], truth[:1]), abs=1e-14)


def test_numbering_of_segments_does_not_matter():
    rng = np.random.default_rng(0)
    prediction, truth = rng.integers(0, 4, (2, 8, 8))
    names = np.array([0, 2**40, -3, 7])
    assert rand_score(names[prediction], truth) == rand_score(prediction, truth)


def test_halves_tell_splits_from_mergers():
    truth = np.repeat([[1, 1, 0, 2, 2]], 4, axis=0)
    split = truth.copy()
    split[2:, :2] = 3
    merged = np.ones_like(truth)
    assert rand_score(truth, truth) == (1, 1, 1)
    assert rand_score(split, truth).merge == 1 > rand_score(split, truth).split
    assert rand_score(merged, truth).split == 1 > rand_score(merged, truth).merge
    # What is predicted outside the true foreground has no influence.
    other = truth.copy()
    other[:, 2] = 9
    assert rand_score(other, truth) == (1, 1, 1)


@pytest.mark.filterwarnings("error")
def test_all_border():
    truth = np.ones((3, 3), int)
    # Predicting border everywhere leaves each pixel alone: nothing merged, almost everything split.
    assert rand_score(np.zeros((3, 3), int), truth) == pytest.approx((2 * 9 / (9 + 81), 9 / 81, 1.0))
    assert np.isnan(rand_score(truth, np.zeros((3, 3), int))).all()


def test_regions_connect_along_rows_and_columns_within_a_slice():
    diagonal = np.eye(3, dtype=bool)
    np.testing.assert_array_equal(connected_segments(diagonal), np.diag([1, 2, 3]))
    stack = np.ones((2, 2, 2), bool)
    np.testing.assert_array_equal(connected_segments(stack), [[[1, 1], [1, 1]], [[2, 2], [2, 2]]])
    assert connected_segments(stack).dtype == np.int32


def test_best_threshold_and_its_score():
    interior = np.array([[1, 1, 0, 1, 1]] * 3, bool)
    probability = np.where(interior, 0.9, 0.6)
    # Up to 0.55 the border (0.6) is above the threshold and the two cells merge.
    score, threshold = best_rand_score(probability, interior)
    assert (score, threshold) == ((1, 1, 1), 0.6)
    assert interior_rand_score(probability, interior, 0.5).merge == pytest.approx(0.5)
    assert best_rand_score(probability, interior, [0.5])[0] == interior_rand_score(probability, interior, 0.5)


def test_pixel_error_is_the_share_of_wrong_pixels():
    interior = np.array([[True, False, True, False]])
    probability = np.array([[0.9, 0.5, 0.4, 0.8]])
    assert pixel_error(probability, interior) == 0.5
    assert pixel_error(probability, interior, threshold=0.85) == 0.25
    assert np.isnan(pixel_error(np.zeros((0, 3)), np.zeros((0, 3), bool)))


def test_bad_input_is_named():
    with pytest.raises(ShapeError, match=r"\(2, 3\) and \(3, 2\)"):
        rand_score(np.zeros((2, 3), int), np.zeros((3, 2), int))
    with pytest.raises(DtypeError, match="integers; got float64"):
        rand_score(np.zeros((2, 3)), np.zeros((2, 3), int))
    with pytest.raises(DtypeError, match="interior must be a bool array, True inside cells; got int64"):
        pixel_error(np.zeros((2, 3)), np.zeros((2, 3), int))
    with pytest.raises(OptionError, match="at least one threshold"):
        best_rand_score(np.zeros((2, 3)), np.ones((2, 3), bool), [])
