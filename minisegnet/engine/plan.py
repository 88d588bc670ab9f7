"""A plan: the steps that a graph becomes for inputs of one shape, and the buffers between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from minisegnet.engine.borders import Ordinary, collect
from minisegnet.engine.building import Builder
from minisegnet.engine.explain import explained
from minisegnet.engine.finish import Finish
from minisegnet.engine.memory_plan import ALIGNMENT, Buffer, gaps, place
from minisegnet.engine.scratch import Gaps
from minisegnet.engine.value import Planes, Value
from minisegnet.engine.worker import Slots, Worker
from minisegnet.graph import Graph
from minisegnet.layers import CrossEntropyLoss
from minisegnet.layers.base import Parameter
from minisegnet.shapes import Shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Plan:
    """The steps of one graph for one shape of its inputs, run by one worker on its share.

    apart           whether each worker has images of its own, and `steps` are for these
    lasting         values that the caller fills and reads: in memory that all workers share
    buffers         the others, each with its place in time and memory
    shared_nbytes   bytes of memory that all workers must share
    own_nbytes      bytes for the buffers: shared too, unless the workers are apart
    given_whole     parameters that the way back may update as soon as it has their gradients, or whose gradients it may
                    write instead of adding to them
    """

    def __init__(
        self,
        worker: Worker,
        graph: Graph,
        input_shapes: Sequence[Shape],
        loss: CrossEntropyLoss | None = None,
        backward: bool = True,
        to_inputs: bool = False,
        algorithms: Mapping[str, str] | None = None,
    ) -> None:
        self.worker, self.graph, self.goes_back = worker, graph, backward
        shapes = [(shape[0] // worker.plans, *shape[1:]) for shape in input_shapes]
        builder = Builder(worker, graph, shapes, loss, backward, to_inputs, algorithms or {})
        self.shapes, built = builder.shapes, builder.build()
        self.steps, self.inputs, self.exits, self.loss = built.steps, built.inputs, built.exits, built.loss
        self.input_values, self.reached = built.input_values, built.reached
        self.lasting: list[Planes] = [*self.inputs, *(step.answer for step in self.exits)]
        if self.loss is not None:
            self.lasting += [self.loss.labels, self.loss.pixel_weight]
        for step in self.steps:
            if isinstance(finish := getattr(step, "finish", None), Finish):
                finish.lazy = step.goes_back and worker.count == 1
        self.given_whole = self._given_whole()
        self.buffers = self._buffers()
        self.own_nbytes = place([buffer for buffer, _, _ in self.buffers])
        self.trained: list[Parameter] = []
        if backward and worker.team > 1:
            self.trained = [parameter for parameter in graph.parameters.values() if parameter.trainable]
        self.common_nbytes = -(-max((step.common_nbytes for step in self.steps), default=0) // ALIGNMENT) * ALIGNMENT
        lasting = sum(map(self._lasting_nbytes, self.lasting))
        self.shared_nbytes = lasting + self.common_nbytes + Slots.nbytes(self.trained, worker.team)
        self._places: tuple[int, int] | None = None  # where the memory given is
        self._gaps: list[Gaps | None] = [None for _ in range(2 * len(self.steps))]  # in it, while each step runs

    @property
    def is_all_fused(self) -> bool:
        """Whether no step needs the whole batch in one process."""
        return not any(isinstance(step, Ordinary) for step in self.steps)

    def itemsize(self, value: Value) -> int:
        """Bytes of one of the value's numbers."""
        return (value.dtype or self.worker.dtype).itemsize

    def _lasting_nbytes(self, planes: Planes) -> int:
        nbytes = self.worker.plans * prod(planes.stored) * self.itemsize(planes)
        return -(-nbytes // ALIGNMENT) * ALIGNMENT

    def _buffers(self) -> list[tuple[Buffer, Value, str]]:
        """A buffer for each value and each gradient, with its life: steps are counted on through the way back."""
        count = len(self.steps)
        end = 2 * count
        lives: dict[tuple[Value, str], list[int]] = {}

        def live(value: Value, what: str, *moments: int) -> None:
            life = lives.setdefault((value, what), [moments[0], moments[0]])
            life[:] = min(life[0], *moments), max(life[1], *moments)

        for index, step in enumerate(self.steps):
            back = 2 * count - 1 - index
            for value in (*step.inputs, *step.outputs, *step.kept):
                live(value, "data", index)
            if not (self.goes_back and step.goes_back):
                continue
            for value in step.reads_back:
                live(value, "data", back)
            for value in (*step.outputs, *step.inputs):
                if value.wants_gradient:
                    live(value, "gradient", back)
            for reader in step.readers:
                if reader.last and reader.value.on_gradient is not None:
                    live(reader.value, "data", back)
        for value in self.input_values:
            if value.wants_gradient:
                live(value, "gradient", end)
        buffers = []
        for (value, what), (birth, death) in lives.items():
            if value in self.lasting or (value.in_place and what == "gradient"):
                continue
            if value.in_place:
                what, death = "data, then gradient", lives[value, "gradient"][1]
            nbytes = prod(value.stored) * self.itemsize(value)
            buffers.append((Buffer(f"{value.name} {what}", nbytes, birth, death), value, what))
        return buffers

    def settle(self, shared: np.ndarray, own: np.ndarray) -> None:
        """Give every value its place in memory, uint8 of at least `shared_nbytes` and `own_nbytes`."""
        places = shared.ctypes.data, own.ctypes.data
        if places == self._places:
            return
        self._places = places
        for buffer, value, what in self.buffers:
            array = own[buffer.offset : buffer.offset + buffer.nbytes].view(value.dtype or self.worker.dtype)
            for name in ("data", "gradient") if value.in_place else (what,):
                setattr(value, name, array.reshape(value.stored))
        if self.worker.count == 1:  # nobody else's rows lie there
            buffers = [buffer for buffer, _, _ in self.buffers]
            for moment in range(len(self._gaps)):
                free = gaps(buffers, moment, self.own_nbytes)
                self._gaps[moment] = Gaps([own[start:stop] for start, stop in free])
        worker, start = self.worker, 0
        for planes in self.lasting:
            stop = start + self._lasting_nbytes(planes)
            planes.lie_in(shared[start:stop].view(planes.dtype or worker.dtype), worker)
            start = stop
        if self.common_nbytes:
            worker.common_memory = shared[start : start + self.common_nbytes]
            start += self.common_nbytes
        if self.trained:
            worker.slots = Slots(self.trained, worker.number, worker.team, shared[start:])

    def _given_whole(self) -> list[Parameter]:
        """The trained parameters whose gradients come whole, see `Step.gives_whole`, and from one node."""
        uses = Counter(id(p) for node in self.graph.layer_nodes() for p in node.layer.parameters.values())
        given = (step.gives_whole for step in self.steps if step.goes_back)
        return [p for p in given if p is not None and p.trainable and uses[id(p)] == 1]

    def forward(self) -> None:
        """Run every step on this worker's share."""
        for index, step in enumerate(self.steps):
            with self.worker.scratch.within(self._gaps[index]):
                if not step.reads_in_order:
                    for value in step.inputs:
                        value.complete()
                step.forward()
                if step is not self.loss:  # which reads on the way back only
                    for value in step.inputs:
                        value.complete()
            self.worker.wait()

    def backward(self, anew: bool = False) -> None:
        """Go back through every step that a gradient reaches; parameters' gradients are added to.

        anew: those of the parameters `given_whole` are replaced, whatever they were. While `worker.updates` are there,
        they get them instead, and drop them where the loss is NaN or infinite.
        """
        self.worker.anew = {id(parameter) for parameter in self.given_whole} if anew else ()
        if self.worker.slots is not None:
            self.worker.slots.begin()
        for back, step in enumerate(reversed(self.steps), len(self.steps)):
            if step.goes_back:
                with self.worker.scratch.within(self._gaps[back]):
                    step.backward()
                self.worker.wait()
            if step is self.loss and self.worker.updates is not None:
                self.worker.updates.dropped = not np.isfinite(self.loss.value)
        if self.worker.slots is not None:
            self.worker.meet()
            self.worker.slots.sum(self.worker.anew)

    def explain(self) -> str:
        """The plan as a table that can be read; see `engine.explain`."""
        return explained(self)

    def draw_memory(self, path: Any = None) -> Figure:
        """A picture of which buffer lives when and where, saved to `path` if given."""
        from minisegnet.engine.memory_picture import draw_memory

        return draw_memory(self, path)

    def input_gradients(self) -> list[np.ndarray | None]:
        """The gradients by the inputs, each of its shape, after the way back; None where none reaches it."""
        gradients: list[np.ndarray | None] = []
        for value in self.input_values:
            if value not in self.reached:
                gradients.append(None)
                continue
            gradient = np.empty(value.shape, self.worker.dtype)
            collect(value.gradient, value, gradient)
            gradients.append(gradient.reshape(value.given))
        return gradients
