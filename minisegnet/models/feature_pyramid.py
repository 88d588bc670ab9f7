"""The feature pyramid (Lin et al. 2017): maps at several strides, each knowing what the coarser ones know."""

from __future__ import annotations

from collections.abc import Sequence

from minisegnet.layers import Add, Conv2d, MaxPool2d, NearestUnpool2d
from minisegnet.layers.base import whole
from minisegnet.models.branch import Branch
from minisegnet.models.encoders.feature import Feature, Features


def feature_pyramid(branch: Branch, features: Features, strides: Sequence[int], channels: int = 256) -> Features:
    """Add a feature pyramid to a graph, and return its maps by stride, the finest first, all of `channels` channels.

    From the coarsest map down: a 1 x 1 convolution of the encoder's map, to which the level above is added, spread to
    its size by nearest neighbours; then a 3 x 3 convolution, which smooths what the spreading left.

    branch     where nodes are named "inner_blocks.0.0", "layer_blocks.0.0" and on, as torchvision's "backbone.fpn."
    features   an encoder's maps by stride
    strides    those to build on, the finest first

    Source: Lin et al. 2017, Feature pyramid networks for object detection, section 3, figure 3.
    """
    whole("pyramid_channels", channels)
    pyramid, above = {}, None
    for level, stride in reversed(list(enumerate(strides))):
        value, given = features[stride]
        x = branch.add(f"inner_blocks.{level}.0", Conv2d(given, channels, 1), value)
        if above is not None:
            spread = branch.add(f"upsample.{level}", NearestUnpool2d(), above, size_of=x)
            x = branch.add(f"add.{level}", Add(), x, spread)
        above = x
        smoothed = branch.add(f"layer_blocks.{level}.0", Conv2d(channels, channels, 3, padding=1), x)
        pyramid[stride] = Feature(smoothed, channels)
    return dict(reversed(pyramid.items()))


def top_level(branch: Branch, coarsest: Feature) -> Feature:
    """Every second value of the coarsest map, for larger anchors (section 4.1, footnote: "simply a stride two")."""
    return Feature(branch.add("pool", MaxPool2d(1, stride=2), coarsest.value), coarsest.channels)
