"""The heads that look at each region: which class it is and where its box, and a mask for each class."""

from __future__ import annotations

from minisegnet.graph import Graph
from minisegnet.layers import Conv2d, ConvTranspose2d, Flatten, Linear, ReLU
from minisegnet.layers.base import whole
from minisegnet.models.branch import Branch
from minisegnet.models.first_weights import SmallConv2d, SmallLinear


def box_head(channels: int, size: int, num_classes: int, width: int = 1024) -> Graph:
    """Two fully connected layers, and two more side by side: regions (R, C, size, size) to scores and deltas.

    num_classes   K, the background included
    width         of the two hidden layers

    Outputs: class scores (R, K), before softmax, and deltas (R, 4 K), a box (dx, dy, dw, dh) for each class.
    Nodes are named as torchvision's "roi_heads.box_head.fc6" and on.
    Source: Girshick 2015, Fast R-CNN, section 2; at this width Lin et al. 2017, section 4.2.
    """
    graph = Graph("box head")
    head, predictor = Branch(graph, "roi_heads.box_head"), Branch(graph, "roi_heads.box_predictor")
    x = head.add("flatten", Flatten(), graph.input("regions", channels))
    for name, features in (("fc6", channels * size * size), ("fc7", width)):
        x = head.add(name, Linear(features, whole("box_head_width", width)), x)
        x = head.add(f"{name}.relu", ReLU(), x)
    scores = predictor.add("cls_score", SmallLinear(width, num_classes), x)
    deltas = predictor.add("bbox_pred", SmallLinear(width, 4 * num_classes, std=0.001), x)
    graph.outputs += [scores.node, deltas.node]
    return graph


def mask_head(channels: int, num_classes: int, width: int = 256, convolutions: int = 4) -> Graph:
    """A small FCN of each region: (R, C, h, w) to logits (R, K, 2 h, 2 w), a mask for every class.

    Each mask is by itself a yes or no at every pixel, a sigmoid: which class the object is of is the box head's to say,
    and classes do not compete.

    num_classes    K, the background included, whose mask is never asked for
    width          channels of the 3 x 3 convolutions and of the transposed one, 2 x 2 of stride 2, after them

    Nodes are named as torchvision's "roi_heads.mask_head.0.0" and on.
    Source: He et al. 2017, Mask R-CNN, section 3 and figure 4, right.
    """
    graph = Graph("mask head")
    head, predictor = Branch(graph, "roi_heads.mask_head"), Branch(graph, "roi_heads.mask_predictor")
    x = graph.input("regions", channels)
    for number in range(whole("mask_convolutions", convolutions)):
        x = head.chain(f"{number}", x, Conv2d(channels, whole("mask_head_width", width), 3, padding=1), ReLU())
        channels = width
    x = predictor.add("conv5_mask", ConvTranspose2d(channels, width, 2, stride=2), x)
    x = predictor.add("relu", ReLU(), x)
    masks = predictor.add("mask_fcn_logits", SmallConv2d(width, num_classes, 1, std=0.001), x)
    graph.outputs.append(masks.node)
    return graph
