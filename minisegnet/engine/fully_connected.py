"""Fully connected layers, and the images laid out as vectors before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minisegnet import layers as L
from minisegnet.engine.following import following
from minisegnet.engine.known import known
from minisegnet.engine.layout import store, unstore
from minisegnet.engine.sharing import share
from minisegnet.engine.step import Step
from minisegnet.engine.value import Reader, Value
from minisegnet.engine.worker import Worker
from minisegnet.layers.base import Parameter
from minisegnet.nodes import Node

if TYPE_CHECKING:
    from minisegnet.engine.building import Builder


class Flattening(Step):
    """Each image as one vector, channel by channel."""

    algorithm = "laid out as vectors"

    def __init__(self, worker: Worker, name: str, reader: Reader, output: Value) -> None:
        super().__init__(worker, name, [reader])
        self.reader, self.input, self.output = reader, reader.value, output
        self.bands = share(self.input.shape[0], self.input.tile_rows, worker.rank, worker.count)

    @property
    def outputs(self) -> list[Value]:
        return [self.output]

    @property
    def reads_back(self) -> list[Value]:
        return []

    def forward(self) -> None:
        m = self.input.m
        for band in self.bands:
            rows = self.input.data[band.image, band.first * m : band.stop * m]
            unstore(rows, self._image(self.output.data, band.image), band.first * m)

    def backward(self) -> None:
        m = self.input.m
        for band in self.bands:
            with self.reader.filling(band.image, band.first * m, band.stop * m, self.worker.scratch) as rows:
                store(self._image(self.output.gradient, band.image), rows, band.first * m)

    def _image(self, vectors: np.ndarray, image: int) -> np.ndarray:
        """One vector as the image (C, H, W) that it is, a view."""
        return vectors[image].reshape(self.input.shape[1:])


class FullyConnected(Step):
    """y = x W^T + b of each worker's share of the vectors, and the ReLU that alone reads it."""

    algorithm = "product of matrices"

    def __init__(self, worker: Worker, name: str, reader: Reader, output: Value, layer: L.Linear, relu: bool) -> None:
        super().__init__(worker, name, [reader])
        self.reader, self.input, self.output = reader, reader.value, output
        self.weight, self.bias, self.relu = layer.weight, layer.bias, relu
        N = output.shape[0]
        self.own = slice(N * worker.rank // worker.count, N * (worker.rank + 1) // worker.count)

    @property
    def outputs(self) -> list[Value]:
        return [self.output]

    @property
    def gives_whole(self) -> Parameter | None:
        return self.weight

    def forward(self) -> None:
        y = self._vectors(self.output.data)
        np.matmul(self._vectors(self.input.data), self.weight.data.T, out=y)
        if self.bias is not None:
            np.add(y, self.bias.data, out=y)
        if self.relu:
            np.maximum(y, self.worker.zeros(y.shape[1]), out=y)

    def backward(self) -> None:
        d = self._vectors(self.output.gradient)
        if self.relu:
            np.multiply(d, self._vectors(self.output.data) > 0, out=d)
        dx = (d @ self.weight.data).reshape(len(d), *self.input.stored[1:]) if self.input.wants_gradient else ()
        if self.weight.trainable:
            self.worker.add_gradient(self.weight, d.T @ self._vectors(self.input.data))
        if self.bias is not None and self.bias.trainable:
            self.worker.add_gradient(self.bias, d.sum(axis=0))
        for number, rows in enumerate(dx, self.own.start):
            self.reader.give(number, 0, rows, self.worker.scratch)

    def _vectors(self, stored: np.ndarray) -> np.ndarray:
        """This worker's share of a stored value or gradient, (vectors, features), a view."""
        return stored[self.own].reshape(self.own.stop - self.own.start, stored[0].size)


def flattening(builder: Builder, node: Node) -> bool:
    """A form (see `forms`): images laid out as vectors."""
    images = len(builder.shapes[node.inputs[0].node.name]) == 4
    if not (images and known(node.layer, L.Flatten)):
        return False
    reader = Reader(builder.whole(node.inputs[0]))
    return builder.add_step(Flattening(builder.worker, node.name, reader, builder.new(node)))


def fully_connected(builder: Builder, node: Node) -> bool:
    """A form: a fully connected layer, with the ReLU that alone reads it."""
    if not known(node.layer, L.Linear):
        return False
    last, _, relu = following(builder, node)
    name = node.name if last is node else f"{node.name} .. {last.name}"
    reader = Reader(builder.whole(node.inputs[0]))
    return builder.add_step(FullyConnected(builder.worker, name, reader, builder.new(last), node.layer, relu))
