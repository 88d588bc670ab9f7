"""Dropout, with the count of its calls that makes every mask a new one and yet reproducible."""

import numpy as np

from minisegnet import checks, functional
from minisegnet.layers.base import Layer


class Dropout(Layer):
    """In training, set each value to zero with probability p and scale the others; see `functional.dropout_forward`.

    seed    the first mask's seed; None draws one. `Graph.initialise` and `Graph.reseed` set it anew
    calls   forward passes in training so far; the mask of a pass is that of seed + calls (modulo 2 ** 64),
            so setting both repeats a pass's mask
    """

    pointwise = True

    def __init__(self, p=0.5, seed=None):
        super().__init__()
        self.p, self.seed, self.calls = p, seed, 0
        if seed is None:
            self.initialise(np.random.default_rng())
        checks.dropout(p, self.seed)

    def initialise(self, rng):
        self.seed, self.calls = int(rng.integers(2**64, dtype=np.uint64)), 0

    def forward(self, x):
        if not self.training:
            return x, None
        y, cache = functional.dropout_forward(x, self.p, (self.seed + self.calls) % 2**64)
        self.calls += 1
        return y, cache

    def backward(self, dy, cache):
        return dy if cache is None else functional.dropout_backward(dy, cache)

    def output_shape(self, x):
        return tuple(x)
