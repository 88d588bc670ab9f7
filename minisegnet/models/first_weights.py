"""Layers whose weights start at normal numbers of a small deviation that is told: a detector's last ones."""

import numpy as np

from minisegnet.layers import Conv2d, Linear


class SmallConv2d(Conv2d):
    """A convolution whose weight starts normal with deviation `std`, its bias at zero.

    So a detector's first scores are nearly equal for all classes, and its first boxes nearly those they start from.
    Source: Ren et al. 2015, section 3.1.3 ("a zero-mean Gaussian distribution with standard deviation 0.01").
    """

    def __init__(self, in_channels, out_channels, kernel_size, std=0.01):
        self.std = std
        super().__init__(in_channels, out_channels, kernel_size)

    def initialise(self, rng):
        start_small(self, rng)


class SmallLinear(Linear):
    """The same of a fully connected layer. Source: Girshick 2015, Fast R-CNN, section 2.3 (for boxes 0.001)."""

    def __init__(self, in_features, out_features, std=0.01):
        self.std = std
        super().__init__(in_features, out_features)

    def initialise(self, rng):
        start_small(self, rng)


def start_small(layer, rng):
    """Fill the weight with normal numbers of the layer's deviation, the bias with zeros."""
    layer.weight.data[...] = layer.std * rng.standard_normal(layer.weight.data.shape, np.float32)
    layer.bias.data.fill(0)
