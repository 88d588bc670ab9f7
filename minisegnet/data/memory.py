"""A data set kept in memory: every sample is read once, not once an epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np

from minisegnet.data.sample import Dataset, Sample


class InMemory:
    """The samples of a data set, each made when it is first asked for and then kept.

    transform  a change without chance that is kept too, such as BorderWeight(); called as transform(sample, None)

    The arrays are read-only, for each is handed out many times.
    """

    def __init__(self, dataset: Dataset, transform: Callable[[Sample, None], Sample] | None = None) -> None:
        self.dataset, self.transform = dataset, transform
        self.classes, self.palette = dataset.classes, dataset.palette
        self.ignore_index, self.channels = dataset.ignore_index, dataset.channels
        self._kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        index = range(len(self))[index]
        if index not in self._kept:
            sample = self.dataset[index]
            if self.transform is not None:
                sample = self.transform(sample, None)
            for field in fields(sample):
                array = getattr(sample, field.name)
                if isinstance(array, np.ndarray):
                    array.setflags(write=False)
            self._kept[index] = sample
        return self._kept[index]
