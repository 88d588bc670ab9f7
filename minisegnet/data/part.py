"""A part of a data set, by number: what is held out of a split that has no other to choose on."""

from __future__ import annotations

import re

import numpy as np

from minisegnet.data.sample import Dataset, Sample
from minisegnet.errors import OptionError

_SLICE = re.compile(r"(?P<split>.+)\[(?P<start>-?\d+)?:(?P<stop>-?\d+)?\]")


class PartOfDataset:
    """The samples `start` to `stop` of a data set, counted as a slice of a list is.

    Raises OptionError if there are none.
    """

    def __init__(self, dataset: Dataset, start: int | None, stop: int | None) -> None:
        self.dataset, self.numbers = dataset, range(len(dataset))[start:stop]
        if not self.numbers:
            given = f"[{'' if start is None else start}:{'' if stop is None else stop}]"
            raise OptionError(f"{given} of {len(dataset)} images is none; counts are as in Python, [:-40] all but 40")

    @property
    def classes(self) -> tuple[str, ...]:
        return self.dataset.classes

    @property
    def palette(self) -> np.ndarray:
        return self.dataset.palette

    @property
    def ignore_index(self) -> int | None:
        return self.dataset.ignore_index

    @property
    def channels(self) -> int:
        return self.dataset.channels

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[self.numbers[index]]


def split_and_slice(split: str) -> tuple[str, tuple[int | None, int | None] | None]:
    """A split's name and its slice: "train" and (None, -40) of "train[:-40]"; None where there is no slice."""
    found = _SLICE.fullmatch(split)
    if found is None:
        return split, None
    start, stop = (None if number is None else int(number) for number in found.group("start", "stop"))
    return found["split"], (start, stop)
