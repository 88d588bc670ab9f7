"""COCO's annotations: one JSON file of images, categories, and objects outlined by polygons or run lengths."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minisegnet.data.annotated import Annotated, AnnotatedImages, Outline, open_annotated
from minisegnet.data.annotation_files import annotation_files, checked_name, chosen_file, in_part, read_json, short
from minisegnet.data.polygons import corners, polygons, rectangle
from minisegnet.data.run_length import RunLength, from_coco
from minisegnet.errors import DataError, MinisegnetError


def coco(path: Path, split: str = "train", images: str | None = None) -> AnnotatedImages:
    """The images of one split, with their objects as instances.

    path    a folder with annotations/instances_SPLIT.json (train2017 is found as train, too), SPLIT.json, or SPLIT/
            with a JSON file and the images; or one JSON file, or a folder with one
    split   of which there is such a file. One file alone is "all", or is divided: a hash of each image's name decides
            between "train" and "val" (see `layouts.held_out`)
    images  the folder of the images; by default it is looked for near the file, such as SPLIT/ or images/

    Classes are the background and the categories in order of their ids, which may have gaps; `category_ids` tells
    them by label. An object without a segmentation is its bbox. Crowds (iscrowd) are known as such.

    Raises DataError for a file that is no such JSON, OptionError for a split that there is not. What is wrong with an
    annotation (its image, category, polygons, run lengths, NaN) is in the data set's `problems`, by its id.
    Source: Lin et al. 2014, Microsoft COCO: common objects in context.
    """
    file, part = chosen_file(path, split)
    data = _checked(read_json(file), file)
    problems: list[str] = []
    categories = _by_id(data["categories"], "category", lambda entry: _name(entry), problems)
    ids = sorted(categories, key=lambda category: (isinstance(category, str), category))
    labels = {category: label for label, category in enumerate(ids, 1)}
    entries = _by_id(
        data["images"], "image", lambda entry: (checked_name(entry.get("file_name")), _size(entry)), problems
    )
    outlines: dict[Any, list[Outline]] = {image: [] for image in entries}
    for place, annotation in enumerate(data.get("annotations", [])):
        name = f"annotation {_id_of(annotation, place)}"
        try:
            image, outline = _outline(annotation, name, entries, labels)
            outlines[image].append(outline)
        except MinisegnetError as problem:
            problems.append(f"{name}: {problem}")
    wanted = in_part([name for name, _ in entries.values()], part)
    known = "annotations" in data
    chosen = [
        Annotated(name, size, outlines[image] if known else None)
        for image, (name, size) in entries.items()
        if name in wanted
    ]
    classes = ("background", *(categories[category] for category in ids))
    dataset = open_annotated(file, chosen, None if images is None else Path(images).expanduser(), classes, problems)
    dataset.category_ids = (0, *ids)
    return dataset


def splits(path: Path) -> list[str]:
    """The annotation files that there are."""
    return list(annotation_files(path))


def _checked(data: Any, file: Path) -> dict[str, list]:
    wanted = ("images", "categories")
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in wanted):
        raise DataError(f"{file} is no annotation file of COCO's: it has no lists of images and categories")
    if not isinstance(data.get("annotations", []), list):
        raise DataError(f"{file}: annotations must be a list; got {short(data['annotations'])}")
    return data


def _by_id(entries: list, what: str, read: Callable[[dict], Any], problems: list[str]) -> dict[Any, Any]:
    """What is read of each entry, by its id."""
    found: dict[Any, Any] = {}
    for place, entry in enumerate(entries):
        name = f"{what} {_id_of(entry, place)}"
        try:
            if not isinstance(entry, dict) or not _is_id(entry.get("id")):
                raise DataError(f"has no id; got {short(entry)}")
            if entry["id"] in found:
                raise DataError("has the id of another one")
            found[entry["id"]] = read(entry)
        except MinisegnetError as problem:
            problems.append(f"{name} {problem}")
    return found


def _outline(annotation: Any, name: str, entries: dict, labels: dict) -> tuple[Any, Outline]:
    """The image that an annotation belongs to, and its object."""
    if not isinstance(annotation, dict):
        raise DataError(f"is no object of JSON; got {short(annotation)}")
    image, category = annotation.get("image_id"), annotation.get("category_id")
    if not _is_id(image) or image not in entries:
        raise DataError(f"image {short(image)} is not among the images")
    if not _is_id(category) or category not in labels:
        raise DataError(f"category {short(category)} is not among the categories")
    crowd = annotation.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise DataError(f"iscrowd is 0 or 1; got {short(crowd)}")
    return image, Outline(name, labels[category], _drawing(annotation, entries[image][1]), bool(crowd))


def _drawing(annotation: dict, size: tuple[int, int] | None) -> Callable[[tuple[int, int]], RunLength]:
    """How to draw an annotation; whatever is wrong with it is found now."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        if size is not None:
            _of_size(segmentation, size)
        else:
            from_coco(segmentation)
        return partial(_of_size, segmentation)
    if segmentation:
        if not isinstance(segmentation, list):
            raise DataError(f"a segmentation is a list of polygons, or run lengths; got {short(segmentation)}")
        parts = segmentation if isinstance(segmentation[0], list) else [segmentation]
        for part in parts:
            corners(part)
        return partial(polygons, parts)
    box = annotation.get("bbox")
    try:
        x, y, width, height = np.array(box, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"has no segmentation, nor a bbox [x, y, width, height] in its place; got {short(box)}"
        ) from None
    if not (width >= 0 and height >= 0):
        raise DataError(f"a bbox is [x, y, width, height] with sides from 0; got {short(box)}")
    corners([(x, y), (x + width, y), (x + width, y + height)])
    return partial(rectangle, x, y, width, height)


def _of_size(segmentation: dict, size: tuple[int, int]) -> RunLength:
    mask = from_coco(segmentation)
    if mask.size != size:
        raise DataError("run lengths of {} x {} (height x width) in an image of {} x {}".format(*mask.size, *size))
    return mask


def _name(category: dict) -> str:
    name = category.get("name")
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"has no name; got {short(name)}")
    return name


def _size(image: dict) -> tuple[int, int] | None:
    """Height and width, if they are told."""
    height, width = image.get("height"), image.get("width")
    if height is None and width is None:
        return None
    if not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in (height, width)):
        raise DataError(f"has height {short(height)} and width {short(width)}; they are whole numbers from 1")
    return height, width  # type: ignore[return-value]


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str)


def _id_of(entry: Any, place: int) -> str:
    known = isinstance(entry, dict) and _is_id(entry.get("id"))
    return short(entry["id"]) if known else f"at place {place} of its list"
