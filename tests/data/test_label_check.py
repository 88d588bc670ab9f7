"""The label check: all that is wrong, in one list, without stopping at the first of it."""

import numpy as np
import pytest
from picture_files import mask, pairs, photo, save

from minisegnet.data import open_dataset
from minisegnet.data.label_check import check_labels
from minisegnet.data.sample import Sample
from minisegnet.errors import DataError, OptionError


def test_the_classes_found_are_counted(tmp_path):
    pairs(tmp_path / "train/images", tmp_path / "train/masks", ["a", "b"], [0, 1])
    pairs(tmp_path / "val/images", tmp_path / "val/masks", ["c"], [2])
    masks = [mask(0, [0, 1]), mask(1, [0, 1]), mask(0, [2])]
    for data in (tmp_path, str(tmp_path), f"folder:{tmp_path}"):
        report = check_labels(data)
        assert report.ok and report.splits == {"train": 2, "val": 1}
        assert dict(report.pixels) == {value: sum(int((m == value).sum()) for m in masks) for value in (0, 1, 2)}
        assert dict(report.images) == {0: 2, 1: 2, 2: 1}
    text = str(report)
    assert "3 images (train 2, val 1)" in text and "sizes (height x width): 6 x 8 (3)" in text
    [row] = [line for line in text.splitlines() if "class 2" in line]
    assert row.split() == ["2", "class", "2", "48", "33.33%", "1"]
    assert text.endswith("no problems found")
    assert check_labels(tmp_path, "val").splits == {"val": 1}


def test_everything_that_is_wrong_is_in_one_list(tmp_path):
    images, masks = tmp_path / "train/images", tmp_path / "train/masks"
    pairs(images, masks, ["good", "stray", "size", "cut", "bare", "lone", "text"], [0, 1])
    save(masks / "stray.png", mask(0, [0, 1, 255]))
    save(masks / "size.png", mask(0, [0, 1], height=3))
    (masks / "cut.png").write_bytes((masks / "cut.png").read_bytes()[:-30])
    (images / "text.png").write_text("no image")
    (masks / "bare.png").unlink()
    (images / "lone.png").unlink()
    report = check_labels(tmp_path)
    text = str(report)
    assert not report.ok and "6 problems found:" in text
    count = int((mask(0, [0, 1, 255]) == 255).sum())
    for wanted in (
        f"label 255 is no class: {count} pixels in 1 file: stray.png; if it means 'no class', open the data set with",
        "6 x 8 pixels (height x width) and its mask",
        "masks/cut.png is damaged or cut short",
        "images/text.png is no image that can be read",
        "1 image in " + str(images) + " without a mask: bare.png",
        "1 mask in " + str(masks) + " without an image: lone.png",
    ):
        assert wanted in text, wanted
    assert report.strays[255].pixels == count and report.strays[255].files == ["stray.png"]


def test_an_ignored_label_is_counted_and_no_problem(tmp_path):
    pairs(tmp_path / "train/images", tmp_path / "train/masks", ["a"], [0, 1, 255])
    report = check_labels(tmp_path, ignore_index=255)
    assert report.ok and "255 (ignored)" in str(report)
    assert report.pixels[255] == int((mask(0, [0, 1, 255]) == 255).sum())


def test_colours_of_no_class_are_counted(tmp_path):
    save(tmp_path / "train/images/a.png", photo(0))
    painted = np.zeros((6, 8, 3), np.uint8)
    painted[0, :3] = (1, 2, 3)
    save(tmp_path / "train/masks/a.png", painted)
    (tmp_path / "classes.txt").write_text("ground 0 0 0\n")
    assert "colour (1, 2, 3) is no class: 3 pixels in 1 file: a.png" in str(check_labels(tmp_path))
    (tmp_path / "classes.txt").unlink()
    report = check_labels(tmp_path)
    assert "Write a classes.txt" in str(report) and "1 problem found" in str(report)
    assert [line.split()[-3:] for line in str(report).splitlines() if line.startswith("colour (1, 2, 3)")] == [
        ["3", "6.25%", "1"]
    ]


def test_a_smoothed_mask_among_good_ones_is_named(tmp_path):
    pairs(tmp_path / "train/images", tmp_path / "train/masks", ["a", "b"], [0, 1])
    save(tmp_path / "train/masks/b.png", mask(0, range(40, 80)))
    report = check_labels(tmp_path)
    assert not report.ok and "from 64 on are in 1 mask: b.png" in str(report) and "value 0" in str(report)
    (tmp_path / "classes.txt").write_text("ground\ncell\n")
    assert "20 more values of no class: 20 pixels" in str(check_labels(tmp_path))


def test_instances_are_one_class(tmp_path):
    save(tmp_path / "train/images/a.png", photo(0))
    save(tmp_path / "train/masks/a.png", np.arange(48, dtype=np.uint16).reshape(6, 8) * 10)
    report = check_labels(tmp_path, instances=True)
    assert report.ok and dict(report.pixels) == {0: 1, 1: 47}


def test_images_that_need_no_labels_are_no_problem(tmp_path):
    pairs(tmp_path / "train", tmp_path / "trainannot", ["a"], [0, 11])
    save(tmp_path / "test/b.png", photo(0))
    report = check_labels(f"camvid:{tmp_path}")
    assert report.ok and report.unlabelled == 1 and report.splits == {"train": 1, "test": 1}


def test_lists_that_divide_a_folder_do_not_count_twice(tmp_path):
    pairs(tmp_path / "images", tmp_path / "masks", ["a", "b"], [0, 1])
    (tmp_path / "images/extra.png").write_bytes((tmp_path / "images/a.png").read_bytes())
    for split in ("train", "val"):
        (tmp_path / f"{split}.txt").write_text("a\nb\n")
    report = check_labels(tmp_path)
    assert sum(report.pixels.values()) == 2 * 48
    assert len(report.problems) == 1, "the image without a mask is told once, not for each split"


def test_made_up_and_open_data_sets_are_looked_at():
    report = check_labels("shapes:easy", size=32, count=2)
    assert report.ok and report.splits == {"train": 2, "val": 2, "test": 2}
    assert sum(report.pixels.values()) == 6 * 32 * 32
    assert check_labels(open_dataset("shapes", size=32, count=2)).splits == {"all": 2}


def test_an_open_data_set_of_ones_own_is_looked_at():
    class Own:
        classes, ignore_index, channels = ("a", "b"), None, 1

        def __len__(self):
            return 4

        def __getitem__(self, index):
            image, labels = np.zeros((1, 2, 3), np.float32), np.zeros((2, 3), np.int32)
            if index == 1:
                raise DataError("second: cannot be read")
            if index == 2:
                image[0, 1, 2] = np.nan
            if index == 3:
                labels[0, 0] = 9
            return Sample(image, labels, f"own{index}")

    text = str(check_labels(Own()))
    for wanted in (
        "second: cannot be read",
        "own2: the image holds 1 NaN",
        "label 9 is no class: 1 pixel in 1 file: own3",
    ):
        assert wanted in text, text


def test_progress_sees_every_image(tmp_path):
    pairs(tmp_path / "train/images", tmp_path / "train/masks", ["a", "b"], [0, 1])
    seen = []
    check_labels(tmp_path, progress=lambda items: (seen.append(item) or item for item in items))
    assert seen == [0, 1]


def test_only_a_missing_data_set_is_raised(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        check_labels(f"folder:{tmp_path / 'missing'}")
    with pytest.raises(OptionError, match="data must be one of"):
        check_labels("nonsense")
    with pytest.raises(DataError, match="for the folders images and masks"):
        check_labels(tmp_path)
