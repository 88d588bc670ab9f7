"""VGG-16 (Simonyan and Zisserman 2015): thirteen 3 x 3 convolutions, with a max pooling after each level of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, Conv2d, MaxPool2d, ReLU
from minisegnet.layers.base import Layer
from minisegnet.models.encoders.feature import Feature, Features
from minisegnet.models.encoders.width import scaled
from minisegnet.nodes import Handle

LEVELS = (  # the paper's table 1, column D: the channels that each 3 x 3 convolution makes, level by level
    (64, 64),
    (128, 128),
    (256, 256, 256),
    (512, 512, 512),
    (512, 512, 512),
)


class Level(NamedTuple):
    """The convolutions between two poolings.

    before    the last value before the pooling
    pooled    the value after it
    indices   where in `before` each pooled value stood, for max-unpooling; None where they were not asked for
    channels  of all of them
    """

    before: Handle
    pooled: Handle
    indices: Handle | None
    channels: int


def vgg16(graph: Graph, x: Handle, in_channels: int = 3, width: int = 64, ceil_mode: bool = False) -> Features:
    """Add VGG-16's convolutions to a graph, and return the pooled values at strides 2, 4, 8, 16 and 32.

    x          images (N, in_channels, H, W), of 32 x 32 at least unless sizes are rounded up
    width      channels of the first level: 64 in the paper; the others keep their ratio to it
    ceil_mode  True: a pooling of an odd side keeps its last row or column; False: it drops it, as torchvision does

    Nodes are named "features.0" and on, as the keys of torchvision's weights.
    Source: Simonyan and Zisserman 2015, Very deep convolutional networks, table 1, column D.
    """
    return _features(vgg_levels(graph, x, in_channels, width, ceil_mode=ceil_mode))


def vgg16_bn(graph: Graph, x: Handle, in_channels: int = 3, width: int = 64, ceil_mode: bool = False) -> Features:
    """`vgg16` with batch normalisation after each convolution, as in torchvision's vgg16_bn."""
    return _features(vgg_levels(graph, x, in_channels, width, batch_norm=True, ceil_mode=ceil_mode))


def vgg_levels(
    graph: Graph,
    x: Handle,
    in_channels: int = 3,
    width: int = 64,
    batch_norm: bool = False,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> list[Level]:
    """Add VGG-16's convolutions to a graph, and return its five levels, for decoders that mirror them.

    return_indices   True: the poolings also tell where their values stood, for max-unpooling

    The other arguments and the names are those of `vgg16`.
    """
    levels: list[Level] = []
    number = 0  # of the node: torchvision counts convolutions, activations and poolings alike

    def add(layer: Layer, x: Handle) -> Any:
        nonlocal number
        number += 1
        return graph.add(f"features.{number - 1}", layer, x)

    for convolutions in LEVELS:
        for published in convolutions:
            channels = scaled(published, width)
            x = add(Conv2d(in_channels, channels, 3, padding=1), x)
            if batch_norm:
                x = add(BatchNorm2d(channels), x)
            x = add(ReLU(), x)
            in_channels = channels
        before, indices = x, None
        if return_indices:
            x, indices = add(MaxPool2d(2, return_indices=True, ceil_mode=ceil_mode), x)
        else:
            x = add(MaxPool2d(2, ceil_mode=ceil_mode), x)
        levels.append(Level(before, x, indices, channels))
    return levels


def _features(levels: list[Level]) -> Features:
    return {2**halvings: Feature(level.pooled, level.channels) for halvings, level in enumerate(levels, start=1)}
