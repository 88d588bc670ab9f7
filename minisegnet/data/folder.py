"""A folder of images and masks, the data set that one makes oneself."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path

import numpy as np

from minisegnet.data.class_file import ClassFile, read_class_file
from minisegnet.data.file_dataset import FileDataset, channels_of, colour_of, counted, several
from minisegnet.data.images import read_mask
from minisegnet.data.layouts import find_parts
from minisegnet.errors import DataError, OptionError
from minisegnet.shapes import integer

MOST_FOUND = 64  # classes that are believed without a classes file: more are object numbers or smoothed masks
INSTANCE_CLASSES = ("background", "object")


def folder(path: Path, split: str = "train", ignore_index: int | None = None, instances: bool = False) -> FileDataset:
    """The images of one split with their masks, which have the same names but for the ending.

    path          images/ and masks/ (or image, img, imgs; labels, label, mask, annotations, annot), each perhaps with
                  train/, val/ and test/ in it; or train/images and train/masks, val/..., test/...; or train and
                  trainannot, val and valannot, test and testannot. A test split may lack masks
    split         "train", "val" or "test". Without such folders train.txt, val.txt and test.txt may list names; without
                  those, a hash of each name decides, about 80 % to train and 20 % to val (see `layouts.held_out`)
    ignore_index  the label of pixels that count for nothing. No value is taken for that unasked: with a 255 that is no
                  class, the loader stops
    instances     the masks number objects, 1 to K: they become instances, and the classes are background and object

    Masks are palette or grey PNGs (8 or 16 bits) of class numbers; or of 0 and 255 alone, which are the classes 0 and
    1; or in the colours of a classes file (see `read_class_file`), which also names the classes. Without one the
    classes are the values 0 to the highest found in all masks of all splits, called "class 0", "class 1", ...

    Raises DataError for a folder of another kind or a faulty classes file, OptionError for a split that there is not.
    """
    if ignore_index is not None:
        ignore_index = integer(ignore_index, "folder: ignore_index")
    parts = find_parts(path)
    if split not in parts:
        raise OptionError(f"folder: {path} has no split {split!r}; it has {', '.join(parts)}")
    part = parts[split]
    written = read_class_file(path)
    if written and ignore_index is None:
        ignore_index = written.ignore_index
    masks = [pair.mask for each in parts.values() for pair in each.pairs if pair.mask is not None]
    problems = list(part.problems)
    two_valued = False
    if instances:
        classes = tuple(written.names) if written else INSTANCE_CLASSES
        if len(classes) != 2:
            raise OptionError(f"folder: instances are of 2 classes; the classes file of {path} names {len(classes)}")
    elif written:
        classes = tuple(written.names)
        if len(classes) == 2 and not written.colours and ignore_index != 255:
            two_valued = is_two_valued(found_in(masks))
    else:
        found = found_in(masks)
        if ignore_index is not None:
            found.pop(ignore_index, None)
        two_valued = is_two_valued(found)
        classes, told = found_classes(found, path)
        problems += told

    def decode(mask: Path, page: int | None = None) -> np.ndarray:
        labels = read_class_numbers(mask, written, ignore_index)
        if two_valued:
            labels[labels == 255] = 1
        return labels

    channels = channels_of(pair.image for each in parts.values() for pair in each.pairs)
    palette = written.palette if written else None
    return FileDataset(part.pairs, classes, channels, palette, ignore_index, decode, instances, problems)


def splits(path: Path) -> list[str]:
    """The splits that there are."""
    return list(find_parts(path))


def read_class_numbers(mask: Path, written: ClassFile | None, ignore_index: int | None) -> np.ndarray:
    """A mask's labels (H, W) int32; -1 - the colour's number where it is in colours that have no class."""
    values, coloured = read_mask(mask)
    if not coloured:
        return values
    if written and written.colours:
        return written.labels_of(values, ignore_index)
    grey = values & 255
    return np.where(values == grey * 0x010101, grey, -1 - values).astype(np.int32)


def found_in(masks: Iterable[Path]) -> dict[int, list[Path]]:
    """The values in all masks that can be read (negative for colours), and which masks have each."""
    found: dict[int, list[Path]] = {}
    for mask in masks:
        state = mask.stat()
        for value in _values(mask, state.st_mtime_ns, state.st_size):
            found.setdefault(value, []).append(mask)
    return found


@cache
def _values(mask: Path, changed: int, size: int) -> frozenset[int]:
    """The values of one mask, remembered for as long as the file stays as it is: each split asks for them all."""
    try:
        return frozenset(np.unique(read_class_numbers(mask, None, None)).tolist())
    except DataError:  # told when the mask is read
        return frozenset()


def is_two_valued(values: Collection[int]) -> bool:
    """Whether masks are of 0 and 255 alone (black and white, as a drawing program saves them)."""
    return 255 in values and set(values) <= {0, 255}


def found_classes(found: dict[int, list[Path]], path: Path) -> tuple[tuple[str, ...], list[str]]:
    """Names for the classes that the masks' values show, and what speaks against it."""
    colours = sorted((value for value in found if value < 0), reverse=True)
    if colours:
        listed = several([colour_of(value) for value in colours])
        return (), [
            f"the masks of {path} are in colours, and it has no classes file that says what these mean: {listed}. "
            "Write a classes.txt there with a line 'name red green blue' for each"
        ]
    if is_two_valued(found):
        return ("class 0", "class 1"), []
    highest = max(found.keys() - {255}, default=0)  # 255 usually means no class; if not, classes.txt can say so
    if highest >= MOST_FOUND:
        high = dict.fromkeys(mask.name for value in found if value >= MOST_FOUND for mask in found[value])
        return (), [
            f"the masks of {path} hold {len(found)} values up to {max(found)}, too many to be taken for classes; those "
            f"from {MOST_FOUND} on are in {counted(len(high), 'mask')}: {several(list(high))}. If they number objects, "
            "open it with instances=True; if they were smoothed (saved as JPEG, or resized), make them anew; if they "
            "are classes, name these in a classes.txt"
        ]
    return tuple(f"class {label}" for label in range(highest + 1)), []
