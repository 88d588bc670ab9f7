"""Finding and reading the JSON files that hold a data set's annotations, and the images that they speak of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from minisegnet.data.file_dataset import contents, several
from minisegnet.data.layouts import SPLITS, held_out
from minisegnet.errors import DataError, OptionError

SHARED = "annotations"  # the folder that may hold the files of all splits
OBJECTS = "instances_"  # before the split in the names of COCO's files of objects; others tell of captions or joints
ALL = "all"


def annotation_files(path: Path) -> dict[str, Path]:
    """The JSON files of a folder by split, "all" for one that is alone; see `coco`. Raises DataError for none."""
    if not path.is_dir():
        return {ALL: path}
    files = {}
    for folder in (path, path / SHARED):
        here = sorted(folder.glob("*.json"))
        here = [file for file in here if file.name.startswith(OBJECTS)] or here
        files.update({file.stem.removeprefix(OBJECTS): file for file in here})
    for folder in sorted(inside for inside in path.iterdir() if inside.is_dir() and inside.name != SHARED):
        here = sorted(folder.glob("*.json"))
        if len(here) > 1:
            names = several([file.name for file in here])
            raise DataError(f"{folder} holds several annotation files, {names}; keep one, or name it instead of {path}")
        if here:
            files[folder.name] = here[0]
    if not files:
        raise DataError(f"looked in {path}, {SHARED}/ and the folders of its splits for a .json file; {contents(path)}")
    if len(files) == 1 and _split_of(next(iter(files))) is None:
        return {ALL: next(iter(files.values()))}
    return files


def chosen_file(path: Path, split: str) -> tuple[Path, str | None]:
    """The file of a split, and which part of it: "train" or "val" by a hash of each name, None for all of it.

    "train" is also found as train2017, "val" as val2017 or valid. Raises OptionError for a split that there is not.
    """
    files = annotation_files(path)
    if set(files) == {ALL} and split in (ALL, "train", "val"):
        return files[ALL], None if split == ALL else split
    found = [name for name in files if name == split] or [name for name in files if _split_of(name) == split]
    if len(found) != 1:
        has = f"several: {', '.join(found)}" if found else f"none; it has {', '.join(files)}"
        raise OptionError(f"{path}: one annotation file is wanted for the split {split!r}, and there are {has}")
    return files[found[0]], None


def in_part(names: Sequence[str], part: str | None) -> set[str]:
    """Those of the names that are in "train" or in "val"; all for None."""
    if part is None:
        return set(names)
    val = held_out(names)
    return val if part == "val" else set(names) - val


def read_json(path: Path) -> Any:
    """What a JSON file holds; NaN and infinity pass, to be found where they stand.

    Raises DataError for one that is missing, is no JSON, or is nested too deep.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror}") from None
    except RecursionError:
        raise DataError(f"{path} is nested deeper than annotations ever are") from None
    except ValueError as problem:  # no JSON, no text, or a number of thousands of digits
        raise DataError(f"{path} is no JSON that can be read: {problem}") from None


def image_folder(file: Path, names: Iterable[str], among: Path | None) -> Path:
    """The folder that holds the images of an annotation file: where most of its first hundred are.

    among  the folder that the caller named; None: images/, the split's folder and others near the file
    """
    if among is not None:
        return among
    base = file.parent.parent if file.parent.name == SHARED else file.parent
    split = file.stem.removeprefix(OBJECTS)
    folders = [base, base / "images", base / split, base / "images" / split, file.parent]
    some = list(names)[:100]
    return max(folders, key=lambda folder: sum(is_file(folder / name) for name in some))


def is_file(path: Path) -> bool:
    """Whether there is such a file; names that the system refuses are of none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def checked_name(name: Any) -> str:
    """The name of an image's file, within its folder. Raises DataError for one that is none, or leads out of there."""
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"has no file name; got {short(name)}")
    path = PurePosixPath(name)
    if path.is_absolute() or Path(name).is_absolute() or ".." in path.parts or not path.name:
        raise DataError(f"has the file name {short(name)}, which leads out of the folder of images")
    return name


def short(value: Any) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."


def _split_of(name: str) -> str | None:
    plain = name.lower().rstrip("0123456789_-")
    return next((split for split, names in SPLITS.items() if plain in names), None)
