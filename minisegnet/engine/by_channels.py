"""Convolutions whose weights take longer to read than their data: each worker has channels of its own, not rows.

The images are small there. Every worker lets all others see its rows of them, makes its channels of the whole batch,
and fetches its rows of what all have made. It reads only its part of the weights, and adds its part of their gradient
where it belongs: nobody else has part in that.
"""

from __future__ import annotations

from math import prod

import numpy as np

from minisegnet.engine.convolution_step import ConvolutionStep
from minisegnet.engine.sharing import Band, share
from minisegnet.engine.value import Planes, Value, give_parts, load_joined
from minisegnet.shapes import Shape


class ByChannels(ConvolutionStep):
    """The exchange between the workers; how channels are made is for the subclasses.

    x, y, dx   the input, the output (later its gradient) and the input's gradient, seen by all workers until the next
               such step: `whole` is the batch, `data` the rows that this worker shows and fetches
    """

    gives_in_turn = True

    def prepare(self) -> None:
        worker, name, readers, output = self.worker, self.name, self.readers, self.output
        self.input = readers[0].value
        of_input, of_output = self.shape(self.input, self.in_channels), self.shape(output, output.channels)
        self.x, self.dx = (Planes(f"{name} {what}", of_input) for what in ("input", "input's gradient"))
        self.y = Planes(f"{name} output", of_output)
        self.wanted = any(reader.value.wants_gradient for reader in readers)
        self.bands = share(output.shape[0], output.tile_rows, worker.rank, worker.count)
        self.bands_back = share(output.shape[0], self.input.tile_rows, worker.rank, worker.count)

    @property
    def common_nbytes(self) -> int:
        return self.worker.plans * sum(prod(planes.stored) for planes in self._seen) * self.worker.dtype.itemsize

    @property
    def _seen(self) -> list[Planes]:
        """What is seen by all."""
        return [self.x, self.y, self.dx] if self.wanted else [self.x, self.y]

    def _lie_where_all_see(self) -> None:
        """Give x, y and dx their place, which other steps use too."""
        self.worker.meet()  # until nobody reads what the step before left there
        memory = self.worker.common((self.common_nbytes // self.worker.dtype.itemsize,))
        for planes in self._seen:
            planes.lie_in(memory, self.worker)
            memory = memory[planes.whole.size :]

    def _show_input(self) -> None:
        m = self.input.m
        for band in self.bands_back:
            rows = load_joined(self.inputs, band.image, band.first * m, band.stop * m, self.worker.scratch)
            self.show(self.x, self.input, band, rows)

    # --------------------------------------------------------------------------------------------- for the subclasses

    def shape(self, value: Value, channels: int) -> Shape:
        """In which shape the workers see a value of so many channels."""
        raise NotImplementedError

    def show(self, planes: Planes, value: Value, band: Band, rows: np.ndarray) -> None:
        """Write a band's rows (count, m, T, C), stored as `value` is, where all see them."""
        raise NotImplementedError

    def fetch(self, planes: Planes, value: Value, band: Band, rows: np.ndarray) -> None:
        """The opposite: fill the rows."""
        raise NotImplementedError

    def make_output(self, scale: np.ndarray | None) -> None:
        """Own channels of y from all of x, times a factor for each channel of y."""
        raise NotImplementedError

    def make_gradients(self) -> None:
        """Own part of the weight's gradient if that is trained, own channels of dx if wanted, from all of x and y."""
        raise NotImplementedError

    def own(self, channels: int) -> slice:
        """This worker's part of so many channels."""
        number, team = self.worker.number, self.worker.team
        return slice(channels * number // team, channels * (number + 1) // team)

    # ------------------------------------------------------------------------------------------- forward and backward

    def forward(self) -> None:
        m, finish = self.output.m, self.finish
        finish.begin()
        self._lie_where_all_see()
        self._show_input()
        self.worker.meet()
        self.make_output(finish.scale)
        self.worker.meet()
        for band in self.bands:
            there = finish.before.data[band.image, band.first * m : band.stop * m]
            self.fetch(self.y, self.output, band, there)
            finish.rows(band.image, band.first * m, there)
        finish.end()

    def backward(self) -> None:
        self.finish.begin_backward()
        self._lie_where_all_see()
        if self.weight.trainable:
            self._show_input()
        m = self.output.m
        for band in self.bands:
            rows = self.finish.gradient(band.image, band.first * m, band.stop * m, self.output.tiles)
            if self.finish.scale is not None:
                rows = rows * self.finish.scale.astype(rows.dtype)
            self.show(self.y, self.output, band, rows)
        self.worker.meet()
        self.make_gradients()
        if not self.wanted:
            return
        self.worker.meet()
        for band in self.bands_back:
            shape = (band.height * m, *self.input.stored[2:4], self.in_channels)
            rows = self.worker.scratch.array("rows", shape, self.worker.dtype)
            self.fetch(self.dx, self.input, band, rows)
            give_parts(self.readers, band.image, band.first * self.input.m, rows, self.worker.scratch)
