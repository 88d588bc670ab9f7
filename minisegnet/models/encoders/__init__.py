"""The encoders: what the first half of a network is made of, each a function that adds it to a `Graph`."""

from __future__ import annotations

from collections.abc import Callable

from minisegnet.models.encoders.feature import Feature, Features
from minisegnet.models.encoders.laptop import laptop
from minisegnet.models.encoders.resnet import resnet18, resnet34, resnet50
from minisegnet.models.encoders.squeezenet import squeezenet1_1
from minisegnet.models.encoders.vgg import Level, vgg16, vgg16_bn, vgg_levels

Encoder = Callable[..., Features]  # encoder(graph, x, in_channels=3, width=64, ceil_mode=False)

ENCODERS: dict[str, Encoder] = {
    "vgg16": vgg16,
    "vgg16_bn": vgg16_bn,
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "squeezenet1_1": squeezenet1_1,
    "laptop": laptop,
}

__all__ = [
    "ENCODERS", "Encoder", "Feature", "Features", "Level", "laptop", "resnet18", "resnet34", "resnet50",
    "squeezenet1_1", "vgg16", "vgg16_bn", "vgg_levels",
]  # fmt: skip
