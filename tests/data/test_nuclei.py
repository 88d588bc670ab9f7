"""Folders of images and instance maps: lists, splits without lists, maps of 16 bits, and what may be wrong."""

import re

import numpy as np
import pytest
from picture_files import photo, save

from minisegnet.data import open_dataset
from minisegnet.data.label_check import check_labels
from minisegnet.data.objects import objects_of
from minisegnet.errors import DataError, OptionError


def cells(seed, count, high=1):
    """A map (30, 40) uint16 of `count` nuclei, three pixels each, in all of its rows; numbers are multiples of high."""
    numbers = np.zeros((30, 40), np.uint16)
    places = np.random.default_rng(seed).choice(300, count, replace=False)
    for number, place in enumerate(places, 1):
        row, column = divmod(int(place), 10)
        numbers[row, 4 * column : 4 * column + 3] = number * high
    return numbers


@pytest.fixture
def folder(tmp_path):
    for number in range(6):
        save(tmp_path / f"images/n{number}.png", photo(number, 30, 40, channels=3 if number == 5 else 1))
        numbers = cells(number, 300 if number == 4 else number)
        save(tmp_path / f"labels/n{number}.png", numbers if number == 4 else numbers.astype(np.uint8))
    return tmp_path


def lists(folder, **splits):
    for split, names in splits.items():
        (folder / f"{split}.txt").write_text("\n".join(names) + "\n")


def names(dataset):
    return [dataset[index].name for index in range(len(dataset))]


def test_the_lists_decide(folder):
    lists(folder, train=["n3", "n1", "n4"], val=["n0"], test=["n5"], fold2=["n2", "n3.png"])
    opened = {split: open_dataset(f"nuclei:{folder}", split) for split in ("train", "val", "test", "fold2", "all")}
    assert {split: names(dataset) for split, dataset in opened.items()} == {
        "train": ["n3", "n1", "n4"], "val": ["n0"], "test": ["n5"], "fold2": ["n2", "n3"],
        "all": [f"n{number}" for number in range(6)],
    }  # fmt: skip
    train = opened["train"]
    assert train.classes == ("background", "nucleus") and train.channels == 1 and train.ignore_index is None
    for index, number in enumerate([3, 1, 4]):
        sample = train[index]
        expected = cells(number, 300 if number == 4 else number)
        np.testing.assert_array_equal(sample.instances, expected)
        np.testing.assert_array_equal(sample.labels, expected > 0)
        assert sample.image.shape == (1, 30, 40)
        assert len(objects_of(sample)) == expected.max() and set(objects_of(sample).labels) == {1}
    assert opened["test"][0].image.shape == (1, 30, 40), "colours become grey"
    none = objects_of(opened["val"][0])
    assert len(none) == 0 and none.masks.shape == (0, 30, 40)


def test_without_lists_a_hash_of_the_name_decides(folder):
    train, val = (set(names(open_dataset(f"nuclei:{folder}", split))) for split in ("train", "val"))
    assert train and val and not train & val and train | val == {f"n{number}" for number in range(6)}
    assert len(open_dataset(f"nuclei:{folder}", "all")) == 6
    with pytest.raises(OptionError, match=r"no list test\.txt; its splits are train, val, all"):
        open_dataset(f"nuclei:{folder}", "test")


def test_the_label_check_counts_objects(folder):
    lists(folder, train=["n3", "n1", "n4"], val=["n0"])
    report = check_labels(f"nuclei:{folder}")
    assert report.ok and report.splits == {"train": 3, "val": 1} and sorted(report.objects) == [0, 1, 3, 300]
    assert "objects: 304, from 0 to 300 an image" in str(report)
    assert check_labels(f"nuclei:{folder}", "all").objects == [0, 1, 2, 3, 300, 5]


@pytest.mark.parametrize("high", [7, 200])
def test_numbers_may_have_gaps(folder, high):
    save(folder / "labels/n3.png", cells(3, 3, high))
    sample = open_dataset(f"nuclei:{folder}", "all")[3]
    assert np.unique(sample.instances).tolist() == [0, high, 2 * high, 3 * high]
    assert len(objects_of(sample)) == 3


def test_numbers_that_are_colours_are_counted_anew(folder):
    numbers = cells(3, 3).astype(np.int32) * 600_000_000
    save(folder / "labels/n3.tif", numbers)
    (folder / "labels/n3.png").unlink()
    sample = open_dataset(f"nuclei:{folder}", "all")[3]
    np.testing.assert_array_equal(sample.instances, cells(3, 3))
    assert sample.instances.dtype == np.int32


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda folder: lists(folder, train=["n1", "n9", "n8"]), r"train\.txt lists 2 names without.*n9, n8"),
        (lambda folder: (folder / "labels/n1.png").unlink(), r"1 image in .* without a mask: n1\.png"),
        (lambda folder: (folder / "images/n1.png").unlink(), r"1 mask in .* without an image: n1\.png"),
        (lambda folder: (folder / "train.txt").write_bytes(b"\xff\xfe\x00n1"), r"train\.txt is no list of names"),
        (lambda folder: (folder / "train.txt").write_text("\n\n"), "no images in the split 'train'"),
        (lambda folder: (folder / "labels").rename(folder / "maps"), "folders images and labels; found in .*maps/"),
    ],
)
def test_a_folder_of_another_kind_is_refused(folder, spoil, message):
    spoil(folder)
    with pytest.raises(DataError, match=message):
        open_dataset(f"nuclei:{folder}")


def test_a_map_of_another_size_is_refused(folder):
    save(folder / "labels/n3.png", np.zeros((40, 30), np.uint8))
    dataset = open_dataset(f"nuclei:{folder}", "all")
    with pytest.raises(DataError, match=re.escape("n3.png is 40 x 30")):
        dataset[3]
    assert any("n3.png" in problem for problem in check_labels(f"nuclei:{folder}", "all").problems)
