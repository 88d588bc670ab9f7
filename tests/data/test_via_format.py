"""Annotations of the VGG Image Annotator: each shape, project and export, classes by an attribute, broken ones."""

import json
from copy import deepcopy

import numpy as np
import pytest
from picture_files import photo, save

from minisegnet.data import open_dataset
from minisegnet.data.label_check import check_labels
from minisegnet.data.objects import objects_of
from minisegnet.data.polygons import ellipse, polygon, rectangle
from minisegnet.errors import DataError, MinisegnetError

HEIGHT, WIDTH = 30, 40


def region(kind, shape, **attributes):
    return {"shape_attributes": {"name": shape, **attributes}, "region_attributes": {"type": kind, "ok": {"yes": True}}}


SHAPES = [
    region("cell", "polygon", all_points_x=[1, 9.5, 9, 2], all_points_y=[1, 2, 12, 11]),
    region("axon", "rect", x=20, y=3, width=7, height=5),
    region("cell", "circle", cx=30, cy=20, r=6),
    region("nucleus ", "ellipse", cx=12, cy=20, rx=8, ry=4, theta=0.5),
    region("axon", "polyline", all_points_x=[33, 39, 39, 34], all_points_y=[2, 2, 8, 9]),
]
MASKS = [
    polygon([1, 1, 9.5, 2, 9, 12, 2, 11], (HEIGHT, WIDTH)),
    rectangle(20, 3, 7, 5, (HEIGHT, WIDTH)),
    ellipse(30, 20, 6, 6, (HEIGHT, WIDTH)),
    ellipse(12, 20, 8, 4, (HEIGHT, WIDTH), 0.5),
    polygon([33, 2, 39, 2, 39, 8, 34, 9], (HEIGHT, WIDTH)),
]
EXPORT = {
    "a.png123": {"filename": "a.png", "size": 123, "regions": SHAPES, "file_attributes": {}},
    "b.png456": {"filename": "b.png", "size": 456, "regions": [], "file_attributes": {}},
}


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.png", photo(ord(name), HEIGHT, WIDTH, channels=1))
    return tmp_path


def opened(folder, data=EXPORT, split="all", **options):
    (folder / "via_region_data.json").write_text(json.dumps(data))
    return open_dataset(f"via:{folder}", split, **options)


def as_objects():
    data = deepcopy(EXPORT)
    data["a.png123"]["regions"] = {str(number): each for number, each in enumerate(SHAPES)}
    return data


FORMS = {
    "export": EXPORT,
    "regions by number": as_objects(),
    "project": {"_via_settings": {}, "_via_img_metadata": EXPORT, "_via_attributes": {"region": {"type": {}}}},
}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_regions_become_objects(folder, form):
    dataset = opened(folder, FORMS[form])
    assert dataset.classes == ("background", "object") and dataset.channels == 1 and len(dataset) == 2
    sample = dataset[0]
    objects = objects_of(sample)
    assert objects.labels.tolist() == [1] * 5
    for mask, expected in zip(objects.masks, MASKS, strict=True):
        np.testing.assert_array_equal(mask, expected.mask())
    np.testing.assert_array_equal(sample.labels, np.asarray(objects.masks).any(axis=0))
    assert sample.instances.ndim == 2, "nothing lies upon another here"
    assert len(objects_of(dataset[1])) == 0
    assert check_labels(f"via:{folder}").objects == [5, 0]


def test_an_attribute_tells_the_classes(folder):
    dataset = opened(folder, attribute="type")
    assert dataset.classes == ("background", "axon", "cell", "nucleus")
    assert objects_of(dataset[0]).labels.tolist() == [2, 1, 2, 3, 1]
    assert opened(folder, attribute="ok").classes == ("background", "yes"), "the box that is ticked"
    assert opened(folder, attribute="ok")[0].labels.max() == 1


def test_splits_share_their_classes(tmp_path):
    for split, kind in (("train", "dog"), ("val", "cat")):
        save(tmp_path / split / "a.png", photo(1, HEIGHT, WIDTH))
        data = {"a": {"filename": "a.png", "regions": [region(kind, "rect", x=1, y=1, width=5, height=5)]}}
        (tmp_path / split / "via_region_data.json").write_text(json.dumps(data))
    for split, label in (("train", 2), ("val", 1)):
        dataset = open_dataset(f"via:{tmp_path}", split, attribute="type")
        assert dataset.classes == ("background", "cat", "dog") and dataset.channels == 3
        assert objects_of(dataset[0]).labels.tolist() == [label]
    assert check_labels(f"via:{tmp_path}").splits == {"train": 1, "val": 1}


BROKEN = {
    "point": (SHAPES[0], {"shape_attributes": {"name": "point", "cx": 1, "cy": 2}}, "region 0 of a.png: .*'point'"),
    "two corners": (
        SHAPES[0],
        region("cell", "polygon", all_points_x=[1, 2], all_points_y=[1, 2]),
        "region 0 of a.png: .*3 corners",
    ),
    "lengths": (
        SHAPES[0],
        region("cell", "polygon", all_points_x=[1, 2, 3], all_points_y=[1, 2]),
        "region 0 of a.png: .*as many",
    ),
    "NaN": (SHAPES[2], region("cell", "circle", cx=1, cy=float("nan"), r=3), "region 2 of a.png: cy must be"),
    "negative": (SHAPES[1], region("cell", "rect", x=1, y=1, width=-3, height=2), "region 1 of a.png: width must be"),
    "no shape": (SHAPES[3], {}, "region 3 of a.png: has no shape_attributes"),
    "no region": (SHAPES[3], 7, "region 3 of a.png: has no shape_attributes; got 7"),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_broken_regions_are_named(folder, name):
    old, new, message = BROKEN[name]
    data = deepcopy(EXPORT)
    data["a.png123"]["regions"][SHAPES.index(old)] = new
    with pytest.raises(DataError, match=message):
        opened(folder, data)


@pytest.mark.parametrize(
    "value, message",
    [
        (None, "must name one class; got None"),
        ("", "must name one class"),
        ({"a": True, "b": True}, "must name one class"),
        ({"a": False}, "must name one class"),
        ([1], r"must name one class; got \[1\]"),
    ],
)
def test_a_region_of_no_class_is_refused(folder, value, message):
    data = deepcopy(EXPORT)
    data["a.png123"]["regions"][1]["region_attributes"]["type"] = value
    with pytest.raises(DataError, match=f"region 1 of a.png: .*{message}"):
        opened(folder, data, attribute="type")
    assert len(opened(folder, data)) == 2


def test_an_attribute_that_there_is_not_is_refused(folder):
    with pytest.raises(DataError, match="has no attribute 'kind' to tell its class; its attributes: type, ok"):
        opened(folder, attribute="kind")


def test_files_of_another_kind_are_refused(folder):
    for data in ([], 3, {"a": 1}, {"_via_img_metadata": []}, {"a": {"filename": "a.png", "regions": 3}},
                 {"a": {"filename": "../a.png"}}, {"a": {}}, {"a": {"filename": "z.png"}}, {}):  # fmt: skip
        with pytest.raises(DataError):
            opened(folder, data)


def everything(value, path=()):
    """The place of everything in a nest of lists and objects."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from everything(inner, (*path, key))


@pytest.mark.parametrize("hostile", [None, -1, 1e308, 10**30, float("nan"), "x", [], {}, [[]], [None], True])
def test_hostile_values_anywhere_are_errors_or_nothing(folder, hostile):
    project = FORMS["project"]
    for path in list(everything(project))[1:]:
        data = deepcopy(project)
        inner = data
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = hostile
        try:
            dataset = opened(folder, data, attribute="type")
            for index in range(len(dataset)):
                dataset[index]
        except MinisegnetError:
            pass
