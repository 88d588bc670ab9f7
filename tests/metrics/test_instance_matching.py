"""The Data Science Bowl's score, against matching by loops over masks, and the map that masks are painted into."""

import numpy as np
import pytest

from minisegnet.errors import DtypeError, OptionError, ShapeError
from minisegnet.metrics import DATA_SCIENCE_BOWL, InstanceMatching, painted, pair_instances


def random_maps(seed, objects=9, shape=(30, 34)):
    """A map of rectangles, some beneath others, and the same shaken."""
    rng = np.random.default_rng(seed)
    maps = np.zeros((2, *shape), np.int32)
    for number in range(1, objects + 1):
        corner, size = rng.integers(0, 25, 2), rng.integers(1, 12, 2)
        for instances, shift in zip(maps, ([0, 0], rng.integers(-1, 2, 2)), strict=True):
            (top, left), (height, width) = np.maximum(corner + shift, 0), size
            instances[top : top + height, left : left + width] = number
    return maps


def masks_of(instances):
    return {number: instances == number for number in np.unique(instances) if number}


def iou(one, other):
    return np.sum(one & other) / np.sum(one | other)


@pytest.mark.parametrize("seed", range(6))
def test_above_a_half_every_pair_counts(seed):
    truth, prediction = random_maps(seed)
    evaluation = InstanceMatching(DATA_SCIENCE_BOWL)
    evaluation.add(truth, prediction)
    true, predicted = masks_of(truth), masks_of(prediction)
    overlaps = np.array([[iou(a, b) for b in predicted.values()] for a in true.values()])
    for threshold, (right, wrong, missed) in zip(DATA_SCIENCE_BOWL, evaluation.counts[0], strict=True):
        assert right == (overlaps > threshold).sum()
        assert (wrong, missed) == (len(predicted) - right, len(true) - right)
    assert evaluation.counts[0, 0, 0] > 0


@pytest.mark.parametrize("seed", range(6))
def test_below_a_half_the_best_pair_is_taken_first(seed):
    truth, prediction = random_maps(seed, objects=20)
    true, predicted = masks_of(truth), masks_of(prediction)
    wanted = []
    while candidates := [(-iou(a, b), i, j) for i, a in true.items() for j, b in predicted.items() if (a & b).any()]:
        negative, i, j = min(candidates)
        wanted.append((i, j, -negative))
        del true[i], predicted[j]
    pairs = pair_instances(truth, prediction)
    assert list(zip(pairs.true, pairs.predicted, pairs.iou, strict=True)) == wanted


def test_equal_pairs_by_the_smaller_number():
    truth, prediction = np.array([[7, 7, -2, -2]]), np.array([[5, 4, 4, 9]])
    pairs = pair_instances(truth, prediction)
    # Object 4 could belong to -2 or 7 (IoU 1/3 each); 9 lies half in -2, 5 half in 7.
    assert pairs.true.tolist() == [-2, 7] and pairs.predicted.tolist() == [9, 5]
    assert pairs.iou.tolist() == [0.5, 0.5] and pairs.counts == (2, 3)


def test_an_iou_of_the_threshold_is_not_above_it():
    truth, prediction = np.ones((1, 20), int), np.zeros((1, 20), int)
    prediction[0, :11] = 1
    evaluation = InstanceMatching([0.54, 0.55, 0.56])
    evaluation.add(truth, prediction)
    assert evaluation.counts[0].tolist() == [[1, 0, 0], [0, 1, 1], [0, 1, 1]]


@pytest.mark.filterwarnings("error")
def test_mean_over_images_and_pooled():
    truth = np.array([[1, 0, 2, 0, 3]])
    evaluation = InstanceMatching([0.5, 0.9])
    evaluation.add(truth, truth)
    evaluation.add(truth, np.array([[4, 4, 0, 0, 3]]))  # IoU 1/2 with object 1
    evaluation.add(truth, np.zeros_like(truth))
    evaluation.add(np.zeros_like(truth), np.array([[1, 1, 0, 0, 0]]))
    evaluation.add(np.zeros_like(truth), np.zeros_like(truth))  # nothing to find, nothing found: no score
    np.testing.assert_array_equal(evaluation.by_image[:, 0], [1, 1 / 4, 0, 0, np.nan])
    assert evaluation.mean == pytest.approx([1.25 / 4] * 2)
    assert evaluation.pooled == pytest.approx([4 / (3 + 4 + 3 + 1)] * 2)
    assert evaluation.table().splitlines()[2].split() == ["0.50", "0.3125", "0.3636", "4", "2", "5"]


@pytest.mark.filterwarnings("error")
def test_no_image_has_no_score():
    evaluation = InstanceMatching()
    assert evaluation.counts.shape == (0, 1, 3) and evaluation.by_image.shape == (0, 1)
    assert np.isnan(evaluation.mean).all() and np.isnan(evaluation.pooled).all()
    assert evaluation.table().splitlines()[-1].split()[1:3] == ["-", "-"]


def test_maps_of_objects_that_overlap():
    """Each layer holds other objects; what is predicted is compared with all of them, and has its own area once."""
    first, second = np.zeros((2, 4, 6), int)
    first[:, :4], second[:, 3:] = 1, 2
    prediction = np.zeros((4, 6), int)
    prediction[:, 2:4], prediction[:, 4:] = 8, 9
    pairs = pair_instances(np.stack([first, second]), prediction)
    assert list(zip(*pairs[:3], strict=True)) == [(2, 9, pytest.approx(2 / 3)), (1, 8, pytest.approx(1 / 2))]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint16", "int64"])
def test_numbers_of_any_type_and_size(dtype):
    truth, prediction = random_maps(1)
    large = np.where(prediction, np.iinfo(dtype).max - prediction.astype(np.int64), 0).astype(dtype)
    wanted, pairs = pair_instances(truth, prediction), pair_instances(truth.astype(dtype), large)
    assert sorted(pairs.iou) == sorted(wanted.iou) and pairs.counts == wanted.counts


def test_merged_evaluations_are_one():
    whole, first, second = (InstanceMatching((0.5, 0.7)) for _ in range(3))
    for seed, part in ((0, first), (1, second), (2, second)):
        part.add(*random_maps(seed))
        whole.add(*random_maps(seed))
    first.merge(second)
    np.testing.assert_array_equal(first.counts, whole.counts)
    with pytest.raises(OptionError, match="same thresholds"):
        first.merge(InstanceMatching())


def test_the_surer_mask_is_on_top():
    masks = np.zeros((4, 1, 6), bool)
    masks[0, 0, :4] = masks[1, 0, 2:] = masks[2, 0, 3:5] = masks[3, 0, :1] = True
    assert painted(masks, np.array([0.5, 0.9, 0.5, 0.1])).tolist() == [[1, 1, 2, 2, 2, 2]]
    assert painted(masks, np.array([0.5, 0.4, 0.5, 0.7])).tolist() == [[4, 1, 1, 1, 3, 2]]
    assert painted(masks, np.array([5, 4, 5, 7], np.uint8)).tolist() == [[4, 1, 1, 1, 3, 2]]
    assert painted(masks[:0], np.zeros(0)).tolist() == [[0] * 6]


WRONG = {
    "sizes": (lambda: pair_instances(np.zeros((3, 4), int), np.zeros((4, 3), int)), ShapeError, r"\(3, 4\)"),
    "two stacks": (lambda: pair_instances(*np.zeros((2, 1, 4, 4), int)), ShapeError, "a map"),
    "floats": (lambda: pair_instances(np.zeros((3, 4)), np.zeros((3, 4), int)), DtypeError, "truth"),
    "threshold above 1": (lambda: InstanceMatching([50]), OptionError, "from 0 to 1"),
    "NaN threshold": (lambda: InstanceMatching([np.nan]), OptionError, "from 0 to 1"),
    "no threshold": (lambda: InstanceMatching([]), OptionError, "at least one"),
    "one threshold bare": (lambda: InstanceMatching(0.5), OptionError, "at least one"),
    "painted probabilities": (lambda: painted(np.ones((1, 2, 2)), np.ones(1)), DtypeError, "masks > 0.5"),
    "painted without scores": (lambda: painted(np.ones((2, 2, 2), bool), np.ones(1)), ShapeError, r"scores \(R,\)"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_what_does_not_fit_is_told(name):
    call, error, told = WRONG[name]
    with pytest.raises(error, match=told):
        call()
