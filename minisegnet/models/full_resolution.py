"""The lecture's first idea: convolutions at the full resolution of the image, from the first layer to the scores."""

from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, Conv2d, ReLU
from minisegnet.layers.base import whole


def full_resolution(num_classes: int, in_channels: int = 3, width: int = 64, depth: int = 6, seed: int = 0) -> Graph:
    """A network without downsampling, from images (N, in_channels, H, W) to scores (N, num_classes, H, W).

    width   channels of every layer
    depth   how many 3 x 3 convolutions; the scores of a pixel see 2 depth + 1 rows and columns of the image
    seed    of the initial weights (He et al. 2015)

    It is simple, takes images of any size, and never loses where things are. But each layer computes, and keeps for
    the way back, `width` values at every pixel, and sees but one pixel farther than the layer before: to see a whole
    object takes a depth that nobody can pay for. `encoder_decoder` halves the image instead.

    Raises OptionError for numbers that are not whole or below 1.
    """
    numbers = {"num_classes": num_classes, "in_channels": in_channels, "width": width, "depth": depth}
    for name, number in numbers.items():
        whole(name, number)
    graph = Graph("Full resolution")
    x = graph.input("image", channels=in_channels)
    for layer in range(depth):
        convolution = Conv2d(width if layer else in_channels, width, 3, padding=1, bias=False)
        x = graph.chain(f"layer{layer}", x, convolution, BatchNorm2d(width), ReLU())
    return graph.output("score", Conv2d(width, num_classes, 1), x).initialise(seed)
