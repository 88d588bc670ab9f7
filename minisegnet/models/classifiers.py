"""The encoders as classifiers, one class for the whole image: what an encoder is trained as before it segments."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

from minisegnet import shapes
from minisegnet.errors import ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import Conv2d, Dropout, Flatten, GlobalAvgPool2d, Linear, ReLU
from minisegnet.layers.base import whole
from minisegnet.models.encoders import Encoder, laptop, resnet18, resnet34, resnet50, squeezenet1_1, vgg16, vgg16_bn
from minisegnet.models.encoders.width import scaled
from minisegnet.shapes import Shape


def vgg16_classifier(
    num_classes: int = 1000,
    in_channels: int = 3,
    width: int = 64,
    batch_norm: bool = False,
    size: Any = 224,
    dropout: float = 0.5,
    seed: int = 0,
) -> Graph:
    """VGG-16 from images (N, in_channels, size, size) to scores (N, num_classes), by three fully connected layers.

    width    channels of the first level; the others and the fully connected layers keep their ratio to it
    size     of the images, an int or (H, W) of at least 32: it sets the first fully connected layer's inputs
    dropout  probability after each of the first two fully connected layers

    The keys are torchvision's. Its pooling to 7 x 7 before the first fully connected layer is left out: at the
    published size it changes nothing. Images of another size raise ShapeError; `fully_convolutional` takes larger ones.
    Source: Simonyan and Zisserman 2015, table 1, column D.
    """
    name, encoder = ("VGG-16-BN", vgg16_bn) if batch_norm else ("VGG-16", vgg16)
    H, W = shapes.pair(size, "size", 32)
    graph = Graph(name)
    x = graph.input("image", in_channels, partial(_check_size, name, (H, W)))
    feature = encoder(graph, x, in_channels, width)[32]
    features = prod(graph.shapes((1, in_channels, H, W))[feature.value.node.name])
    hidden = scaled(4096, width)
    x = graph.add("flatten", Flatten(), feature.value)
    for first, given in ((0, features), (3, hidden)):
        x = graph.add(f"classifier.{first}", Linear(given, hidden), x)
        x = graph.add(f"classifier.{first + 1}", ReLU(), x)
        x = graph.add(f"classifier.{first + 2}", Dropout(dropout), x)
    return graph.output("classifier.6", Linear(hidden, whole("num_classes", num_classes)), x).initialise(seed)


def vgg16_bn_classifier(
    num_classes: int = 1000,
    in_channels: int = 3,
    width: int = 64,
    size: Any = 224,
    dropout: float = 0.5,
    seed: int = 0,
) -> Graph:
    """`vgg16_classifier` with batch normalisation after each convolution, torchvision's vgg16_bn."""
    return vgg16_classifier(num_classes, in_channels, width, True, size, dropout, seed)


def resnet18_classifier(num_classes: int = 1000, in_channels: int = 3, width: int = 64, seed: int = 0) -> Graph:
    """ResNet-18 from images (N, in_channels, H, W) of any size to scores (N, num_classes): an average, one `Linear`.

    The keys are torchvision's. Source: He et al. 2016, table 1.
    """
    return _resnet_classifier("ResNet-18", resnet18, num_classes, in_channels, width, seed)


def resnet34_classifier(num_classes: int = 1000, in_channels: int = 3, width: int = 64, seed: int = 0) -> Graph:
    """ResNet-34; see `resnet18_classifier`."""
    return _resnet_classifier("ResNet-34", resnet34, num_classes, in_channels, width, seed)


def resnet50_classifier(num_classes: int = 1000, in_channels: int = 3, width: int = 64, seed: int = 0) -> Graph:
    """ResNet-50; see `resnet18_classifier` and `encoders.resnet50`."""
    return _resnet_classifier("ResNet-50", resnet50, num_classes, in_channels, width, seed)


def squeezenet1_1_classifier(
    num_classes: int = 1000, in_channels: int = 3, width: int = 64, dropout: float = 0.5, seed: int = 0
) -> Graph:
    """SqueezeNet 1.1 from images (N, in_channels, H, W) of at least 17 x 17 to scores (N, num_classes).

    No layer is fully connected: a 1 x 1 convolution gives each place its scores, and their average is the image's.
    The keys are torchvision's. Source: Iandola et al. 2016, figure 2; see `encoders.squeezenet1_1`.
    """
    graph = Graph("SqueezeNet 1.1")
    x = graph.input("image", in_channels, partial(_check_least, "SqueezeNet 1.1", 17))
    feature = squeezenet1_1(graph, x, in_channels, width)[16]
    head = (Dropout(dropout), Conv2d(feature.channels, whole("num_classes", num_classes), 1), ReLU(), GlobalAvgPool2d())
    x = graph.chain("classifier", feature.value, *head)
    return graph.output("flatten", Flatten(), x).initialise(seed)


def laptop_classifier(num_classes: int = 1000, in_channels: int = 3, width: int = 16, seed: int = 0) -> Graph:
    """The laptop encoder from images (N, in_channels, H, W) of any size to scores (N, num_classes, 1, 1).

    The scores are those of an image of one pixel, so that classifying is dense prediction, with the same loss and
    metrics: labels are (N, 1, 1).
    """
    graph = Graph("Laptop classifier")
    feature = laptop(graph, graph.input("image", in_channels), in_channels, width)[32]
    x = graph.add("score", Conv2d(feature.channels, whole("num_classes", num_classes), 1), feature.value)
    return graph.output("average", GlobalAvgPool2d(), x).initialise(seed)


CLASSIFIERS: dict[str, Callable[..., Graph]] = {
    "vgg16": vgg16_classifier,
    "vgg16_bn": vgg16_bn_classifier,
    "resnet18": resnet18_classifier,
    "resnet34": resnet34_classifier,
    "resnet50": resnet50_classifier,
    "squeezenet1_1": squeezenet1_1_classifier,
    "laptop": laptop_classifier,
}


def _resnet_classifier(name: str, encoder: Encoder, num_classes: int, in_channels: int, width: int, seed: int) -> Graph:
    graph = Graph(name)
    feature = encoder(graph, graph.input("image", in_channels), in_channels, width)[32]
    x = graph.add("avgpool", GlobalAvgPool2d(), feature.value)
    x = graph.add("flatten", Flatten(), x)
    return graph.output("fc", Linear(feature.channels, whole("num_classes", num_classes)), x).initialise(seed)


# Functions of the module, with the sizes filled in by `partial`: so a graph that holds one can be pickled.


def _check_size(name: str, size: tuple[int, int], shape: Shape) -> None:
    if tuple(shape[2:]) != size:
        raise ShapeError(
            f"{name} was built for images of {size[0]} x {size[1]}, which its first Linear counts on: got "
            f"{shape[2]} x {shape[3]}; resize, build it with another size, or turn it into `fully_convolutional`"
        )


def _check_least(name: str, least: int, shape: Shape) -> None:
    if min(shape[2:]) < least:
        raise ShapeError(
            f"{name} needs images of at least {least} x {least}: got {shape[2]} x {shape[3]}; resize, or pad the image"
        )
