"""Faster R-CNN (Ren et al. 2015): boxes around objects, proposed by one network and told apart by another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any

from minisegnet import checks
from minisegnet.detection.detector import Detector
from minisegnet.detection.settings import DetectionSettings
from minisegnet.errors import OptionError
from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d
from minisegnet.layers.base import whole
from minisegnet.models.branch import Branch, drop_unread
from minisegnet.models.detector_heads import box_head
from minisegnet.models.encoders import ENCODERS, Features
from minisegnet.models.feature_pyramid import feature_pyramid, top_level
from minisegnet.models.region_proposal_head import region_proposal_head

PYRAMID_STRIDES, SINGLE_STRIDE = (4, 8, 16, 32), (16,)
# Sizes of the anchors of a level over its stride: one at each level of a pyramid, all three on a single map.
PYRAMID_ANCHORS, SINGLE_ANCHORS = (8,), (8, 16, 32)


def faster_rcnn(
    num_classes: int,
    encoder: str = "resnet50",
    in_channels: int = 3,
    width: int | None = None,
    strides: Sequence[int] | None = None,
    pyramid_channels: int | None = 256,
    top: bool = True,
    box_head_width: int = 1024,
    frozen_norm: bool = False,
    norm_eps: float = 1e-5,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    running_statistics: bool = True,
) -> Detector:
    """Faster R-CNN on a feature pyramid, or on a single map, as a `Detector`.

    num_classes       K, the background included
    encoder           a name in `models.encoders.ENCODERS`
    width             channels of its first level; None takes its own
    strides           of the levels, the finest first, each twice the one before; None takes 4 to 32, or 16 alone
                      without a pyramid. Small objects want finer ones: a cell of ten pixels has few places at stride 4
    pyramid_channels  of every level; None: no pyramid, the encoder's one map as it is, as in the first paper
    top               whether the region proposal network has one level more, above the pyramid
    box_head_width    of the two fully connected layers
    frozen_norm       True: batch normalisations stay as they are, by their running statistics, as is usual with
                      pretrained weights, since batches are of few images. False: they are trained like the rest
    norm_eps          added to their variances; torchvision's weights trained on COCO in 2020 want 0
    settings          numbers of the method to change, by their names in `DetectionSettings`. Without others, the
                      anchor_sizes are 8 strides at each level of a pyramid, and 8, 16 and 32 on a single map
    seed              of the initial weights
    running_statistics  of batch normalisation; False: an image is looked at by its own statistics, as it is trained on
                      in batches of one, which makes images of different brightness and contrast alike

    Every argument can be written as JSON. With a pyramid on a ResNet, state keys are those of torchvision's
    fasterrcnn_resnet50_fpn and the like.

    Raises OptionError for options it does not know or that do not fit together.
    Source: Ren et al. 2015; on a pyramid Lin et al. 2017.
    """
    if whole("num_classes", num_classes) < 2:
        raise OptionError("num_classes counts the background, so it is at least 2; got 1")
    if strides is None:
        strides = SINGLE_STRIDE if pyramid_channels is None else PYRAMID_STRIDES
    if frozen_norm and not running_statistics:
        raise OptionError("frozen_norm keeps running statistics, and running_statistics=False has none: choose one")
    _check_strides(strides, pyramid_channels)
    checks.not_negative("faster_rcnn", norm_eps=norm_eps)
    numbers = _settings(settings or {}, strides, pyramid_channels is not None, top)
    dense = proposal_network(encoder, in_channels, width, strides, pyramid_channels, top, numbers)
    for layer in dense.layers.values():
        if isinstance(layer, BatchNorm2d):
            layer.eps = norm_eps
            if not running_statistics:
                layer.stop_tracking()
    channels = dense.shapes((1, in_channels, 1024, 1024))[dense.outputs[0].name][1]
    head = box_head(channels, numbers.box_resolution, num_classes, box_head_width)
    detector = Detector("Faster R-CNN", dense, head, None, strides, numbers).initialise(seed)
    if frozen_norm:
        detector.freeze_normalisation()
    return detector


def proposal_network(
    encoder: str,
    in_channels: int,
    width: int | None,
    strides: Sequence[int],
    pyramid_channels: int | None,
    top: bool,
    settings: DetectionSettings,
) -> Graph:
    """The dense part: from images to the features, then the objectness, then the deltas of each level.

    Nodes are named as torchvision's: "backbone.body.", "backbone.fpn.", "rpn.head.".
    """
    if encoder not in ENCODERS:
        raise OptionError(f"unknown encoder {encoder!r}: choose one of {', '.join(ENCODERS)}")
    graph = Graph("dense part")
    image = graph.input("image", whole("in_channels", in_channels))
    widths = {} if width is None else {"width": width}
    levels: Features = ENCODERS[encoder](Branch(graph, "backbone.body"), image, in_channels, **widths)
    _check_levels(graph, encoder, levels, strides)
    if pyramid_channels is None:
        features = [levels[stride] for stride in strides]
    else:
        pyramid = Branch(graph, "backbone.fpn")
        features = list(feature_pyramid(pyramid, levels, strides, pyramid_channels).values())
    proposing = [*features, top_level(pyramid, features[-1])] if pyramid_channels and top else features
    said = region_proposal_head(Branch(graph, "rpn.head"), proposing, settings.anchors_per_place)
    graph.outputs += [feature.value.node for feature in features]
    graph.outputs += [handle.node for handles in said for handle in handles]
    return drop_unread(graph)


def _settings(given: Mapping[str, Any], strides: Sequence[int], is_pyramid: bool, top: bool) -> DetectionSettings:
    """The numbers of the method, with anchors for each level."""
    proposing = [*strides, 2 * strides[-1]] if is_pyramid and top else strides
    times = PYRAMID_ANCHORS if is_pyramid else SINGLE_ANCHORS
    sizes = [[time * stride for time in times] for stride in proposing]
    try:
        settings = DetectionSettings(**{"anchor_sizes": sizes, **given})
    except TypeError as problem:
        names = ", ".join(field.name for field in fields(DetectionSettings))
        raise OptionError(f"settings: {problem}; the names are {names}") from None
    if len(settings.anchor_sizes) != len(proposing):
        raise OptionError(
            f"anchor_sizes: one tuple of sizes for each of the {len(proposing)} levels that propose, of strides "
            f"{', '.join(map(str, proposing))}; got {len(settings.anchor_sizes)}"
        )
    return settings


def _check_strides(strides: Sequence[int], pyramid_channels: int | None) -> None:
    if len(strides) == 0 or any(coarse != 2 * fine for fine, coarse in pairwise(strides)):
        raise OptionError(f"strides are those of the levels, each twice the one before; got {list(strides)}")
    if pyramid_channels is None and len(strides) != 1:
        raise OptionError(
            f"without a pyramid there is one level, such as strides=(16,); got {list(strides)}: give pyramid_channels"
        )


def _check_levels(graph: Graph, encoder: str, levels: Features, strides: Sequence[int]) -> None:
    """The levels are there, and the values of each lie as far apart as its stride says, from the first pixel on."""
    if not set(strides) <= levels.keys():
        raise OptionError(f"{encoder} has levels of strides {', '.join(map(str, levels))}; got {list(strides)}")
    side = 4 * max(strides)
    shapes = graph.shapes((1, graph.inputs[0].channels or 1, side, side))
    if any(shapes[levels[stride].value.node.name][2] != side // stride for stride in strides):
        fitting = ", ".join(name for name in ENCODERS if name != encoder)
        raise OptionError(f"{encoder} has windows without padding, which lose rows at the edges; take one of {fitting}")
