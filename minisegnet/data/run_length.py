"""Masks as the lengths of their runs: COCO's way to write objects down, and what can be computed without unpacking.

A mask is read column by column, and told by how many pixels are out, then in, then out, ... The first count is of
pixels outside and may be 0. In COCO's JSON the counts are a list, or packed into a line of text.

Source: Lin et al. 2014, Microsoft COCO; the format is that of its API's maskApi.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minisegnet.errors import DataError, DtypeError, OptionError, ShapeError

_MOST_CHARACTERS = 7  # of one count: 35 bits, when counts have 32
_DIGIT, _MORE, _SIGN, _FIRST = 0x1F, 0x20, 0x10, 48  # five bits of the number, one that says "goes on", character "0"


@dataclass(frozen=True, eq=False)
class RunLength:
    """One mask.

    size    (H, W)
    counts  (n,)  int64, pixels outside, inside, outside, ... column by column; they add up to H * W
    """

    size: tuple[int, int]
    counts: np.ndarray

    @property
    def area(self) -> int:
        """Pixels inside."""
        return int(self.counts[1::2].sum())

    @property
    def box(self) -> np.ndarray:
        """(4,) float64: x1, y1, x2, y2 of the smallest box that holds each pixel whole; zeros for an empty mask."""
        starts, ends = self.runs()
        if len(starts) == 0:
            return np.zeros(4)
        height = self.size[0]
        first, last = starts // height, (ends - 1) // height
        top, bottom = (starts % height).min(), ((ends - 1) % height).max() + 1
        if (first < last).any():  # a run that goes on in the next column touches the lower edge and the upper one
            top, bottom = 0, height
        return np.array([first[0], top, last[-1] + 1, bottom], np.float64)

    def runs(self) -> tuple[np.ndarray, np.ndarray]:
        """Starts and ends (r,), (r,) of the runs inside, counted column by column; an end is the first pixel after."""
        edges = np.cumsum(self.counts[: len(self.counts) // 2 * 2])
        starts, ends = edges[::2], edges[1::2]
        return starts[starts < ends], ends[starts < ends]

    def pixels(self) -> np.ndarray:
        """(area,) the pixels inside, counted column by column: x * H + y."""
        starts, ends = self.runs()
        lengths = ends - starts
        before = np.cumsum(lengths) - lengths
        return np.arange(lengths.sum()) + np.repeat(starts - before, lengths)

    def mask(self) -> np.ndarray:
        """(H, W) bool."""
        inside = np.repeat(np.arange(len(self.counts)) % 2 == 1, self.counts)
        return np.ascontiguousarray(inside.reshape(self.size[::-1]).T)

    def to_coco(self) -> dict[str, Any]:
        """What COCO's JSON holds: {"size": [H, W], "counts": text}."""
        return {"size": list(self.size), "counts": to_text(self.counts)}


def encode(mask: np.ndarray) -> RunLength:
    """A mask (H, W) of bool, or of ints where 0 is outside. Raises ShapeError, DtypeError for something else."""
    if mask.ndim != 2:
        raise ShapeError(f"a mask has shape (height, width); got {mask.shape}. Encode one mask at a time")
    if mask.dtype.kind not in "bui":
        raise DtypeError(f"a mask is of bool or int; got {mask.dtype}. Write mask > 0.5 for one of probabilities")
    flat = mask.T.ravel() != 0
    edges = np.flatnonzero(np.diff(flat, prepend=False))
    return between(mask.shape, edges)


def between(size: tuple[int, ...], edges: np.ndarray) -> RunLength:
    """The mask (H, W) that goes in, out, in, ... at these places (n,), rising, counted column by column."""
    height, width = size
    ends = edges if len(edges) and edges[-1] == height * width else np.append(edges, height * width)
    return RunLength((int(height), int(width)), np.diff(ends, prepend=0).astype(np.int64))


def encode_numbered(instances: np.ndarray, numbers: np.ndarray) -> list[RunLength]:
    """The masks of the objects that have these numbers (G,) in a map (H, W), all in one pass over it."""
    flat = instances.T.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=flat[:1] - 1))
    ends = np.append(starts[1:], flat.size)
    order = np.argsort(flat[starts], kind="stable")
    found = flat[starts[order]]
    first, last = np.searchsorted(found, numbers), np.searchsorted(found, numbers, side="right")
    edges = np.stack([starts[order], ends[order]], axis=1)
    return [between(instances.shape, edges[i:j].ravel()) for i, j in zip(first, last, strict=True)]


def from_coco(segmentation: Any) -> RunLength:
    """The mask of COCO's {"size": [H, W], "counts": a list of ints, or text}.

    Raises DataError for what is no such thing: sizes that are no whole numbers from 1, counts below 0, counts that do
    not add up to the size, characters that stand for nothing.
    """
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise DataError('a mask in run lengths is {"size": [height, width], "counts": ...}; ' + _given(segmentation))
    size, counts = segmentation["size"], segmentation["counts"]
    if not (isinstance(size, list | tuple) and len(size) == 2 and all(_is_count(side) and side > 0 for side in size)):
        raise DataError(f"the size of a mask in run lengths is [height, width], whole numbers from 1; {_given(size)}")
    if isinstance(counts, str | bytes):
        lengths = from_text(counts)
    elif isinstance(counts, list | tuple | np.ndarray) and all(_is_count(count) for count in counts):
        lengths = np.array(counts, np.int64)
    else:
        raise DataError(f"the counts of a mask in run lengths are whole numbers below 2^32, or text; {_given(counts)}")
    height, width = (int(side) for side in size)
    if len(lengths) and lengths.min() < 0:
        raise DataError(f"the counts of a mask in run lengths are at least 0; got {lengths.min()}")
    if lengths.sum() != height * width:
        raise DataError(f"run lengths of a mask of {height} x {width} add up to {height * width}; got {lengths.sum()}")
    return RunLength((height, width), lengths)


def to_text(counts: np.ndarray) -> str:
    """Counts (n,) as COCO's text: from the fourth on the change since the one before the last, five bits a character.

    The lowest bits come first; each character's sixth bit says whether more follow; it stands 48 places on in ASCII.
    """
    left = np.array(counts, np.int64)
    left[3:] -= np.asarray(counts, np.int64)[1:-2]
    characters = np.zeros((len(left), _MOST_CHARACTERS), np.uint8)
    going_on = np.ones(len(left), bool)
    used = np.zeros(characters.shape, bool)
    for place in range(_MOST_CHARACTERS):
        used[:, place] = going_on
        digit = left & _DIGIT
        left >>= 5
        going_on = going_on & (left != np.where(digit & _SIGN, -1, 0))  # the last digit's high bit is the sign
        characters[:, place] = digit + _MORE * going_on + _FIRST
    return characters[used].tobytes().decode("ascii")


def from_text(text: str | bytes) -> np.ndarray:
    """The counts (n,) int64 of COCO's text; see `to_text`. Raises DataError for characters that stand for nothing."""
    try:
        codes = np.frombuffer(text.encode("ascii") if isinstance(text, str) else text, np.uint8).astype(np.int64)
    except UnicodeEncodeError:
        codes = np.array([-1])
    codes -= _FIRST
    stray = (codes < 0) | (codes > (_DIGIT | _MORE))
    if stray.any():
        raise DataError(f"run lengths as text are characters '0' to 'o'; character {int(stray.argmax())} is another")
    last = np.flatnonzero(codes & _MORE == 0)
    if len(codes) and (len(last) == 0 or last[-1] != len(codes) - 1):
        raise DataError("run lengths as text end within a number: the text was cut off")
    lengths = np.diff(last, prepend=-1)
    if len(lengths) and lengths.max() > _MOST_CHARACTERS:
        raise DataError(f"run lengths as text: a number of {lengths.max()} characters, where 7 hold all 32 bits")
    place = np.arange(len(codes)) - np.repeat(last - lengths + 1, lengths)
    digits = (codes & _DIGIT) << (5 * place)
    changes = np.add.reduceat(digits, last - lengths + 1) if len(last) else digits
    changes -= np.where(codes[last] & _SIGN, 1 << (5 * lengths), 0)
    for start in (1, 2):
        changes[start::2] = np.cumsum(changes[start::2])
    return changes


def merge(masks: Sequence[RunLength], intersect: bool = False) -> RunLength:
    """The union of masks of one size, or what is in all of them. Raises OptionError for none, ShapeError for sizes."""
    if not masks:
        raise OptionError("merge takes at least one mask; got none")
    _check_sizes(masks)
    starts, ends = (np.concatenate(edges) for edges in zip(*(mask.runs() for mask in masks), strict=True))
    places, where = np.unique(np.concatenate([starts, ends]), return_inverse=True)
    changes = np.bincount(where[: len(starts)], minlength=len(places)) - np.bincount(
        where[len(starts) :], minlength=len(places)
    )
    inside = np.cumsum(changes) >= (len(masks) if intersect else 1)
    return between(masks[0].size, places[np.diff(inside, prepend=False)])


def intersection_over_union(
    masks: Sequence[RunLength], others: Sequence[RunLength], crowd: np.ndarray | None = None
) -> np.ndarray:
    """(A, B) float64: what two masks share, over what either covers; 0 where both are empty.

    masks, others  A and B masks of one size
    crowd          (B,) bool: a crowd's outline holds many objects, so the share is of the mask's own area

    Raises ShapeError for sizes, or a crowd, that do not fit. Source: COCO's evaluation.
    """
    _check_sizes([*masks, *others])
    crowd = np.zeros(len(others), bool) if crowd is None else np.asarray(crowd).astype(bool)
    if crowd.shape != (len(others),):
        raise ShapeError(f"crowd has one value for each of the {len(others)} other masks; got shape {crowd.shape}")
    areas, other_areas = (np.array([mask.area for mask in group], np.int64) for group in (masks, others))
    shared = intersections(masks, others)
    union = np.where(crowd, areas[:, None], areas[:, None] + other_areas - shared)
    return shared / np.maximum(union, 1)


def intersections(masks: Sequence[RunLength], others: Sequence[RunLength]) -> np.ndarray:
    """(A, B) int64: the pixels that two masks of one size share."""
    shared = np.zeros((len(masks), len(others)), np.int64)
    if not shared.size:
        return shared
    low, high = np.split(np.stack([mask.box for mask in masks]), 2, axis=1)
    runs = [mask.runs() for mask in masks]
    for column, other in enumerate(others):
        box = other.box
        touching = np.flatnonzero((np.maximum(low, box[:2]) < np.minimum(high, box[2:])).all(axis=1))
        if len(touching) == 0:
            continue
        starts, ends = (np.concatenate(edges) for edges in zip(*(runs[row] for row in touching), strict=True))
        # How much of `other` lies before a place grows by 1 a pixel within its runs, and rests between them.
        edges = np.stack(other.runs(), axis=1).ravel()
        before = np.zeros(len(edges))
        before[1::2] = np.cumsum(edges[1::2] - edges[::2])
        before[2::2] = before[1:-1:2]
        within = np.interp(ends, edges, before) - np.interp(starts, edges, before)
        first = np.cumsum([0, *(len(runs[row][0]) for row in touching[:-1])])
        shared[touching, column] = np.add.reduceat(within, first)
    return shared


def _check_sizes(masks: Sequence[RunLength]) -> None:
    sizes = sorted({mask.size for mask in masks})
    if len(sizes) > 1:
        raise ShapeError(f"masks must be of one size to be compared; got {sizes[0]} and {sizes[1]}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(0 <= value < 2**32)


def _given(value: Any) -> str:
    text = repr(value)
    return "got " + (text if len(text) <= 60 else text[:60] + "...")
