"""The file in which a folder of images says what its classes are called: classes.txt or classes.json."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minisegnet.errors import DataError

FILES = ("classes.txt", "classes.json")
IGNORE = "ignore"  # the name that stands for no class
IGNORE_INDEX = 255  # the label that colours of no class get, unless the file names another

Colour = tuple[int, int, int]


@dataclass
class ClassFile:
    """names by label; the colour of each, or none at all; the label and the colours that mean no class."""

    names: list[str] = field(default_factory=list)
    colours: list[Colour] = field(default_factory=list)
    ignore_index: int | None = None
    ignore_colours: list[Colour] = field(default_factory=list)

    @property
    def palette(self) -> np.ndarray | None:
        """(number of classes, 3) uint8, or None without colours."""
        return np.array(self.colours, np.uint8) if self.colours else None

    def labels_of(self, colours: np.ndarray, ignore_index: int | None) -> np.ndarray:
        """Labels (H, W) int32 of colours (H, W), red * 65536 + green * 256 + blue; -1 - colour where it has none."""
        listed = np.array(self.colours + self.ignore_colours, np.int32) @ (65536, 256, 1)
        labels = np.array([*range(len(self.names)), *[ignore_index] * len(self.ignore_colours)], np.int32)
        order = np.argsort(listed)
        places = np.searchsorted(listed[order], colours).clip(max=len(listed) - 1)
        return np.where(listed[order][places] == colours, labels[order][places], -1 - colours).astype(np.int32)


def read_class_file(folder: Path) -> ClassFile | None:
    """What the folder's classes.txt or classes.json says; None if it has neither.

    classes.txt   a line a class, in the order of the labels from 0: its name, or its name and colour, as in
                  "sky 128 128 128". A line "ignore 255" says which label means no class, "ignore 0 0 0" which colour.
                  "#" begins a remark
    classes.json  a list of names, or of {"name": ..., "colour": [r, g, b]}; or {"classes": that list,
                  "ignore_index": n}. A colour of the name "ignore" means no class

    Raises DataError, with the line, for a file that says something else.
    """
    found = [folder / name for name in FILES if (folder / name).is_file()]
    if not found:
        return None
    if len(found) > 1:
        raise DataError(f"{folder} has both {' and '.join(FILES)}; keep one of them")
    path = found[0]
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise DataError(f"{path} cannot be read as text in UTF-8 ({problem})") from problem
    read = ClassFile()
    entries = _lines(text) if path.suffix == ".txt" else _entries(text, path, read)
    for place, name, numbers in entries:
        _add(read, name, numbers, f"{path}, {place}")
    _check(read, path)
    return read


def _lines(text: str) -> list[tuple[str, str, list[int]]]:
    """(place, name, the numbers behind it) of each line of classes.txt."""
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        count = 3 if len(words) > 3 and all(map(_is_number, words[-3:])) else 0
        if words[0].lower() == IGNORE and len(words) == 2 and _is_number(words[1]):
            count = 1
        split = len(words) - count
        entries.append((f"line {number}", " ".join(words[:split]), [int(word) for word in words[split:]]))
    return entries


def _is_number(word: str) -> bool:
    return word.lstrip("-").isdecimal()


def _entries(text: str, path: Path, read: ClassFile) -> list[tuple[str, str, list[int]]]:
    """The same of each entry of classes.json; sets the ignore_index."""
    wanted = '["name", ...], [{"name": ..., "colour": [r, g, b]}, ...] or {"classes": one of these, "ignore_index": n}'
    try:
        content: Any = json.loads(text)
        if isinstance(content, dict):
            read.ignore_index = content.get("ignore_index")
            content = content["classes"]
        entries = []
        for number, entry in enumerate(content):
            if isinstance(entry, str):
                entry = {"name": entry}
            colour = entry.get("colour", entry.get("color", []))
            entries.append((f"entry {number}", entry["name"], list(colour)))
        whole = all(type(value) is int for _, _, colour in entries for value in colour)
        named = isinstance(content, list) and all(isinstance(name, str) for _, name, _ in entries)
        if not (whole and named and (read.ignore_index is None or type(read.ignore_index) is int)):
            raise TypeError("a name must be text, a colour and the ignore_index whole numbers")
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise DataError(f"{path} cannot be understood ({type(problem).__name__}: {problem}); wanted {wanted}") from None
    return entries


def _add(read: ClassFile, name: str, numbers: list[int], place: str) -> None:
    if len(numbers) == 3 and not all(0 <= value <= 255 for value in numbers):
        raise DataError(f"{place}: a colour is three numbers from 0 to 255; got {numbers}")
    if len(numbers) not in (0, 3) and not (len(numbers) == 1 and name.lower() == IGNORE):
        raise DataError(f"{place}: a colour is three numbers; got {numbers}")
    if name.lower() == IGNORE and numbers:
        if len(numbers) == 1:
            read.ignore_index = numbers[0]
        else:
            read.ignore_colours.append((numbers[0], numbers[1], numbers[2]))
        return
    if not name.strip() or name in read.names:
        raise DataError(f"{place}: the class name {name!r} " + ("occurs twice" if name.strip() else "is empty"))
    read.names.append(name)
    if numbers:
        read.colours.append((numbers[0], numbers[1], numbers[2]))


def _check(read: ClassFile, path: Path) -> None:
    if not read.names:
        raise DataError(f"{path} names no class; write one on each line, in the order of the labels")
    if read.colours and len(read.colours) < len(read.names):
        raise DataError(
            f"{path} gives {len(read.colours)} of {len(read.names)} classes a colour; give all of them one, or none"
        )
    colours = read.colours + read.ignore_colours
    twice = [colour for colour in colours if colours.count(colour) > 1]
    if twice:
        raise DataError(f"{path} gives the colour {twice[0]} twice; each class needs its own")
    if read.ignore_colours and not read.colours:
        raise DataError(f"{path} has a colour to ignore, but no class has a colour; give each class one")
    if read.ignore_colours and read.ignore_index is None:
        read.ignore_index = IGNORE_INDEX
