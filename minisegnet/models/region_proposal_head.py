"""The head of the region proposal network (Ren et al. 2015): at each place, is there an object, and where exactly."""

from __future__ import annotations

from collections.abc import Sequence

from minisegnet.layers import Conv2d, ReLU
from minisegnet.models.branch import Branch
from minisegnet.models.encoders.feature import Feature
from minisegnet.models.first_weights import SmallConv2d
from minisegnet.nodes import Handle


def region_proposal_head(
    branch: Branch, levels: Sequence[Feature], anchors_per_place: int
) -> tuple[list[Handle], list[Handle]]:
    """Add the head to a graph: a 3 x 3 convolution and two of 1 x 1, the same layers at every level.

    branch              where the first level's nodes are named "conv.0.0", "cls_logits" and "bbox_pred", as
                        torchvision's "rpn.head."; those of the others tell their level besides
    levels              maps of one number of channels, the finest first
    anchors_per_place   A

    Returns for each level the logits of objectness (N, A, h, w), and the deltas (N, 4 A, h, w) of each anchor's box in
    turn (dx, dy, dw, dh).
    Source: Ren et al. 2015, section 3.1; one head for all levels: Lin et al. 2017, section 4.1.
    """
    channels = levels[0].channels
    convolution = Conv2d(channels, channels, 3, padding=1)
    classify = SmallConv2d(channels, anchors_per_place, 1)
    regress = SmallConv2d(channels, 4 * anchors_per_place, 1)
    objectness, deltas = [], []
    for number, feature in enumerate(levels):
        at = f"@{number}" if number else ""
        x = branch.add(f"conv.0.0{at}", convolution, feature.value)
        x = branch.add(f"conv.0.1{at}", ReLU(), x)
        objectness.append(branch.add(f"cls_logits{at}", classify, x))
        deltas.append(branch.add(f"bbox_pred{at}", regress, x))
    return objectness, deltas
