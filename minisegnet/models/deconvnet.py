"""DeconvNet (Noh et al. 2015): VGG-16 down to one value a channel, and its mirror image back up to every pixel."""

from functools import partial

from minisegnet.errors import OptionError, ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, Conv2d, ConvTranspose2d, Layer, MaxUnpool2d, ReLU
from minisegnet.layers.base import whole
from minisegnet.models.encoders.vgg import LEVELS, vgg_levels
from minisegnet.shapes import Shape

STRIDE = 32  # of the value behind VGG's fifth pooling


def deconvnet(
    num_classes: int, in_channels: int = 3, width: int = 64, size: int = 224, middle: int = 4096, seed: int = 0
) -> Graph:
    """DeconvNet, from images (N, in_channels, H, W) to scores (N, num_classes, H, W).

    width   channels of the first level: 64 in the paper; the others keep their ratio to it
    size    side of the images, a multiple of 32: the middle is fully connected to all of their last map,
            size/32 x size/32, written as convolutions so that the way back can be their transposes
    middle  values that the whole image becomes in between
    seed    of the initial weights (He et al. 2015)

    In training, give batches of several images: of one image of this size the middle has one value a channel, which
    batch normalisation cannot take. Larger images run too, height and width as they come: the middle then stands at
    every place where it fits, 32 pixels apart, and where its stamps overlap on the way back they are summed. A network
    trained at `size` alone has never met such sums, so train at the size that you predict at. As published, the network
    has 252 million parameters, for which weights and gradients take 2 GB.

    Raises OptionError for another size, or numbers that are not whole or below 1; when run, ShapeError for smaller
    images.
    Source: figure 2; table 2 of the supplement.
    """
    for name, number in {"num_classes": num_classes, "in_channels": in_channels, "middle": middle}.items():
        whole(name, number)
    if whole("size", size) % STRIDE:
        raise OptionError(f"size must be a multiple of {STRIDE}, the stride of VGG's last map; got {size}")
    graph = Graph("DeconvNet")
    image = graph.input("image", channels=in_channels, check=partial(_check_size, size))
    levels = vgg_levels(graph, image, in_channels, width, batch_norm=True, ceil_mode=True, return_indices=True)
    channels, side = levels[-1].channels, size // STRIDE
    x = graph.chain("fc6", levels[-1].pooled, *_normalised(Conv2d(channels, middle, side, bias=False)))
    x = graph.chain("fc7", x, *_normalised(Conv2d(middle, middle, 1, bias=False)))
    x = graph.chain("fc6_deconv", x, *_normalised(ConvTranspose2d(middle, channels, side, bias=False)))
    for number in range(5, 0, -1):
        level, narrower = levels[number - 1], levels[max(0, number - 2)]
        assert level.indices is not None  # asked for above
        x = graph.add(f"unpool{number}", MaxUnpool2d(2), x, level.indices, size_of=level.before)
        layers: list[Layer] = []
        for _ in LEVELS[number - 1][1:]:
            layers += _deconvolution(level.channels, level.channels)
        x = graph.chain(f"deconv{number}", x, *layers, *_deconvolution(level.channels, narrower.channels))
    return graph.output("score", Conv2d(levels[0].channels, num_classes, 1), x).initialise(seed)


def _normalised(convolution: Conv2d | ConvTranspose2d) -> list[Layer]:
    return [convolution, BatchNorm2d(convolution.out_channels), ReLU()]


def _deconvolution(channels: int, out_channels: int) -> list[Layer]:
    """What the paper calls so; with a stride of 1 it fills the gaps that unpooling left."""
    return _normalised(ConvTranspose2d(channels, out_channels, 3, padding=1, bias=False))


def _check_size(size: int, shape: Shape) -> None:
    """A function of the module, so that a graph which holds it can be pickled."""
    H, W = shape[2:]
    if min(H, W) < size:
        raise ShapeError(
            f"DeconvNet of size {size} needs images of at least {size} x {size}, since its middle is fully connected: "
            f"got {H} x {W}; resize them, or build it with a smaller size, a multiple of {STRIDE}"
        )
