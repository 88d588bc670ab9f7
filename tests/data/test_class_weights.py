import numpy as np
import pytest

from minisegnet.data.class_weights import median_frequency
from minisegnet.data.sample import Sample
from minisegnet.errors import DataError, LabelError


class Masks:
    """A data set of label images alone."""

    channels = 1
    palette = np.zeros((4, 3), np.uint8)

    def __init__(self, *masks, classes=4, ignore_index=None):
        self.masks, self.ignore_index = masks, ignore_index
        self.classes = tuple(f"class{i}" for i in range(classes))

    def __len__(self):
        return len(self.masks)

    def __getitem__(self, i):
        labels = None if self.masks[i] is None else np.array(self.masks[i], np.int32)
        return Sample(np.zeros((1, 2, 4), np.float32), labels, f"mask{i}")


def test_by_hand():
    """Frequencies 9/16 (in both images), 3/8 and 4/8 (in one each): their median is 1/2."""
    weights = median_frequency(Masks([[0, 0, 0, 0], [0, 1, 1, 1]], [[0, 0, 0, 0], [2, 2, 2, 2]], classes=3))
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, [8 / 9, 4 / 3, 1], rtol=1e-6)


@pytest.mark.parametrize("ignore_index", [255, -100, 3])
def test_ignored_pixels_do_not_count(ignore_index):
    i = ignore_index
    weights = median_frequency(Masks([[i, i, i, i], [i, 0, 0, 1]], [[0, 1, 1, i], [i, i, i, i]], ignore_index=i))
    np.testing.assert_allclose(weights, [1, 1, 1, 1])  # 3/6 and 3/6; the others never occur
    weights = median_frequency(Masks([[i, i, i, i], [0, 0, 0, 1]], ignore_index=i))
    np.testing.assert_allclose(weights, [0.5 / 0.75, 0.5 / 0.25, 1, 1], rtol=1e-6)


def test_nothing_but_ignored_pixels():
    np.testing.assert_array_equal(median_frequency(Masks([[9, 9], [9, 9]], ignore_index=9)), np.ones(4, np.float32))


@pytest.mark.parametrize("seed", range(3))
def test_against_the_definition(seed):
    rng = np.random.default_rng(seed)
    masks = [rng.choice(5, (20, 30), p=rng.dirichlet(np.full(5, 0.5))) for _ in range(6)]
    frequency = []
    for c in range(5):
        present = [mask for mask in masks if (mask == c).any()]
        frequency.append(sum((mask == c).sum() for mask in present) / sum(mask.size for mask in present))
    np.testing.assert_allclose(
        median_frequency(Masks(*masks, classes=5)), np.median(frequency) / np.array(frequency), rtol=1e-6
    )


@pytest.mark.parametrize(
    "dataset, error, message",
    [
        (Masks(), DataError, "the data set is empty"),
        (Masks([[0]], None), DataError, "mask1 has no labels"),
        (Masks([[0, 1], [4, 0]]), LabelError, "mask0: label 4 at row 1, column 0 is outside the classes 0 to 3"),
    ],
)
def test_errors(dataset, error, message):
    with pytest.raises(error, match=message):
        median_frequency(dataset)
