"""U-Net (Ronneberger et al. 2015): down by pooling, up by learnt upsampling, joined level by level by concatenation."""

from __future__ import annotations

from functools import partial
from itertools import count

from minisegnet.errors import OptionError, ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import (
    BatchNorm2d,
    CenterCrop,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    MaxPool2d,
    PadToMultiple,
    ReLU,
    UpsampleBilinear2d,
)
from minisegnet.shapes import Shape, integer

UPSAMPLINGS = ("transposed", "bilinear")


def unet(
    num_classes: int,
    in_channels: int = 3,
    width: int = 64,
    depth: int = 4,
    valid: bool = False,
    batch_norm: bool = True,
    upsampling: str = "transposed",
    dropout: float = 0.0,
    pad: str | None = "reflect",
    seed: int = 0,
    running_statistics: bool = True,
) -> Graph:
    """A U-Net from images (N, in_channels, H, W) to class scores (N, num_classes, H', W').

    width       channels of the first level; each level below has twice as many
    depth       how many times the image is halved
    valid       True: the paper's unpadded convolutions; skips are cropped and the scores are smaller than the image
                (572 x 572 gives 388 x 388), which `minisegnet.prediction` makes good by overlapping tiles.
                False: convolutions padded with zeros; the scores are as large as the image.
    batch_norm  normalise after each convolution
    upsampling  "transposed": a 2 x 2 transposed convolution; "bilinear": resizing, then a 1 x 1 convolution
    dropout     probability at the end of the encoder (the paper's implicit augmentation)
    pad         "reflect": images whose sides 2**depth does not divide are mirrored at the edges, and the scores cropped
                back; None: such images raise ShapeError
    seed        of the initial weights (He et al. 2015)
    running_statistics  of batch_norm; False: an image is predicted by its own statistics, as it is trained on in
                batches of one, which makes images of different brightness and contrast alike

    The paper's network is `unet_2015(...)`. Raises OptionError for options it does not know.
    """
    if upsampling not in UPSAMPLINGS:
        raise OptionError(f"upsampling must be one of {', '.join(UPSAMPLINGS)}; got {upsampling!r}")
    if pad not in ("reflect", None):
        raise OptionError(f"pad must be 'reflect' or None; got {pad!r}")
    numbers = {"num_classes": num_classes, "in_channels": in_channels, "width": width, "depth": depth}
    for name, number in numbers.items():
        if integer(number, name) < 1:
            raise OptionError(f"{name} must be at least 1; got {number!r}")

    def double_convolution(channels: int, out_channels: int) -> list:
        layers: list = []
        for given in (channels, out_channels):
            layers.append(Conv2d(given, out_channels, 3, padding=0 if valid else 1, bias=not batch_norm))
            if batch_norm:
                layers.append(BatchNorm2d(out_channels, track_running_stats=running_statistics))
            layers.append(ReLU())
        return layers

    graph = Graph("U-Net")
    check = partial(_check_even, depth) if valid else partial(_check_divisible, depth) if pad is None else None
    x = image = graph.input("image", channels=in_channels, check=check)
    if not valid and pad:
        x = graph.add("pad", PadToMultiple(2**depth), x)
    skips = []
    channels = in_channels
    for level in range(depth):
        x = graph.chain(f"encoder{level}", x, *double_convolution(channels, width * 2**level))
        skips.append(x)
        x = graph.add(f"pool{level}", MaxPool2d(2), x)
        channels = width * 2**level
    x = graph.chain("bottom", x, *double_convolution(channels, 2 * channels))
    if dropout:
        x = graph.add("dropout", Dropout(dropout), x)
    for level in reversed(range(depth)):
        channels = width * 2**level
        if upsampling == "transposed":
            x = graph.add(f"up{level}", ConvTranspose2d(2 * channels, channels, 2, stride=2), x)
        else:
            x = graph.chain(f"up{level}", x, UpsampleBilinear2d(scale_factor=2), Conv2d(2 * channels, channels, 1))
        skip = skips.pop()
        if valid:
            skip = graph.add(f"crop{level}", CenterCrop(), skip, size_of=x)
        x = graph.add(f"concat{level}", Concat(), skip, x)
        x = graph.chain(f"decoder{level}", x, *double_convolution(2 * channels, channels))
    if not valid and pad:
        x = graph.add("score", Conv2d(width, num_classes, 1), x)
        graph.output("unpad", CenterCrop(), x, size_of=image)
    else:
        graph.output("score", Conv2d(width, num_classes, 1), x)
    graph.initialise(seed)
    return graph


def unet_2015(num_classes: int = 2, in_channels: int = 1, seed: int = 0) -> Graph:
    """The network of the paper's figure 1: valid convolutions, width 64, depth 4, dropout, no batch normalisation."""
    return unet(num_classes, in_channels, 64, 4, valid=True, batch_norm=False, dropout=0.5, seed=seed)


# Functions of the module, with the depth filled in by `partial`: so a graph that holds one can be pickled.


def _check_divisible(depth: int, shape: Shape) -> None:
    multiple = 2**depth
    H, W = shape[2:]
    if H % multiple or W % multiple:
        raise ShapeError(
            f"U-Net of depth {depth} needs height and width divisible by {multiple}: got {H} x {W}; "
            "pass pad='reflect' or resize"
        )


def _check_even(depth: int, shape: Shape) -> None:
    if all(_fits(depth, size) for size in shape[2:]):
        return
    smallest = next(size for size in count(1) if _fits(depth, size))
    fitting = range(smallest, max(smallest, *shape[2:]) + 2**depth, 2**depth)
    nearest = [min(fitting, key=lambda size: abs(size - given)) for given in shape[2:]]
    raise ShapeError(
        f"U-Net of depth {depth} with valid convolutions needs a height and width that stay even before each "
        f"pooling: got {shape[2]} x {shape[3]}; the nearest that fits is {nearest[0]} x {nearest[1]}"
    )


def _fits(depth: int, size: int) -> bool:
    """Whether a side stays even at each pooling: valid convolutions take 4 pixels a level (paper, section 3)."""
    for _ in range(depth):
        size -= 4
        if size < 2 or size % 2:
            return False
        size //= 2
    return (size - 4) * 2**depth - 4 * (2**depth - 1) > 0  # the decoder takes 4 pixels at each level too
