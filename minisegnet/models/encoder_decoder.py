"""The lecture's second idea: halve the image on the way in, double it on the way out, by an operator of your choice."""

from typing import NamedTuple

from minisegnet.errors import OptionError
from minisegnet.graph import Graph
from minisegnet.layers import (
    AvgPool2d,
    BatchNorm2d,
    BedOfNails2d,
    BilinearConvTranspose2d,
    Conv2d,
    Crop,
    Layer,
    MaxPool2d,
    MaxUnpool2d,
    NearestUnpool2d,
    ReLU,
    UpsampleBilinear2d,
)
from minisegnet.layers.base import whole
from minisegnet.nodes import Handle

UPSAMPLINGS = ("max_unpool", "nearest", "bed_of_nails", "bilinear", "transposed")


def encoder_decoder(
    num_classes: int,
    in_channels: int = 3,
    width: int = 32,
    depth: int = 3,
    upsampling: str = "max_unpool",
    seed: int = 0,
) -> Graph:
    """A network that narrows and widens again, from images (N, in_channels, H, W) to scores (N, num_classes, H, W).

    width       channels of the first level; each level below has twice as many
    depth       how many times the image is halved, and doubled again
    upsampling  what doubles it:
                "max_unpool"    each value goes back to where the encoder's max pooling found it, zeros elsewhere
                "nearest"       each value is spread over its block: the inverse of average pooling, by which the
                                encoder then pools
                "bed_of_nails"  each value at the upper left of its block, zeros elsewhere
                "bilinear"      interpolation between the values
                "transposed"    a transposed convolution, 4 x 4 with stride 2: learnt stamps, whose overlaps are summed;
                                they start as bilinear interpolation (from random stamps it learns far more slowly)
    seed        of the initial weights (He et al. 2015)

    Images may have any size: pooling keeps the last row or column of an odd size in a window of its own, and each
    upsampling gives back the height and width that the pooling of its level was given. There are no skips, so what
    pooling has lost is lost, except where max-unpooling tells where the values were.

    Raises OptionError for an upsampling that it does not know, or numbers that are not whole or below 1.
    """
    if upsampling not in UPSAMPLINGS:
        raise OptionError(f"upsampling must be one of {', '.join(UPSAMPLINGS)}; got {upsampling!r}")
    numbers = {"num_classes": num_classes, "in_channels": in_channels, "width": width, "depth": depth}
    for name, number in numbers.items():
        whole(name, number)
    graph = Graph("Encoder-decoder")
    x = graph.input("image", channels=in_channels)
    levels: list[Level] = []
    channels = in_channels
    for number in range(depth):
        before = graph.chain(f"encoder{number}", x, *_convolution(channels, width * 2**number))
        x, indices = _pool(graph, f"pool{number}", before, upsampling)
        channels = width * 2**number
        levels.append(Level(before, indices, channels))
    x = graph.chain("bottom", x, *_convolution(channels, channels))
    for number in reversed(range(depth)):
        level = levels.pop()
        x = _upsample(graph, f"up{number}", x, level, upsampling)
        x = graph.chain(f"decoder{number}", x, *_convolution(level.channels, width * 2 ** max(0, number - 1)))
    return graph.output("score", Conv2d(width, num_classes, 1), x).initialise(seed)


class Level(NamedTuple):
    """What the way up must know of the way down: the value before the pooling, where its maxima were, its channels."""

    before: Handle
    indices: Handle | None
    channels: int


def _convolution(channels: int, out_channels: int) -> list[Layer]:
    return [Conv2d(channels, out_channels, 3, padding=1, bias=False), BatchNorm2d(out_channels), ReLU()]


def _pool(graph: Graph, name: str, x: Handle, upsampling: str) -> tuple[Handle, Handle | None]:
    """The halved value, and for max-unpooling the indices."""
    if upsampling == "max_unpool":
        return graph.add(name, MaxPool2d(2, ceil_mode=True, return_indices=True), x)
    if upsampling == "nearest":
        return graph.add(name, AvgPool2d(2, ceil_mode=True), x), None
    return graph.add(name, MaxPool2d(2, ceil_mode=True), x), None


def _upsample(graph: Graph, name: str, x: Handle, level: Level, upsampling: str) -> Handle:
    """The doubled value, of the height and width that the level had before its pooling."""
    if upsampling == "max_unpool":
        assert level.indices is not None
        return graph.add(name, MaxUnpool2d(2), x, level.indices, size_of=level.before)
    if upsampling == "transposed":  # padding 1 makes the size exactly double, of which an odd size is one less
        stamps = BilinearConvTranspose2d(level.channels, 4, stride=2, padding=1)
        return graph.add(f"{name}.1", Crop(), graph.add(f"{name}.0", stamps, x), size_of=level.before)
    layer = {"nearest": NearestUnpool2d, "bed_of_nails": BedOfNails2d, "bilinear": UpsampleBilinear2d}[upsampling](2)
    return graph.add(name, layer, x, size_of=level.before)
