"""Layers that bring several paths together: side by side, or summed."""

from minisegnet import functional, shapes
from minisegnet.layers.base import Layer


class Concat(Layer):
    """Lay several arrays one after another along a dimension, by default channels; see `functional.concat_forward`."""

    pointwise = True  # along height and width, where other dimensions are joined

    def __init__(self, dim=1):
        super().__init__()
        self.dim = dim

    def forward(self, *xs):
        return functional.concat_forward(list(xs), self.dim)

    def backward(self, dy, cache):
        return tuple(functional.concat_backward(dy, cache))

    def output_shape(self, *xs):
        return shapes.concat(list(xs), self.dim)


class Add(Layer):
    """The sum of two arrays of one shape; see `functional.add_forward`."""

    pointwise = True

    def forward(self, a, b):
        return functional.add_forward(a, b)

    def backward(self, dy, cache):
        return functional.add_backward(dy, cache)

    def output_shape(self, a, b):
        return shapes.add(a, b)
