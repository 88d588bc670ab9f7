"""ResNet-18, 34 and 50 (He et al. 2016): blocks of convolutions that add what they learn to a shortcut."""

from __future__ import annotations

from collections.abc import Callable

from minisegnet.graph import Graph
from minisegnet.layers import Add, BatchNorm2d, Conv2d, MaxPool2d, ReLU
from minisegnet.models.encoders.feature import Feature, Features
from minisegnet.models.encoders.width import scaled
from minisegnet.nodes import Handle

CHANNELS = (64, 128, 256, 512)  # the paper's table 1: of the 3 x 3 convolutions of conv2_x to conv5_x

Block = Callable[[Graph, str, Feature, int, int], Feature]  # block(graph, name, given, channels, stride)


def resnet18(graph: Graph, x: Handle, in_channels: int = 3, width: int = 64, ceil_mode: bool = False) -> Features:
    """Add ResNet-18's convolutions to a graph, and return the last values at strides 2, 4, 8, 16 and 32.

    x          images (N, in_channels, H, W) of any size
    width      channels of the first layer: 64 in the paper; the others keep their ratio to it
    ceil_mode  without effect: thanks to its padding, every layer that halves an odd side rounds it up as it is

    Nodes are named "conv1", "layer1.0.conv1" and on, as the keys of torchvision's weights.
    Source: He et al. 2016, Deep residual learning for image recognition, table 1.
    """
    return _resnet(graph, x, in_channels, width, _basic_block, (2, 2, 2, 2))


def resnet34(graph: Graph, x: Handle, in_channels: int = 3, width: int = 64, ceil_mode: bool = False) -> Features:
    """The same of ResNet-34; see `resnet18`."""
    return _resnet(graph, x, in_channels, width, _basic_block, (3, 4, 6, 3))


def resnet50(graph: Graph, x: Handle, in_channels: int = 3, width: int = 64, ceil_mode: bool = False) -> Features:
    """The same of ResNet-50, whose values at strides 4 to 32 have four times as many channels; see `resnet18`.

    As in torchvision (its "version 1.5"), the 3 x 3 convolution of a block takes the stride; in the paper it is the
    1 x 1 before it, which leaves three of four values unread.
    """
    return _resnet(graph, x, in_channels, width, _bottleneck, (3, 4, 6, 3))


def _resnet(graph: Graph, x: Handle, in_channels: int, width: int, block: Block, blocks: tuple[int, ...]) -> Features:
    channels = scaled(64, width)
    x = _convolution(graph, "conv1", "bn1", x, Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False))
    x = graph.add("relu", ReLU(), x)
    feature = Feature(x, channels)
    features = {2: feature}
    feature = Feature(graph.add("maxpool", MaxPool2d(3, stride=2, padding=1), x), channels)
    for level, (published, count) in enumerate(zip(CHANNELS, blocks, strict=True), start=1):
        for i in range(count):
            stride = 2 if level > 1 and i == 0 else 1
            feature = block(graph, f"layer{level}.{i}", feature, scaled(published, width), stride)
        features[2 ** (level + 1)] = feature
    return features


def _basic_block(graph: Graph, name: str, given: Feature, channels: int, stride: int) -> Feature:
    """3 x 3, 3 x 3, shortcut (the paper's figure 5, left)."""
    convolutions = [
        Conv2d(given.channels, channels, 3, stride, padding=1, bias=False),
        Conv2d(channels, channels, 3, padding=1, bias=False),
    ]
    return _residual(graph, name, given, convolutions, stride)


def _bottleneck(graph: Graph, name: str, given: Feature, channels: int, stride: int) -> Feature:
    """1 x 1, 3 x 3, 1 x 1 to four times the channels, shortcut (the paper's figure 5, right)."""
    convolutions = [
        Conv2d(given.channels, channels, 1, bias=False),
        Conv2d(channels, channels, 3, stride, padding=1, bias=False),
        Conv2d(channels, 4 * channels, 1, bias=False),
    ]
    return _residual(graph, name, given, convolutions, stride)


def _residual(graph: Graph, name: str, given: Feature, convolutions: list[Conv2d], stride: int) -> Feature:
    """relu(F(x) + x), F being the convolutions (the paper's equation 1).

    Where F changes the shape, x goes through a 1 x 1 convolution of its own (equation 2).
    """
    x = given.value
    for i, convolution in enumerate(convolutions, start=1):
        x = _convolution(graph, f"{name}.conv{i}", f"{name}.bn{i}", x, convolution)
        if convolution is not convolutions[-1]:
            x = graph.add(f"{name}.relu{i}", ReLU(), x)
    shortcut, channels = given.value, convolutions[-1].out_channels
    if stride != 1 or channels != given.channels:
        projection = Conv2d(given.channels, channels, 1, stride, bias=False)
        shortcut = _convolution(graph, f"{name}.downsample.0", f"{name}.downsample.1", shortcut, projection)
    x = graph.add(f"{name}.add", Add(), x, shortcut)
    return Feature(graph.add(f"{name}.relu", ReLU(), x), channels)


def _convolution(graph: Graph, name: str, norm: str, x: Handle, convolution: Conv2d) -> Handle:
    x = graph.add(name, convolution, x)
    return graph.add(norm, BatchNorm2d(convolution.out_channels), x)
