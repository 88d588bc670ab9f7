"""The confusion matrix against definitions written out pixel by pixel."""

import numpy as np
import pytest

from minisegnet.errors import DtypeError, LabelError, OptionError, ShapeError
from minisegnet.metrics import ConfusionMatrix


def counted(prediction, labels, num_classes, ignore_index=None):
    confusion = ConfusionMatrix(num_classes, ignore_index)
    confusion.update(np.asarray(prediction), np.asarray(labels))
    return confusion


def scores_by_sets(prediction, labels, num_classes):
    """Every score from sets of pixel positions, with the rule for classes that do not occur."""
    ious, dices, accuracies, weighted = [], [], [], 0.0
    for c in range(num_classes):
        true = {i for i, value in enumerate(labels) if value == c}
        predicted = {i for i, value in enumerate(prediction) if value == c}
        hit = len(true & predicted)
        if true | predicted:
            ious.append(hit / len(true | predicted))
            dices.append(2 * hit / (len(true) + len(predicted)))
        if true:
            accuracies.append(hit / len(true))
            weighted += len(true) / len(labels) * hit / len(true | predicted)
    return np.mean(ious), np.mean(dices), np.mean(accuracies), weighted


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_classes", [1, 2, 7])
def test_scores_equal_definition_by_sets(seed, num_classes):
    rng = np.random.default_rng(seed)
    # The last class is in neither, the one before it is only predicted, when there are as many.
    labels = rng.integers(0, max(1, num_classes - 2), 60)
    prediction = rng.integers(0, max(1, num_classes - 1), 60)
    confusion = counted(prediction.reshape(3, 4, 5), labels.reshape(3, 4, 5), num_classes)
    iou, dice, accuracy, weighted = scores_by_sets(prediction, labels, num_classes)
    assert confusion.pixel_accuracy == pytest.approx(np.mean(prediction == labels), abs=1e-14)
    assert confusion.mean_iou == pytest.approx(iou, abs=1e-14)
    assert confusion.mean_dice == pytest.approx(dice, abs=1e-14)
    assert confusion.mean_accuracy == pytest.approx(accuracy, abs=1e-14)
    assert confusion.frequency_weighted_iou == pytest.approx(weighted, abs=1e-14)


def test_matrix_is_truth_by_prediction():
    confusion = counted([[1, 1, 0]], [[0, 0, 2]], 3)
    np.testing.assert_array_equal(confusion.matrix, [[0, 2, 0], [0, 0, 0], [1, 0, 0]])
    assert confusion.matrix.dtype == np.int64


def test_class_that_occurs_nowhere_has_no_score_and_one_only_predicted_counts_zero():
    confusion = counted([0, 1], [0, 0], 3)
    np.testing.assert_array_equal(confusion.iou, [0.5, 0.0, np.nan])
    np.testing.assert_array_equal(confusion.accuracy, [0.5, np.nan, np.nan])
    np.testing.assert_array_equal(confusion.dice, [2 / 3, 0.0, np.nan])
    assert confusion.mean_iou == 0.25
    assert confusion.mean_accuracy == 0.5
    assert confusion.mean_dice == pytest.approx(1 / 3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("labels", [np.zeros((0, 4), int), np.full((2, 2), 255)], ids=["no pixels", "all ignored"])
def test_no_pixel_counted_is_nan_without_warning(labels):
    confusion = counted(np.zeros(labels.shape, int), labels, 2, ignore_index=255)
    for name in ("pixel_accuracy", "mean_accuracy", "mean_iou", "mean_dice", "frequency_weighted_iou"):
        assert np.isnan(getattr(confusion, name)), name
    assert "-" in confusion.table()


@pytest.mark.parametrize("ignore_index", [255, -1, 11])
def test_ignored_pixels_count_for_nothing_whatever_is_predicted_there(ignore_index):
    labels = np.array([0, 1, ignore_index, 1])
    confusion = counted([0, 1, 99, 0], labels, 2, ignore_index)
    np.testing.assert_array_equal(confusion.matrix, [[1, 0], [1, 1]])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint64"])
def test_small_integer_types_do_not_overflow(dtype):
    labels = np.full(1000, 19, dtype)
    confusion = counted(labels, labels, 20)
    assert confusion.matrix[19, 19] == 1000


def test_updates_and_merge_add_up():
    rng = np.random.default_rng(0)
    prediction, labels = rng.integers(0, 4, (2, 6, 8, 8))
    whole, first, second = ConfusionMatrix(4), ConfusionMatrix(4), ConfusionMatrix(4)
    whole.update(prediction, labels)
    first.update(prediction[:2], labels[:2])
    second.update(prediction[2:4], labels[2:4])
    second.update(prediction[4:], labels[4:])
    first.merge(second)
    np.testing.assert_array_equal(first.matrix, whole.matrix)
    with pytest.raises(ShapeError, match="4 and 5"):
        first.merge(ConfusionMatrix(5))


@pytest.mark.parametrize(
    ("prediction", "labels", "error", "message"),
    [
        ([[0, 2]], [[0, 1]], LabelError, r"predicted class 2 at \(0, 1\) is outside the classes 0 to 1 \(1 of 2"),
        ([[0, -1]], [[0, 1]], LabelError, r"predicted class -1 at \(0, 1\)"),
        ([[0, 0]], [[255, 255]], LabelError, r"label 255 at \(0, 0\).*2 of 2.*pass it as ignore_index"),
        ([[0, 0]], [[0, -7]], LabelError, r"label -7 at \(0, 1\)"),
        ([0, 0], [[0, 0]], ShapeError, r"\(2,\) and \(1, 2\)"),
        ([0.0], [0], DtypeError, "prediction must be a NumPy array of integers; got float64"),
        ([0], [0.0], DtypeError, "labels must be a NumPy array of integers; got float64"),
    ],
)
def test_bad_input_is_named_and_leaves_the_counts_alone(prediction, labels, error, message):
    confusion = ConfusionMatrix(2)
    with pytest.raises(error, match=message):
        confusion.update(np.asarray(prediction), np.asarray(labels))
    assert confusion.matrix.sum() == 0


@pytest.mark.parametrize("num_classes", [0, -1, 2.5, "3"])
def test_number_of_classes_is_checked(num_classes):
    with pytest.raises(OptionError, match="num_classes"):
        ConfusionMatrix(num_classes)


def test_table_lists_every_class_then_the_means():
    confusion = counted([0, 1, 1, 0], [0, 1, 0, 0], 3)
    assert confusion.table(["sky", "road", "car"]).splitlines() == [
        "class                  IoU    dice  accuracy        pixels",
        "----------------------------------------------------------",
        "sky                 0.6667  0.8000    0.6667             3",
        "road                0.5000  0.6667    1.0000             1",
        "car                      -       -         -             0",
        "----------------------------------------------------------",
        "mean                0.5833  0.7333    0.8333             4",
        "frequency weighted  0.6250       -         -",
        "all pixels               -       -    0.7500",
    ]
    with pytest.raises(OptionError, match="needs 3 class names; got 1"):
        confusion.table(["sky"])
