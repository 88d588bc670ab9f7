"""Activations: functions of each value, or of each pixel's channels, without weights."""

from minisegnet import functional
from minisegnet.layers.base import Layer


class ReLU(Layer):
    """max(x, 0); see `functional.relu_forward`."""

    pointwise = True

    def forward(self, x):
        return functional.relu_forward(x)

    def backward(self, dy, cache):
        return functional.relu_backward(dy, cache)

    def output_shape(self, x):
        return tuple(x)


class Sigmoid(Layer):
    """1 / (1 + exp(-x)); see `functional.sigmoid_forward`."""

    pointwise = True

    def forward(self, x):
        return functional.sigmoid_forward(x)

    def backward(self, dy, cache):
        return functional.sigmoid_backward(dy, cache)

    def output_shape(self, x):
        return tuple(x)


class Softmax(Layer):
    """exp(x) over its sum along a dimension, by default channels; see `functional.softmax_forward`."""

    pointwise = True

    def __init__(self, dim=1):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return functional.softmax_forward(x, self.dim)

    def backward(self, dy, cache):
        return functional.softmax_backward(dy, cache)

    def output_shape(self, x):
        return tuple(x)
