"""Pascal VOC's layout: lists, palette masks, images of all sizes, and what is missing."""

import numpy as np
import pytest
from picture_files import mask, photo, save
from PIL import Image

from minisegnet.data import open_dataset
from minisegnet.data.palettes import voc_palette
from minisegnet.errors import DataError, OptionError

LISTS = {
    "train": ["2007_1", "2007_2"],
    "val": ["2007_3"],
    "trainval": ["2007_1", "2007_2", "2007_3"],
    "test": ["2008_1"],
}


def written(root):
    for number, name in enumerate([*LISTS["trainval"], *LISTS["test"]]):
        save(root / "JPEGImages" / f"{name}.jpg", photo(number, 6 + number, 8))
        if name not in LISTS["test"]:
            indexed = Image.fromarray(mask(number, [0, 20, 255], 6 + number, 8))
            indexed.putpalette(voc_palette(256).tobytes())
            (root / "SegmentationClass").mkdir(exist_ok=True)
            indexed.save(root / "SegmentationClass" / f"{name}.png")
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    for split, names in LISTS.items():
        (root / "ImageSets/Segmentation" / f"{split}.txt").write_text("\n".join(names) + "\n\n")


@pytest.mark.parametrize("below", ["", "VOC2012", "VOCdevkit/VOC2012"])
def test_the_lists_name_the_images(tmp_path, below):
    written(tmp_path / below)
    for split, names in LISTS.items():
        dataset = open_dataset(f"voc:{tmp_path}", split)
        assert [dataset[index].name for index in range(len(dataset))] == names
    train = open_dataset(f"voc:{tmp_path}")
    assert len(train.classes) == 21 and (train.classes[0], train.classes[20]) == ("background", "tvmonitor")
    assert train.ignore_index == 255 and train.channels == 3
    np.testing.assert_array_equal(train.palette, voc_palette())
    assert [train[index].image.shape for index in (0, 1)] == [(3, 6, 8), (3, 7, 8)]
    np.testing.assert_array_equal(train[1].labels, mask(1, [0, 20, 255], 7, 8))
    assert open_dataset(f"voc:{tmp_path}", "test")[0].labels is None


def test_what_is_missing_is_told_in_one_list(tmp_path):
    written(tmp_path)
    (tmp_path / "JPEGImages/2007_1.jpg").unlink()
    (tmp_path / "SegmentationClass/2007_2.png").unlink()
    with pytest.raises(DataError) as told:
        open_dataset(f"voc:{tmp_path}")
    assert "1 photograph named by" in str(told.value) and "JPEGImages: 2007_1.jpg" in str(told.value)
    assert "1 mask named by" in str(told.value) and "SegmentationClass: 2007_2.png" in str(told.value)


def test_other_lists_and_folders_are_told(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DataError, match=r"for JPEGImages, SegmentationClass, ImageSets/Segmentation; found in .*: nothing"
    ):
        open_dataset(f"voc:{tmp_path / 'empty'}")
    written(tmp_path / "VOC2007")
    with pytest.raises(OptionError, match=r"has no list all\.txt; it has test, train, trainval, val"):
        open_dataset(f"voc:{tmp_path}", "all")
    written(tmp_path / "VOC2012")
    with pytest.raises(DataError, match="holds VOC2007, VOC2012; name one of them"):
        open_dataset(f"voc:{tmp_path}")
