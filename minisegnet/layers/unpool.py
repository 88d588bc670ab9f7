"""Unpooling, the way up without weights: indices, blocks, nails and bilinear weights."""

from fractions import Fraction
from math import gcd

from minisegnet import functional, shapes
from minisegnet.errors import OptionError, ShapeError
from minisegnet.layers.base import Layer
from minisegnet.layers.footprint import Footprint, stamping


class MaxUnpool2d(Layer):
    """Inverse of `MaxPool2d`; see `functional.max_unpool2d_forward`.

    output_size (H, W) is that of the image before the pooling. Only a layer built with the pooling's kernel_size can do
    without, and then takes the smallest size that pools so: (h - 1) stride - 2 padding + kernel_size.
    """

    def __init__(self, kernel_size=None, stride=None, padding=0):
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        if kernel_size is not None:
            shapes.pool2d((1, 1, 2**30, 2**30), kernel_size, stride, padding)  # raises for options of no pooling
        elif stride is not None or padding != 0:
            raise OptionError("MaxUnpool2d takes stride and padding together with kernel_size; give kernel_size too")

    def forward(self, x, indices, output_size=None):
        _, _, H, W = self.output_shape(x.shape, indices.shape, output_size)
        return functional.max_unpool2d_forward(x, indices, (H, W))

    def backward(self, dy, cache):
        return functional.max_unpool2d_backward(dy, cache)

    def output_shape(self, x, indices, output_size=None):
        if output_size is None:
            if self.kernel_size is None:
                raise OptionError(
                    "MaxUnpool2d needs the size before the pooling: pass output_size=(H, W), in a graph "
                    "size_of=the pooled value, or build it as MaxUnpool2d(kernel_size)"
                )
            _, _, h, w = shapes.images(x)
            kernel, padding = shapes.pair(self.kernel_size), shapes.pair(self.padding)
            stride = kernel if self.stride is None else shapes.pair(self.stride)
            output_size = tuple(
                (size - 1) * s - 2 * p + k for size, s, p, k in zip((h, w), stride, padding, kernel, strict=True)
            )
        return shapes.sized(x, output_size)

    def footprints(self, input_shape, output_shape):
        if self.kernel_size is None:
            raise ShapeError("MaxUnpool2d does not know the pooling's windows: build it as MaxUnpool2d(kernel_size)")
        options = (self.kernel_size, self.kernel_size if self.stride is None else self.stride, self.padding)
        return tuple(stamping(*numbers) for numbers in zip(*map(shapes.pair, options), strict=True))


class NearestUnpool2d(Layer):
    """Spread each value over its own block; see `functional.nearest_unpool2d_forward`.

    The output is scale_factor times as high and wide, or of the output_size (H, W) given to forward.
    """

    def __init__(self, scale_factor=2):
        super().__init__()
        self.scale_factor = scale_factor
        shapes.pair(scale_factor, "scale_factor", 1)

    def forward(self, x, output_size=None):
        _, _, H, W = self.output_shape(x.shape, output_size)
        return functional.nearest_unpool2d_forward(x, (H, W))

    def backward(self, dy, cache):
        return functional.nearest_unpool2d_backward(dy, cache)

    def output_shape(self, x, output_size=None):
        return scaled(x, self.scale_factor, output_size)

    def footprints(self, input_shape, output_shape):
        return tuple(nearest(h, H) for h, H in zip(input_shape[2:], output_shape[2:], strict=True))


class BedOfNails2d(Layer):
    """Put each value at the upper left of its block, zeros elsewhere; see `functional.bed_of_nails2d_forward`.

    The output is stride times as high and wide, or of the output_size (H, W) given to forward.
    """

    def __init__(self, stride=2):
        super().__init__()
        self.stride = stride
        shapes.pair(stride, "stride", 1)

    def forward(self, x, output_size=None):
        return functional.bed_of_nails2d_forward(x, self.stride, output_size)

    def backward(self, dy, cache):
        return functional.bed_of_nails2d_backward(dy, cache)

    def output_shape(self, x, output_size=None):
        return shapes.bed_of_nails2d(x, self.stride, output_size)

    def footprints(self, input_shape, output_shape):
        return tuple(Footprint.of(Fraction(1, stride), 0, 0) for stride in shapes.pair(self.stride))


class UpsampleBilinear2d(Layer):
    """Resize by bilinear interpolation; see `functional.upsample_bilinear2d_forward`.

    The output is scale_factor times as high and wide, or of the output_size (H, W) given to forward.
    """

    def __init__(self, scale_factor=2, align_corners=False):
        super().__init__()
        self.scale_factor, self.align_corners = scale_factor, align_corners
        shapes.pair(scale_factor, "scale_factor", 1)

    def forward(self, x, output_size=None):
        _, _, H, W = self.output_shape(x.shape, output_size)
        return functional.upsample_bilinear2d_forward(x, (H, W), self.align_corners)

    def backward(self, dy, cache):
        return functional.upsample_bilinear2d_backward(dy, cache)

    def output_shape(self, x, output_size=None):
        return scaled(x, self.scale_factor, output_size)

    def footprints(self, input_shape, output_shape):
        sizes = zip(input_shape[2:], output_shape[2:], strict=True)
        return tuple(interpolating(h, H, self.align_corners) for h, H in sizes)


def nearest(size, output_size):
    """The footprint of output row i copied from input row floor(i size / output_size)."""
    steps = output_size // gcd(size, output_size)  # what stands before the floor is a multiple of 1 / steps
    return Footprint.of(Fraction(size, output_size), Fraction(1 - steps, steps), 0)


def interpolating(size, output_size, align_corners):
    """The footprint of output row i read at row scale i + offset of the input: from the rows around that, or at it."""
    if align_corners:
        scale, offset = Fraction(size - 1, max(1, output_size - 1)), Fraction(0)
    else:
        scale = Fraction(size, output_size)
        offset = scale / 2 - Fraction(1, 2)
    just_below_one = 1 - Fraction(1, 2 * max(1, output_size))
    return Footprint(scale, offset - just_below_one, offset + just_below_one)


def scaled(x, scale_factor, output_size):
    """Shape of x made scale_factor times as high and wide, or of the output size where one is given."""
    _, _, h, w = shapes.images(x)
    scale_h, scale_w = shapes.pair(scale_factor)
    return shapes.sized(x, (h * scale_h, w * scale_w) if output_size is None else output_size)
