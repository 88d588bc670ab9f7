"""Convolution, plain and transposed, as layers."""

import numpy as np

from minisegnet import functional, shapes
from minisegnet.layers.base import Layer, Parameter, he_normal, whole
from minisegnet.layers.footprint import sliding, stamping


class Conv2d(Layer):
    """Convolution with weight (out_channels, in_channels, kernel_h, kernel_w); see `functional.conv2d_forward`.

    The weight starts normal with variance 2 / (in_channels kernel_h kernel_w), the bias zero (`he_normal`).
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, bias=True, rng=None):
        super().__init__()
        self.in_channels, self.out_channels = whole("in_channels", in_channels), whole("out_channels", out_channels)
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        kernel_h, kernel_w = shapes.pair(kernel_size, "kernel_size", 1)
        self.weight = self.parameters["weight"] = Parameter((out_channels, in_channels, kernel_h, kernel_w))
        self.bias = Parameter((out_channels,)) if bias else None
        if self.bias is not None:
            self.parameters["bias"] = self.bias
        self.output_shape((1, in_channels, 2**30, 2**30))  # raises for options that fit no image
        self.initialise(rng or np.random.default_rng())

    def initialise(self, rng):
        he_normal(self.weight, self.weight.data[0].size, rng)
        if self.bias is not None:
            self.bias.data.fill(0)

    def forward(self, x):
        bias = None if self.bias is None else self.bias.data
        return functional.conv2d_forward(x, self.weight.data, bias, self.stride, self.padding, self.dilation)

    def backward(self, dy, cache):
        dx, dweight, dbias = functional.conv2d_backward(dy, cache)
        self.weight.accumulate(dweight)
        if self.bias is not None:
            self.bias.accumulate(dbias)
        return dx

    def output_shape(self, x):
        return shapes.conv2d(x, self.weight.data.shape, None, self.stride, self.padding, self.dilation)

    def footprints(self, input_shape, output_shape):
        options = (self.kernel_size, self.stride, self.padding, self.dilation)
        return tuple(sliding(*numbers) for numbers in zip(*map(shapes.pair, options), strict=True))

    def multiply_adds(self, input_shapes, output_shape):
        """Each weight and each bias once for every place of the filter, as torchinfo counts (padding included)."""
        N, _, H, W = output_shape
        return N * H * W * sum(parameter.data.size for parameter in self.parameters.values())


class ConvTranspose2d(Layer):
    """Transposed convolution with weight (in_channels, out_channels, kernel_h, kernel_w); see
    `functional.conv_transpose2d_forward`.

    The weight starts normal, the bias zero (`he_normal`): one output value sums over the stamps that reach it,
    in_channels kernel_h kernel_w / (stride_h stride_w) values on average.
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        bias=True,
        dilation=1,
        rng=None,
    ):
        super().__init__()
        self.in_channels, self.out_channels = whole("in_channels", in_channels), whole("out_channels", out_channels)
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.output_padding, self.dilation = output_padding, dilation
        kernel_h, kernel_w = shapes.pair(kernel_size, "kernel_size", 1)
        self.weight = self.parameters["weight"] = Parameter((in_channels, out_channels, kernel_h, kernel_w))
        self.bias = Parameter((out_channels,)) if bias else None
        if self.bias is not None:
            self.parameters["bias"] = self.bias
        self.output_shape((1, in_channels, 2**30, 2**30))  # raises for options that fit no image
        self.initialise(rng or np.random.default_rng())

    def initialise(self, rng):
        stride_h, stride_w = shapes.pair(self.stride)
        he_normal(self.weight, self.weight.data[:, 0].size / (stride_h * stride_w), rng)
        if self.bias is not None:
            self.bias.data.fill(0)

    def forward(self, x):
        bias = None if self.bias is None else self.bias.data
        return functional.conv_transpose2d_forward(
            x, self.weight.data, bias, self.stride, self.padding, self.output_padding, self.dilation
        )

    def backward(self, dy, cache):
        dx, dweight, dbias = functional.conv_transpose2d_backward(dy, cache)
        self.weight.accumulate(dweight)
        if self.bias is not None:
            self.bias.accumulate(dbias)
        return dx

    def output_shape(self, x):
        return shapes.conv_transpose2d(
            x, self.weight.data.shape, None, self.stride, self.padding, self.output_padding, self.dilation
        )

    def footprints(self, input_shape, output_shape):
        options = (self.kernel_size, self.stride, self.padding, self.dilation)
        return tuple(stamping(*numbers) for numbers in zip(*map(shapes.pair, options), strict=True))

    def multiply_adds(self, input_shapes, output_shape):
        """Each weight once for every value stamped, an input position; each bias once for every output position.

        (torchinfo counts the weights for every output position: too many by the stride squared.)
        """
        N, _, h, w = input_shapes[0]
        biases = 0 if self.bias is None else self.bias.data.size
        return N * h * w * self.weight.data.size + N * output_shape[2] * output_shape[3] * biases
