"""A folder of images and masks: the layouts, the splits, the classes, and what is wrong with it."""

import json

import numpy as np
import pytest
from picture_files import mask, pairs, photo, save
from PIL import Image

from minisegnet.data import file_dataset, open_dataset
from minisegnet.data.class_file import read_class_file
from minisegnet.data.file_dataset import images_in
from minisegnet.data.layouts import held_out
from minisegnet.data.loader import Loader
from minisegnet.errors import DataError, LabelError, OptionError

NAMES = [f"photo{number}" for number in range(1, 13)]


def opened(path, split="train", **options):
    return open_dataset(f"folder:{path}", split, **options)


def names(dataset):
    return [dataset[index].name for index in range(len(dataset))]


# ------------------------------------------------------------------------------------------------------------ layouts


@pytest.mark.parametrize("images", ["images", "image", "imgs", "img", "Images"])
@pytest.mark.parametrize("masks", ["masks", "mask", "labels", "label", "annotations", "annot"])
def test_images_and_masks_side_by_side(tmp_path, images, masks):
    pairs(tmp_path / images, tmp_path / masks, NAMES, [0, 1, 2])
    train, val = opened(tmp_path), opened(tmp_path, "val")
    assert len(train) + len(val) == len(NAMES) and train and val
    assert {*names(train), *names(val)} == set(NAMES)


LAYOUTS = {
    "train/images": [("{}/images", "{}/masks"), ("train", "val", "test")],
    "train/image": [("{}/image", "{}/label"), ("train", "valid", "test")],
    "images/train": [("images/{}", "labels/{}"), ("train", "val", "test")],
    "trainannot": [("{}", "{}annot"), ("train", "val", "test")],
    "train_labels": [("{}", "{}_labels"), ("training", "validation", "testing")],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_folders_of_splits(tmp_path, layout):
    (images, masks), splits = LAYOUTS[layout]
    for split, chosen in zip(splits, ("a1", "b1", "c1"), strict=True):
        pairs(tmp_path / images.format(split), tmp_path / masks.format(split), [chosen, chosen + "0"], [0, 1])
    for split, chosen in (("train", "a1"), ("val", "b1"), ("test", "c1")):
        dataset = opened(tmp_path, split)
        assert names(dataset) == [chosen, chosen + "0"]
        assert dataset[0].labels is not None


def test_a_test_split_may_lack_masks_but_no_other(tmp_path):
    pairs(tmp_path / "train/images", tmp_path / "train/masks", ["a"], [0, 1])
    save(tmp_path / "test/b.png", photo(0))
    save(tmp_path / "val/images/c.png", photo(0))
    assert opened(tmp_path, "test")[0].labels is None
    with pytest.raises(DataError, match=r"val/images has images, but no folder of masks stands beside it"):
        opened(tmp_path, "val")


def test_lists_of_names_divide_a_folder(tmp_path):
    pairs(tmp_path / "images", tmp_path / "labels", [*NAMES, "with.dot"], [0, 1])
    (tmp_path / "train.txt").write_text("photo10\nphoto2.png\n\nwith.dot\n")
    (tmp_path / "val.txt").write_text("photo1\n")
    assert names(opened(tmp_path)) == ["photo10", "photo2", "with.dot"]
    assert names(opened(tmp_path, "val")) == ["photo1"]
    (tmp_path / "val.txt").write_text("photo1\nnobody\n")
    with pytest.raises(DataError, match=r"val\.txt lists 1 name without an image and a mask: nobody"):
        opened(tmp_path, "val")


def test_natural_order(tmp_path):
    for name in ("slice10.png", "slice2.png", "Slice1.png", ".hidden.png", "notes.txt", "b.png"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in images_in(tmp_path)] == ["b.png", "Slice1.png", "slice2.png", "slice10.png"]


# ------------------------------------------------------------------------------------------------------------- splits


def test_a_name_stays_on_its_side_whatever_else_there_is():
    many = [f"image {number}" for number in range(2000)]
    val = held_out(many)
    assert 0.17 * len(many) < len(val) < 0.23 * len(many)
    assert held_out(many[:700]) == val & set(many[:700])
    # SHA-1, so the same on every machine and in every version of Python
    assert sorted(held_out(f"{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")) == EXPECTED


EXPECTED = ["h", "i", "k", "l", "q", "x"]


@pytest.mark.parametrize("count", range(2, 12))
def test_neither_side_is_empty(count):
    for start in range(30):
        chosen = [f"{start}-{number}" for number in range(count)]
        assert 0 < len(held_out(chosen)) < count, chosen
    assert held_out([]) == set()


def test_the_splits_do_not_overlap_and_agree_on_classes_and_channels(tmp_path):
    pairs(tmp_path / "images", tmp_path / "masks", NAMES, [0, 1])
    validated = opened(tmp_path, "val")
    first = names(validated)[0]
    save(tmp_path / "images" / f"{first}.png", photo(0, channels=1))  # one grey image among those in colours
    save(tmp_path / "masks" / f"{first}.png", mask(0, [0, 3]))  # and a class that only the validation has
    train, val = opened(tmp_path), opened(tmp_path, "val")
    assert not set(names(train)) & set(names(val))
    assert train.classes == val.classes == ("class 0", "class 1", "class 2", "class 3")
    assert train.channels == val.channels == 3
    assert val[0].image.shape[0] == 3 and (val[0].image[0] == val[0].image[2]).all()


def test_a_missing_split_is_told(tmp_path):
    pairs(tmp_path / "images", tmp_path / "masks", NAMES, [0, 1])
    with pytest.raises(OptionError, match=r"has no split 'test'; it has train, val"):
        opened(tmp_path, "test")


# ------------------------------------------------------------------------------------------------------------ samples


def test_a_sample_is_the_image_and_its_mask(tmp_path):
    image, labels = photo(7), mask(8, [0, 1, 2])
    save(tmp_path / "train/images/a.bmp", image)
    save(tmp_path / "train/masks/a.png", labels)
    dataset = opened(tmp_path)
    sample = dataset[0]
    np.testing.assert_array_equal(sample.image, image.transpose(2, 0, 1).astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(sample.labels, labels)
    assert sample.image.dtype == np.float32 and sample.labels.dtype == np.int32 and sample.name == "a"
    assert dataset.ignore_index is None and dataset.palette.shape == (3, 3) and dataset.palette.dtype == np.uint8
    with pytest.raises(IndexError):
        dataset[1]


def test_grey_images_have_one_channel(tmp_path):
    pairs(tmp_path / "images", tmp_path / "masks", NAMES, [0, 1], channels=1)
    assert opened(tmp_path).channels == 1 and opened(tmp_path)[0].image.shape == (1, 6, 8)


@pytest.mark.parametrize("ending", ["_mask", "_label", "_L"])
def test_a_mask_may_have_an_ending(tmp_path, ending):
    for name in ("a", "b"):
        save(tmp_path / "train/images" / f"{name}.jpg", photo(0))
        save(tmp_path / "train/masks" / f"{name}{ending}.png", mask(0, [0, 1]))
    assert names(opened(tmp_path)) == ["a", "b"]


def test_a_sample_changed_by_its_owner_leaves_the_data_set_as_it_was(tmp_path):
    pairs(tmp_path / "train/images", tmp_path / "train/masks", ["a"], [0, 1])
    dataset = opened(tmp_path)
    before = dataset[0]
    changed = dataset[0]
    changed.image[:] = 0
    changed.labels[:] = 0
    np.testing.assert_array_equal(dataset[0].image, before.image)
    np.testing.assert_array_equal(dataset[0].labels, before.labels)


def test_small_sets_are_decoded_once_and_large_ones_do_not_fill_the_memory(tmp_path, monkeypatch):
    pairs(tmp_path / "train/images", tmp_path / "train/masks", ["a", "b"], [0, 1])
    read = []
    original = file_dataset.read_image
    monkeypatch.setattr(file_dataset, "read_image", lambda path, page: read.append(path.stem) or original(path, page))
    dataset = opened(tmp_path)
    assert read == [], "a sample is read when it is asked for"
    for _ in range(3):
        assert names(dataset) == ["a", "b"]
    assert read == ["a", "b"]
    monkeypatch.setattr(file_dataset, "KEEP_BYTES", 1000)  # one sample has 6 * 8 * (3 + 1) * 4 = 768
    dataset = opened(tmp_path)
    for _ in range(3):
        names(dataset)
    assert read == ["a", "b", "a", "b", "b", "b"]


# ------------------------------------------------------------------------------------------------------------ classes


def test_0_and_255_are_two_classes(tmp_path):
    for name in ("a", "b", "c"):
        save(tmp_path / "train/images" / f"{name}.png", photo(0))
        save(tmp_path / "train/masks" / f"{name}.png", mask(0, [0, 255]))
    save(tmp_path / "train/masks/b.png", np.zeros((6, 8), np.uint8))
    dataset = opened(tmp_path)
    assert dataset.classes == ("class 0", "class 1")
    np.testing.assert_array_equal(dataset[0].labels, mask(0, [0, 255]) // 255)
    assert not dataset[1].labels.any()
    (tmp_path / "classes.txt").write_text("ground\ncell\n")
    dataset = opened(tmp_path)
    assert dataset.classes == ("ground", "cell") and dataset[0].labels.max() == 1
    ignored = opened(tmp_path, ignore_index=255)
    assert ignored[0].labels.max() == 255, "asked to ignore 255, it is no class"


def test_255_among_other_classes_is_not_silently_ignored(tmp_path):
    pairs(tmp_path / "train/images", tmp_path / "train/masks", ["a", "b"], [0, 1, 2, 255])
    dataset = opened(tmp_path)
    assert dataset.classes == ("class 0", "class 1", "class 2") and dataset.ignore_index is None
    with pytest.raises(LabelError, match=r"a: label 255 .* open the data set with ignore_index=255"):
        list(Loader(dataset, 1, prefetch=0).epoch(0))
    dataset = opened(tmp_path, ignore_index=255)
    assert dataset.classes == ("class 0", "class 1", "class 2") and dataset.ignore_index == 255
    assert len(list(Loader(dataset, 2).epoch(0))) == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_palette_grey_and_16_bit_masks_are_the_same_labels(tmp_path, dtype):
    labels = mask(3, [0, 1, 4])
    save(tmp_path / "train/images/a.png", photo(0))
    save(tmp_path / "train/masks/a.png", labels.astype(dtype))
    indexed = Image.fromarray(labels)
    indexed.putpalette(np.random.default_rng(0).integers(0, 256, 15).tolist())
    save(tmp_path / "train/images/b.png", photo(0))
    indexed.save(tmp_path / "train/masks/b.png")
    dataset = opened(tmp_path)
    assert dataset.classes == ("class 0", "class 1", "class 2", "class 3", "class 4")
    for index in (0, 1):
        np.testing.assert_array_equal(dataset[index].labels, labels)


@pytest.mark.parametrize("form", ["txt", "json"])
def test_masks_in_the_colours_of_a_classes_file(tmp_path, form):
    labels = mask(5, [0, 1, 2, 9])
    colours = {0: (128, 128, 128), 1: (128, 0, 0), 2: (0, 0, 255), 9: (0, 0, 0)}
    painted = np.array([[colours[value] for value in row] for row in labels], np.uint8)
    save(tmp_path / "train/images/a.png", photo(0))
    save(tmp_path / "train/masks/a.png", painted)
    if form == "txt":
        (tmp_path / "classes.txt").write_text("sky 128 128 128\nbrick wall,128,0,0\nsea 0 0 255\nignore 0 0 0 # void\n")
    else:
        entries = [("sky", 128, 128, 128), ("brick wall", 128, 0, 0), ("sea", 0, 0, 255), ("ignore", 0, 0, 0)]
        content = [{"name": name, "colour": colour} for name, *colour in entries]
        (tmp_path / "classes.json").write_text(json.dumps(content))
    dataset = opened(tmp_path)
    assert dataset.classes == ("sky", "brick wall", "sea") and dataset.ignore_index == 255
    np.testing.assert_array_equal(dataset.palette, [colours[label] for label in range(3)])
    np.testing.assert_array_equal(dataset[0].labels, np.where(labels == 9, 255, labels))
    assert (opened(tmp_path, ignore_index=77)[0].labels == 77).sum() == (labels == 9).sum()


def test_a_colour_of_no_class_is_told(tmp_path):
    save(tmp_path / "train/images/a.png", photo(0))
    painted = np.zeros((6, 8, 3), np.uint8)
    painted[2, 3:5] = (255, 255, 254)
    save(tmp_path / "train/masks/a.png", painted)
    (tmp_path / "classes.txt").write_text("ground 0 0 0\nsnow 255 255 255\n")
    dataset = opened(tmp_path)
    with pytest.raises(DataError, match=r"a\.png holds colours that no class has: \(255, 255, 254\) at 2 pixels"):
        dataset[0]


def test_colours_without_a_classes_file_are_told(tmp_path):
    save(tmp_path / "train/images/a.png", photo(0))
    save(tmp_path / "train/masks/a.png", np.tile(np.array([255, 0, 9], np.uint8), (6, 8, 1)))
    with pytest.raises(
        DataError, match=r"are in colours, and it has no classes file .*: \(255, 0, 9\)\. Write a classes.txt"
    ):
        opened(tmp_path)


def test_more_classes_than_can_be_believed_are_told(tmp_path):
    pairs(tmp_path / "train/images", tmp_path / "train/masks", ["a", "b"], [0, 1])
    save(tmp_path / "train/masks/b.png", mask(0, range(40, 80)))
    message = (
        r"hold 42 values up to 79, too many .* from 64 on are in 1 mask: b\.png.*instances=True.*smoothed.*classes\.txt"
    )
    with pytest.raises(DataError, match=message):
        opened(tmp_path)
    (tmp_path / "classes.txt").write_text("\n".join(f"kind {label}" for label in range(80)))
    assert len(opened(tmp_path).classes) == 80


def test_instance_maps(tmp_path):
    numbers = np.arange(48, dtype=np.uint16).reshape(6, 8) * 10
    save(tmp_path / "train/images/a.png", photo(0))
    save(tmp_path / "train/masks/a.png", numbers)
    dataset = opened(tmp_path, instances=True)
    assert dataset.classes == ("background", "object")
    np.testing.assert_array_equal(dataset[0].instances, numbers)
    np.testing.assert_array_equal(dataset[0].labels, numbers > 0)
    assert dataset[0].instances.dtype == dataset[0].labels.dtype == np.int32


def test_a_mask_written_anew_is_looked_at_anew(tmp_path):
    pairs(tmp_path / "train/images", tmp_path / "train/masks", ["a"], [0, 1])
    assert len(opened(tmp_path).classes) == 2
    save(tmp_path / "train/masks/a.png", mask(1, range(17)))
    assert len(opened(tmp_path).classes) == 17


# ------------------------------------------------------------------------------------------------------- classes file


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "names no class"),
        ("sky\nsky\n", "line 2: the class name 'sky' occurs twice"),
        ("sky 1 2 3\nsea\n", "gives 1 of 2 classes a colour"),
        ("sky 1 2 3\nsea 1 2 3\n", r"gives the colour \(1, 2, 3\) twice"),
        ("sky 1 2 300\n", r"line 1: a colour is three numbers from 0 to 255; got \[1, 2, 300\]"),
        ("sky\nignore 0 0 0\n", "has a colour to ignore, but no class has a colour"),
    ],
)
def test_a_faulty_classes_txt_is_told(tmp_path, text, message):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=r"classes\.txt.*" + message):
        read_class_file(tmp_path)


@pytest.mark.parametrize("content", ["{", "{}", "3", '["a", 3]', '[{"colour": [1, 2, 3]}]', '[{"name": 3}]', '"ab"'])
def test_a_faulty_classes_json_is_told(tmp_path, content):
    (tmp_path / "classes.json").write_text(content)
    with pytest.raises(DataError, match=r"classes\.json cannot be understood .*; wanted \[\"name\", \.\.\.\]"):
        read_class_file(tmp_path)


def test_a_classes_file_says_what_to_ignore(tmp_path):
    (tmp_path / "classes.txt").write_text("\ufeff# the classes\nsky\n\nsea, deep  # blue\nignore 7\n", encoding="utf-8")
    read = read_class_file(tmp_path)
    assert (read.names, read.ignore_index, read.palette) == (["sky", "sea deep"], 7, None)
    (tmp_path / "classes.txt").unlink()
    (tmp_path / "classes.json").write_text('{"classes": ["sky", "sea"], "ignore_index": 9}')
    assert read_class_file(tmp_path).ignore_index == 9
    (tmp_path / "classes.txt").write_text("sky\n")
    with pytest.raises(DataError, match=r"has both classes\.txt and classes\.json"):
        read_class_file(tmp_path)
    assert read_class_file(tmp_path.parent / "nowhere") is None


# ----------------------------------------------------------------------------------------------------------- problems


def test_all_that_is_wrong_with_the_pairs_is_in_one_list(tmp_path):
    pairs(tmp_path / "train/images", tmp_path / "train/masks", ["a", "b", "c"], [0, 1])
    (tmp_path / "train/masks/a.png").unlink()
    (tmp_path / "train/images/b.png").unlink()
    save(tmp_path / "train/images/c.bmp", photo(0))
    with pytest.raises(DataError) as told:
        opened(tmp_path)
    assert "1 image in" in str(told.value) and "without a mask: a.png" in str(told.value)
    assert "1 mask in" in str(told.value) and "without an image: b.png" in str(told.value)
    assert "holds c.bmp, c.png, which go by one name" in str(told.value)


def test_a_mask_of_another_size_is_told(tmp_path):
    pairs(tmp_path / "train/images", tmp_path / "train/masks", ["a"], [0, 1])
    save(tmp_path / "train/masks/a.png", mask(0, [0, 1], height=8, width=6))
    dataset = opened(tmp_path)
    message = r"images/a\.png is 6 x 8 pixels \(height x width\) and its mask .*masks/a\.png is 8 x 6"
    with pytest.raises(DataError, match=message):
        dataset[0]


def test_a_truncated_image_stops_the_loader_with_its_name(tmp_path):
    pairs(tmp_path / "train/images", tmp_path / "train/masks", ["a", "b"], [0, 1])
    path = tmp_path / "train/images/b.png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"b\.png is damaged or cut short"):
        list(Loader(opened(tmp_path), 1).epoch(0))


def test_a_truncated_mask_does_not_hide_behind_the_search_for_classes(tmp_path):
    pairs(tmp_path / "train/images", tmp_path / "train/masks", ["a", "b"], [0, 1])
    path = tmp_path / "train/masks/b.png"
    path.write_bytes(path.read_bytes()[:-30])
    dataset = opened(tmp_path)
    assert len(dataset.classes) == 2 and dataset[0].labels.max() == 1
    with pytest.raises(DataError, match=r"masks/b\.png is damaged or cut short"):
        dataset[1]


def test_a_folder_of_another_kind_is_told(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "readme.txt").write_text("")
    with pytest.raises(DataError, match=r"looked in .* for the folders images and masks.*: pictures/, readme\.txt"):
        opened(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    save(tmp_path / "images/a.png", photo(0))
    save(tmp_path / "masks/z.png", mask(0, [0]))
    with pytest.raises(DataError, match=r"no image in .* has a mask of its name in .*: a\.png; .*: z\.png"):
        opened(tmp_path)
