"""ISBI 2012: thirty slices of a fly's nervous system under the electron microscope, membrane against cell interior."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from minisegnet.data.file_dataset import FileDataset, Pair, contents, images_in, pair_up
from minisegnet.data.images import pages, read_labels
from minisegnet.errors import DataError, OptionError

CLASSES = ("membrane", "interior")
PALETTE = np.array([(28, 30, 44), (86, 180, 233)], np.uint8)
SPLITS = ("train", "val", "test")
TRAIN_SHARE = 0.8  # of the slices, from the first: neighbours look alike, so what is held out must be one block

_FOLDERS = [
    (above + images, above + labels)
    for above, images, labels in product(("train/", ""), ("image", "images"), ("label", "labels"))
]
_VOLUMES = ("train-volume.tif", "train-labels.tif", "test-volume.tif")


def isbi(path: Path, split: str = "train", slices: Any = None) -> FileDataset:
    """The slices of one split, grey, with labels 0 (membrane) and 1 (interior).

    path    a folder with train/image and train/label (or images, labels; or without train), a file a slice; or with the
            challenge's train-volume.tif and train-labels.tif
    split   "train", the first 80 % of the slices; "val", the others; "test", the challenge's own, without labels (the
            folder test, or test-volume.tif); or slices, as below
    slices  numbers from 0, such as "0-23" or "0-3,7", in place of that share: of all slices with labels, or with the
            split "test" of those

    Raises DataError for a folder of another kind, OptionError for a split or slices that there are not.
    Source: Arganda-Carreras et al. 2015, Crowdsourcing the creation of image segmentation algorithms for connectomics.
    """
    if split not in SPLITS:
        if slices is not None or not split[:1].isdecimal():
            raise OptionError(f"isbi: the split must be train, val or test, or slices such as 0-23; got {split!r}")
        split, slices = "train", split
    pairs, problems = _unlabelled(path) if split == "test" else _labelled(path)
    if slices is not None:
        chosen = slice_numbers(slices)
        if max(chosen) >= len(pairs):
            raise OptionError(f"isbi: {path} has the slices 0 to {len(pairs) - 1}; {max(chosen)} was asked for")
        pairs = [pairs[number] for number in chosen]
    elif split != "test":
        boundary = round(TRAIN_SHARE * len(pairs))
        pairs = pairs[:boundary] if split == "train" else pairs[boundary:]
    return FileDataset(pairs, CLASSES, channels=1, palette=PALETTE, decode=read_membrane_labels, problems=problems)


def splits(path: Path) -> list[str]:
    """The splits that have labels."""
    return ["train", "val"]


def read_membrane_labels(path: Path, page: int | None = None) -> np.ndarray:
    """A mask of 0 (membrane) and 255 or 1 (interior) as labels 0 and 1; any other value stays, to be found stray."""
    labels = read_labels(path, page)
    labels[labels == 255] = 1
    return labels


def slice_numbers(slices: Any) -> list[int]:
    """The numbers of "0-3,7", in that order: 0, 1, 2, 3, 7. A sequence of ints is taken as it is.

    Raises OptionError for anything else.
    """
    numbers: list[int] = []
    try:
        if isinstance(slices, str):
            for part in slices.split(","):
                first, _, last = part.partition("-")
                numbers += range(int(first), int(last or first) + 1) or [-1]
        else:
            numbers += [int(number) for number in slices]
    except (TypeError, ValueError):
        numbers = []
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise OptionError(f"isbi: slices must be numbers from 0 such as '0-23' or '0-3,7', each once; got {slices!r}")
    return numbers


def _labelled(path: Path) -> tuple[list[Pair], list[str]]:
    for images, masks in _FOLDERS:
        if (path / images).is_dir() and (path / masks).is_dir():
            pairs, problems = pair_up(images_in(path / images), images_in(path / masks))
            if not pairs:
                problems.append(f"no image in {path / images} has a label of its name in {path / masks}")
            return pairs, problems
    volume, labels = (path / name for name in _VOLUMES[:2])
    if volume.is_file() and labels.is_file():
        count = pages(volume)
        if pages(labels) != count:
            raise DataError(f"{volume} has {count} pages and {labels} {pages(labels)}; each image needs its labels")
        return [Pair(f"train-{page}", volume, labels, page) for page in range(count)], []
    raise DataError(
        f"isbi: looked in {path} for train/image and train/label (or images, labels, with or without train/), "
        f"or train-volume.tif and train-labels.tif; {contents(path)}"
    )


def _unlabelled(path: Path) -> tuple[list[Pair], list[str]]:
    for folder in (path / "test" / "image", path / "test" / "images", path / "test"):
        if folder.is_dir() and (files := images_in(folder)):
            return [Pair(f"test-{file.stem}", file, None) for file in files], []
    volume = path / _VOLUMES[2]
    if volume.is_file():
        return [Pair(f"test-{page}", volume, None, page) for page in range(pages(volume))], []
    raise DataError(f"isbi: looked in {path} for a folder test with images, or {_VOLUMES[2]}; {contents(path)}")
