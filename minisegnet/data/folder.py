"""A folder of images and masks of your own.

    PATH/images/7.png  PATH/masks/7.png              one folder, split by a hash of each name
    PATH/train/images  PATH/train/masks  PATH/val/…  or split by folders; PATH/images/train, PATH/masks/train works too
    PATH/classes.txt                                 a class a line, by label: 'road' or 'road, 128, 64, 128'
    PATH/classes.json                                or ["road", {"name": "car", "colour": [64, 0, 128], "value": 9}]
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minisegnet.data.files import read_mask
from minisegnet.data.palettes import default_palette
from minisegnet.data.pairs import FileDataset, Meaning, Pairs, check_complete, packed, pair_by_stem, spelled
from minisegnet.data.sample import Sample
from minisegnet.errors import DataError, LabelError, OptionError

IMAGE_FOLDERS = ("images", "image", "imgs", "img")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "annotation", "annot")
SPLIT_FOLDERS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
_MOST_CLASSES = 256


class Folder(FileDataset):
    """Images and masks of one split of a folder (see the top of this file), paired by stem, in natural order.

    path          the folder
    split         "train", "val" or "test"; "all" for every image there is
    ignore_index  a label that means "no class here", or None
    instances     True if the masks number objects (0 background, 1 to K): the classes are then background and object
    channels, strict  as in `FileDataset`

    Without folders for the splits an image belongs to "val" or "test" if a hash of its stem says so (about one in ten
    each, at least one), so that it stays there whatever files are added. Masks hold labels (grey or palette, 8 or 16
    bits) or colours. Without a classes file the classes are those that the masks hold, named "class 3"; masks of 0 and
    255 alone have two classes.

    Raises DataError (files missing or unreadable, no such split), OptionError (an unknown split name).
    """

    def __init__(
        self,
        path: Path | str,
        split: str = "train",
        ignore_index: int | None = None,
        instances: bool = False,
        channels: int | None = None,
        strict: bool = True,
    ) -> None:
        path = Path(path)
        if split not in (*SPLIT_FOLDERS, "all"):
            raise OptionError(f"folder: split must be one of {', '.join(SPLIT_FOLDERS)} or all; got {split!r}")
        splits = _find_splits(path)
        everything = _joined(list(splits.values()))
        if strict:
            check_complete(everything)
        if split == "all":
            pairs = everything
        elif "" in splits:
            pairs = _by_hash(everything, split)
        elif split in splits:
            pairs = splits[split]
        else:
            raise DataError(f"{path} has no split {split!r}; found {', '.join(splits)}")
        if strict and not pairs.images:
            raise DataError(
                f"{path} has no images for split {split!r} ({len(everything.images)} in all); add images, or use split='all'"
            )
        self.holds_instances = instances
        classes = _OBJECTS if instances else _read_classes(path) or _found_classes(everything.masks, ignore_index, strict)
        super().__init__(
            pairs, classes.names, classes.palette, classes.meaning(ignore_index), ignore_index, channels, strict
        )

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        if not self.holds_instances:
            return sample
        numbers = self.numbers(index)
        return Sample(sample.image, sample.labels, sample.name, numbers)

    def numbers(self, index: int) -> np.ndarray:
        """The objects' numbers (H, W) of a mask that holds instances."""
        path = self.pairs.masks[range(len(self))[index]]
        mask = read_mask(path)
        if mask.ndim == 3:
            mask = packed(mask)  # a colour an object is a number too; black is the background
            return np.unique(mask, return_inverse=True)[1].reshape(mask.shape).astype(np.int32) + int(mask.min() > 0)
        if mask.min() < 0:
            raise LabelError(f"{path} holds the object number {mask.min()}; they are 0 (background) and 1 to K")
        return mask

    def labels(self, index: int) -> np.ndarray:
        return (self.numbers(index) > 0).astype(np.int32) if self.holds_instances else super().labels(index)


@dataclass(frozen=True)
class _Classes:
    """Names by label, with the colour or the value that stands for each in the files, where one was given."""

    names: tuple[str, ...]
    colours: tuple[int | None, ...]
    values: tuple[int, ...] | None = None

    @property
    def palette(self) -> np.ndarray:
        palette = default_palette(len(self.names))
        for label, colour in enumerate(self.colours):
            if colour is not None:
                palette[label] = colour >> 16, colour >> 8 & 255, colour & 255
        return palette

    def meaning(self, ignore_index: int | None) -> Meaning:
        colours = {colour: label for label, colour in enumerate(self.colours) if colour is not None}
        values = None if self.values is None else {value: label for label, value in enumerate(self.values)}
        if values is not None and ignore_index is not None:
            values.setdefault(ignore_index, ignore_index)
        return Meaning(values, colours or None)


_OBJECTS = _Classes(("background", "object"), (None, None))


def _find_splits(path: Path) -> dict[str, Pairs]:
    """The pairs of each split that has folders of its own, or all under the name "" where none has."""
    if not path.is_dir():
        raise DataError(f"{path} is no folder; give the one that holds the folders of images and of masks")
    splits: dict[str, Pairs] = {}
    for split, names in SPLIT_FOLDERS.items():
        for name in names:
            places = ((path / name, "."), (path, name))
            for parent, below in places:
                images, masks = _child(parent, IMAGE_FOLDERS), _child(parent, MASK_FOLDERS)
                if images and masks and (images / below).is_dir() and (masks / below).is_dir():
                    splits.setdefault(split, pair_by_stem(images / below, masks / below))
    if splits:
        return splits
    images, masks = _child(path, IMAGE_FOLDERS), _child(path, MASK_FOLDERS)
    if images is None or masks is None:
        found = sorted(child.name + "/" * child.is_dir() for child in path.iterdir())[:12]
        raise DataError(
            f"{path}: looked for a folder of images ({', '.join(IMAGE_FOLDERS)}) and one of masks "
            f"({', '.join(MASK_FOLDERS)}), here or under train, val and test; found {', '.join(found) or 'nothing'}"
        )
    return {"": pair_by_stem(images, masks)}


def _child(parent: Path, names: tuple[str, ...]) -> Path | None:
    """The child folder with the first of the names, in whatever case."""
    if not parent.is_dir():
        return None
    children = {child.name.lower(): child for child in parent.iterdir() if child.is_dir()}
    return next((children[name] for name in names if name in children), None)


def _joined(parts: list[Pairs]) -> Pairs:
    fields = ("images", "masks", "images_alone", "masks_alone")
    return Pairs(*(tuple(path for part in parts for path in getattr(part, field)) for field in fields))


def _by_hash(pairs: Pairs, split: str) -> Pairs:
    def share(path: Path) -> float:
        return int.from_bytes(hashlib.sha256(path.stem.encode()).digest()[:8], "big") / 2**64

    ranked = sorted(pairs.images, key=share)
    count = len(ranked)
    val = min(max(1, sum(share(path) < 0.1 for path in ranked)), max(0, count - 1))
    test = min(max(1, sum(share(path) < 0.2 for path in ranked) - val), max(0, count - val - 1))
    members = {"val": ranked[:val], "test": ranked[val : val + test], "train": ranked[val + test :]}[split]
    chosen = set(members)
    kept = [pair for pair in zip(pairs.images, pairs.masks, strict=True) if pair[0] in chosen]
    return Pairs(tuple(image for image, _ in kept), tuple(mask for _, mask in kept), pairs.images_alone, pairs.masks_alone)


def _read_classes(path: Path) -> _Classes | None:
    """The classes file's content, or None without one."""
    text, table = path / "classes.txt", path / "classes.json"
    try:
        if table.is_file():
            entries = json.loads(table.read_text(encoding="utf-8-sig"))
        elif text.is_file():
            entries = [_entry_of(line) for line in text.read_text(encoding="utf-8-sig").splitlines() if _says(line)]
        else:
            return None
    except (ValueError, OSError) as problem:
        raise DataError(f"{table if table.is_file() else text} cannot be read ({problem}); mend or remove it") from problem
    return _checked_classes(entries, table if table.is_file() else text)


def _says(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _entry_of(line: str) -> dict:
    found = re.fullmatch(r"\s*(.+?)[\s,:]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\s*", line)
    return {"name": found[1], "colour": [int(found[k]) for k in (2, 3, 4)]} if found else {"name": line.strip()}


def _checked_classes(entries: object, path: Path) -> _Classes:
    wanted = f'{path}: expected a list of names, or of {{"name": "road", "colour": [128, 64, 128]}}, at least one'
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{wanted}; got {str(entries)[:60]}")
    names, colours, values = [], [], []
    for entry in entries:
        entry = {"name": entry} if isinstance(entry, str) else entry
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise DataError(f"{wanted}; got {str(entry)[:60]}")
        colour = entry.get("colour", entry.get("color"))
        if colour is not None:
            if not (isinstance(colour, list) and len(colour) == 3 and all(_is_byte(value) for value in colour)):
                raise DataError(f"{path}: the colour of {entry['name']!r} must be three numbers 0 to 255; got {colour!r}")
            colour = colour[0] << 16 | colour[1] << 8 | colour[2]
        value = entry.get("value")
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise DataError(f"{path}: the value of {entry['name']!r} must be a whole number from 0; got {value!r}")
        names.append(entry["name"])
        colours.append(colour)
        values.append(value)
    for what, given in (("name", names), ("colour", colours), ("value", values)):
        twice = [item for item in given if item is not None and given.count(item) > 1]
        if twice:
            shown = spelled(twice[0]) if what == "colour" else repr(twice[0])
            raise DataError(f"{path}: two classes have the {what} {shown}; each needs its own")
    if all(value is None for value in values):
        return _Classes(tuple(names), tuple(colours))
    if any(value is None for value in values):
        raise DataError(f"{path}: {names[values.index(None)]!r} has no value and others have; give one to all or none")
    return _Classes(tuple(names), tuple(colours), tuple(values))


def _is_byte(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _found_classes(masks: tuple[Path, ...], ignore_index: int | None, strict: bool) -> _Classes:
    """The classes that masks hold, where no file names them."""
    values: set[int] = set()
    colours: set[int] = set()
    for path in masks:
        try:
            mask = read_mask(path)
        except DataError:
            if strict:
                raise
            continue
        if mask.ndim == 3:
            colours.update(np.unique(packed(mask)).tolist())
        else:
            values.update(np.unique(mask).tolist())
    if colours:
        return _classes_of_colours(sorted(colours), masks[0].parent)
    values -= {ignore_index}
    if values == {0, 255}:
        return _Classes(("class 0", "class 255"), (None, None), (0, 255))
    # 255 beside small labels marks pixels without a class; as a label it is reported by the loader, with its way out
    highest = max((value for value in values if 0 <= value < 255), default=0)
    return _Classes(tuple(f"class {label}" for label in range(highest + 1)), (None,) * (highest + 1))


def _classes_of_colours(colours: list[int], folder: Path) -> _Classes:
    if len(colours) > _MOST_CLASSES:
        raise DataError(
            f"the masks in {folder} hold {len(colours)} colours; are they photographs, or masks saved as JPEG? "
            "A classes.txt with 'name, red, green, blue' on each line tells which colours are classes"
        )
    return _Classes(tuple(f"colour {spelled(colour)}" for colour in colours), tuple(colours))
