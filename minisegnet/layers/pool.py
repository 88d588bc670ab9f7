"""Pooling, the way down."""

from minisegnet import functional, shapes
from minisegnet.layers.base import Layer
from minisegnet.layers.footprint import sliding


class MaxPool2d(Layer):
    """The largest value of each window; see `functional.max_pool2d_forward`.

    With return_indices the output is the pair (y, indices) that `MaxUnpool2d` takes; gradients flow through y alone.
    """

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False):
        super().__init__()
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode
        self.outputs = 2 if return_indices else 1
        self.output_shape((1, 1, 2**30, 2**30))  # raises for options that fit no image

    def forward(self, x):
        (y, indices), cache = functional.max_pool2d_forward(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        )
        return ((y, indices) if self.return_indices else y), cache

    def backward(self, dy, cache):
        return functional.max_pool2d_backward(dy, cache)

    def output_shape(self, x):
        return shapes.pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

    def footprints(self, input_shape, output_shape):
        return _footprints(self.kernel_size, self.stride, self.padding, self.dilation)


class AvgPool2d(Layer):
    """The mean of each window; see `functional.avg_pool2d_forward`."""

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad
        self.output_shape((1, 1, 2**30, 2**30))  # raises for options that fit no image

    def forward(self, x):
        return functional.avg_pool2d_forward(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )

    def backward(self, dy, cache):
        return functional.avg_pool2d_backward(dy, cache)

    def output_shape(self, x):
        return shapes.pool2d(x, self.kernel_size, self.stride, self.padding, 1, self.ceil_mode)

    def footprints(self, input_shape, output_shape):
        return _footprints(self.kernel_size, self.stride, self.padding)


class GlobalAvgPool2d(Layer):
    """The mean of each channel over the whole image, (N, C, H, W) to (N, C, 1, 1): `avg_pool2d` of one window.

    PyTorch's AdaptiveAvgPool2d(1).
    """

    def forward(self, x):
        return functional.avg_pool2d_forward(x, shapes.images(x.shape)[2:])

    def backward(self, dy, cache):
        return functional.avg_pool2d_backward(dy, cache)

    def output_shape(self, x):
        return shapes.pool2d(x, shapes.images(x)[2:])

    def footprints(self, input_shape, output_shape):
        return tuple(sliding(size, size, 0) for size in input_shape[2:])


def _footprints(kernel_size, stride, padding, dilation=1):
    options = (kernel_size, kernel_size if stride is None else stride, padding, dilation)
    return tuple(sliding(*numbers) for numbers in zip(*map(shapes.pair, options), strict=True))
