"""CamVid in SegNet's layout: classes, void, splits."""

import numpy as np
import pytest
from picture_files import mask, pairs, photo, save

from minisegnet.data import open_dataset
from minisegnet.data.loader import Loader
from minisegnet.data.palettes import camvid_palette
from minisegnet.errors import DataError, LabelError, OptionError


def written(path):
    for split, names in (("train", ["a2", "a10"]), ("val", ["b"]), ("test", ["c"])):
        pairs(path / split, path / f"{split}annot", names, range(12))


@pytest.mark.parametrize("above", ["", "CamVid"])
def test_the_splits_and_their_classes(tmp_path, above):
    written(tmp_path / above)
    for split, names in (("train", ["a2", "a10"]), ("val", ["b"]), ("test", ["c"])):
        dataset = open_dataset(f"camvid:{tmp_path}", split)
        assert [dataset[index].name for index in range(len(dataset))] == names
    assert dataset.classes == (
        *(
            "Sky",
            "Building",
            "Pole",
            "Road",
            "Pavement",
            "Tree",
            "SignSymbol",
            "Fence",
            "Car",
            "Pedestrian",
            "Bicyclist",
        ),
    )
    assert dataset.ignore_index == 11 and dataset.channels == 3
    np.testing.assert_array_equal(dataset.palette, camvid_palette())
    np.testing.assert_array_equal(dataset[0].labels, mask(0, range(12)))
    assert len(list(Loader(dataset, 1, prefetch=0).epoch(0))) == 1, "void, 11, passes the loader's check"


def test_images_may_be_jpeg(tmp_path):
    save(tmp_path / "train/a.jpg", photo(0))
    save(tmp_path / "trainannot/a.png", mask(0, [0, 11]))
    assert open_dataset(f"camvid:{tmp_path}")[0].image.shape == (3, 6, 8)


def test_a_test_split_may_lack_annotations_but_no_other(tmp_path):
    save(tmp_path / "test/a.png", photo(0))
    save(tmp_path / "train/a.png", photo(0))
    assert open_dataset(f"camvid:{tmp_path}", "test")[0].labels is None
    with pytest.raises(DataError, match=r"train has images, but there is no .*trainannot with their masks"):
        open_dataset(f"camvid:{tmp_path}")


def test_what_does_not_fit_is_told(tmp_path):
    with pytest.raises(DataError, match=r"looked in .* for train and trainannot; found in .*: nothing"):
        open_dataset(f"camvid:{tmp_path}")
    written(tmp_path)
    with pytest.raises(OptionError, match="the split must be one of train, val, test; got 'trainval'"):
        open_dataset(f"camvid:{tmp_path}", "trainval")
    save(tmp_path / "valannot/b.png", mask(0, [0, 12]))
    with pytest.raises(LabelError, match=r"b: label 12 .* the ignore_index is 11"):
        list(Loader(open_dataset(f"camvid:{tmp_path}", "val"), 1, prefetch=0).epoch(0))
