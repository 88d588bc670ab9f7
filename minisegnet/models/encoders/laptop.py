"""A small encoder of our own, for training on a laptop's processor in minutes."""

from __future__ import annotations

from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, Conv2d, ReLU
from minisegnet.layers.base import whole
from minisegnet.models.encoders.feature import Feature, Features
from minisegnet.nodes import Handle

LEVELS = {  # stride: channels of each 3 x 3 convolution there, as multiples of the width; the first one halves
    2: (1,),
    4: (2, 2),
    8: (4, 4),
    16: (8, 8),
    32: (8, 8),
}


def laptop(graph: Graph, x: Handle, in_channels: int = 3, width: int = 16, ceil_mode: bool = False) -> Features:
    """Add the laptop encoder to a graph, and return the last values at strides 2, 4, 8, 16 and 32.

    Each level is one 3 x 3 convolution of stride 2 and, below the first, one of stride 1, each with batch normalisation
    and ReLU. One convolution at the finest level and channels that double until stride 16 give each of strides 4 to 16
    about the same share of the cost.

    x          images (N, in_channels, H, W) of any size
    width      channels of the first level
    ceil_mode  without effect: padded convolutions of stride 2 round odd sides up as they are
    """
    width = whole("width", width)
    channels, features = in_channels, {}
    for level, (stride, multiples) in enumerate(LEVELS.items(), start=1):
        layers: list = []
        for i, multiple in enumerate(multiples):
            convolution = Conv2d(channels, multiple * width, 3, stride=1 if i else 2, padding=1, bias=False)
            channels = multiple * width
            layers += [convolution, BatchNorm2d(channels), ReLU()]
        x = graph.chain(f"level{level}", x, *layers)
        features[stride] = Feature(x, channels)
    return features
