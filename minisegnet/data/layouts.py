"""Where a folder keeps its images and masks, and which of them belong to which split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from minisegnet.data.file_dataset import Pair, contents, counted, images_in, pair_up, several
from minisegnet.data.images import SUFFIXES
from minisegnet.errors import DataError

IMAGES = ("images", "image", "imgs", "img")
MASKS = ("masks", "mask", "labels", "label", "annotations", "annotation", "annots", "annot")
SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
BESIDE = ("annot", "_annot", "_labels", "_masks")  # behind a split folder's name: where SegNet's CamVid keeps masks
VAL_SHARE = 0.2  # of a folder that says nothing about splits


@dataclass
class Part:
    """The pairs of one split, and a sentence for each thing that is wrong with it."""

    pairs: list[Pair]
    problems: list[str]


def find_parts(path: Path) -> dict[str, Part]:
    """The splits of a folder, by name; `folder` describes the layouts. Raises DataError where there is none."""
    here = _subfolders(path)
    images, masks = _first(here, IMAGES), _first(here, MASKS)
    parts = {}
    for split, names in SPLITS.items():
        found = _split_folders(here, images, masks, names)
        if found:
            parts[split] = _part(*found, labelled=split != "test")
    if "train" not in parts and images and masks:
        parts |= divided(path, _part(images, masks))
    if not parts:
        raise DataError(
            f"folder: looked in {path} for the folders images and masks, or train/images and train/masks, or train and "
            f"trainannot (also image, img; labels, annotations; val, test); {contents(path)}"
        )
    return parts


def _split_folders(
    here: dict[str, Path], images: Path | None, masks: Path | None, names: tuple[str, ...]
) -> tuple[Path, Path | None] | None:
    """The folders of a split's images and of its masks, if it has any."""
    if images and masks and (inside := _first(_subfolders(images), names)):
        return inside, _first(_subfolders(masks), names)
    folder = _first(here, names)
    if folder is None:
        return None
    within = _subfolders(folder)
    if own := _first(within, IMAGES):
        return own, _first(within, MASKS)
    return folder, _first(here, [name + ending for name in names for ending in BESIDE])


def _part(images: Path, masks: Path | None, labelled: bool = True) -> Part:
    files = images_in(images)
    if masks is None:
        problems = [f"{images} has images, but no folder of masks stands beside it"] if labelled else []
        return Part([Pair(file.stem, file, None) for file in files], problems)
    mask_files = images_in(masks)
    pairs, problems = pair_up(files, mask_files)
    if not pairs:
        problems = [f"no image in {images} has a mask of its name in {masks}; {contents(images)}; {contents(masks)}"]
    return Part(pairs, problems)


def divided(path: Path, whole: Part) -> dict[str, Part]:
    """One folder of pairs in splits: by lists of names such as train.txt, or else by a hash of each name."""
    files = {split: [path / f"{name}.txt" for name in names] for split, names in SPLITS.items()}
    lists = {split: file for split, candidates in files.items() for file in candidates if file.is_file()}
    if lists:
        return {split: listed(file, whole) for split, file in lists.items()}
    val = held_out(pair.name for pair in whole.pairs)
    return {
        "train": Part([pair for pair in whole.pairs if pair.name not in val], whole.problems),
        "val": Part([pair for pair in whole.pairs if pair.name in val], whole.problems),
    }


def listed(file: Path, whole: Part) -> Part:
    """The pairs whose names are the lines of a file. Raises DataError for a file that is no text."""
    by_name = {pair.name: pair for pair in whole.pairs}
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as problem:
        raise DataError(f"{file} is no list of names that can be read: {problem}") from None
    names = [Path(line).stem if Path(line).suffix.lower() in SUFFIXES else line for line in lines if line]
    unknown = [name for name in names if name not in by_name]
    problems = (
        [f"{file} lists {counted(len(unknown), 'name')} without an image and a mask: {several(unknown)}"]
        if unknown
        else []
    )
    return Part([by_name[name] for name in dict.fromkeys(names) if name in by_name], whole.problems + problems)


def held_out(names: Iterable[str]) -> set[str]:
    """The names that are for validation, about a fifth.

    A name stays on its side whatever images are added or taken away, since its own hash (SHA-1) decides; only in a
    folder so small that one side would be empty does that side get the one name whose hash is nearest.
    """
    share = {name: int(hashlib.sha1(name.encode()).hexdigest()[:8], 16) / 2**32 for name in names}
    val = {name for name in share if share[name] < VAL_SHARE}
    if len(share) > 1 and not val:
        val = {min(share, key=lambda name: share[name])}
    if len(share) > 1 and len(val) == len(share):
        val.remove(max(share, key=lambda name: share[name]))
    return val


def _subfolders(path: Path) -> dict[str, Path]:
    return {folder.name.lower(): folder for folder in sorted(path.iterdir()) if folder.is_dir()}


def _first(folders: dict[str, Path], names: Iterable[str]) -> Path | None:
    return next((folders[name] for name in names if name in folders), None)
