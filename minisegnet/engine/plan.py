"""A plan: the steps that a graph becomes for inputs of one shape, and the buffers between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from minisegnet.engine.borders import collect
from minisegnet.engine.building import Builder
from minisegnet.engine.memory_plan import ALIGNMENT, Buffer, place
from minisegnet.engine.value import Value
from minisegnet.engine.worker import Slots, Worker
from minisegnet.graph import Graph
from minisegnet.layers import CrossEntropyLoss
from minisegnet.shapes import Shape


class Plan:
    """The steps of one graph for one shape of its inputs, run by one worker on its share."""

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
        built = Builder(worker, graph, input_shapes, loss, backward, to_inputs, algorithms or {}).build()
        self.steps, self.inputs, self.exits, self.loss = built.steps, built.inputs, built.exits, built.loss
        self.input_values = built.input_values
        self.outside = [] if self.loss is None else [self.loss.labels, self.loss.pixel_weight]
        self.buffers = self._buffers()
        self.values_nbytes = place([buffer for buffer, _, _ in self.buffers])
        self.trained = []
        if backward and worker.count > 1:
            self.trained = [parameter for parameter in graph.parameters.values() if parameter.trainable]
        self.nbytes = self.values_nbytes + ALIGNMENT + Slots.nbytes(self.trained, worker.count)
        self._memory: np.ndarray | None = None

    def _buffers(self) -> list[tuple[Buffer, Value, str]]:
        """A buffer for each value and each gradient, with its life: steps are counted on through the way back."""
        count = len(self.steps)
        end = 2 * count
        lives: dict[tuple[Value, str], list[int]] = {}

        def live(value: Value, what: str, *moments: int) -> None:
            life = lives.setdefault((value, what), [moments[0], moments[0]])
            life[:] = min(life[0], *moments), max(life[1], *moments)

        for planes in self.inputs:
            live(planes, "data", -1)
        for index, step in enumerate(self.steps):
            back = 2 * count - 1 - index
            for value in (*step.inputs, *step.outputs, *step.kept):
                live(value, "data", index)
            if not (self.goes_back and step.goes_back):
                continue
            for value in step.reads_back:
                live(value, "data", back)
            for value in (*step.outputs, *(reader.value for reader in step.readers)):
                if value.wants_gradient:
                    live(value, "gradient", back)
        for planes in (*(step.answer for step in self.exits), *self.outside):
            live(planes, "data", -1, end)
        for value in self.input_values:
            if value.wants_gradient:
                live(value, "gradient", end)
        buffers = []
        for (value, what), (birth, death) in lives.items():
            nbytes = int(np.prod(value.stored)) * (value.dtype or self.worker.dtype).itemsize
            buffers.append((Buffer(f"{value.name} {what}", nbytes, birth, death), value, what))
        return buffers

    def settle(self, memory: np.ndarray) -> None:
        """Give every value its place in `memory`, uint8 of at least `nbytes`."""
        if memory is self._memory:
            return
        self._memory = memory
        for buffer, value, what in self.buffers:
            array = memory[buffer.offset : buffer.offset + buffer.nbytes].view(value.dtype or self.worker.dtype)
            setattr(value, what, array.reshape(value.stored))
        if self.trained:
            start = -(-self.values_nbytes // ALIGNMENT) * ALIGNMENT
            worker = self.worker
            worker.slots = Slots(self.trained, worker.rank, worker.count, memory[start:])

    def forward(self) -> None:
        """Run every step on this worker's share."""
        self.worker.wait()  # until the inputs are written
        for step in self.steps:
            step.forward()
            self.worker.wait()

    def backward(self) -> None:
        """Go back through every step that a gradient reaches; parameters' gradients are added to."""
        if self.worker.slots is not None:
            self.worker.slots.begin()
        for step in reversed(self.steps):
            if step.goes_back:
                step.backward()
                self.worker.wait()
        if self.worker.slots is not None:
            self.worker.slots.sum()

    def input_gradients(self) -> list[np.ndarray]:
        """The gradients by the inputs, each (N, C, H, W), after the way back."""
        gradients = []
        for value in self.input_values:
            gradient = np.empty(value.shape, self.worker.dtype)
            collect(value.gradient, value, gradient)
            gradients.append(gradient)
        return gradients
