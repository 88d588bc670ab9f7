"""COCO's annotations: objects drawn as pycocotools draws them, files found in each layout, and broken ones refused."""

import json
from copy import deepcopy

import numpy as np
import pytest
from picture_files import photo, save

from minisegnet.data import open_dataset
from minisegnet.data.label_check import check_labels
from minisegnet.data.objects import objects_of, targets_of
from minisegnet.data.run_length import encode
from minisegnet.errors import DataError, MinisegnetError, OptionError

HEIGHT, WIDTH = 30, 40


def crowd_mask():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[20:, 5:35:2] = True
    return mask


ANNOTATIONS = {
    "images": [
        {"id": 70, "file_name": "a.png", "height": HEIGHT, "width": WIDTH},
        {"id": 3, "file_name": "sub/b.png", "height": HEIGHT, "width": WIDTH},
        {"id": 8, "file_name": "none.png", "height": HEIGHT, "width": WIDTH},
        {"id": 9, "file_name": "sub/a.png"},
    ],
    "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
    "annotations": [
        {"id": 11, "image_id": 70, "category_id": 18, "iscrowd": 0,
         "segmentation": [[2.5, 3, 30, 4.2, 28, 19, 3, 17]]},
        {"id": 12, "image_id": 70, "category_id": 90, "iscrowd": 0,
         "segmentation": [[10, 5, 20, 5, 20, 12, 10, 12], [33, 2, 38, 2, 38, 9]]},
        {"id": 13, "image_id": 70, "category_id": 1, "iscrowd": 1,
         "segmentation": {"size": [HEIGHT, WIDTH], "counts": encode(crowd_mask()).counts.tolist()}},
        {"id": 14, "image_id": 70, "category_id": 1, "segmentation": encode(~crowd_mask()).to_coco()},
        {"id": 15, "image_id": 3, "category_id": 1, "bbox": [4, 5, 10.6, 7]},
        {"id": 16, "image_id": 3, "category_id": 1, "segmentation": [[1, 1, 1.2, 1, 1, 1.2]]},
        {"id": 17, "image_id": 9, "category_id": 18, "segmentation": [1, 1, 9, 1, 9, 9]},
    ],
}  # fmt: skip


def changed(*path, to):
    """The annotations with one thing in them replaced."""
    data = deepcopy(ANNOTATIONS)
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return data


def write(file, data):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data))
    return file


def save_images(folder):
    for seed, entry in enumerate(ANNOTATIONS["images"]):
        save(folder / entry["file_name"], photo(seed, HEIGHT, WIDTH))


@pytest.fixture
def folder(tmp_path):
    save_images(tmp_path / "images")
    return tmp_path


def opened(folder, data=ANNOTATIONS, split="all", **options):
    write(folder / "annotations.json", data)
    return open_dataset(f"coco:{folder}", split, **options)


def test_classes_are_the_categories_in_order_of_their_ids(folder):
    dataset = opened(folder)
    assert dataset.classes == ("background", "person", "dog", "toothbrush")
    assert dataset.category_ids == (0, 1, 18, 90) and len(dataset.palette) == 4 and dataset.channels == 3
    assert [dataset[index].name for index in range(4)] == ["a", "b", "none", "sub_a"]


def test_objects_lie_upon_each_other(folder):
    sample = opened(folder)[0]
    assert sample.instances.ndim == 3 and sample.object_classes.tolist() == [2, 3, 1, 1]
    objects = objects_of(sample)
    assert objects.labels.tolist() == [2, 3, 1, 1] and objects.crowd.tolist() == [False, False, True, False]
    np.testing.assert_array_equal(objects.masks[2], crowd_mask())
    np.testing.assert_array_equal(objects.masks[3], ~crowd_mask())
    assert objects.masks[1][5:12, 10:20].all() and objects.masks[0][5:12, 10:20].all()
    assert targets_of(sample).labels.tolist() == [2, 3, 1]
    # Labels show the smallest object of each pixel, and crowds where there is none.
    shown = np.zeros((HEIGHT, WIDTH), int)
    for mask, label in ((crowd_mask(), 1), (~crowd_mask(), 1), (objects.masks[0], 2), (objects.masks[1], 3)):
        shown[mask] = label
    np.testing.assert_array_equal(sample.labels, shown)


def test_masks_are_those_of_pycocotools(folder):
    theirs = pytest.importorskip("pycocotools.coco")
    dataset = opened(folder)
    coco = theirs.COCO(folder / "annotations.json")
    masks = [coco.annToMask(annotation) for annotation in coco.loadAnns(coco.getAnnIds([70]))]
    np.testing.assert_array_equal(np.asarray(objects_of(dataset[0]).masks), masks)


def test_no_segmentation_is_the_box_and_no_pixel_is_no_object(folder):
    dataset = opened(folder)
    objects = objects_of(dataset[1])
    assert objects.boxes.tolist() == [[4, 5, 15, 12]] and objects.masks[0].sum() == 77
    assert objects_of(dataset[2]).boxes.shape == (0, 4) and not dataset[2].labels.any()
    assert objects_of(dataset[3]).labels.tolist() == [2]
    report = check_labels(f"coco:{folder}")
    assert report.ok and report.objects == [4, 1, 0, 1] and "1 more cover no pixel" in str(report)


def test_without_annotations_there_are_no_labels(folder):
    dataset = opened(folder, {key: ANNOTATIONS[key] for key in ("images", "categories")})
    assert dataset[0].labels is None and dataset[0].instances is None
    assert check_labels(dataset).unlabelled == 4


LAYOUTS = {
    "COCO's own": ("annotations/instances_train2017.json", "train2017", ["train", "train2017"]),
    "images of all splits in one folder": ("annotations/train.json", "images", ["train"]),
    "images by split": ("annotations/instances_valid.json", "images/valid", ["val", "valid"]),
    "a folder a split": ("val/_annotations.coco.json", "val", ["val"]),
    "a folder a split, with images below": ("train/labels.json", "train/images", ["train"]),
    "a file a split": ("train.json", "train", ["train"]),
    "one file among the images": ("export.json", ".", ["all"]),
}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_layouts(tmp_path, layout):
    file, images, splits = LAYOUTS[layout]
    save_images(tmp_path / images)
    write(tmp_path / file, ANNOTATIONS)
    if splits != ["all"]:
        write((tmp_path / file).parent / "captions_train.json" if "instances" in file else tmp_path / "test.json",
              {"images": [], "categories": []})  # fmt: skip
    for split in splits:
        dataset = open_dataset(f"coco:{tmp_path}", split)
        assert len(dataset) == 4 and dataset[0].image.shape == (3, HEIGHT, WIDTH)
    assert len(open_dataset(f"coco:{tmp_path / file}", "all", images=str(tmp_path / images))) == 4
    with pytest.raises(OptionError, match="for the split 'other', and there are none"):
        open_dataset(f"coco:{tmp_path}", "other")


def test_one_file_is_divided(folder):
    parts = [opened(folder, split=split) for split in ("train", "val")]
    found = [sorted(part[index].name for index in range(len(part))) for part in parts]
    assert all(found) and sorted(found[0] + found[1]) == ["a", "b", "none", "sub_a"]
    assert check_labels(f"coco:{folder / 'annotations.json'}", images=str(folder / "images")).ok


NAN = float("nan")
BROKEN = {
    "unknown image": (("annotations", 0, "image_id"), 71, r"annotation 11: image 71 is not among"),
    "image of a list": (("annotations", 0, "image_id"), [70], r"annotation 11: image \[70\]"),
    "no category": (("annotations", 1, "category_id"), None, r"annotation 12: category None"),
    "unknown category": (("annotations", 1, "category_id"), 2, r"annotation 12: category 2"),
    "two points": (("annotations", 1, "segmentation", 1), [1, 2, 3, 4], r"annotation 12: .*3 corners; got 2"),
    "odd": (("annotations", 1, "segmentation", 1), [1, 2, 3, 4, 5, 6, 7], r"annotation 12: .*no partner"),
    "NaN": (("annotations", 0, "segmentation", 0, 3), NAN, r"annotation 11: .*\(30, nan\)"),
    "infinity": (("annotations", 0, "segmentation", 0, 3), -float("inf"), r"annotation 11: .*-inf"),
    "text": (("annotations", 0, "segmentation"), "polygon", r"annotation 11: a segmentation is a list"),
    "text within": (("annotations", 0, "segmentation", 0, 3), "4", r"annotation 11: .*something else"),
    "empty polygon": (("annotations", 0, "segmentation", 0), [], r"annotation 11: .*got 0"),
    "another size": (("annotations", 2, "segmentation", "size"), [40, 30], r"annotation 13: run lengths of 40 x 30"),
    "counts": (("annotations", 2, "segmentation", "counts"), [4, 5], r"annotation 13: .*add up to 1200; got 9"),
    "counts as text": (("annotations", 3, "segmentation", "counts"), "~", r"annotation 14: .*character 0"),
    "no outline": (("annotations", 4, "bbox"), None, r"annotation 15: has no segmentation, nor a bbox"),
    "box of NaN": (("annotations", 4, "bbox"), [NAN, 1, 2, 3], r"annotation 15: .*nan"),
    "negative box": (("annotations", 4, "bbox"), [1, 1, -2, 3], r"annotation 15: .*sides from 0"),
    "crowd": (("annotations", 0, "iscrowd"), "yes", r"annotation 11: iscrowd is 0 or 1; got 'yes'"),
    "not an object": (("annotations", 5), 7, r"annotation at place 5 of its list: is no object"),
    "id twice": (("images", 1, "id"), 70, r"image 70 has the id of another"),
    "category twice": (("categories", 1, "id"), 90, r"category 90 has the id of another"),
    "no name": (("categories", 1, "name"), "", r"category 1 has no name"),
    "no file": (("images", 0, "file_name"), None, r"image 70 has no file name"),
    "missing file": (("images", 0, "file_name"), "z.png", r"1 image not in .*: z\.png"),
    "refused file": (("images", 0, "file_name"), "z\0" * 300, r"1 image not in "),
    "leads out": (("images", 0, "file_name"), "../images/a.png", r"image 70 has the file name .* leads out"),
    "absolute": (("images", 0, "file_name"), "/a.png", r"image 70 has the file name .* leads out"),
    "size": (("images", 0, "height"), 30.5, r"image 70 has height 30\.5"),
    "no images": (("images",), {}, r"no lists of images and categories"),
    "annotations": (("annotations",), {}, r"annotations must be a list"),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_what_is_broken_is_named(folder, name):
    path, to, message = BROKEN[name]
    data = changed(*path, to=to)
    with pytest.raises(DataError, match=message):
        opened(folder, data)


def test_the_label_check_lists_what_is_broken(folder):
    data = changed("annotations", 0, "image_id", to=71)
    data["annotations"][1]["category_id"] = 5
    write(folder / "annotations.json", data)
    report = check_labels(f"coco:{folder}")
    assert [problem[:14] for problem in report.problems] == ["annotation 11:", "annotation 12:"]


def test_of_many_broken_annotations_the_first_are_named(folder):
    data = deepcopy(ANNOTATIONS)
    data["annotations"] = [{"id": number, "image_id": -1} for number in range(500)]
    with pytest.raises(DataError, match=r"annotation 7: .*; and 492 more in .*annotations\.json$"):
        opened(folder, data)


def test_an_image_of_another_size_is_refused_when_read(folder):
    dataset = opened(folder)
    save(folder / "images/none.png", photo(1, WIDTH, HEIGHT))
    with pytest.raises(DataError, match=r"none\.png is 40 x 30 .* annotations are of 30 x 40"):
        dataset[2]


def test_too_many_objects_upon_each_other_are_refused(folder):
    data = deepcopy(ANNOTATIONS)
    data["annotations"] = [{**data["annotations"][0], "id": number} for number in range(65)]
    with pytest.raises(DataError, match="annotation 64 lies upon 64 others"):
        opened(folder, data)[0]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"null", b"[" * 100_000, b"\xff\xfe\xfa", b'{"images": ' + b"9" * 5000 + b"}"]
)
def test_files_that_are_no_annotations_are_refused(folder, content):
    (folder / "annotations.json").write_bytes(content)
    with pytest.raises(DataError, match=r"annotations\.json"):
        open_dataset(f"coco:{folder}", "all")


def everything(value, path=()):
    """The place of everything in a nest of lists and objects."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from everything(inner, (*path, key))


@pytest.mark.parametrize("hostile", [None, -1, 1e308, 10**30, NAN, "x", [], {}, [[]], [None], {"size": 3}, True])
def test_hostile_values_anywhere_are_errors_or_nothing(folder, hostile):
    for path in list(everything(ANNOTATIONS))[1:]:
        try:
            dataset = opened(folder, changed(*path, to=hostile))
            for index in range(len(dataset)):
                dataset[index]
        except MinisegnetError:
            pass


def test_there_must_be_a_file(tmp_path):
    with pytest.raises(DataError, match=r"for a \.json file; found in .*: nothing"):
        open_dataset(f"coco:{tmp_path}")
    with pytest.raises(DataError, match="there is no folder or file"):
        open_dataset(f"coco:{tmp_path}/none.json")
    with pytest.raises(OptionError, match="coco has no option size; it takes images"):
        opened(tmp_path, size=3)
