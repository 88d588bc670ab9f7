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
from minisegnet.engine.value import Value, give_parts, load_joined
from minisegnet.shapes import Shape


class ByChannels(ConvolutionStep):
    """The exchange between the workers; how channels are made is for the subclasses.

    images   of the whole batch
    first    which of them is the first that this worker has in its values
    x, y     the input and the output of the whole batch, seen by all workers; a subclass may show them in another
             form, such as transformed tiles, to those who read them
    dy, dx   on the way back, with x: the gradients by the output and, where wanted, by the input
    """

    gives_in_turn = True

    def prepare(self) -> None:
        worker, readers, output = self.worker, self.readers, self.output
        self.input = readers[0].value
        self.images = worker.plans * output.shape[0]
        self.first = worker.number * output.shape[0] if worker.apart else 0
        self.wanted = any(reader.value.wants_gradient for reader in readers)
        self.bands = share(output.shape[0], output.tile_rows, worker.rank, worker.count)
        self.bands_back = share(output.shape[0], self.input.tile_rows, worker.rank, worker.count)

    @property
    def common_nbytes(self) -> int:
        if self.worker.team == 1:
            return 0
        passes = self.shapes_forward, self.shapes_backward
        return max(sum(map(prod, shapes)) for shapes in passes) * self.worker.dtype.itemsize

    def _seen_by_all(self, shapes: tuple[Shape, ...]) -> list[np.ndarray]:
        """Arrays in memory common to all workers, where other steps have theirs; a single worker's own memory."""
        if self.worker.team == 1:
            return [self.worker.scratch.array(f"seen {n}", s, self.worker.dtype) for n, s in enumerate(shapes)]
        self.worker.meet()  # until nobody reads what the step before left there
        memory = self.worker.common((sum(map(prod, shapes)),))
        arrays = []
        for shape in shapes:
            arrays.append(memory[: prod(shape)].reshape(shape))
            memory = memory[prod(shape) :]
        return arrays

    def rows(self, band: Band, value: Value) -> tuple[int, int, int]:
        """A band's image in the worker's values, and its first row and the one behind its last."""
        return band.image, band.first * value.m, band.stop * value.m

    def show_rows(self, x: np.ndarray) -> None:
        """Write this worker's rows of the input."""
        for band in self.bands_back:
            rows = load_joined(self.inputs, *self.rows(band, self.input), self.input.tiles, self.worker.scratch)
            self.write(x, self.input, band, rows)

    def gradient(self, image: int, start: int, stop: int, tiles: int) -> np.ndarray:
        """Rows of the gradient by the convolution's output; zero outside the image."""
        rows = self.finish.gradient(image, start, stop, tiles)
        return rows if self.finish.scale is None else rows * self.finish.scale.astype(rows.dtype)

    # --------------------------------------------------------------------------------------------- for the subclasses

    @property
    def shapes_forward(self) -> tuple[Shape, ...]:
        """Of x as `make_output` reads it, and y."""
        raise NotImplementedError

    @property
    def shapes_backward(self) -> tuple[Shape, ...]:
        """Of x and dy as `make_gradients` reads them and, where it is wanted, dx."""
        raise NotImplementedError

    def write(self, whole: np.ndarray, value: Value, band: Band, rows: np.ndarray) -> None:
        """Write a band's rows (count, m, T, C), stored as `value` is, into what all see of the whole batch."""
        raise NotImplementedError

    def fetch(self, whole: np.ndarray, value: Value, band: Band, rows: np.ndarray) -> None:
        """The opposite: fill the rows."""
        raise NotImplementedError

    def show_data(self, x: np.ndarray) -> None:
        """Write this worker's rows of x, as `make_output` reads it."""
        raise NotImplementedError

    def show_gradient(self, dy: np.ndarray) -> None:
        """Write this worker's rows of dy, as `make_gradients` reads it."""
        raise NotImplementedError

    def make_output(self, x: np.ndarray, y: np.ndarray, scale: np.ndarray | None) -> None:
        """Own channels of y from all of x, times a factor for each channel of y."""
        raise NotImplementedError

    def make_gradients(self, x: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        """Own part of the weight's gradient if that is trained, own channels of dx if wanted, from all of x and dy."""
        raise NotImplementedError

    def own(self, channels: int) -> slice:
        """This worker's part of so many channels."""
        number, team = self.worker.number, self.worker.team
        return slice(channels * number // team, channels * (number + 1) // team)

    # ------------------------------------------------------------------------------------------- forward and backward

    def forward(self) -> None:
        finish = self.finish
        finish.begin()
        x, y = self._seen_by_all(self.shapes_forward)
        self.show_data(x)
        self.worker.meet()
        self.make_output(x, y, finish.scale)
        self.worker.meet()
        for band in self.bands:
            image, start, stop = self.rows(band, self.output)
            there = finish.before.data[image, start:stop]
            self.fetch(y, self.output, band, there)
            finish.rows(image, start, there)
        finish.end()

    def backward(self) -> None:
        self.finish.begin_backward()
        x, dy, *others = self._seen_by_all(self.shapes_backward)
        if self.weight.trainable:
            self.show_rows(x)
        self.show_gradient(dy)
        self.worker.meet()
        dx = others[0] if self.wanted else None
        self.make_gradients(x, dy, dx)
        if dx is None:
            return
        self.worker.meet()
        for band in self.bands_back:
            image, start, stop = self.rows(band, self.input)
            shape = (stop - start, *self.input.stored[2:4], self.in_channels)
            rows = self.worker.scratch.array("rows", shape, self.worker.dtype)
            self.fetch(dx, self.input, band, rows)
            give_parts(self.readers, image, start, rows, self.worker.scratch)
