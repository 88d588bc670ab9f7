"""The threshold baseline: right where thresholds suffice, at or below 0.5 where they should not, and repeatable."""

from dataclasses import replace

import numpy as np
import pytest

from minisegnet.data.baseline import descriptors, otsu_threshold, threshold_baseline
from minisegnet.data.shapes import Shapes
from minisegnet.errors import DataError
from minisegnet.metrics import ConfusionMatrix


def mean_iou(predictions, dataset):
    matrix = ConfusionMatrix(len(dataset.classes))
    for index, prediction in enumerate(predictions):
        matrix.update(prediction, dataset[index].labels)
    return matrix.mean_iou


def test_it_solves_the_easy_shapes():
    test = Shapes(64, 24, difficulty="easy", split="test")
    assert mean_iou(threshold_baseline(Shapes(64, 32, difficulty="easy"), test), test) > 0.8


def test_medium_shapes_of_64_pixels_are_too_hard_for_it():
    test = Shapes(64, 32, split="test")
    score = mean_iou(threshold_baseline(Shapes(64, 48), test), test)
    assert 0.2 < score <= 0.5  # above what guessing background everywhere gives, so an effort it is


def test_predictions_are_repeatable_labels_of_every_test_image():
    train, test = Shapes(40, 12), Shapes(40, 5, split="test")
    first, second = threshold_baseline(train, test), threshold_baseline(train, test)
    assert len(first) == 5
    for prediction, again in zip(first, second, strict=True):
        assert prediction.shape == (40, 40)
        assert prediction.dtype == np.int32
        assert set(np.unique(prediction)) <= set(range(len(train.classes)))
        np.testing.assert_array_equal(prediction, again)


class Changed:
    """A data set with something done to each sample."""

    def __init__(self, dataset, change):
        self.dataset, self.change = dataset, change
        self.classes, self.palette = dataset.classes, dataset.palette
        self.ignore_index, self.channels = dataset.ignore_index, dataset.channels

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return self.change(self.dataset[index])


def test_it_never_looks_at_the_test_labels():
    train, test = Shapes(40, 12), Shapes(40, 4, split="test")
    without = Changed(test, lambda sample: replace(sample, labels=None, instances=None))
    for with_labels, blind in zip(threshold_baseline(train, test), threshold_baseline(train, without), strict=True):
        np.testing.assert_array_equal(with_labels, blind)


def test_grey_and_constant_images_are_no_problem():
    train, test = Shapes(40, 6), Shapes(40, 3, split="test")
    grey = [Changed(part, lambda sample: replace(sample, image=sample.image[:1])) for part in (train, test)]
    assert len(threshold_baseline(*grey)) == 3
    plain = Changed(test, lambda sample: replace(sample, image=np.full_like(sample.image, 0.5)))
    assert all((prediction == 0).all() for prediction in threshold_baseline(train, plain))


def test_it_says_which_training_samples_lack_labels():
    unlabelled = Changed(Shapes(32, 4), lambda sample: replace(sample, labels=None))
    with pytest.raises(DataError, match="none with shapes_train_00000"):
        threshold_baseline(unlabelled, Shapes(32, 1, split="test"))
    with pytest.raises(DataError, match="at least two samples, each with labels; got 1"):
        threshold_baseline(Shapes(32, 1), Shapes(32, 1, split="test"))


@pytest.mark.parametrize("seed", range(3))
def test_otsu_is_the_cut_of_least_variance_within(seed):
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(0.2, 0.05, 700), rng.normal(0.7, 0.1, 300)])

    def variance_within(cut):
        sides = values[values <= cut], values[values > cut]
        return sum(side.size * side.var() for side in sides if side.size)

    best = min(variance_within(cut) for cut in np.linspace(values.min(), values.max(), 500))
    assert variance_within(otsu_threshold(values)) < 1.02 * best, seed


def test_descriptors_stay_when_a_shape_is_turned_or_moved_and_differ_between_shapes():
    y, x = np.mgrid[-20:21, -20:21]
    square, disc = (np.abs(x) < 12) & (np.abs(y) < 12), np.hypot(x, y) < 14
    bar = (np.abs(x) < 18) & (np.abs(y) < 4)
    for shape in (square, disc, bar):
        np.testing.assert_allclose(descriptors(np.rot90(shape)), descriptors(shape), atol=1e-9)
        np.testing.assert_allclose(descriptors(np.pad(shape, ((3, 0), (0, 5)))), descriptors(shape), atol=1e-9)
    for one, other in ((square, disc), (square, bar), (disc, bar)):
        assert np.abs(descriptors(one) - descriptors(other)).max() > 0.05


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_descriptors_of_a_line_or_a_point_are_finite(shape):
    assert np.isfinite(descriptors(np.ones(shape, bool))).all()
