"""Reads the bank of planted bugs (planted_bugs.txt, which says how it is written)."""

from pathlib import Path
from typing import NamedTuple


class Bug(NamedTuple):
    """In `file`, `old` (lines that stand there once) becomes `new`: then `launch` (planted_launches.py) breaks a rule.

    kind   of the finding
    lines  something of each line of the source that the finding must name
    """

    launch: str
    file: str
    kind: str
    lines: tuple[str, ...]
    old: str
    new: str


def read(text):
    """Every bug by name."""
    bugs = {}
    for entry in text.split("\n== ")[1:]:
        name, head, *rest = entry.split("\n#", 1)[0].rstrip().split("\n")
        launch, file, kind = head.split(" | ")
        edit = [line for line in rest if not line.startswith("names ")]
        old = "".join(line[1:] + "\n" for line in edit if line[:1] != "+")
        new = "".join(line[1:] + "\n" for line in edit if line[:1] != "-")
        lines = tuple(line[len("names ") :].strip() for line in rest if line.startswith("names "))
        assert name not in bugs and lines and old != new, name
        bugs[name] = Bug(launch, file, kind, lines, old, new)
    return bugs


BUGS = read((Path(__file__).parent / "planted_bugs.txt").read_text(encoding="utf-8"))
