"""Data sets whose samples are files: an image and, where there is one, its mask, read when asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from minisegnet.data.images import SUFFIXES, is_grey, read_image, read_labels, with_channels
from minisegnet.data.palettes import default_palette
from minisegnet.data.sample import Sample
from minisegnet.errors import DataError

KEEP_BYTES = 2**28  # of decoded samples, so that a small set is decoded once and not every epoch
LARGEST_NUMBER = 2**16 - 1  # of an object, believed as it is in masks that have fewer pixels
MASK_ENDINGS = ("", "_mask", "_label", "_L")  # behind the image's stem; the last is CamVid's

Decode = Callable[[Path, "int | None"], np.ndarray]


@dataclass(frozen=True)
class Pair:
    """The files of one sample. page is theirs if they are TIFFs of several."""

    name: str
    image: Path
    mask: Path | None
    page: int | None = None


class KeptSamples:
    """Samples by number, the first of them kept in memory; a data set fills in `__len__` and `_read`."""

    def __init__(self) -> None:
        self._kept: dict[int, Sample] = {}
        self._room = KEEP_BYTES

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, index: int) -> Sample:
        index = range(len(self))[index]
        sample = self._kept.get(index)
        if sample is None:
            sample = self._read(index)
            size = sum(array.nbytes for array in _arrays(sample).values())
            if size <= self._room:
                self._kept[index] = sample
                self._room -= size
        return replace(sample, **{field: array.copy() for field, array in _arrays(sample).items()})

    def _read(self, index: int) -> Sample:
        raise NotImplementedError


def _arrays(sample: Sample) -> dict[str, Any]:
    held = {field.name: getattr(sample, field.name) for field in fields(sample)}
    return {name: array for name, array in held.items() if isinstance(array, np.ndarray)}


class FileDataset(KeptSamples):
    """Samples from pairs of files; see `Dataset` for what it can be asked.

    decode     (mask, page) -> labels (H, W) int32; negative where a colour is not that of a class, -1 - its number
    instances  the masks number objects: those become the sample's instances, and the labels 0 (none) and 1 (object)
    problems   what is wrong with the set as a whole, a sentence each; `open_dataset` raises them

    A sample raises DataError where its files cannot be read, differ in size, or hold a colour of no class.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        classes: Sequence[str],
        channels: int,
        palette: np.ndarray | None = None,
        ignore_index: int | None = None,
        decode: Decode = read_labels,
        instances: bool = False,
        problems: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.pairs, self.classes, self.channels = list(pairs), tuple(classes), channels
        self.palette = default_palette(len(self.classes)) if palette is None else palette
        self.ignore_index, self.instances = ignore_index, instances
        self.problems = list(problems)
        self._decode = decode

    def __len__(self) -> int:
        return len(self.pairs)

    def mask(self, pair: Pair) -> np.ndarray:
        """The labels (H, W) of a pair, or the object numbers of an instance map, before any check."""
        assert pair.mask is not None
        return self._decode(pair.mask, pair.page)

    def _read(self, index: int) -> Sample:
        pair = self.pairs[index]
        image = with_channels(read_image(pair.image, pair.page), self.channels)
        if pair.mask is None:
            return Sample(image, None, pair.name)
        labels = self.mask(pair)
        if labels.shape != image.shape[1:]:
            raise DataError(different_sizes(pair, image.shape[1:], labels.shape))
        if (labels < 0).any():
            raise DataError(unknown_colours(pair, labels))
        if self.instances:
            return Sample(image, (labels > 0).astype(np.int32), pair.name, **numbered(labels))
        return Sample(image, labels, pair.name)


def numbered(instances: np.ndarray) -> dict[str, Any]:
    """The fields of a sample whose objects are all of class 1, as a map of their numbers (H, W) tells.

    Numbers are kept, unless they are so large that a list of all would fill the memory.
    """
    if instances.max(initial=0) > max(LARGEST_NUMBER, instances.size):
        _, ranks = np.unique(np.append(instances, 0), return_inverse=True)
        instances = ranks.ravel()[:-1].reshape(instances.shape).astype(np.int32)
    return {"instances": instances, "object_classes": np.ones(instances.max(initial=0), np.int32)}


def different_sizes(pair: Pair, image: tuple[int, ...], mask: tuple[int, ...]) -> str:
    """The sentence for a mask that does not fit its image; sizes are (height, width)."""
    return (
        f"{pair.image} is {image[0]} x {image[1]} pixels (height x width) and its mask {pair.mask} is {mask[0]} x "
        f"{mask[1]}; an image and its mask must have one size"
    )


def unknown_colours(pair: Pair, labels: np.ndarray) -> str:
    """The sentence for a mask that holds colours of no class."""
    values, counts = np.unique(labels[labels < 0], return_counts=True)
    listed = several([f"{colour_of(value)} at {count} pixels" for value, count in zip(values, counts, strict=True)])
    return (
        f"{pair.mask} holds colours that no class has: {listed}. Add them to the classes file, with the name 'ignore' "
        "where they mean no class"
    )


def colour_of(value: int) -> str:
    """How to tell the negative label that stands for a colour: "(red, green, blue)"."""
    number = -1 - int(value)
    return f"({number >> 16}, {number >> 8 & 255}, {number & 255})"


# ------------------------------------------------------------------------------------------------------ finding files


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder in natural order, without hidden ones."""
    files = (file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
    return sorted((file for file in files if file.is_file()), key=natural)


def natural(path: Path) -> list:
    """A key by which slice2 comes before slice10."""
    parts = re.split(r"([0-9]+)", path.name.casefold())
    return [*(int(part) if i % 2 else part for i, part in enumerate(parts)), path.name]


def pair_up(images: Sequence[Path], masks: Sequence[Path]) -> tuple[list[Pair], list[str]]:
    """Pairs of an image and the mask of its stem, in the images' order; and a sentence for each way that this fails.

    A mask's stem may end in one of MASK_ENDINGS.
    """
    problems = [*_same_stems(images), *_same_stems(masks)]
    by_stem = {mask.stem: mask for mask in masks}
    pairs, bare = [], []
    for image in images:
        found = [by_stem[image.stem + ending] for ending in MASK_ENDINGS if image.stem + ending in by_stem]
        if found:
            pairs.append(Pair(image.stem, image, found[0]))
        else:
            bare.append(image.name)
    used = {pair.mask for pair in pairs}
    lone = [mask.name for mask in by_stem.values() if mask not in used]
    if bare:
        problems.append(f"{counted(len(bare), 'image')} in {images[0].parent} without a mask: {several(bare)}")
    if lone:
        problems.append(f"{counted(len(lone), 'mask')} in {masks[0].parent} without an image: {several(lone)}")
    return pairs, problems


def _same_stems(files: Sequence[Path]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for file in files:
        groups.setdefault(file.stem, []).append(file.name)
    return [
        f"{files[0].parent} holds {several(names)}, which go by one name; keep one of them"
        for names in groups.values()
        if len(names) > 1
    ]


def channels_of(images: Iterable[Path]) -> int:
    """1 if all images that can be read are grey, else 3."""
    some_grey = False
    for path in images:
        grey = is_grey(path)
        if grey is False:
            return 3
        some_grey |= grey is True
    return 1 if some_grey else 3


# ----------------------------------------------------------------------------------------------------------- messages


def counted(number: int, what: str) -> str:
    """ "1 mask", "2 masks"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def several(names: Sequence[str], most: int = 8) -> str:
    """Names in a row, the first few of many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def contents(folder: Path) -> str:
    """What a folder holds, for a message that says what was found in it."""
    if not folder.is_dir():
        return f"{folder} is a file" if folder.exists() else f"there is no folder {folder}"
    names = sorted((p.name + "/" if p.is_dir() else p.name for p in folder.iterdir()), key=lambda n: (n[-1] != "/", n))
    return f"found in {folder}: {several(names, 12) if names else 'nothing'}"
