"""Pascal VOC's layout: photographs of all sizes in twenty classes of objects and the background."""

from __future__ import annotations

from pathlib import Path

from minisegnet.data.file_dataset import FileDataset, Pair, contents, counted, several
from minisegnet.data.palettes import voc_palette
from minisegnet.errors import DataError, OptionError

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
BORDER = 255  # between objects, and what is too hard to tell
_PHOTOGRAPHS, _MASKS, _LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"


def voc(path: Path, split: str = "train") -> FileDataset:
    """The images that one list names; label 255, the border of objects, is ignored.

    path   a folder with JPEGImages, SegmentationClass and ImageSets/Segmentation, such as VOCdevkit/VOC2012; or the one
           or two folders above it
    split  "train", "val", "trainval", "test" (which has no masks), or any other list in ImageSets/Segmentation

    Raises DataError for a folder of another kind, OptionError for a list that there is not.
    Source: Everingham et al. 2010, VOCdevkit.
    """
    root = _root(path)
    lists = _lists(root)
    if split not in lists:
        raise OptionError(f"voc: {root / _LISTS} has no list {split}.txt; it has {', '.join(lists) or 'none'}")
    names = list(dict.fromkeys(lists[split].read_text(encoding="utf-8-sig").split()))
    pairs = [Pair(name, root / _PHOTOGRAPHS / f"{name}.jpg", root / _MASKS / f"{name}.png") for name in names]
    if split == "test":
        pairs = [pair if pair.mask and pair.mask.is_file() else Pair(pair.name, pair.image, None) for pair in pairs]
    problems = []
    for what, files in (("photograph", [p.image for p in pairs]), ("mask", [p.mask for p in pairs if p.mask])):
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            told = f"{counted(len(missing), what)} named by {lists[split]} not in {files[0].parent}: {several(missing)}"
            problems.append(told)
    return FileDataset(pairs, CLASSES, 3, voc_palette(), BORDER, problems=problems)


def splits(path: Path) -> list[str]:
    """The lists that name each image once."""
    lists = list(_lists(_root(path)))
    return [name for name in lists if name in ("train", "val")] or lists


def _lists(root: Path) -> dict[str, Path]:
    return {file.stem: file for file in sorted((root / _LISTS).glob("*.txt"))}


def _root(path: Path) -> Path:
    for candidates in ([path], sorted(path.glob("VOC2*")), sorted(path.glob("VOCdevkit/VOC2*"))):
        found = [one for one in candidates if all((one / part).is_dir() for part in (_PHOTOGRAPHS, _MASKS, _LISTS))]
        if len(found) > 1:
            raise DataError(f"voc: {path} holds {several([one.name for one in found])}; name one of them")
        if found:
            return found[0]
    raise DataError(f"voc: looked in {path} and VOC2012 in it for {_PHOTOGRAPHS}, {_MASKS}, {_LISTS}; {contents(path)}")
