"""One process at work on a plan: which share is its own, and what it keeps at hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from minisegnet.engine.scratch import Scratch
from minisegnet.layers.base import Parameter


class Slots:
    """The gradients of the parameters that `trained` names, apart for each worker, until they are summed.

    memory   uint8, shared by the workers: `nbytes(...)` of it
    """

    def __init__(self, trained: list[Parameter], rank: int, count: int, memory: np.ndarray) -> None:
        self.trained, self.rank = trained, rank
        size = sum(parameter.data.size for parameter in trained)
        self.all = memory.view(trained[0].data.dtype)[: size * count].reshape(count, size) if trained else memory
        self.place: dict[int, slice] = {}
        done = 0
        for parameter in trained:
            self.place[id(parameter)] = slice(done, done + parameter.data.size)
            done += parameter.data.size
        self.written: set[int] = set()

    @staticmethod
    def nbytes(trained: list[Parameter], count: int) -> int:
        """Bytes that the slots of `count` workers take."""
        return count * sum(parameter.data.nbytes for parameter in trained)

    def begin(self) -> None:
        """Before the way back."""
        self.written.clear()

    def add(self, parameter: Parameter, gradient: np.ndarray) -> None:
        """Write this worker's part, or add it where the parameter stands at several nodes."""
        if not parameter.trainable:
            return
        slot = self.all[self.rank, self.place[id(parameter)]].reshape(gradient.shape)
        if id(parameter) in self.written:
            slot += gradient
        else:
            np.copyto(slot, gradient)
            self.written.add(id(parameter))

    def sum(self) -> None:
        """Add a share of the sums over all workers, which have written theirs, to the parameters' gradients."""
        count, size = self.all.shape
        start, stop = size * self.rank // count, size * (self.rank + 1) // count
        for parameter in self.trained:
            place = self.place[id(parameter)]
            low, high = max(place.start, start), min(place.stop, stop)
            if low < high and id(parameter) in self.written:
                total = self.all[0, low:high]
                for more in self.all[1:, low:high]:  # in the order of the ranks: the same bits each time
                    total = total + more
                parameter.grad.reshape(-1)[low - place.start : high - place.start] += total


class Worker:
    """Rank `rank` of `count`, each a process of its own.

    scratch   small arrays that lie in this process's cache
    """

    rank = 0
    count = 1

    def __init__(self, dtype: Any, crew: Any = None) -> None:
        self.dtype = np.dtype(dtype)
        self.scratch = Scratch()
        self.crew = crew
        if crew is not None:
            self.rank, self.count = crew.rank, crew.count
        self.slots: Slots | None = None  # of gradients, where several workers add to them
        self._ones = np.ones(0, self.dtype)
        self._zeros = np.zeros(0, self.dtype)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """The sum of what all workers give, float64."""
        return values if self.count == 1 else self.crew.sum(values)

    def wait(self) -> None:
        """Wait until all workers have come here."""
        if self.count > 1:
            self.crew.barrier()

    def add_gradient(self, parameter: Parameter, gradient: np.ndarray) -> None:
        """Add this worker's part of a parameter's gradient."""
        if self.slots is None:
            parameter.accumulate(gradient)
        else:
            self.slots.add(parameter, gradient)

    def ones(self, count: int) -> np.ndarray:
        """A vector of ones: its product with a matrix sums the rows, at the speed of a product."""
        if len(self._ones) < count:
            self._ones = np.ones(count, self.dtype)
        return self._ones[:count]

    def zeros(self, count: int) -> np.ndarray:
        """A vector of zeros: to compare with one is four times as fast as with the number 0."""
        if len(self._zeros) < count:
            self._zeros = np.zeros(count, self.dtype)
        return self._zeros[:count]
