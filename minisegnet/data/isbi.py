"""ISBI 2012: slices of a fruit fly's nerve cord under an electron microscope, each pixel membrane or cell interior.

Read either as folders of numbered slices, `train/image` and `train/label` (also images, labels; also without train), or
as the challenge's volumes `train-volume.tif` and `train-labels.tif`. In the files 0 is membrane, 255 interior.
Source: Arganda-Carreras et al. 2015, Crowdsourcing the creation of image segmentation algorithms for connectomics.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minisegnet.data.files import read_pages
from minisegnet.data.pairs import FileDataset, Meaning, Pairs, pair_by_stem
from minisegnet.errors import DataError, OptionError

CLASSES = ("membrane", "interior")
_PALETTE = np.array([[28, 30, 44], [240, 228, 66]], np.uint8)
_MEANING = Meaning({0: 0, 255: 1})
_IMAGES = ("train/image", "train/images", "image", "images")
_LABELS = ("train/label", "train/labels", "label", "labels")
_VOLUMES = ("train-volume.tif", "train-labels.tif")
_PARTS = {"train": (0, 2 / 3), "val": (2 / 3, 4 / 5), "test": (4 / 5, 1), "all": (0, 1)}


class ISBI(FileDataset):
    """Grey slices (1, H, W) with labels 0 membrane and 1 interior.

    split   which part of the stack, in slice order, for neighbouring slices resemble each other: "train" the first two
            thirds (0 to 19 of 30), "val" the next (20 to 23), "test" the last fifth (24 to 29), "all"
    slices  which slices instead, such as "0-23", "0-9,12" or a list of numbers
    strict  as in `FileDataset`

    Raises DataError (files missing or unreadable), OptionError (slices that are none or not there).
    """

    def __init__(
        self, path: Path | str, split: str = "train", slices: str | Sequence[int] | None = None, strict: bool = True
    ) -> None:
        path = Path(path)
        if split not in _PARTS:
            raise OptionError(f"isbi: split must be one of {', '.join(_PARTS)}; got {split!r}")
        self.volumes: tuple[list[np.ndarray], list[np.ndarray]] | None = None
        pairs = _find_slices(path)
        if pairs is None:
            self.volumes = _read_volumes(path)
            count = len(self.volumes[0])
            pairs = Pairs(*(tuple(path / f"{name}#{page}" for page in range(count)) for name in _VOLUMES))
        chosen = _chosen_slices(slices, split, len(pairs.images))
        if self.volumes is not None:
            self.volumes = tuple([pages[number] for number in chosen] for pages in self.volumes)  # type: ignore[assignment]
        pairs = Pairs(
            tuple(pairs.images[number] for number in chosen),
            tuple(pairs.masks[number] for number in chosen),
            pairs.images_alone,
            pairs.masks_alone,
        )
        super().__init__(pairs, CLASSES, _PALETTE, _MEANING, channels=1, strict=strict)

    def name(self, index: int) -> str:
        path = self.pairs.images[index]
        return f"slice_{path.stem if self.volumes is None else path.name.partition('#')[2]}"

    def image(self, index: int) -> np.ndarray:
        if self.volumes is None:
            return super().image(index)
        return self.volumes[0][index][None].astype(np.float32) / 255

    def labels(self, index: int) -> np.ndarray:
        if self.volumes is None:
            return super().labels(index)
        return _MEANING.labels(self.volumes[1][index], self.pairs.masks[index])


def _find_slices(path: Path) -> Pairs | None:
    """The pairs of the folders of slices; None if the volumes are there instead."""
    for images, labels in zip(_IMAGES, _LABELS, strict=True):
        if (path / images).is_dir() and (path / labels).is_dir():
            return pair_by_stem(path / images, path / labels)
    if all((path / name).is_file() for name in _VOLUMES):
        return None
    found = sorted(child.name for child in path.iterdir())[:12] if path.is_dir() else []
    raise DataError(
        f"{path}: looked for ISBI 2012 as train/image and train/label with a file a slice, or as {_VOLUMES[0]} and "
        f"{_VOLUMES[1]}; found {', '.join(found) or 'nothing'}"
    )


def _read_volumes(path: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    images, labels = (read_pages(path / name) for name in _VOLUMES)
    if len(images) != len(labels):
        raise DataError(f"{path}: {_VOLUMES[0]} has {len(images)} pages and {_VOLUMES[1]} {len(labels)}; they must match")
    return images, labels


def _chosen_slices(slices: str | Sequence[int] | None, split: str, count: int) -> list[int]:
    if slices is None:
        first, last = _PARTS[split]
        return list(range(round(first * count), round(last * count)))
    if isinstance(slices, str):
        numbers: list[int] = []
        for part in slices.split(","):
            found = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
            if found is None:
                raise OptionError(f"isbi: slices are numbers and ranges such as '0-23' or '0-9,12'; got {slices!r}")
            numbers += range(int(found[1]), int(found[2] or found[1]) + 1)
    else:
        numbers = [int(number) for number in slices]
    outside = [number for number in numbers if not 0 <= number < count]
    if outside or not numbers:
        raise OptionError(f"isbi: slices {slices!r} asks for {outside or 'none'}; there are 0 to {count - 1}")
    return numbers
