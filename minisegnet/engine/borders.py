"""Where a plan meets the world of (N, C, H, W): inputs, outputs, and nodes run through their ordinary operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minisegnet.engine.layout import store, unstore
from minisegnet.engine.sharing import share
from minisegnet.engine.step import Step
from minisegnet.engine.value import Planes, Reader, Value
from minisegnet.engine.worker import Worker
from minisegnet.errors import ShapeError
from minisegnet.nodes import Node, located
from minisegnet.passes import gradients, results
from minisegnet.shapes import Shape


class Entry(Step):
    """An input, stored the engine's way."""

    algorithm = "stored anew"

    def __init__(self, worker: Worker, name: str, planes: Planes, output: Value) -> None:
        super().__init__(worker, name, [Reader(planes)])
        self.planes, self.output = planes, output
        self.bands = share(output.shape[0], output.tile_rows, worker.rank, worker.count)

    @property
    def outputs(self) -> list[Value]:
        return [self.output]

    def forward(self) -> None:
        m = self.output.m
        for band in self.bands:
            rows = self.output.data[band.image, band.first * m : band.stop * m]
            store(as_image(self.planes, band.image), rows, band.first * m)

    def backward(self) -> None:
        """Its gradient is read by the caller."""


class Exit(Step):
    """An output of the graph as (N, C, H, W), and its gradient from there.

    answer, dy   (N, C, H, W), shared by all workers
    """

    algorithm = "to N, C, H, W"

    def __init__(self, worker: Worker, name: str, reader: Reader) -> None:
        super().__init__(worker, name, [reader])
        self.reader, self.input = reader, reader.value
        self.answer = Planes(f"{name} as N, C, H, W", self.input.given)
        self.bands = share(self.input.shape[0], self.input.tile_rows, worker.rank, worker.count)

    @property
    def outputs(self) -> list[Value]:
        return [self.answer]

    def forward(self) -> None:
        m = self.input.m
        for band in self.bands:
            rows = self.input.data[band.image, band.first * m : band.stop * m]
            unstore(rows, as_image(self.answer, band.image), band.first * m)

    def backward(self) -> None:
        """Take the gradient that the caller wrote over the answer, where something behind it is trained."""
        if not self.input.wants_gradient:
            return
        m = self.input.m
        for band in self.bands:
            with self.reader.filling(band.image, band.first * m, band.stop * m, self.worker.scratch) as rows:
                store(as_image(self.answer, band.image), rows, band.first * m)


class Ordinary(Step):
    """A node that the engine has no form of its own for: its layer, on the whole batch, run by the first worker.

    graph     the name of the graph, for errors, which are those of the graph's own passes
    sources   for each input of the node either the readers whose values, joined along the channels, are the input, or
              the step and place of an array that no gradient belongs to (a pooling's indices)
    shapes    of all nodes' values
    size      the layer's option output_size, if it has one
    """

    algorithm = "ordinary operation"

    def __init__(
        self,
        worker: Worker,
        graph: str,
        node: Node,
        sources: list[list[Reader] | tuple[Ordinary, int]],
        output: Value,
        shapes: Mapping[str, Shape],
        size: dict,
    ) -> None:
        readers = [reader for source in sources if isinstance(source, list) for reader in source]
        super().__init__(worker, node.name, readers)
        self.graph, self.node, self.sources, self.output = graph, node, sources, output
        self.shapes, self.size = shapes, size
        self.results: tuple[Any, ...] = ()
        self.cache: Any = None

    @property
    def outputs(self) -> list[Value]:
        return [self.output]

    def forward(self) -> None:
        self.worker.wait()
        if self.worker.leads:
            with located(self.graph, self.node):
                inputs = [
                    joined([r.value for r in source]) if isinstance(source, list) else source[0].results[source[1]]
                    for source in self.sources
                ]
                answer = self.node.layer.forward(*inputs, **self.size)
                self.results, self.cache = results(self.node, answer, self.worker.dtype)
                self._check_shape(self.results[0].shape)
            spread(self.results[0].reshape(self.output.shape), self.output.data, self.output)
        self.worker.wait()

    def _check_shape(self, given: Shape) -> None:
        """What layers of the graph's own passes may return, the engine has laid out memory for."""
        if given != self.output.given:
            raise ShapeError(
                f"forward returns an array of shape {given}, and output_shape said {self.output.given}; mend the one "
                "that is wrong"
            )

    def backward(self) -> None:
        self.worker.wait()
        if self.worker.leads:
            dy = np.empty(self.output.shape, self.worker.dtype)
            collect(self.output.gradient, self.output, dy)
            with located(self.graph, self.node):
                answer = self.node.layer.backward(dy.reshape(self.output.given), self.cache)
                dxs = gradients(self.node, answer, self.shapes, self.worker.dtype)
            for source, dx in zip(self.sources, dxs, strict=True):
                done = 0
                for reader in source if isinstance(source, list) else ():
                    more = done + reader.value.channels
                    if reader.value.wants_gradient:
                        self._give(reader, None if dx is None else dx[:, done:more].reshape(reader.value.shape))
                    done = more
        self.worker.wait()
        self.cache = None

    def _give(self, reader: Reader, dx: np.ndarray | None) -> None:
        """Hand a gradient on; None is one of zeros."""
        value = reader.value
        for image in range(value.shape[0]):
            for first in range(0, value.stored[1], value.m):
                with reader.filling(image, first, first + value.m, self.worker.scratch) as rows:
                    if dx is None:
                        rows.fill(0)
                    else:
                        store(dx[image], rows, first)


def joined(values: list[Value]) -> np.ndarray:
    """Values joined along their channels, as layers know them."""
    if len(values) == 1 and isinstance(values[0], Planes):
        return values[0].data
    N, _, H, W = values[0].shape
    array = np.empty((N, sum(value.channels for value in values), H, W), values[0].data.dtype)
    done = 0
    for value in values:
        more = done + value.channels
        if isinstance(value, Planes):
            array[:, done:more] = value.data
        else:
            collect(value.data, value, array[:, done:more])
        done = more
    return array.reshape(values[0].given) if len(values) == 1 else array


def as_image(planes: Planes, image: int) -> np.ndarray:
    """One image (C, H, W) of planes, a view."""
    return planes.data[image].reshape(planes.shape[1:])


def collect(stored: np.ndarray, value: Value, array: np.ndarray) -> None:
    """Write a stored value or gradient into (N, C, H, W)."""
    for image in range(len(array)):
        unstore(stored[image], array[image])


def spread(array: np.ndarray, stored: np.ndarray, value: Value) -> None:
    """Write (N, C, H, W) into a stored value or gradient."""
    for image in range(len(array)):
        store(array[image], stored[image])
