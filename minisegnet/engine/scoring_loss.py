"""The last convolution and the loss in one step, where the convolution is 1 x 1 and the loss alone reads its scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minisegnet.engine.loss import CrossEntropy
from minisegnet.engine.pointwise_convolution import Convolution1x1, flat, give_product
from minisegnet.engine.products import multiply, multiply_long
from minisegnet.engine.sharing import Band
from minisegnet.engine.value import Reader, Value, load_joined
from minisegnet.engine.worker import Worker
from minisegnet.layers import CrossEntropyLoss
from minisegnet.nodes import Node

if TYPE_CHECKING:
    from minisegnet.engine.building import Builder


class ScoringCrossEntropy(CrossEntropy):
    """The cross-entropy of the scores W x + b of every pixel: neither they nor their gradient are ever stored.

    All is done on the way back, as softmax and gradient are: a block's scores are made with the classes first, become
    their gradient in place, and that goes back through the convolution, while they lie in the cache.
    """

    algorithm = "product of matrices, softmax, loss and gradient in one pass"
    reads_in_order = True

    def __init__(self, worker: Worker, convolution: Convolution1x1, layer: CrossEntropyLoss) -> None:
        self.weight, self.bias = convolution.weight, convolution.layer.bias
        super().__init__(worker, convolution.readers, layer, len(self.weight.data))
        self.name = f"{convolution.name} .. loss"
        self.nodes = convolution.nodes

    def backward(self) -> None:
        self.matrix = self.weight.data[:, :, 0, 0]
        self.transposed = np.ascontiguousarray(self.matrix.T)
        self.of_matrix = np.zeros(self.matrix.shape, self.matrix.dtype)
        self.of_bias = np.zeros(self.classes, self.matrix.dtype)
        super().backward()
        for value in self.inputs:
            value.complete()
        self.worker.add_gradient(self.weight, self.of_matrix[:, :, None, None])
        if self.bias is not None:
            self.worker.add_gradient(self.bias, self.of_bias)

    def _pixels_read(self, band: Band) -> np.ndarray:
        """What is scored, (pixels, C)."""
        start, stop = band.first * self.input.m, band.stop * self.input.m
        return flat(load_joined(self.inputs, band.image, start, stop, self.input.tiles, self.worker.scratch))

    def _scores(self, band: Band) -> np.ndarray:
        for value in self.inputs:
            if value.on_read is not None:
                value.on_read(band.image, band.stop * value.m)
        x = self._pixels_read(band)
        z = self.worker.scratch.array("scores, classes first", (self.classes, len(x)), x.dtype)
        pixel_by_pixel = self.worker.scratch.array("scores", (len(x), self.classes), x.dtype)
        multiply(x, self.transposed, pixel_by_pixel)
        np.add(pixel_by_pixel.T, 0 if self.bias is None else self.bias.data[:, None], out=z)
        return z

    def _give(self, band: Band, dz: np.ndarray) -> None:
        if self.weight.trainable:
            self.of_matrix += multiply_long(dz, self._pixels_read(band))
        if self.bias is not None and self.bias.trainable:
            self.of_bias += dz @ self.worker.ones(dz.shape[1])
        if not any(value.wants_gradient for value in self.inputs):
            return
        rows = slice(band.first * self.input.m, band.stop * self.input.m)
        give_product(self.readers, band.image, rows, dz.T, self.matrix, self.worker.scratch)


def cross_entropy(builder: Builder, node: Node, scores: Value, layer: CrossEntropyLoss) -> CrossEntropy:
    """The step of the loss of a node's scores, which takes the place of the step that makes them where it can."""
    last = builder.built.steps[-1]
    alone = node.name not in builder.readers and last.outputs == [scores]
    if alone and isinstance(last, Convolution1x1) and last.finish.is_bias:
        builder.built.steps.pop()
        return ScoringCrossEntropy(builder.worker, last, layer)
    return CrossEntropy(builder.worker, [Reader(scores)], layer, scores.channels)
