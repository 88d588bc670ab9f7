"""SegNet (Badrinarayanan et al. 2017): each pooling hands its indices to the unpooling that mirrors it."""

from minisegnet.errors import OptionError
from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, Conv2d, Layer, MaxPool2d, MaxUnpool2d, ReLU
from minisegnet.layers.base import whole
from minisegnet.models.encoders.vgg import LEVELS, vgg_levels


def segnet_basic(num_classes: int, in_channels: int = 3, width: int = 64, kernel_size: int = 7, seed: int = 0) -> Graph:
    """SegNet-Basic, four levels, from images (N, in_channels, H, W) of any size to scores (N, num_classes, H, W).

    width        channels of every layer
    kernel_size  of every convolution but the last, odd: 7 lets a value behind the fourth pooling see 106 x 106 pixels
    seed         of the initial weights (He et al. 2015)

    Poolings keep the last row or column of an odd size in a window of its own, as the authors' do. As the paper says,
    convolutions have no biases, and the decoder no ReLU.

    Raises OptionError for an even kernel size, or numbers that are not whole or below 1.
    Source: section 3.1.
    """
    numbers = {"num_classes": num_classes, "in_channels": in_channels, "width": width, "kernel_size": kernel_size}
    for name, number in numbers.items():
        whole(name, number)
    if kernel_size % 2 == 0:
        raise OptionError(f"kernel_size must be odd, so that padding keeps the image's size; got {kernel_size}")

    def convolution(channels: int) -> list[Layer]:
        return [Conv2d(channels, width, kernel_size, padding=kernel_size // 2, bias=False), BatchNorm2d(width)]

    graph = Graph("SegNet-Basic")
    x = graph.input("image", channels=in_channels)
    pools = []
    for level in range(1, 5):
        before = graph.chain(f"encoder{level}", x, *convolution(in_channels if level == 1 else width), ReLU())
        x, indices = graph.add(f"pool{level}", MaxPool2d(2, return_indices=True, ceil_mode=True), before)
        pools.append((indices, before))
    for level in range(4, 0, -1):
        indices, before = pools.pop()
        x = graph.add(f"unpool{level}", MaxUnpool2d(2), x, indices, size_of=before)
        x = graph.chain(f"decoder{level}", x, *convolution(width))
    return graph.output("score", Conv2d(width, num_classes, 1), x).initialise(seed)


def segnet(num_classes: int, in_channels: int = 3, width: int = 64, batch_norm: bool = True, seed: int = 0) -> Graph:
    """SegNet on VGG-16, from images (N, in_channels, H, W) of any size to scores (N, num_classes, H, W).

    width       channels of the first level: 64 in the paper; the others keep their ratio to it
    batch_norm  True: batch normalisation after each convolution, as in the paper; False: biases in its place
    seed        of the initial weights (He et al. 2015)

    The encoder is VGG-16's thirteen convolutions under torchvision's names, so that its weights load. The decoder has
    one for each of them; its last gives the scores. The encoder's poolings round odd sizes up, as the authors' do (360
    x 480 becomes 12 x 15), and each unpooling gives back the size before.

    Raises OptionError for numbers that are not whole or below 1.
    Source: section 3 and figure 2; ReLUs in the decoder as in the authors' published segnet_train.prototxt.
    """
    for name, number in {"num_classes": num_classes, "in_channels": in_channels}.items():
        whole(name, number)

    def convolution(channels: int, out_channels: int) -> list[Layer]:
        layers: list[Layer] = [Conv2d(channels, out_channels, 3, padding=1, bias=not batch_norm)]
        return [*layers, BatchNorm2d(out_channels), ReLU()] if batch_norm else [*layers, ReLU()]

    graph = Graph("SegNet")
    image = graph.input("image", channels=in_channels)
    levels = vgg_levels(graph, image, in_channels, width, batch_norm, ceil_mode=True, return_indices=True)
    x = levels[-1].pooled
    for number in range(5, 0, -1):
        level = levels[number - 1]
        assert level.indices is not None  # asked for above
        x = graph.add(f"unpool{number}", MaxUnpool2d(2), x, level.indices, size_of=level.before)
        layers: list[Layer] = []
        for _ in LEVELS[number - 1][1:]:
            layers += convolution(level.channels, level.channels)
        if number > 1:
            layers += convolution(level.channels, levels[number - 2].channels)
        x = graph.chain(f"decoder{number}", x, *layers)
    return graph.output("score", Conv2d(levels[0].channels, num_classes, 3, padding=1), x).initialise(seed)
