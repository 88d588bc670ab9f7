"""SqueezeNet 1.1 (Iandola et al. 2016): few weights, by squeezing the channels before each 3 x 3 convolution."""

from __future__ import annotations

from minisegnet.graph import Graph
from minisegnet.layers import Concat, Conv2d, MaxPool2d, ReLU
from minisegnet.models.encoders.feature import Feature, Features
from minisegnet.models.encoders.width import scaled
from minisegnet.nodes import Handle

FIRES = {  # stride: the fire modules there, each by number and channels of its squeeze and of each of its two expands
    4: ((3, 16, 64), (4, 16, 64)),
    8: ((6, 32, 128), (7, 32, 128)),
    16: ((9, 48, 192), (10, 48, 192), (11, 64, 256), (12, 64, 256)),
}
POOLINGS = {4: 2, 8: 5, 16: 8}  # stride: the number of the pooling that leads there


def squeezenet1_1(graph: Graph, x: Handle, in_channels: int = 3, width: int = 64, ceil_mode: bool = False) -> Features:
    """Add SqueezeNet 1.1's convolutions to a graph, and return the last values at strides 4, 8 and 16.

    x          images (N, in_channels, H, W), of 17 x 17 at least
    width      channels of the first layer: 64 in the published network; a multiple of 4, the others keeping their ratio
    ceil_mode  without effect: the published poolings round odd sides up as they are

    Nodes are named "features.0", "features.3.squeeze" and on, as the keys of torchvision's weights.
    Source: Iandola et al. 2016, SqueezeNet, figure 1 and table 1, in the authors' later version 1.1, which pools
    earlier and begins with 64 filters of 3 x 3.
    """
    channels = scaled(64, width)
    x = graph.add("features.0", Conv2d(in_channels, channels, 3, stride=2), x)
    feature = Feature(graph.add("features.1", ReLU(), x), channels)
    features = {}
    for stride, fires in FIRES.items():
        pool = MaxPool2d(3, stride=2, ceil_mode=True)
        feature = Feature(graph.add(f"features.{POOLINGS[stride]}", pool, feature.value), feature.channels)
        for number, squeeze, expand in fires:
            feature = _fire(graph, f"features.{number}", feature, scaled(squeeze, width), scaled(expand, width))
        features[stride] = feature
    return features


def _fire(graph: Graph, name: str, given: Feature, squeeze: int, expand: int) -> Feature:
    """Squeeze to a few channels, expand from there by 1 x 1 and by 3 x 3, side by side (the paper's figure 1)."""

    def convolution(part: str, x: Handle, layer: Conv2d) -> Handle:
        x = graph.add(f"{name}.{part}", layer, x)
        return graph.add(f"{name}.{part}_activation", ReLU(), x)

    x = convolution("squeeze", given.value, Conv2d(given.channels, squeeze, 1))
    small = convolution("expand1x1", x, Conv2d(squeeze, expand, 1))
    large = convolution("expand3x3", x, Conv2d(squeeze, expand, 3, padding=1))
    return Feature(graph.add(f"{name}.concat", Concat(), small, large), 2 * expand)
