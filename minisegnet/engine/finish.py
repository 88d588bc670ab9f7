"""What follows a convolution inside its blocks: bias or batch normalisation, and ReLU; forward and back.

Rows are finished while they still lie in the cache: sums for the statistics as the convolution writes them, ReLU's mask
and the sums for batch normalisation's gradient as the last reader writes their gradient.
"""

from __future__ import annotations

import numpy as np

from minisegnet.engine.layout import clear_margin
from minisegnet.engine.sharing import share
from minisegnet.engine.value import Value, load
from minisegnet.engine.worker import Worker
from minisegnet.layers import BatchNorm2d
from minisegnet.layers.base import Parameter

# Elements of the rows that are gone through several times at once: a few such arrays lie in the second-level cache.
BLOCK = 2**16
# A mean of so many standard deviations costs about as many digits as Winograd's transforms do.
LARGE_MEAN = 4


class Finish:
    """y = conv(x) on its way to the output: y + bias, or norm(y), then ReLU.

    A normalisation by running statistics is folded into the convolution: `scale` is then a factor for each of its
    output channels, and its shift a bias. One by the batch leaves such a factor to it on the way back: `gradient` is
    by y without this factor, which the convolution's weight and its gradient take over, being so much smaller.

    lazy     whether normalised rows are written when they are first read, which needs all rows in one worker's hands
             and `before` kept until then
    before   the value that the convolution writes: kept apart for a normalisation by the batch, which needs it on the
             way back; otherwise the output itself
    """

    def __init__(self, worker: Worker, output: Value, bias: Parameter | None, norm: BatchNorm2d | None, relu: bool):
        self.worker, self.output, self.bias, self.relu = worker, output, bias, relu
        self.norm = norm if norm is not None and norm.by_batch else None
        self.folded = norm if norm is not None and not norm.by_batch else None
        self.scale: np.ndarray | None = None
        self.lazy = False
        self.before = output
        if self.norm is not None:
            self.before = Value(f"{output.name} before normalisation", output.shape, output.m, False)
        if output.wants_gradient and (relu or self.norm is not None or bias is not None):
            output.on_gradient = self.on_gradient
        self.bands = share(output.shape[0], output.tile_rows, worker.rank, worker.count)
        self.run = output.tiles * output.channels  # one column of all tiles of a row
        self.count = worker.plans * output.shape[0] * output.height * output.width  # values a channel

    @property
    def is_bias(self) -> bool:
        """Whether nothing follows but a bias, or nothing at all."""
        return self.norm is None and self.folded is None and not self.relu

    def scaled(self, weight: np.ndarray, axis: int = 0) -> np.ndarray:
        """The convolution's weight, or its gradient, with the folded normalisation's factors along its output axis."""
        if self.scale is None:
            return weight
        scale = self.scale.astype(weight.dtype)
        return weight * np.expand_dims(scale, tuple(i for i in range(weight.ndim) if i != axis))

    def per_column(self, channels: np.ndarray) -> np.ndarray:
        """One number a channel, repeated along the tiles of a row."""
        return np.tile(channels.astype(self.worker.dtype), self.output.tiles)

    def over_columns(self, sums: np.ndarray) -> np.ndarray:
        """Sums along one column of all tiles, added up to one a channel."""
        return sums.reshape(*sums.shape[:-1], self.output.tiles, self.output.channels).sum(-2)

    # -------------------------------------------------------------------------------------------------- forward

    def begin(self) -> None:
        """Before the first rows of a pass."""
        self.gradient_sums = np.zeros((2, self.run))
        if self.norm is not None:
            self.scale = None
            self.sums = np.zeros((2, self.run))
            self.rows_counted = 0
            self.pivot: np.ndarray | None = None
            tracked = self.norm.buffers
            self.about_pivot = (  # unless earlier batches have shown that there is no need
                not self.norm.track_running_stats
                or tracked["num_batches_tracked"] == 0
                or is_large(tracked["running_mean"], tracked["running_var"])
            )
            return
        shift = None if self.bias is None else self.bias.data
        if self.folded is not None:
            mean, variance = self.folded.buffers["running_mean"], self.folded.buffers["running_var"]
            self.scale = self.folded.weight.data / np.sqrt(variance + self.folded.eps)
            shift = self.folded.bias.data + ((0 if shift is None else shift) - mean) * self.scale
        self.shift = None if shift is None else self.per_column(shift)

    def rows(self, image: int, first: int, rows: np.ndarray) -> None:
        """Finish rows (count, m, T, C) that the convolution wrote to `before`; row `first` is the first of them."""
        if self.norm is not None:
            self._count(first, rows)
            return
        y = rows.reshape(-1, self.run)
        if self.shift is not None:
            np.add(y, self.shift, out=y)
        if self.relu:
            np.maximum(y, self.worker.zeros(self.run), out=y)
        clear_margin(rows, first, self.output.height, self.output.width)

    def _count(self, first: int, rows: np.ndarray) -> None:
        """Add rows to the sums of y and its square, less a pivot where a large mean would swallow the variance."""
        rows = rows[: max(0, self.output.height - first)]
        if len(rows) == 0:
            return
        y = rows.reshape(-1, self.run)
        if self.pivot is None:
            self.pivot = y[0].copy() if self.about_pivot else np.zeros(self.run, y.dtype)
        if not self.about_pivot:
            clear_margin(rows, first, self.output.height, self.output.width)
        for part in self.slices(len(y)):
            values = y[part]
            t = self.worker.scratch.array("rows finished", values.shape, y.dtype)
            if self.about_pivot:
                values = np.subtract(values, self.pivot, out=t)
                start = first + part.start // self.output.m
                clear_margin(t.reshape(-1, *rows.shape[1:]), start, self.output.height, self.output.width)
            ones = self.worker.ones(len(t))
            self.sums[0] += ones @ values
            np.multiply(values, values, out=t)
            self.sums[1] += ones @ t
        self.rows_counted += len(rows)

    def end(self) -> None:
        """After the last rows of a pass: the statistics of all workers' rows, then the normalised output."""
        if self.norm is None:
            return
        norm = self.norm
        W = self.output.width
        sums = np.zeros((2, self.output.channels))
        if self.rows_counted:
            columns = np.minimum(self.output.m, W - self.output.m * np.arange(self.output.tiles))
            n = self.rows_counted * columns[:, None]
            pivot, s, q = (a.reshape(self.output.tiles, -1).astype(float) for a in (self.pivot, *self.sums))
            mean = pivot + s / n
            sums[0] = (n * mean).sum(0)
            sums[1] = (q - s * s / n + n * mean * mean).sum(0)
        sums = self.worker.sum(sums)
        self.mean = sums[0] / self.count
        variance = np.maximum(sums[1] / self.count - self.mean**2, 0)
        self.inverse = 1 / np.sqrt(variance + norm.eps)
        # Where the output is weight x + bias, x can be had from it: one array less to read on the way back.
        self.from_output = not is_large(norm.bias.data, norm.weight.data**2 * variance * self.inverse**2)
        self.mean_row = self.per_column(self.mean)
        if self.worker.leads and norm.training:
            bias = 0 if self.bias is None else self.bias.data
            norm.track(self.mean + bias, variance, self.count)
        scale = norm.weight.data * self.inverse
        self.factor = self.per_column(scale)
        self.beside_factor = self.per_column(norm.bias.data - self.mean * scale)
        self.normalised = {band.image: band.first * self.output.m for band in self.bands}  # up to which row
        if self.lazy:
            self.output.on_read = self._normalise
        else:
            for image, _, stop in self.bands:
                self._normalise(image, stop * self.output.m)

    def _normalise(self, image: int, stop: int) -> None:
        """Write the normalised rows of an image up to this one."""
        m, zeros = self.output.m, self.worker.zeros(self.run)
        start, stop = self.normalised[image], min(-(-stop // m) * m, self.output.stored[1])
        if start < stop:
            self.normalised[image] = stop
            rows = self.output.data[image, start:stop]
            before, after = self.before.data[image, start:stop].reshape(-1, self.run), rows.reshape(-1, self.run)
            for part in self.slices(len(after)):
                a = after[part]
                np.multiply(before[part], self.factor, out=a)
                np.add(a, self.beside_factor, out=a)
                if self.relu:
                    np.maximum(a, zeros, out=a)
            clear_margin(rows, start, self.output.height, self.output.width)

    def slices(self, count: int) -> list[slice]:
        """Cuts of `count` columns of tiles into whole rows, few enough at once to stay in the cache."""
        m = self.output.m
        step = max(1, BLOCK // (m * self.run)) * m
        return [slice(start, min(start + step, count)) for start in range(0, count, step)]

    # ------------------------------------------------------------------------------------------------- backward

    def on_gradient(self, image: int, first: int, rows: np.ndarray) -> None:
        """Go back through ReLU, and add to the sums that the parameters' gradients are.

        The rows become the gradient by what ReLU was given; they replace the output's own where that is in place.
        """
        stop = first + len(rows)
        a = self.output.data[image, first:stop].reshape(-1, self.run)
        given = rows.reshape(-1, self.run)
        gradient = a if self.output.in_place else given
        for part in self.slices(len(given)):
            d = given[part]
            t = self.worker.scratch.array("rows finished", d.shape, d.dtype)
            ones = self.worker.ones(len(d))
            if self.norm is not None and self.from_output:  # which is zero where ReLU lets no gradient through
                np.multiply(a[part], d, out=t)
                self.gradient_sums[1] += ones @ t
            if self.relu:
                mask_where_positive(a[part], d, t, out=gradient[part])
            elif self.output.in_place:
                np.copyto(gradient[part], d)
            if self.norm is None and self.bias is None:
                continue
            d = gradient[part]
            self.gradient_sums[0] += ones @ d
            if self.norm is not None and not self.from_output:
                y = self.before.data[image, first:stop].reshape(-1, self.run)[part]
                np.subtract(y, self.mean_row, out=t)
                np.multiply(t, d, out=t)
                self.gradient_sums[1] += ones @ t

    def begin_backward(self) -> None:
        """After the last rows of the output's gradient: the parameters' gradients."""
        if self.norm is None and self.bias is None:
            return
        of_bias, of_weight = self.worker.sum(self.over_columns(self.gradient_sums))
        self.gradient_sums[...] = 0
        if self.norm is not None and self.from_output:  # x = (output - bias) / weight, times its deviation
            of_weight = (of_weight - self.norm.bias.data * of_bias) / (self.norm.weight.data * self.inverse)
        if self.norm is None:
            if self.worker.leads and self.bias is not None:
                by_bias = of_bias if self.scale is None else of_bias * self.scale
                self.bias.accumulate(by_bias.astype(self.worker.dtype))
            return
        norm = self.norm
        if self.worker.leads:
            norm.weight.accumulate((of_weight * self.inverse).astype(self.worker.dtype))
            norm.bias.accumulate(of_bias.astype(self.worker.dtype))
        self.scale = norm.weight.data * self.inverse
        of_y = -(self.inverse**2) * of_weight / self.count
        self.by_y, self.beside = (self.per_column(k) for k in (of_y, -of_bias / self.count - of_y * self.mean))

    def gradient(self, image: int, start: int, stop: int, tiles: int) -> np.ndarray:
        """Rows (stop - start, m, tiles, C) of the gradient by y, without the factor `scale`; zero outside the image."""
        output, scratch = self.output, self.worker.scratch
        if self.norm is None:
            return load(output.gradient, image, start, stop, tiles, scratch)
        rows = scratch.array("gradient rows", (stop - start, output.m, tiles, output.channels), self.worker.dtype)
        low, high = min(max(start, 0), output.stored[1]), max(min(stop, output.stored[1]), 0)
        rows[: low - start] = 0
        rows[max(high - start, 0) :] = 0
        inside = rows[low - start : high - start]
        there = inside
        if tiles != output.tiles:
            there = scratch.array("narrower rows", (len(inside), *output.stored[2:]), rows.dtype)
        d, y = (a[image, low:high].reshape(-1, self.run) for a in (output.gradient, self.before.data))
        for part in self.slices(len(d)):
            g = there.reshape(d.shape)[part]
            np.multiply(y[part], self.by_y, out=g)
            np.add(g, self.beside, out=g)
            np.add(g, d[part], out=g)
        clear_margin(there, low, output.height, output.width)
        if there is not inside:
            common = min(tiles, output.tiles)
            inside[:, :, :common] = there[:, :, :common]
            inside[:, :, common:] = 0
        return rows


def is_large(mean: np.ndarray, variance: np.ndarray) -> bool:
    """Whether sums of float32 numbers lose too many digits to a channel's mean, unless it is subtracted first."""
    return bool(np.any(mean * mean >= LARGE_MEAN**2 * variance))


def mask_where_positive(a: np.ndarray, d: np.ndarray, t: np.ndarray, out: np.ndarray) -> None:
    """out = d where a > 0, else 0; a has no value below zero, and t is scratch of the same shape.

    As integers, such numbers are positive exactly where the floats are, and minus a positive one begins with a bit
    that, shifted down, is a mask: three times as fast as a product with a > 0.
    """
    whole = np.int32 if a.dtype.itemsize == 4 else np.int64
    mask = t.view(whole)
    np.negative(a.view(whole), out=mask)
    np.right_shift(mask, 8 * a.dtype.itemsize - 1, out=mask)
    np.bitwise_and(d.view(whole), mask, out=out.view(whole))
