"""Opening a data set by a line of text: its format and its folder."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minisegnet.data.part import PartOfDataset, split_and_slice
from minisegnet.data.sample import Dataset
from minisegnet.errors import DataError, OptionError

# Each of these is the name of a module here and of the function in it that opens (path, split, **options).
FORMATS = ("folder", "isbi", "camvid", "voc", "nuclei", "coco", "via")
SINGLE_FILES = ("coco", "via")  # whose path may also be one file
KNOWN = "shapes, shapes:easy, shapes:medium, shapes:hard, " + ", ".join(f"{name}:PATH" for name in FORMATS)


def open_dataset(spec: str, split: str = "train", **options: Any) -> Dataset:
    """The data set that a line of text names.

    spec     "shapes", "shapes:easy", "shapes:medium", "shapes:hard", made up (see `Shapes`; options size, count, seed);
             "folder:PATH" (see `folder`; options ignore_index, instances);
             "isbi:PATH" (see `isbi`; option slices); "camvid:PATH" (see `camvid`); "voc:PATH" (see `voc`);
             "nuclei:PATH" (see `nuclei`), "coco:PATH" (see `coco`; option images), "via:PATH" (see `via`; options
             attribute, images), which know their objects
    split    "train", "val", "test", or what else the format knows; with a slice behind it a part of that, such as
             "train[:-40]", all but the last forty, and "train[-40:]", those
    options  by name, where the format has them

    Files are looked for now and read when a sample is asked for. Raises OptionError for a format, split or option that
    there is not; DataError, with all that is wrong in one list, for a folder that is not as the format wants it.
    """
    split, part = split_and_slice(split)
    if part is not None:
        return PartOfDataset(open_dataset(spec, split, **options), *part)
    name, path = parse(spec)
    if name == "shapes":
        return _shapes(path, split, options)
    dataset = open_files(name, Path(path), split, options)
    if len(dataset) == 0 and not dataset.problems:
        dataset.problems.append(f"no images in the split {split!r}")
    if dataset.problems:
        raise DataError(f"{spec}: " + "; ".join(dataset.problems))
    return dataset


def parse(spec: str) -> tuple[str, str]:
    """Format and path of a line such as "folder:photos". Raises OptionError for a format that there is not."""
    name, _, path = str(spec).partition(":")
    if name == "shapes" or (name in FORMATS and path):
        return name, path if name == "shapes" else str(Path(path).expanduser())
    if name in FORMATS:
        raise OptionError(f"data {spec!r} names no folder; write {name}:PATH")
    hint = f"; write folder:{spec} for a folder of images and masks" if Path(spec).is_dir() else ""
    raise OptionError(f"data must be one of {KNOWN}; got {spec!r}{hint}")


def open_files(name: str, path: Path, split: str, options: dict[str, Any]) -> Any:
    """A FileDataset, with what is wrong with it as a whole in its `problems`."""
    opener = getattr(importlib.import_module(f"minisegnet.data.{name}"), name)
    _check_options(name, opener, options)
    check_path(name, path)
    return opener(path, split, **options)


def check_path(name: str, path: Path) -> None:
    """Raises DataError where a format's data cannot be because there is no such folder, or file where it may be one."""
    if path.is_dir() or (name in SINGLE_FILES and path.is_file()):
        return
    what = "folder or file" if name in SINGLE_FILES else "folder"
    raise DataError(f"{name}: {path} is a file, not a folder" if path.exists() else f"there is no {what} {path}")


def _shapes(difficulty: str, split: str, options: dict[str, Any]) -> Dataset:
    from minisegnet.data.shapes import Shapes

    _check_options("shapes", Shapes, options, also_not=("difficulty",) if difficulty else ())
    if difficulty:
        options = {**options, "difficulty": difficulty}
    return Shapes(split=split, **options)


def _check_options(name: str, opener: Callable, options: dict[str, Any], also_not: tuple[str, ...] = ()) -> None:
    known = [option for option in inspect.signature(opener).parameters if option not in ("path", "split", *also_not)]
    unknown = [option for option in options if option not in known]
    if unknown:
        takes = f"it takes {', '.join(known)}" if known else "it takes none"
        raise OptionError(f"{name} has no option {', '.join(unknown)}; {takes}")
