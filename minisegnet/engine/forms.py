"""Which nodes the engine has a form of its own for: functions that add steps for a node, or leave it to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from minisegnet import layers as L
from minisegnet import shapes as S
from minisegnet.engine.convolution import WinogradConvolution
from minisegnet.engine.direct_convolution import DirectConvolution
from minisegnet.engine.dropout import dropout
from minisegnet.engine.first_convolution import FirstConvolution
from minisegnet.engine.following import following
from minisegnet.engine.fully_connected import flattening, fully_connected
from minisegnet.engine.kernels import cuts_for
from minisegnet.engine.known import known
from minisegnet.engine.large_kernels import LargeKernels
from minisegnet.engine.overlapping_stamps import OverlappingStamps
from minisegnet.engine.pointwise import pointwise
from minisegnet.engine.pointwise_convolution import Convolution1x1, StampingConvolution
from minisegnet.engine.pooling import max_pooling
from minisegnet.engine.resampling import resampling
from minisegnet.engine.sliding_pooling import sliding_max_pooling
from minisegnet.engine.step import Step
from minisegnet.engine.unpooling import max_unpooling
from minisegnet.engine.value import Planes, Reader
from minisegnet.engine.winograd_by_channels import WinogradByChannels
from minisegnet.errors import OptionError
from minisegnet.nodes import Node

if TYPE_CHECKING:
    from minisegnet.engine.building import Builder

# A step for a convolution, built as all of them are; None stands for the ordinary operation.
Algorithm = Callable[..., Step] | None

WINOGRAD = {"winograd": WinogradConvolution, "winograd_by_channels": WinogradByChannels}
# From so many weights on, a product by rows reads them from memory again and again.
MANY_WEIGHTS = 2**22
# For so few pixels in the whole batch, so many weights are not worth transforming.
FEW_PIXELS, WEIGHTS_TO_TRANSFORM = 256, 2**18
# For so few tiles in the whole batch, so many are worth transforming, but not worth reading by every worker.
FEW_TILES, WEIGHTS_TO_SHARE = 256, 2**19
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


def convolution(builder: Builder, node: Node) -> bool:
    """A convolution, with the normalisation and the ReLU that alone read it."""
    layer = node.layer
    if not (known(layer, L.Conv2d) or known(layer, L.ConvTranspose2d)):
        return False
    kind = _chosen(builder, node)
    if kind is None:
        return False
    last, norm, relu = following(builder, node)
    name = node.name if last is node else f"{node.name} .. {last.name}"
    if kind is FirstConvolution:
        (image,) = builder.values[node.inputs[0].node.name, node.inputs[0].position]
        return builder.add_step(kind(builder.worker, name, image, builder.new(last), layer, norm, relu))
    readers = [Reader(value) for value in builder.parts(node.inputs[0])]
    return builder.add_step(kind(builder.worker, name, readers, builder.new(last), layer, norm, relu))


def _chosen(builder: Builder, node: Node) -> Algorithm:
    """The step for a convolution: the one asked for by name, or the first that fits."""
    fitting = algorithms_for(builder, node)
    name = builder.algorithms.get(node.name, next(iter(fitting)))
    if name not in fitting:
        raise OptionError(
            f"algorithms: node {node.name!r}, {node.layer!r}, cannot be computed by {name!r} here; what fits it is "
            f"{', '.join(fitting)}"
        )
    return fitting[name]


def algorithms_for(builder: Builder, node: Node) -> dict[str, Algorithm]:
    """The algorithms that fit a convolution, by the names that `Engine` takes, the one taken by default first.

    winograd   tiles, whose transforms save multiplications
    winograd_by_channels   the same, each worker with channels instead of rows
    columns    an image's windows as columns of a matrix; for the first convolution
    product    a product of matrices, for 1 x 1
    direct     products of gathered windows, a few rows at a time
    channels   each worker has channels instead of rows, for weights that are larger than the data
    stamps     each pixel stamps its values, for transposed convolutions
    ordinary   the layer as it is
    """
    layer = node.layer
    fitting: dict[str, Algorithm] = {}
    kernel, stride, padding, dilation = (
        S.pair(number) for number in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    )
    square, plain = kernel[0] == kernel[1], isinstance(layer, L.Conv2d)
    if _is_bound_by_weights(builder, node, kernel):
        fitting["channels"] = LargeKernels
    if not plain and stride != (1, 1):
        touching = square and kernel == stride and padding == (0, 0) and dilation == (1, 1)
        simple = touching and S.pair(layer.output_padding) == (0, 0)
        return {**fitting, "stamps": StampingConvolution if simple else OverlappingStamps, "ordinary": None}
    if not plain:
        padding = (kernel[0] - 1 - padding[0], kernel[1] - 1 - padding[1])  # of the convolution that it is
    source = builder.values[node.inputs[0].node.name, node.inputs[0].position]
    if plain and len(source) == 1 and isinstance(source[0], Planes) and layer.weight.data[0].size <= LARGEST_WINDOW:
        fitting["columns"] = FirstConvolution
    if (stride, dilation) == ((1, 1), (1, 1)):
        if plain and kernel == (1, 1) and padding == (0, 0):
            fitting["product"] = Convolution1x1
        elif square and padding[0] == padding[1] and cuts_for(kernel[0], padding[0], builder.m) is not None:
            if cuts_for(kernel[0], padding[0], builder.m) == 1:
                by_channels = _is_bound_by_transformed_weights(builder, node)
                names = ["winograd_by_channels", "winograd"] if by_channels else ["winograd", "winograd_by_channels"]
                fitting |= {name: WINOGRAD[name] for name in names}
            else:
                fitting["winograd"] = WinogradConvolution
    return {**fitting, "direct": DirectConvolution, "ordinary": None}


def _is_bound_by_weights(builder: Builder, node: Node, kernel: tuple[int, int]) -> bool:
    """Whether reading a convolution's weights, or transforming them, takes longer than the products with them."""
    weights = node.layer.weight.data.size
    if weights >= MANY_WEIGHTS and (kernel == (1, 1) or min(kernel) > 5):
        return True
    narrow = node.inputs[0].node if isinstance(node.layer, L.ConvTranspose2d) else node
    N, _, H, W = builder.shapes[narrow.name]
    return weights >= WEIGHTS_TO_TRANSFORM and builder.worker.plans * N * H * W <= FEW_PIXELS


def _is_bound_by_transformed_weights(builder: Builder, node: Node) -> bool:
    """Whether a worker's part of the tiles is not worth transforming, or reading, all kernels."""
    narrow = node.inputs[0].node if isinstance(node.layer, L.ConvTranspose2d) else node
    N, _, H, W = builder.shapes[narrow.name]
    tiles = builder.worker.plans * N * -(-H // builder.m) * -(-W // builder.m)
    return node.layer.weight.data.size >= WEIGHTS_TO_SHARE and tiles <= FEW_TILES


# In the order in which they are asked.
FORMS: list[Callable[[Builder, Node], bool]] = [
    alias,
    concat,
    max_pooling,
    sliding_max_pooling,
    max_unpooling,
    convolution,
    flattening,
    fully_connected,
    resampling,
    pointwise,
    dropout,
]
