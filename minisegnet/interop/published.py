"""Published networks, known by their weights' names: renamed as torchvision's, and what they want of their images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Normalisation(NamedTuple):
    """Images of 0..1 become (image - mean) / std in each channel, as `data.transforms.Normalize(mean, std)` does."""

    mean: list[float]
    std: list[float]


# What torchvision's weights were trained with: mean and deviation of ImageNet's red, green and blue.
IMAGENET = Normalisation([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

# What SqueezeNet's authors trained it with, in Caffe: values of 0..255 less their mean.
SQUEEZENET = Normalisation([122.679 / 255, 116.669 / 255, 104.006 / 255], [1 / 255] * 3)

_ARRAYS = r"\.(weight|bias|running_mean|running_var|num_batches_tracked)"
# By the last convolution of torchvision's VGG-16, VGG-16-BN, SqueezeNet 1.1 and ResNets: the first one, and what all
# the names look like.
_TORCHVISION = {
    "features.28": ("features.0", r"features\.\d+|classifier\.[036]"),
    "features.40": ("features.0", r"features\.\d+|classifier\.[036]"),
    "features.12.expand3x3": ("features.0", r"features\.(0|\d+\.(squeeze|expand[13]x[13]))|classifier\.1"),
    "layer4.1.conv2": ("conv1", r"conv1|bn1|layer\d\.\d+\.(conv\d|bn\d|downsample\.[01])|fc"),
}
# Of torchvision's Faster and Mask R-CNN: the first layer, and one that every detector has.
_DETECTOR = ("backbone.body.conv1.weight", "rpn.head.cls_logits.weight")
# What its files of before 2022, the published ones among them, call some of their layers.
_FORMER_NAMES = {
    r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)": r"\1.0.\2",
    r"(rpn\.head\.conv)\.(weight|bias)": r"\1.0.0.\2",
    **{rf"(roi_heads\.mask_head)\.mask_fcn{n}\.(weight|bias)": rf"\1.{n - 1}.0.\2" for n in range(1, 10)},
}


def recognised(weights: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], Normalisation | None]:
    """The weights under torchvision's names, and their normalisation; as they are, and None, where it is not known.

    Known are torchvision's VGG-16, ResNets and SqueezeNet 1.1 of the published width, with or without what classifies,
    and SqueezeNet 1.1 of Caffe ("fire2_squeeze1x1_W"), whose first convolution expects blue, green, red: its input
    channels are turned round, so that it takes red, green, blue. Torchvision's Faster R-CNN and Mask R-CNN on ResNets
    are known by their names of before 2022 as well.
    """
    if _SQUEEZENET_NAMES.keys() >= weights.keys() >= {"conv1_W"}:
        renamed = {_SQUEEZENET_NAMES[name]: array for name, array in weights.items()}
        renamed["features.0.weight"] = renamed["features.0.weight"][:, ::-1]
        return renamed, SQUEEZENET
    if all(name in weights for name in _DETECTOR) and weights[_DETECTOR[0]].shape[:2] == (64, 3):
        return {_present_name(name): array for name, array in weights.items()}, IMAGENET
    for last, (first, names) in _TORCHVISION.items():
        if {f"{first}.weight", f"{last}.weight"} <= weights.keys() and weights[f"{first}.weight"].shape[:2] == (64, 3):
            known = re.compile(f"({names}){_ARRAYS}")
            if all(known.fullmatch(name) for name in weights):
                return dict(weights), IMAGENET
    return dict(weights), None


def _present_name(name: str) -> str:
    """What torchvision calls a detector's array today."""
    for former, present in _FORMER_NAMES.items():
        if match := re.fullmatch(former, name):
            return match.expand(present)
    return name


def _squeezenet_names() -> dict[str, str]:
    """Torchvision's name for each of Caffe's; torchvision counts activations and poolings as well."""
    layers = {"conv1": "features.0"}
    for fire, place in zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True):
        layers[f"fire{fire}_squeeze1x1"] = f"features.{place}.squeeze"
        for part in ("expand1x1", "expand3x3"):
            layers[f"fire{fire}_{part}"] = f"features.{place}.{part}"
    arrays = {"W": "weight", "b": "bias"}
    return {f"{layer}_{a}": f"{name}.{array}" for layer, name in layers.items() for a, array in arrays.items()}


_SQUEEZENET_NAMES = _squeezenet_names()
