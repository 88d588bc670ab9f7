"""Pixels that depend on those at their own place: sums, batch normalisation and ReLU that follow no convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minisegnet import layers as L
from minisegnet.engine.finish import Finish
from minisegnet.engine.following import following, normalises
from minisegnet.engine.known import known
from minisegnet.engine.sharing import pieces, share
from minisegnet.engine.step import Step
from minisegnet.engine.value import Reader, Value, give_parts
from minisegnet.engine.worker import Worker
from minisegnet.nodes import Node

if TYPE_CHECKING:
    from minisegnet.engine.building import Builder

BLOCK = 2**16


class Sum(Step):
    """The sum of one or several values, with the normalisation and the ReLU behind it.

    terms   what is added up: of each term the readers of the values that it is joined of
    """

    algorithm = "added in place"

    def __init__(
        self,
        worker: Worker,
        name: str,
        terms: list[list[Reader]],
        output: Value,
        norm: L.BatchNorm2d | None,
        relu: bool,
    ) -> None:
        super().__init__(worker, name, [reader for term in terms for reader in term])
        self.terms, self.output = terms, output
        self.finish = Finish(worker, output, None, norm, relu)
        _, _, m, tiles, channels = output.stored
        bands = share(output.shape[0], output.tile_rows, worker.rank, worker.count)
        self.bands = list(pieces(bands, max(1, BLOCK // (m * m * tiles * channels))))

    @property
    def outputs(self) -> list[Value]:
        return [self.output]

    @property
    def kept(self) -> list[Value]:
        return [] if self.finish.before is self.output else [self.finish.before]

    @property
    def reads_back(self) -> list[Value]:
        return self.kept

    def forward(self) -> None:
        self.finish.begin()
        for band in self.bands:
            start, stop = band.first * self.output.m, band.stop * self.output.m
            rows = self.finish.before.data[band.image, start:stop]
            for number, term in enumerate(self.terms):
                done = 0
                for reader in term:
                    more = done + reader.value.channels
                    there, x = rows[..., done:more], reader.value.data[band.image, start:stop]
                    if number == 0:
                        np.copyto(there, x)
                    else:
                        np.add(there, x, out=there)
                    done = more
            self._scale(rows, rows)
            self.finish.rows(band.image, start, rows)
        self.finish.end()

    def backward(self) -> None:
        self.finish.begin_backward()
        for band in self.bands:
            start, stop = band.first * self.output.m, band.stop * self.output.m
            d = self.finish.gradient(band.image, start, stop, self.output.tiles)
            if self.finish.scale is not None:
                scaled = self.worker.scratch.array("scaled rows", d.shape, d.dtype)
                self._scale(d, scaled)
                d = scaled
            for term in self.terms:
                give_parts(term, band.image, start, d, self.worker.scratch)

    def _scale(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Multiply by the normalisation's factors, which convolutions take into their weights."""
        if self.finish.scale is not None:
            run = self.finish.run
            np.multiply(rows.reshape(-1, run), self.finish.per_column(self.finish.scale), out=out.reshape(-1, run))


def pointwise(builder: Builder, node: Node) -> bool:
    """A sum, a normalisation or a ReLU, with those behind it that alone read it."""
    if not (known(node.layer, L.Add) or known(node.layer, L.ReLU) or normalises(node, builder.backward)):
        return False
    terms = [[Reader(value) for value in builder.parts(handle)] for handle in node.inputs]
    last, norm, relu = following(builder, node)
    name = node.name if last is node else f"{node.name} .. {last.name}"
    return builder.add_step(Sum(builder.worker, name, terms, builder.new(last), norm, relu))
