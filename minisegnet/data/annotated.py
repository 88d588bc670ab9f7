"""Data sets whose images are annotated with outlines of objects, drawn into masks when a sample is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from minisegnet.data.annotation_files import image_folder, is_file
from minisegnet.data.file_dataset import KeptSamples, channels_of, counted, several
from minisegnet.data.images import read_image, with_channels
from minisegnet.data.palettes import default_palette
from minisegnet.data.run_length import RunLength
from minisegnet.data.sample import Sample
from minisegnet.errors import DataError, MinisegnetError

MOST_LAYERS = 64  # objects upon each other in one pixel: each takes a map of the image's size


@dataclass(frozen=True)
class Outline:
    """One object of an image.

    name   what an error message calls it
    label  its class, from 1
    draw   its mask, given the image's size (H, W)
    crowd  it is an outline around many objects
    """

    name: str
    label: int
    draw: Callable[[tuple[int, int]], RunLength]
    crowd: bool = False


@dataclass(frozen=True)
class Annotated:
    """One image: its file below the folder of images, its size (H, W) if that is told, its objects if those are."""

    file: str
    size: tuple[int, int] | None
    outlines: Sequence[Outline] | None


class AnnotatedImages(KeptSamples):
    """Samples with labels and instances from outlines; see `Dataset` for what it can be asked.

    category_ids  what the file calls each class, by label, where it does by number (COCO's categories)
    problems      what is wrong with the set as a whole, a sentence each; `open_dataset` raises them

    Objects are numbered as the file lists them. Instances are a stack where objects lie upon each other; labels are of
    the smallest object in each pixel, with crowds beneath all others. A sample raises DataError where its image cannot
    be read or is of another size than its annotations say.
    """

    ignore_index = None
    category_ids: tuple[Any, ...] = ()

    def __init__(
        self, images: Sequence[Annotated], folder: Path, classes: Sequence[str], problems: Iterable[str] = ()
    ) -> None:
        super().__init__()
        self.images, self.folder, self.classes = list(images), folder, tuple(classes)
        self.palette = default_palette(len(self.classes))
        self.problems = list(problems)
        self.names = _names([image.file for image in images])
        missing = [image.file for image in images if not is_file(folder / image.file)]
        if missing:
            self.problems.append(f"{counted(len(missing), 'image')} not in {folder}: {several(missing)}")
        self.channels = channels_of(folder / image.file for image in images)

    def __len__(self) -> int:
        return len(self.images)

    def _read(self, index: int) -> Sample:
        annotated, name = self.images[index], self.names[index]
        path = self.folder / annotated.file
        image = with_channels(read_image(path), self.channels)
        height, width = image.shape[1:]
        if annotated.size is not None and annotated.size != (height, width):
            told = "{} x {}".format(*annotated.size)
            raise DataError(
                f"{path} is {height} x {width} pixels (height x width), but its annotations are of {told}: was the "
                "image scaled or turned after it was annotated?"
            )
        if annotated.outlines is None:
            return Sample(image, None, name)
        return Sample(image, name=name, **paint(annotated.outlines, (height, width)))


def paint(outlines: Sequence[Outline], size: tuple[int, int]) -> dict[str, Any]:
    """labels, instances, object_classes and object_crowd of a sample; see `AnnotatedImages`.

    Raises DataError, naming the object, for one that cannot be drawn, or that lies on 64 others.
    """
    masks = [_drawn(outline, size) for outline in outlines]
    crowd = np.array([outline.crowd for outline in outlines], bool)
    classes = np.array([outline.label for outline in outlines], np.int32)
    areas = np.array([mask.area for mask in masks], np.int64)
    labels = np.zeros(size[0] * size[1], np.int32)  # column by column, as run lengths go
    layers = [np.zeros_like(labels)]
    for number in np.lexsort((-areas, ~crowd)):
        pixels = masks[number].pixels()
        labels[pixels] = classes[number]
        free = [layer for layer in layers if not layer[pixels].any()]
        if not free:
            if len(layers) == MOST_LAYERS:
                name = outlines[number].name
                raise DataError(f"{name} lies upon {MOST_LAYERS} others, more than are kept; are objects listed twice?")
            layers.append(np.zeros_like(labels))
            free = layers[-1:]
        free[0][pixels] = number + 1
    maps = np.stack(layers).reshape(-1, size[1], size[0]).swapaxes(1, 2)
    return {
        "labels": np.ascontiguousarray(labels.reshape(size[::-1]).T),
        "instances": np.ascontiguousarray(maps if len(maps) > 1 else maps[0]),
        "object_classes": classes,
        "object_crowd": crowd,
    }


def open_annotated(
    file: Path, images: Sequence[Annotated], folder: Path | None, classes: Sequence[str], problems: Sequence[str]
) -> AnnotatedImages:
    """The data set of an annotation file; `folder` as in `image_folder`. Of many problems the first few are told."""
    told = list(problems[:8])
    if len(problems) > len(told):
        told.append(f"and {len(problems) - len(told)} more in {file}")
    return AnnotatedImages(images, image_folder(file, (image.file for image in images), folder), classes, told)


def _drawn(outline: Outline, size: tuple[int, int]) -> RunLength:
    try:
        return outline.draw(size)
    except MinisegnetError as problem:
        raise DataError(f"{outline.name}: {problem}") from problem


def _names(files: Sequence[str]) -> list[str]:
    """Each file's stem; where two are alike, its folders too."""
    paths = [PurePosixPath(file) for file in files]
    times = Counter(path.stem for path in paths)
    return [path.stem if times[path.stem] == 1 else "_".join(path.with_suffix("").parts) for path in paths]
