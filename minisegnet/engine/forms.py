"""Which nodes the engine has a form of its own for: functions that add steps for a node, or leave it to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from minisegnet import layers as L
from minisegnet import shapes as S
from minisegnet.engine.convolution import WinogradConvolution
from minisegnet.engine.first_convolution import FirstConvolution
from minisegnet.engine.known import known
from minisegnet.engine.pointwise_convolution import Convolution1x1, StampingConvolution
from minisegnet.engine.pooling import MaxPooling
from minisegnet.engine.transforms import POINTS
from minisegnet.engine.value import Planes, Reader
from minisegnet.nodes import Node

if TYPE_CHECKING:
    from minisegnet.engine.building import Builder

# Up to so many values a window, the image's windows are gathered as columns.
LARGEST_WINDOW = 160

def alias(builder: Builder, node: Node) -> bool:
    """Nodes that hand on what they read: a frame of the same size, dropout in evaluation."""
    layer = node.layer
    frame = known(layer, L.PadToMultiple) or known(layer, L.CenterCrop)
    same = frame and builder.shapes[node.name] == builder.shapes[node.inputs[0].node.name]
    if not (same or (known(layer, L.Dropout) and not layer.training)):
        return False
    builder.values[node.name, 0] = builder.values[node.inputs[0].node.name, node.inputs[0].position]
    return True


def concat(builder: Builder, node: Node) -> bool:
    """Channels side by side: their readers read each value where it is."""
    images = all(len(builder.shapes[handle.node.name]) == 4 for handle in node.inputs)
    if not (known(node.layer, L.Concat) and node.layer.dim == 1 and images):
        return False
    builder.values[node.name, 0] = [value for handle in node.inputs for value in builder.parts(handle)]
    return True


def max_pooling(builder: Builder, node: Node) -> bool:
    """2 x 2 windows that touch, without indices."""
    layer = node.layer
    if not known(layer, L.MaxPool2d) or layer.outputs != 1:
        return False
    stride = layer.kernel_size if layer.stride is None else layer.stride
    options = [S.pair(number) for number in (layer.kernel_size, stride, layer.padding, layer.dilation)]
    _, _, H, W = builder.shapes[node.inputs[0].node.name]
    if options != [(2, 2), (2, 2), (0, 0), (1, 1)] or (layer.ceil_mode and (H % 2 or W % 2)):
        return False
    reader = Reader(builder.whole(node.inputs[0]))
    return builder.add_step(MaxPooling(builder.worker, node.name, reader, builder.new(node)))


def convolution(builder: Builder, node: Node) -> bool:
    """A convolution, with the normalisation and the ReLU that alone read it."""
    layer = node.layer
    if not (known(layer, L.Conv2d) or known(layer, L.ConvTranspose2d)):
        return False
    kind = _kind_of_convolution(builder, node)
    if kind is None:
        return False
    last, norm, relu = node, None, False
    follower = builder.follower(last, L.BatchNorm2d)
    if follower is not None and _can_be_fused(follower.layer, builder.backward):
        last, norm = follower, follower.layer
        builder.done.add(last.name)
    follower = builder.follower(last, L.ReLU)
    if follower is not None:
        last, relu = follower, True
        builder.done.add(last.name)
    name = node.name if last is node else f"{node.name} .. {last.name}"
    if kind is FirstConvolution:
        (image,) = builder.values[node.inputs[0].node.name, node.inputs[0].position]
        return builder.add_step(kind(builder.worker, name, image, builder.new(last), layer, norm, relu))
    readers = [Reader(value) for value in builder.parts(node.inputs[0])]
    return builder.add_step(kind(builder.worker, name, readers, builder.new(last), layer, norm, relu))


def _can_be_fused(norm: L.BatchNorm2d, backward: bool) -> bool:
    """Normalisation by the batch, or by constants that nobody trains."""
    return norm.training or not (backward and any(parameter.trainable for parameter in norm.parameters.values()))


def _kind_of_convolution(builder: Builder, node: Node):
    layer = node.layer
    kernel, stride, padding, dilation = (
        S.pair(number) for number in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    )
    square = kernel[0] == kernel[1]
    if isinstance(layer, L.ConvTranspose2d):
        touching = square and kernel == stride and padding == (0, 0) and dilation == (1, 1)
        return StampingConvolution if touching and S.pair(layer.output_padding) == (0, 0) else None
    source = builder.values[node.inputs[0].node.name, node.inputs[0].position]
    if len(source) == 1 and isinstance(source[0], Planes) and layer.weight.data[0].size <= LARGEST_WINDOW:
        return FirstConvolution
    if (stride, dilation) != ((1, 1), (1, 1)):
        return None
    if kernel == (1, 1) and padding == (0, 0):
        return Convolution1x1
    fits = square and padding[0] == padding[1] < kernel[0] and 2 <= kernel[0] <= len(POINTS) + 2 - builder.m
    return WinogradConvolution if fits else None


# In the order in which they are asked.
FORMS: list[Callable[[Builder, Node], bool]] = [alias, concat, max_pooling, convolution]
