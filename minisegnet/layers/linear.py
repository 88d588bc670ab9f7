"""The fully connected layer, and the one before it that lays images out as vectors."""

from math import prod

import numpy as np

from minisegnet import functional, shapes
from minisegnet.cuda import arrays
from minisegnet.layers.base import Layer, Parameter, he_normal, whole


class Linear(Layer):
    """Fully connected with weight (out_features, in_features); see `functional.linear_forward`.

    The weight starts normal with variance 2 / in_features, the bias zero (`he_normal`).
    """

    def __init__(self, in_features, out_features, bias=True, rng=None):
        super().__init__()
        self.in_features, self.out_features = whole("in_features", in_features), whole("out_features", out_features)
        self.weight = self.parameters["weight"] = Parameter((out_features, in_features))
        self.bias = Parameter((out_features,)) if bias else None
        if self.bias is not None:
            self.parameters["bias"] = self.bias
        self.initialise(rng or np.random.default_rng())

    def initialise(self, rng):
        he_normal(self.weight, self.in_features, rng)
        if self.bias is not None:
            self.bias.data.fill(0)

    def forward(self, x):
        return functional.linear_forward(x, self.weight.data, None if self.bias is None else self.bias.data)

    def backward(self, dy, cache):
        dx, dweight, dbias = functional.linear_backward(dy, cache)
        self.weight.accumulate(dweight)
        if self.bias is not None:
            self.bias.accumulate(dbias)
        return dx

    def output_shape(self, x):
        return shapes.linear(x, self.weight.data.shape, None)

    def multiply_adds(self, input_shapes, output_shape):
        """Each weight and each bias once for every row."""
        return output_shape[0] * sum(parameter.data.size for parameter in self.parameters.values())


class Flatten(Layer):
    """Each image as one vector, channel by channel: (N, C, H, W) to (N, C H W)."""

    def forward(self, x):
        return arrays.contiguous(x).reshape(self.output_shape(x.shape)), x.shape

    def backward(self, dy, cache):
        return dy.reshape(cache)

    def output_shape(self, x):
        return x[0], prod(x[1:])
