"""A slice behind a split's name, which any format has."""

import numpy as np
import pytest

from minisegnet.data import open_dataset
from minisegnet.errors import OptionError

PARTS = {"train[:-4]": range(6), "train[-4:]": range(6, 10), "train[2:5]": range(2, 5), "train[:]": range(10)}


@pytest.mark.parametrize("split", sorted(PARTS))
def test_a_part_has_the_samples_of_a_slice(split):
    whole, part = (open_dataset("shapes", name, count=10, size=32) for name in ("train", split))
    assert len(part) == len(PARTS[split])
    assert (part.classes, part.channels, part.ignore_index) == (whole.classes, whole.channels, whole.ignore_index)
    np.testing.assert_array_equal(part.palette, whole.palette)
    for index, number in enumerate(PARTS[split]):
        assert part[index].name == whole[number].name
    assert part[-1].name == whole[PARTS[split][-1]].name
    with pytest.raises(IndexError):
        part[len(part)]


@pytest.mark.parametrize("split", ["train[10:]", "train[5:2]", "train[:-10]"])
def test_a_part_without_samples_is_refused(split):
    with pytest.raises(OptionError, match="of 10 images is none"):
        open_dataset("shapes", split, count=10, size=32)


@pytest.mark.parametrize("split", ["train[a:b]", "train[", "[1:2]", "train[1]"])
def test_what_is_no_slice_is_no_split(split):
    with pytest.raises(OptionError, match="split must be"):
        open_dataset("shapes", split, count=10, size=32)
