"""One process at work on a plan: which share is its own, and what it keeps at hand."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from minisegnet.engine.scratch import Scratch
from minisegnet.engine.updates import Part, Updates
from minisegnet.layers.base import Parameter

if TYPE_CHECKING:
    from minisegnet.engine.crew import Crew


class Slots:
    """Gradients of parameters, apart for each worker until they are summed.

    memory   uint8, shared by the workers: `nbytes(...)` of it
    """

    def __init__(self, parameters: list[Parameter], rank: int, count: int, memory: np.ndarray) -> None:
        self.rank, self.count = rank, count
        self.place: dict[int, tuple[Parameter, slice, int]] = {}  # by identity: parameter, place, number
        size = 0
        for number, parameter in enumerate(parameters):
            self.place[id(parameter)] = parameter, slice(size, size + parameter.data.size), number
            size += parameter.data.size
        flags = count * len(parameters)
        self.written = memory[:flags].reshape(count, -1)  # which worker has written which
        dtype = parameters[0].data.dtype if parameters else np.dtype(np.float32)
        start = -(-flags // 64) * 64
        self.all = memory[start : start + count * size * dtype.itemsize].view(dtype).reshape(count, size)

    @staticmethod
    def nbytes(parameters: list[Parameter], count: int) -> int:
        """Bytes that the slots of `count` workers take."""
        return -(-count * len(parameters) // 64) * 64 + count * sum(parameter.data.nbytes for parameter in parameters)

    def begin(self) -> None:
        """Before the way back."""
        self.written[self.rank] = 0

    def add(self, parameter: Parameter, gradient: np.ndarray) -> None:
        """Write this worker's part; add it where the parameter stands at several nodes."""
        if not parameter.trainable:
            return
        _, place, number = self.place[id(parameter)]
        slot = self.all[self.rank, place].reshape(gradient.shape)
        if self.written[self.rank, number]:
            slot += gradient
        else:
            np.copyto(slot, gradient)
            self.written[self.rank, number] = 1

    def sum(self, anew: Container[int] = ()) -> None:
        """Add this worker's share of all numbers, summed over the workers, to the parameters' gradients.

        anew   the parameters, by identity, whose gradients it replaces instead, where they were given to `add`
        """
        size = self.all.shape[1]
        start, stop = size * self.rank // self.count, size * (self.rank + 1) // self.count
        for parameter, place, number in self.place.values():
            low, high = max(place.start, start), min(place.stop, stop)
            if low >= high:
                continue
            grad = parameter.grad.reshape(-1)[low - place.start : high - place.start]
            replaces = id(parameter) in anew
            for rank in range(self.count):  # always in this order: the same bits each time
                if self.written[rank, number]:
                    part = self.all[rank, low:high]
                    np.copyto(grad, part) if replaces else np.add(grad, part, out=grad)
                    replaces = False


class Worker:
    """One process of a crew, or the only one.

    number, team   which of how many
    apart          whether it has images, and memory, of its own: the plan is then one for these images alone, and only
                   sums join the workers. Otherwise all share every image by rows, and wait for one another
    rank, count    whose share of the plan's rows: as number and team, or of one where it works apart
    scratch        working memory, of this process alone
    """

    def __init__(self, dtype: Any, crew: Crew | None = None, apart: bool = False) -> None:
        self.dtype = np.dtype(dtype)
        self.scratch = Scratch()
        self.crew = crew
        self.number, self.team = (0, 1) if crew is None else (crew.rank, crew.count)
        self.apart = apart and self.team > 1
        self.rank, self.count = (0, 1) if self.apart else (self.number, self.team)
        self.slots: Slots | None = None  # of gradients, where several workers add to them
        self.updates: Updates | None = None  # while parameters are updated as soon as their gradients are there
        self.anew: Container[int] = ()  # parameters, by identity, whose gradients are written, not added to
        self.common_memory: np.ndarray | None = None  # uint8, once a plan has given it
        self._ones = np.ones(0, self.dtype)
        self._zeros = np.zeros(0, self.dtype)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """The sum of what all workers give, float64."""
        return values if self.crew is None else self.crew.sum(values)

    def wait(self) -> None:
        """Wait until all workers have come here, where they read each other's rows."""
        if self.count > 1:
            self.meet()

    def meet(self) -> None:
        """Wait until all workers have come here."""
        if self.crew is not None:
            self.crew.barrier()

    @property
    def leads(self) -> bool:
        """Whether it is for this worker to do what is done once."""
        return self.number == 0

    @property
    def plans(self) -> int:
        """How many plans the batch is divided among."""
        return self.team if self.apart else 1

    def add_gradient(self, parameter: Parameter, gradient: np.ndarray) -> None:
        """Add this worker's part of a parameter's gradient."""
        if self.slots is not None:
            self.slots.add(parameter, gradient)
        elif parameter.trainable:
            self.add_own_gradient(parameter, ..., gradient)

    def add_own_gradient(self, parameter: Parameter, part: Part, gradient: np.ndarray) -> None:
        """Add to a part of a parameter's gradient, in which no other worker has a share."""
        if self.updates is not None and self.updates.take(parameter, gradient, part):
            return
        there = parameter.grad[part]
        np.copyto(there, gradient) if id(parameter) in self.anew else np.add(there, gradient, out=there)

    @contextmanager
    def updating(self, updates: Updates) -> Iterator[None]:
        """Inside the block, let parameters be updated as soon as their gradients are there."""
        self.updates = updates
        try:
            yield
        finally:
            self.updates = None

    def common(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array that all workers see; the next one asked for takes its place."""
        assert self.common_memory is not None  # as large as the largest `Step.common_nbytes`
        return self.common_memory[: prod(shape) * self.dtype.itemsize].view(self.dtype).reshape(shape)

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
