"""FCN-32s, 16s and 8s (Long et al. 2015): a classifier's encoder that scores every place, joined by finer scores."""

from __future__ import annotations

from functools import partial

from minisegnet.errors import OptionError, ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import (
    Add,
    BilinearConvTranspose2d,
    Conv2d,
    Crop,
    Dropout,
    MaxPool2d,
    ReflectionPad2d,
    ReLU,
    ZeroConv2d,
)
from minisegnet.layers.base import whole
from minisegnet.models.alignment import crop_to_align, stamp_to_align
from minisegnet.models.encoders import ENCODERS, Feature
from minisegnet.nodes import Handle
from minisegnet.shapes import Shape, integer

FIXED = ("none", "last", "all")
PUBLISHED_PADDING = 100
SMALLEST = {"squeezenet1_1": 17}  # rows and columns that its windows, which have no padding, need; others take any


def fcn32s(
    num_classes: int,
    in_channels: int = 3,
    encoder: str = "vgg16",
    width: int | None = None,
    head: int | None = None,
    fixed: str = "last",
    dropout: float = 0.5,
    as_published: bool = False,
    seed: int = 0,
) -> Graph:
    """FCN-32s: scores at stride 32, upsampled, from images (N, in_channels, H, W) to (N, num_classes, H, W).

    encoder       a name in `minisegnet.models.encoders.ENCODERS`
    width         channels of its first level; None takes its own
    head          channels of the two fully connected layers turned convolutions (7 x 7 and 1 x 1) between encoder and
                  scores; None takes VGG's, 4096 at its width of 64, and none for encoders that have none; 0 leaves them
                  out
    fixed         which transposed convolutions stay bilinear interpolation: "last", as in the paper, "none" or "all"
    dropout       probability after each layer of the head
    as_published  True: as in the paper, on VGG: the image padded by 100, the 7 x 7 and the transposed convolutions
                  without padding, and crops that make up for it (`models.alignment.derivation` shows how).
                  False: every window is placed so that all paths line up from the first pixel on
    seed          of the initial weights: the encoder's and the head's by He et al. 2015, scores at zero

    Images may have any size, on SqueezeNet from 17 x 17 on; an encoder that ends at stride 16 gets a further pooling.
    Layers that FCN-32s, 16s and 8s share have one name in each, so that each can start from the weights of the coarser.
    Outside the outermost centres of scores these fade, in every class alike, which changes no prediction.

    Raises OptionError for options it does not know, ShapeError for images that are too small.
    Source: Long et al. 2015, sections 3 and 4, figure 3.
    """
    return _fcn(32, num_classes, in_channels, encoder, width, head, fixed, dropout, as_published, seed)


def fcn16s(
    num_classes: int,
    in_channels: int = 3,
    encoder: str = "vgg16",
    width: int | None = None,
    head: int | None = None,
    fixed: str = "last",
    dropout: float = 0.5,
    as_published: bool = False,
    seed: int = 0,
) -> Graph:
    """FCN-16s: the scores at stride 32, upsampled and added to scores at stride 16; arguments as in `fcn32s`."""
    return _fcn(16, num_classes, in_channels, encoder, width, head, fixed, dropout, as_published, seed)


def fcn8s(
    num_classes: int,
    in_channels: int = 3,
    encoder: str = "vgg16",
    width: int | None = None,
    head: int | None = None,
    fixed: str = "last",
    dropout: float = 0.5,
    as_published: bool = False,
    seed: int = 0,
) -> Graph:
    """FCN-8s: the sum that FCN-16s makes, upsampled and added to scores at stride 8; arguments as in `fcn32s`."""
    return _fcn(8, num_classes, in_channels, encoder, width, head, fixed, dropout, as_published, seed)


def _fcn(
    finest: int,
    num_classes: int,
    in_channels: int,
    encoder: str,
    width: int | None,
    head: int | None,
    fixed: str,
    dropout: float,
    as_published: bool,
    seed: int,
) -> Graph:
    """FCN with scores at strides 32, 16, ... down to the finest."""
    if encoder not in ENCODERS:
        raise OptionError(f"unknown encoder {encoder!r}: choose one of {', '.join(ENCODERS)}")
    if fixed not in FIXED:
        raise OptionError(f"fixed must be one of {', '.join(FIXED)}; got {fixed!r}")
    for option, number in {"num_classes": num_classes, "in_channels": in_channels}.items():
        whole(option, number)
    if head is not None and integer(head, "head") < 0:
        raise OptionError(f"head is the channels of the fully connected layers, or 0 for none; got {head}")
    if as_published and (head == 0 or not encoder.startswith("vgg")):
        raise OptionError(
            f"as_published=True is the paper's network, VGG with its head; got encoder={encoder!r}, head={head}: "
            "leave as_published out"
        )

    name = f"FCN-{finest}s"
    graph = Graph(name)
    image = graph.input("image", in_channels, partial(_check_size, name, encoder, SMALLEST.get(encoder, 1)))
    widths = {} if width is None else {"width": width}
    features = ENCODERS[encoder](graph, image, in_channels, ceil_mode=True, **widths)
    if as_published:
        graph.layer_nodes()[0].layer.padding = PUBLISHED_PADDING  # of the first convolution
    if 32 not in features:
        pool = graph.add("pool32", MaxPool2d(2, ceil_mode=True), features[16].value)
        features[32] = Feature(pool, features[16].channels)

    if head is None:
        head = 8 * features[32].channels if encoder.startswith("vgg") else 0
    if head:  # under the names that the fully connected layers have in the classifier
        window = Conv2d(features[32].channels, head, 7, padding=0 if as_published else 3)
        layers = [window, ReLU(), Dropout(dropout), Conv2d(head, head, 1), ReLU(), Dropout(dropout)]
        features[32] = Feature(graph.chain("classifier", features[32].value, *layers), head)

    def score(stride: int) -> Handle:
        value, channels = features[stride]
        return graph.add(f"score{stride}", ZeroConv2d(channels, num_classes, 1), value)

    def upsample(start: int, end: int, x: Handle, onto: Handle) -> Handle:
        """The scores x at stride `start`, on the pixels of `onto` at stride `end` or, as published, a crop away."""
        stride = start // end
        kernel, padding = (2 * stride, 0) if as_published else stamp_to_align(graph, x, onto)
        if kernel % 2:  # rows of `onto` behind the last one of x are interpolated between that and a mirrored one
            x = graph.add(f"edge{start}", ReflectionPad2d((0, 1, 0, 1)), x)
        stays = fixed == "all" or (fixed == "last" and end == 1)
        layer = BilinearConvTranspose2d(num_classes, kernel, stride, padding, fixed=stays)
        return graph.add(f"upscore{start}to{end}", layer, x)

    def crop(name: str, value: Handle, onto: Handle) -> Handle:
        return graph.add(name, Crop(*crop_to_align(graph, value, onto)), value, size_of=onto)

    x, stride = score(32), 32
    while stride > finest:
        finer = score(stride // 2)
        x = upsample(stride, stride // 2, x, finer)
        stride //= 2
        if as_published:
            finer = crop(f"crop{stride}", finer, x)
        else:
            x = crop(f"crop{stride}", x, finer)
        x = graph.add(f"fuse{stride}", Add(), x, finer)
    x = upsample(stride, 1, x, image)
    graph.output("score", Crop(*crop_to_align(graph, x, image)), x, size_of=image)
    return graph.initialise(seed)


# A function of the module, with the numbers filled in by `partial`: so a graph that holds one can be pickled.


def _check_size(name: str, encoder: str, smallest: int, shape: Shape) -> None:
    if min(shape[2:]) < smallest:
        raise ShapeError(
            f"{name} on {encoder} needs images of at least {smallest} x {smallest}: got {shape[2]} x {shape[3]}; "
            "resize the image, or choose another encoder"
        )
