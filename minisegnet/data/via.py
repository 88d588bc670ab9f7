"""Annotations of the VGG Image Annotator: regions drawn by hand, saved as a project or exported as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from minisegnet.data.annotated import Annotated, AnnotatedImages, Outline, open_annotated
from minisegnet.data.annotation_files import annotation_files, checked_name, chosen_file, in_part, read_json, short
from minisegnet.data.file_dataset import several
from minisegnet.data.polygons import FARTHEST, corners, ellipse, polygon, rectangle
from minisegnet.data.run_length import RunLength
from minisegnet.errors import DataError, MinisegnetError

_PROJECT = "_via_img_metadata"  # where a saved project keeps what an export holds alone

Drawing = Callable[[tuple[int, int]], RunLength]


def via(path: Path, split: str = "train", attribute: str | None = None, images: str | None = None) -> AnnotatedImages:
    """The images of one split, with their regions as instances.

    path       a folder with SPLIT/ in which lie a JSON file and its images, or with SPLIT.json; or one JSON file, or a
               folder with one
    split      of which there is such a file. One file alone is "all", or is divided: a hash of each image's name
               decides between "train" and "val" (see `layouts.held_out`)
    attribute  the region attribute whose value is the class, such as "type"; None: all are of one class, "object"
    images     the folder of the images; by default it is looked for near the file

    Regions are polygons, polylines (taken as closed, as their ends nearly meet where one outlines a thing), rectangles,
    circles or ellipses. Classes are the background and the attribute's values, sorted, of all splits.

    Raises DataError for a file that is no such JSON, OptionError for a split that there is not. What is wrong with a
    region is in the data set's `problems`, by its image and its place there.
    Source: Dutta and Zisserman 2019, The VIA annotation software for images, audio and video.
    """
    file, part = chosen_file(path, split)
    files = annotation_files(path).values()
    classes = ["object"] if attribute is None else sorted(set().union(*(_values(each, attribute) for each in files)))
    labels = {name: label for label, name in enumerate(classes, 1)}
    problems: list[str] = []
    found: list[Annotated] = []
    for entry in _entries(file):
        try:
            name, regions = checked_name(entry.get("filename")), _regions(entry)
        except MinisegnetError as problem:
            problems.append(f"image {short(entry.get('filename'))} {problem}")
            continue
        outlines = []
        for place, region in enumerate(regions):
            called = f"region {place} of {name}"
            try:
                label = 1 if attribute is None else labels[_value(region, attribute)]
                outlines.append(Outline(called, label, _drawing(region)))
            except MinisegnetError as problem:
                problems.append(f"{called}: {problem}")
        found.append(Annotated(name, None, outlines))
    wanted = in_part([image.file for image in found], part)
    chosen = [image for image in found if image.file in wanted]
    folder = None if images is None else Path(images).expanduser()
    return open_annotated(file, chosen, folder, ("background", *classes), problems)


def splits(path: Path) -> list[str]:
    """The annotation files that there are."""
    return list(annotation_files(path))


def _entries(file: Path) -> list[dict]:
    """What is told of each image."""
    data = read_json(file)
    if isinstance(data, dict):
        data = data.get(_PROJECT, data)
    if not isinstance(data, dict) or not all(isinstance(entry, dict) for entry in data.values()):
        raise DataError(f"{file} is neither a project of VIA 2 nor its annotations exported as JSON")
    return list(data.values())


def _regions(entry: dict) -> list[Any]:
    """The regions of an image: a list, or in older files an object by number."""
    regions = entry.get("regions", [])
    if isinstance(regions, dict):
        return list(regions.values())
    if not isinstance(regions, list):
        raise DataError(f"has regions that are no list: {short(regions)}")
    return regions


def _values(file: Path, attribute: str) -> Iterator[str]:
    """The classes that one file names; what cannot be read is told where it is used."""
    for entry in _entries(file):
        try:
            regions = _regions(entry)
        except MinisegnetError:
            continue
        for region in regions:
            try:
                yield _value(region, attribute)
            except MinisegnetError:
                continue


def _value(region: Any, attribute: str) -> str:
    """The class of a region: a line of text, or the one box that is ticked."""
    attributes = region.get("region_attributes") if isinstance(region, dict) else None
    if not isinstance(attributes, dict) or attribute not in attributes:
        has = several([str(name) for name in attributes]) if isinstance(attributes, dict) and attributes else "none"
        raise DataError(f"has no attribute {attribute!r} to tell its class; its attributes: {has}")
    value = attributes[attribute]
    if isinstance(value, dict):
        ticked = [name for name, on in value.items() if on]
        value = ticked[0] if len(ticked) == 1 else value
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"the attribute {attribute!r} must name one class; got {short(value)}")
    return value.strip()


def _drawing(region: Any) -> Drawing:
    """How to draw a region; whatever is wrong with it is found now."""
    shape = region.get("shape_attributes") if isinstance(region, dict) else None
    if not isinstance(shape, dict):
        raise DataError(f"has no shape_attributes; got {short(region)}")
    kind = shape.get("name")
    if kind in ("polygon", "polyline"):
        x, y = shape.get("all_points_x"), shape.get("all_points_y")
        if not isinstance(x, list) or not isinstance(y, list) or len(x) != len(y):
            raise DataError(f"a {kind} has as many all_points_x as all_points_y; got {short(x)} and {short(y)}")
        return partial(polygon, corners([list(point) for point in zip(x, y, strict=True)]))
    if kind == "rect":
        (left, top), (width, height) = _numbers(shape, "x", "y"), _numbers(shape, "width", "height", least=0)
        return partial(rectangle, left, top, width, height)
    if kind == "circle":
        middle, (radius,) = _numbers(shape, "cx", "cy"), _numbers(shape, "r", least=0)
        return partial(ellipse, middle[0], middle[1], radius, radius)
    if kind == "ellipse":
        middle, radii = _numbers(shape, "cx", "cy"), _numbers(shape, "rx", "ry", least=0)
        (turn,) = _numbers({"theta": 0, **shape}, "theta")
        return partial(ellipse, middle[0], middle[1], radii[0], radii[1], turn=turn)
    raise DataError(
        f"a region is a polygon, polyline, rect, circle or ellipse, as others have no area; got {short(kind)}"
    )


def _numbers(shape: dict, *names: str, least: float = -FARTHEST) -> list[float]:
    for name in names:
        value = shape.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= FARTHEST:
            raise DataError(f"{name} must be a number from {least:g} to {FARTHEST:g}; got {short(value)}")
    return [float(shape[name]) for name in names]
