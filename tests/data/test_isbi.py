"""ISBI 2012's slices: layouts, labels, the splits that leave neighbours together, and what is told."""

import numpy as np
import pytest
from picture_files import mask, photo, save
from PIL import Image

from minisegnet.data import open_dataset
from minisegnet.data.isbi import slice_numbers
from minisegnet.data.loader import Loader
from minisegnet.errors import DataError, LabelError, OptionError

COUNT = 30


def written(path, images="train/image", labels="train/label"):
    for number in range(COUNT):
        save(path / images / f"{number}.png", photo(number, channels=1))
        save(path / labels / f"{number}.png", mask(number, [0, 255]))


def names(dataset):
    return [pair.name for pair in dataset.pairs]


@pytest.mark.parametrize("images", ["train/image", "train/images", "image", "images"])
@pytest.mark.parametrize("labels", ["label", "labels"])
def test_slices_in_folders(tmp_path, images, labels):
    labels = "train/" + labels if images.startswith("train/") else labels
    written(tmp_path, images, labels)
    train, val = open_dataset(f"isbi:{tmp_path}"), open_dataset(f"isbi:{tmp_path}", "val")
    assert names(train) == [str(number) for number in range(24)], "in the order of the slices: 2 before 10"
    assert names(val) == [str(number) for number in range(24, 30)]
    assert train.classes == ("membrane", "interior") and train.channels == 1 and train.ignore_index is None
    sample = val[0]
    assert sample.image.shape == (1, 6, 8) and sample.labels.dtype == np.int32
    np.testing.assert_array_equal(sample.labels, mask(24, [0, 255]) // 255)


def test_volumes(tmp_path):
    for name, pages in (
        ("train-volume.tif", [photo(number, channels=1) for number in range(5)]),
        ("train-labels.tif", [mask(number, [0, 255]) for number in range(5)]),
        ("test-volume.tif", [photo(number, channels=1) for number in range(3)]),
    ):
        first, *rest = (Image.fromarray(page) for page in pages)
        first.save(tmp_path / name, save_all=True, append_images=rest)
    train, val = open_dataset(f"isbi:{tmp_path}"), open_dataset(f"isbi:{tmp_path}", "val")
    assert (len(train), len(val), len(open_dataset(f"isbi:{tmp_path}", "test"))) == (4, 1, 3)
    np.testing.assert_allclose(val[0].image[0] * 255, photo(4, channels=1), rtol=1e-6)
    np.testing.assert_array_equal(val[0].labels, mask(4, [0, 255]) // 255)
    Image.fromarray(photo(0, channels=1)).save(tmp_path / "train-labels.tif")
    with pytest.raises(DataError, match=r"train-volume\.tif has 5 pages and .*train-labels\.tif 1"):
        open_dataset(f"isbi:{tmp_path}")


@pytest.mark.parametrize("folder", ["test", "test/image", "test/images"])
def test_the_challenges_own_slices_have_no_labels(tmp_path, folder):
    for number in (10, 2):
        save(tmp_path / folder / f"{number}.png", photo(number, channels=1))
    test = open_dataset(f"isbi:{tmp_path}", "test")
    assert names(test) == ["test-2", "test-10"] and test[0].labels is None
    assert names(open_dataset(f"isbi:{tmp_path}", "test", slices="1")) == ["test-10"]


@pytest.mark.parametrize("as_split", [False, True], ids=["option", "split"])
def test_slices_by_number(tmp_path, as_split):
    written(tmp_path)
    opened = open_dataset(f"isbi:{tmp_path}", **({"split": "20-23,3"} if as_split else {"slices": "20-23,3"}))
    assert names(opened) == ["20", "21", "22", "23", "3"]
    with pytest.raises(OptionError, match="has the slices 0 to 29; 30 was asked for"):
        open_dataset(f"isbi:{tmp_path}", slices="24-30")


def test_numbers_of_slices():
    assert slice_numbers("0-3,7") == [0, 1, 2, 3, 7]
    assert slice_numbers(range(2, 5)) == slice_numbers([2, 3, 4]) == [2, 3, 4]


@pytest.mark.parametrize("slices", ["", "a", "3-1", "-1", "1,1", "0-2,2", [], [-1], 5])
def test_what_is_no_slices_is_told(slices):
    with pytest.raises(OptionError, match="slices must be numbers from 0 such as '0-23'"):
        slice_numbers(slices)


def test_other_splits_and_folders_are_told(tmp_path):
    written(tmp_path)
    with pytest.raises(OptionError, match="the split must be train, val or test, or slices such as 0-23; got 'all'"):
        open_dataset(f"isbi:{tmp_path}", "all")
    with pytest.raises(DataError, match=r"for a folder test with images, or test-volume\.tif; found in .*: train/"):
        open_dataset(f"isbi:{tmp_path}", "test")
    (tmp_path / "other/pictures").mkdir(parents=True)
    with pytest.raises(DataError, match=r"looked in .* for train/image and train/label .*: pictures/"):
        open_dataset(f"isbi:{tmp_path / 'other'}")


def test_a_stray_label_and_a_missing_one_are_told(tmp_path):
    written(tmp_path)
    save(tmp_path / "train/label/3.png", mask(0, [0, 7, 255]))
    with pytest.raises(LabelError, match="3: label 7 "):
        list(Loader(open_dataset(f"isbi:{tmp_path}"), 1, prefetch=0).epoch(0))
    (tmp_path / "train/label/5.png").unlink()
    with pytest.raises(DataError, match=r"1 image in .*train/image without a mask: 5\.png"):
        open_dataset(f"isbi:{tmp_path}")
