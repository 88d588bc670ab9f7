"""Folders of grey images and instance maps, such as the nuclei of the 2018 Data Science Bowl."""

from __future__ import annotations

from pathlib import Path

from minisegnet.data.file_dataset import FileDataset, contents, images_in, pair_up
from minisegnet.data.layouts import Part, divided, listed
from minisegnet.errors import DataError, OptionError

CLASSES = ("background", "nucleus")
_IMAGES, _MAPS = "images", "labels"


def nuclei(path: Path, split: str = "train") -> FileDataset:
    """The images of one split, grey, with the nuclei as instances.

    path   a folder with images/ and labels/, in which a map of the same name numbers the nuclei from 1 (8 or 16 bits)
    split  "train", "val", "test" or another: the names in train.txt, val.txt, ...; "all" images. Without lists a hash
           of each name decides between train and val (see `layouts.held_out`)

    Raises DataError for a folder of another kind, OptionError for a split that there is not.
    Source: Caicedo et al. 2019, Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl.
    """
    parts = _parts(path)
    if split not in parts and (file := path / f"{split}.txt").is_file():
        parts[split] = listed(file, parts["all"])
    if split not in parts:
        raise OptionError(f"nuclei: {path} has no list {split}.txt; its splits are {', '.join(parts)}")
    part = parts[split]
    return FileDataset(part.pairs, CLASSES, channels=1, instances=True, problems=part.problems)


def splits(path: Path) -> list[str]:
    """The lists that there are; "all" where there are none."""
    lists = [split for split in _parts(path) if (path / f"{split}.txt").is_file()]
    return lists or ["all"]


def _parts(path: Path) -> dict[str, Part]:
    folders = path / _IMAGES, path / _MAPS
    if not all(folder.is_dir() for folder in folders):
        raise DataError(f"nuclei: looked in {path} for the folders {_IMAGES} and {_MAPS}; {contents(path)}")
    whole = Part(*pair_up(*(images_in(folder) for folder in folders)))
    return {**divided(path, whole), "all": whole}
