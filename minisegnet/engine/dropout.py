"""Dropout, the mask of each worker's rows drawn by itself: a random number follows from its place alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minisegnet import layers as L
from minisegnet.engine.known import known
from minisegnet.engine.layout import store
from minisegnet.engine.sharing import Band, pieces, share
from minisegnet.engine.step import Step
from minisegnet.engine.value import Reader, Value
from minisegnet.engine.worker import Worker
from minisegnet.nodes import Node
from minisegnet.numpy_ops.dropout import WORD, WORD_BITS, philox_rounds

if TYPE_CHECKING:
    from minisegnet.engine.building import Builder

BLOCK = 2**15  # random numbers at once, which take four times the memory of float32 on their way


class Dropping(Step):
    """Values times a mask of 0 and 1 / (1 - p), the same mask as `functional.dropout_forward`'s."""

    algorithm = "mask drawn by rows"

    def __init__(self, worker: Worker, name: str, reader: Reader, output: Value, layer: L.Dropout) -> None:
        super().__init__(worker, name, [reader])
        self.reader, self.input, self.output, self.layer = reader, reader.value, output, layer
        self.mask = Value(f"{name} mask", output.shape, output.m, False)
        self.mask.dtype = np.dtype(np.bool_)
        self.first_image = worker.number * output.shape[0] if worker.apart else 0
        _, _, m, tiles, channels = output.stored
        bands = share(output.shape[0], output.tile_rows, worker.rank, worker.count)
        self.bands = list(pieces(bands, max(1, BLOCK // (m * m * tiles * channels))))

    @property
    def outputs(self) -> list[Value]:
        return [self.output]

    @property
    def kept(self) -> list[Value]:
        return [self.mask]

    @property
    def reads_back(self) -> list[Value]:
        return [self.mask]

    def forward(self) -> None:
        m, layer = self.output.m, self.layer
        seed = (layer.seed + layer.calls) % 2**64
        layer.calls += 1
        for band in self.bands:
            start, stop = band.first * m, band.stop * m
            mask = self.mask.data[band.image, start:stop]
            store(self._drawn(seed, band), mask)
            self._drop(self.input.data[band.image, start:stop], mask, self.output.data[band.image, start:stop])

    def backward(self) -> None:
        m = self.output.m
        for band in self.bands:
            start, stop = band.first * m, band.stop * m
            mask, dy = (a[band.image, start:stop] for a in (self.mask.data, self.output.gradient))
            with self.reader.filling(band.image, start, stop, self.worker.scratch) as dx:
                self._drop(dy, mask, dx)

    def _drawn(self, seed: int, band: Band) -> np.ndarray:
        """Whether each value of a band is kept, (C, rows, W): word i % 4 of counter i // 4, i being the place of the
        value in the whole batch (N, C, H, W)."""
        _, C, H, W = self.output.shape
        first = band.first * self.output.m
        rows = max(0, min(band.stop * self.output.m, H) - first)
        begin = (((self.first_image + band.image) * C + np.arange(C)) * H + first) * W  # of each channel
        counter = begin[:, None] // 4 + np.arange(rows * W // 4 + 2)
        counter = counter.astype(np.uint64)
        zeros = np.zeros_like(counter)
        words = np.stack(philox_rounds([counter & WORD, counter >> WORD_BITS, zeros, zeros], seed), axis=-1)
        kept = words.reshape(C, -1) >= self.layer.p * 2**32
        place = begin[:, None] % 4 + np.arange(rows * W)
        return np.take_along_axis(kept, place, 1).reshape(C, rows, W)

    def _drop(self, x: np.ndarray, mask: np.ndarray, y: np.ndarray) -> None:
        p = self.layer.p
        np.multiply(x, x.dtype.type(1 / (1 - p) if p < 1 else 0), out=y)
        np.multiply(y, mask, out=y)


def dropout(builder: Builder, node: Node) -> bool:
    """Dropout in training; in evaluation it is an alias."""
    if not (known(node.layer, L.Dropout) and node.layer.training):
        return False
    reader = Reader(builder.whole(node.inputs[0]))
    return builder.add_step(Dropping(builder.worker, node.name, reader, builder.new(node), node.layer))
