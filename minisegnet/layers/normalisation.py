"""Batch normalisation, with the running statistics that it keeps for evaluation."""

import numpy as np

from minisegnet import functional, shapes
from minisegnet.errors import OptionError, ShapeError
from minisegnet.in_place import average_in
from minisegnet.layers.base import Layer, Parameter, whole
from minisegnet.memory import shared_zeros


class BatchNorm2d(Layer):
    """Normalise each channel, then scale and shift it; see `functional.batch_norm2d_forward`.

    In training by the statistics of the batch, which also move the running ones,

        running = (1 - momentum) running + momentum batch,

    where the batch's variance is taken unbiased, over N H W - 1; in evaluation by the running ones.

    momentum             0 to 1, or None: the running statistics are the plain mean over all batches so far
    track_running_stats  False: keep none, and normalise by the batch's own statistics in evaluation, too. With one
                         image a batch that is instance normalisation (Ulyanov et al. 2016): what a network sees of an
                         image then depends neither on its brightness and contrast nor on other images
    buffers              running_mean, running_var (num_features,), num_batches_tracked int64 (); or none

    Raises ShapeError for a single value a channel, whose variance says nothing, where the batch's statistics count.
    """

    pointwise = True

    def __init__(self, num_features, eps=1e-5, momentum=0.1, track_running_stats=True):
        super().__init__()
        self.num_features = whole("num_features", num_features)
        self.eps, self.momentum, self.track_running_stats = eps, momentum, bool(track_running_stats)
        if momentum is not None and not 0 <= momentum <= 1:
            raise OptionError(f"momentum is the weight of the new batch, 0 to 1, or None; got {momentum!r}")
        self.weight = self.parameters["weight"] = Parameter((num_features,))
        self.bias = self.parameters["bias"] = Parameter((num_features,))
        if track_running_stats:
            self.buffers["running_mean"] = shared_zeros(num_features, np.float32)
            self.buffers["running_var"] = shared_zeros(num_features, np.float32)
            self.buffers["num_batches_tracked"] = shared_zeros((), np.int64)
        self.initialise()

    def stop_tracking(self):
        """Keep no running statistics from now on, as if made with track_running_stats=False."""
        self.track_running_stats = False
        self.buffers.clear()

    @property
    def by_batch(self):
        """Whether the batch's statistics count, not the running ones."""
        return self.training or not self.track_running_stats

    def initialise(self, rng=None):
        self.weight.data.fill(1)
        self.bias.data.fill(0)
        if self.track_running_stats:
            self.buffers["running_mean"].fill(0)
            self.buffers["running_var"].fill(1)
            self.buffers["num_batches_tracked"].fill(0)

    def forward(self, x):
        N, _, H, W = self.output_shape(x.shape)
        mean = var = None
        if not self.by_batch:
            mean, var = self.buffers["running_mean"], self.buffers["running_var"]
        else:
            check_several(x.shape)
        (y, mean, var), cache = functional.batch_norm2d_forward(
            x, self.weight.data, self.bias.data, mean, var, self.eps
        )
        if self.training:
            self.track(mean, var, N * H * W)
        return y, cache

    def track(self, mean, var, count):
        if not self.track_running_stats:
            return
        self.buffers["num_batches_tracked"] += 1
        momentum = 1 / int(self.buffers["num_batches_tracked"]) if self.momentum is None else self.momentum
        average_in(self.buffers["running_mean"], mean, momentum)
        average_in(self.buffers["running_var"], var, momentum, count / (count - 1))

    def backward(self, dy, cache):
        dx, dweight, dbias = functional.batch_norm2d_backward(dy, cache)
        self.weight.accumulate(dweight)
        self.bias.accumulate(dbias)
        return dx

    def output_shape(self, x):
        if shapes.images(x)[1] != self.num_features:
            raise ShapeError(f"BatchNorm2d({self.num_features}) got {x[1]} channels; make it BatchNorm2d({x[1]})")
        return tuple(x)

    def multiply_adds(self, input_shapes, output_shape):
        """One for each value: scale and shift, once the statistics are known."""
        return int(np.prod(output_shape, dtype=np.int64))


def check_several(x):
    """Raise ShapeError for (N, C, H, W) with a single value a channel."""
    N, _, H, W = x
    if N * H * W == 1:
        raise ShapeError(
            f"batch norm by the batch needs more than one value a channel; got x of shape {tuple(x)}: take a larger "
            "batch or image, or normalise by running statistics: call eval() first"
        )
