"""Layers that FCN starts from something better than chance: scores at zero, upsampling at bilinear interpolation."""

import numpy as np

from minisegnet import shapes
from minisegnet.layers.convolution import Conv2d, ConvTranspose2d


class ZeroConv2d(Conv2d):
    """A convolution whose weight and bias start at zero, so that a new path joins a trained network unnoticed.

    Source: Long et al. 2015, FCN, section 4.2 ("we zero-initialize the parameters").
    """

    def initialise(self, rng):
        for parameter in self.parameters.values():
            parameter.data.fill(0)


class BilinearConvTranspose2d(ConvTranspose2d):
    """A transposed convolution of each channel by itself at first: it starts as bilinear interpolation (`bilinear`).

    fixed   True: it stays that, as in FCN's last layer; False: learnt, as in its inner ones

    Source: Long et al. 2015, FCN, section 3.3 and 4.3.
    """

    def __init__(self, channels, kernel_size, stride, padding=0, output_padding=0, fixed=False):
        super().__init__(channels, channels, kernel_size, stride, padding, output_padding, bias=False)
        self.channels, self.fixed = channels, fixed
        if fixed:
            self.freeze()

    def initialise(self, rng):
        self.weight.data.fill(0)
        for i in range(self.in_channels):
            self.weight.data[i, i] = bilinear(self.kernel_size, self.stride)


def bilinear(kernel_size, stride):
    """The stamp (kernel_h, kernel_w) whose overlaps, `stride` apart, interpolate linearly in each direction.

    A tent of half-width `stride` about the stamp's middle. Stamps of 2 stride or 2 stride - 1 rows hold all of it.
    """
    tents = []
    for kernel, step in zip(shapes.pair(kernel_size), shapes.pair(stride), strict=True):
        distance = np.abs(np.arange(kernel) - (kernel - 1) / 2)
        tents.append(np.maximum(0, 1 - distance / step))
    return np.outer(*tents)
