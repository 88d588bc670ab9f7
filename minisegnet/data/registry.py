"""Data sets by a word and a path, as the command line names them."""

from __future__ import annotations

import inspect
from typing import Any

from minisegnet.data.camvid import CamVid
from minisegnet.data.folder import Folder
from minisegnet.data.isbi import ISBI
from minisegnet.data.sample import Dataset
from minisegnet.data.shapes import GRADES, Shapes
from minisegnet.data.voc import VOC
from minisegnet.errors import DataError, OptionError

READERS: dict[str, Any] = {"folder": Folder, "isbi": ISBI, "camvid": CamVid, "voc": VOC}


def open_dataset(spec: str, split: str = "train", **options: Any) -> Dataset:
    """The data set that a spec names.

    spec     "shapes" or "shapes:easy" (medium, hard), "folder:PATH", "isbi:PATH", "camvid:PATH", "voc:PATH"
    split    "train", "val", "test", or what else the data set has
    options  further arguments of its class, such as size=64 for shapes, slices="0-23" for isbi, ignore_index=255 for folder

    Raises DataError (an unknown word, a missing path, files that do not fit), OptionError (an unknown option or split).
    """
    word, colon, rest = spec.partition(":")
    if word == "shapes":
        if colon and rest not in GRADES:
            raise DataError(f"{spec!r}: shapes has the difficulties {', '.join(GRADES)}; write shapes:easy, for one")
        return _made(Shapes, spec, split=split, **({"difficulty": rest} if colon else {}), **options)
    if word not in READERS:
        known = ", ".join(["shapes", "shapes:easy", *(f"{name}:PATH" for name in READERS)])
        raise DataError(f"{spec!r} names no data set; known are {known}")
    if not rest:
        raise DataError(f"{spec!r} names no folder; write {word}:PATH, for example {word}:data/{word}")
    return _made(READERS[word], spec, rest, split=split, **options)


def _made(kind: Any, spec: str, *arguments: Any, **options: Any) -> Dataset:
    known = [name for name in inspect.signature(kind).parameters if name not in ("path", "split", "strict")]
    unknown = [name for name in options if name not in (*known, "split", "strict")]
    if unknown:
        raise OptionError(f"{spec}: unknown option {unknown[0]!r}; it takes {', '.join(known) or 'none'}")
    return kind(*arguments, **options)
