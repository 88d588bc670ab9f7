"""What is computed inside the blocks of the step before it: the normalisation and the ReLU behind a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minisegnet import layers as L
from minisegnet.engine.known import known
from minisegnet.layers.normalisation import check_several
from minisegnet.nodes import Node, located

if TYPE_CHECKING:
    from minisegnet.engine.building import Builder


def following(builder: Builder, node: Node) -> tuple[Node, L.BatchNorm2d | None, bool]:
    """The last node of those that one step computes with this one; their normalisation; whether ReLU ends them.

    A node that is itself a normalisation or a ReLU counts as one. Raises ShapeError for a single value to normalise.
    """
    last, norm, relu = node, None, known(node.layer, L.ReLU)
    if normalises(node, builder.backward):
        norm = node.layer
    elif not relu:
        follower = builder.follower(last, L.BatchNorm2d)
        if follower is not None and normalises(follower, builder.backward):
            last, norm = follower, follower.layer
            builder.done.add(last.name)
    if norm is not None and norm.by_batch:
        N, *rest = builder.shapes[last.name]
        with located(builder.graph.name, last):
            check_several((builder.worker.plans * N, *rest))
    if not relu:
        follower = builder.follower(last, L.ReLU)
        if follower is not None:
            last, relu = follower, True
            builder.done.add(last.name)
    return last, norm, relu


def normalises(node: Node, backward: bool) -> bool:
    """Whether it is a normalisation by the batch, or by constants that nobody trains."""
    norm = node.layer
    if not known(norm, L.BatchNorm2d):
        return False
    return norm.by_batch or not (backward and any(parameter.trainable for parameter in norm.parameters.values()))
