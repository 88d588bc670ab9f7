"""Layers that change an image's frame: mirror its border, crop it."""

from minisegnet import functional, shapes
from minisegnet.errors import ShapeError
from minisegnet.layers.base import Layer
from minisegnet.layers.footprint import Footprint


class ReflectionPad2d(Layer):
    """Mirror the image at its edges by an int or (left, right, top, bottom); see `reflection_pad2d_forward`."""

    def __init__(self, padding):
        super().__init__()
        self.padding = padding
        shapes.sides(padding)

    def forward(self, x):
        return functional.reflection_pad2d_forward(x, self.padding)

    def backward(self, dy, cache):
        return functional.reflection_pad2d_backward(dy, cache)

    def output_shape(self, x):
        return shapes.reflection_pad2d(x, self.padding)

    def footprints(self, input_shape, output_shape):
        left, _, top, _ = shapes.sides(self.padding)
        return Footprint.of(1, -top, -top), Footprint.of(1, -left, -left)


class PadToMultiple(Layer):
    """Mirror the image at its edges until its height and width are multiples of `multiple`.

    The missing rows go half to the top and half to the bottom (the odd one to the bottom), the columns likewise left
    and right, so that `CenterCrop` to the old size undoes it. A network that halves d times takes any size behind
    PadToMultiple(2 ** d).

    multiple   an int, or a pair (vertical, horizontal)
    """

    def __init__(self, multiple):
        super().__init__()
        self.multiple = multiple
        shapes.pair(multiple, "multiple", 1)

    def padding(self, x):
        """(left, right, top, bottom) for an image batch of shape x."""
        _, _, H, W = shapes.images(x)
        multiple_h, multiple_w = shapes.pair(self.multiple)
        rows, columns = -H % multiple_h, -W % multiple_w
        return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2

    def forward(self, x):
        return functional.reflection_pad2d_forward(x, self.padding(x.shape))

    def backward(self, dy, cache):
        return functional.reflection_pad2d_backward(dy, cache)

    def output_shape(self, x):
        return shapes.reflection_pad2d(x, self.padding(x))

    def footprints(self, input_shape, output_shape):
        left, _, top, _ = self.padding(input_shape)
        return Footprint.of(1, -top, -top), Footprint.of(1, -left, -left)


class CenterCrop(Layer):
    """The middle of an image, of the output_size (H, W) given to forward; see `functional.crop_forward`.

    Where a row or column is left over, the one more is cut at the bottom or right.
    """

    def forward(self, x, output_size):
        _, _, height, width = self.output_shape(x.shape, output_size)
        top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
        return functional.crop_forward(x, top, left, height, width)

    def backward(self, dy, cache):
        return functional.crop_backward(dy, cache)

    def output_shape(self, x, output_size):
        _, _, H, W = shapes.images(x)
        height, width = shapes.pair(output_size, "output_size", 1)
        if height > H or width > W:
            raise ShapeError(
                f"CenterCrop cannot cut {height} x {width} out of an image of {H} x {W}; "
                "pad the image first, or crop the larger of the two"
            )
        return shapes.sized(x, (height, width))

    def footprints(self, input_shape, output_shape):
        top, left = ((input_shape[i] - output_shape[i]) // 2 for i in (2, 3))
        return Footprint.of(1, top, top), Footprint.of(1, left, left)


class Crop(Layer):
    """The part of an image whose upper left is at (top, left), of the output_size (H, W) given to forward.

    See `functional.crop_forward`. `minisegnet.models.alignment` derives where two paths through a network line up.
    """

    def __init__(self, top=0, left=0):
        super().__init__()
        self.top, self.left = shapes.pair((top, left), "top and left", 0)

    def forward(self, x, output_size):
        _, _, height, width = self.output_shape(x.shape, output_size)
        return functional.crop_forward(x, self.top, self.left, height, width)

    def backward(self, dy, cache):
        return functional.crop_backward(dy, cache)

    def output_shape(self, x, output_size):
        return shapes.crop(x, self.top, self.left, *shapes.pair(output_size, "output_size", 1))

    def footprints(self, input_shape, output_shape):
        return Footprint.of(1, self.top, self.top), Footprint.of(1, self.left, self.left)
