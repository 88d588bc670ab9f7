"""The networks of the lecture, each built by a function that returns a `Graph`, or a `Detector` made of some."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from minisegnet.detection.detector import Detector
from minisegnet.errors import OptionError
from minisegnet.graph import Graph
from minisegnet.models.classifiers import CLASSIFIERS
from minisegnet.models.deconvnet import deconvnet
from minisegnet.models.encoder_decoder import encoder_decoder
from minisegnet.models.encoders import ENCODERS
from minisegnet.models.faster_rcnn import faster_rcnn
from minisegnet.models.fcn import fcn8s, fcn16s, fcn32s
from minisegnet.models.full_resolution import full_resolution
from minisegnet.models.fully_convolutional import fully_convolutional
from minisegnet.models.mask_rcnn import mask_rcnn
from minisegnet.models.segnet import segnet, segnet_basic
from minisegnet.models.unet import unet, unet_2015

# From an image to a class for each pixel.
MODELS: dict[str, Callable[..., Graph]] = {
    "full_resolution": full_resolution,
    "encoder_decoder": encoder_decoder,
    "segnet_basic": segnet_basic,
    "segnet": segnet,
    "deconvnet": deconvnet,
    "fcn32s": fcn32s,
    "fcn16s": fcn16s,
    "fcn8s": fcn8s,
    "unet": unet,
    "unet_2015": unet_2015,
}

# From an image to its objects.
DETECTORS: dict[str, Callable[..., Detector]] = {"faster_rcnn": faster_rcnn, "mask_rcnn": mask_rcnn}


def create(name: str, **arguments: Any) -> Any:
    """Build a network by name, as the command line and checkpoints do: a `Graph`, or of DETECTORS a `Detector`.

    name   one of MODELS or DETECTORS, or one of CLASSIFIERS with "_classifier" behind it

    Raises OptionError for a name or an argument that it does not know.
    """
    builders: dict[str, Callable[..., Graph | Detector]] = {**MODELS, **DETECTORS}
    builders |= {f"{encoder}_classifier": build for encoder, build in CLASSIFIERS.items()}
    if name not in builders:
        raise OptionError(f"unknown model {name!r}: choose one of {', '.join([*MODELS, *DETECTORS])}")
    build = builders[name]
    try:
        inspect.signature(build).bind(**arguments)
    except TypeError as problem:
        raise OptionError(f"{name}{inspect.signature(build)}: {problem}") from None
    return build(**arguments)


__all__ = [
    "CLASSIFIERS", "DETECTORS", "ENCODERS", "MODELS", "create", "deconvnet", "encoder_decoder", "faster_rcnn", "fcn8s",
    "fcn16s", "fcn32s", "full_resolution", "fully_convolutional", "mask_rcnn", "segnet", "segnet_basic", "unet",
    "unet_2015",
]  # fmt: skip
