"""Every layer beside the operation that it must equal: how to build both, and on which inputs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minisegnet import functional as F
from minisegnet.layers import (
    Add,
    AvgPool2d,
    BatchNorm2d,
    BCEWithLogitsLoss,
    BedOfNails2d,
    BilinearConvTranspose2d,
    CenterCrop,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Crop,
    CrossEntropyLoss,
    DiceLoss,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    MaxUnpool2d,
    NearestUnpool2d,
    PadToMultiple,
    ReflectionPad2d,
    ReLU,
    Sigmoid,
    SmoothL1Loss,
    Softmax,
    UpsampleBilinear2d,
    ZeroConv2d,
)


@dataclass(frozen=True)
class Row:
    """`layer()` on inputs of these shapes, or drawn by these functions, equals `operation` on them.

    After the inputs, the operation takes the weight and the bias (or None) of a layer that has any.
    """

    name: str
    layer: Callable
    inputs: tuple
    operation: Callable
    backward: Callable
    options: dict[str, Any] = field(default_factory=dict)  # of the layer's forward


def labels(*shape, classes):
    return lambda rng: rng.integers(0, classes, shape)


def indices(*shape, below):
    """Distinct in each plane."""
    N, C, h, w = shape
    return lambda rng: np.array([rng.permutation(below)[: h * w] for _ in range(N * C)]).reshape(shape)


def parameters(layer):
    """Weight and bias, or nothing of a layer without."""
    arrays = [layer.parameters[name].data if name in layer.parameters else None for name in ("weight", "bias")]
    return arrays if layer.parameters else []


IMAGE = (2, 3, 7, 8)
TABLE = [
    Row("conv", lambda: Conv2d(3, 4, 3), (IMAGE,), F.conv2d_forward, F.conv2d_backward),
    Row(
        "conv with options",
        lambda: Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), bias=False),
        (IMAGE,),
        lambda x, weight, bias: F.conv2d_forward(x, weight, bias, (2, 1), (1, 2), (1, 2)),
        F.conv2d_backward,
    ),
    Row(
        "transposed conv",
        lambda: ConvTranspose2d(3, 4, 2, stride=2),
        (IMAGE,),
        lambda x, weight, bias: F.conv_transpose2d_forward(x, weight, bias, 2),
        F.conv_transpose2d_backward,
    ),
    Row(
        "transposed conv with options",
        lambda: ConvTranspose2d(3, 4, (3, 2), (2, 3), (1, 0), (1, 2), False, (1, 2)),
        (IMAGE,),
        lambda x, weight, bias: F.conv_transpose2d_forward(x, weight, bias, (2, 3), (1, 0), (1, 2), (1, 2)),
        F.conv_transpose2d_backward,
    ),
    Row("linear", lambda: Linear(5, 3), ((4, 5),), F.linear_forward, F.linear_backward),
    Row(
        "linear without bias",
        lambda: Linear(5, 3, bias=False),
        ((4, 5),),
        F.linear_forward,
        F.linear_backward,
    ),
    Row(
        "max pool with indices",
        lambda: MaxPool2d(3, 2, 1, ceil_mode=True, return_indices=True),
        (IMAGE,),
        lambda x: F.max_pool2d_forward(x, 3, 2, 1, 1, True),
        F.max_pool2d_backward,
    ),
    Row(
        "average pool",
        lambda: AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        (IMAGE,),
        lambda x: F.avg_pool2d_forward(x, 3, 2, 1, True, False),
        F.avg_pool2d_backward,
    ),
    Row(
        "max unpool to a size",
        lambda: MaxUnpool2d(2),
        ((2, 3, 3, 4), indices(2, 3, 3, 4, below=63)),
        lambda x, i: F.max_unpool2d_forward(x, i, (7, 9)),
        F.max_unpool2d_backward,
        {"output_size": (7, 9)},
    ),
    Row(
        "max unpool by its kernel",
        lambda: MaxUnpool2d(3, stride=2, padding=1),
        ((2, 3, 3, 4), indices(2, 3, 3, 4, below=35)),
        lambda x, i: F.max_unpool2d_forward(x, i, (5, 7)),
        F.max_unpool2d_backward,
    ),
    Row(
        "nearest unpool",
        lambda: NearestUnpool2d((2, 3)),
        (IMAGE,),
        lambda x: F.nearest_unpool2d_forward(x, (14, 24)),
        F.nearest_unpool2d_backward,
    ),
    Row(
        "nearest unpool to a size",
        NearestUnpool2d,
        (IMAGE,),
        lambda x: F.nearest_unpool2d_forward(x, (13, 16)),
        F.nearest_unpool2d_backward,
        {"output_size": (13, 16)},
    ),
    Row(
        "bed of nails",
        lambda: BedOfNails2d((2, 3)),
        (IMAGE,),
        lambda x: F.bed_of_nails2d_forward(x, (2, 3)),
        F.bed_of_nails2d_backward,
    ),
    Row(
        "bed of nails to a size",
        BedOfNails2d,
        (IMAGE,),
        lambda x: F.bed_of_nails2d_forward(x, 2, (13, 17)),
        F.bed_of_nails2d_backward,
        {"output_size": (13, 17)},
    ),
    Row(
        "bilinear",
        lambda: UpsampleBilinear2d(2, align_corners=True),
        (IMAGE,),
        lambda x: F.upsample_bilinear2d_forward(x, (14, 16), True),
        F.upsample_bilinear2d_backward,
    ),
    Row(
        "bilinear to a size",
        UpsampleBilinear2d,
        (IMAGE,),
        lambda x: F.upsample_bilinear2d_forward(x, (5, 11)),
        F.upsample_bilinear2d_backward,
        {"output_size": (5, 11)},
    ),
    Row(
        "reflection pad",
        lambda: ReflectionPad2d((1, 2, 3, 0)),
        (IMAGE,),
        lambda x: F.reflection_pad2d_forward(x, (1, 2, 3, 0)),
        F.reflection_pad2d_backward,
    ),
    Row(
        "pad to a multiple",
        lambda: PadToMultiple((4, 5)),
        ((2, 3, 5, 8),),
        lambda x: F.reflection_pad2d_forward(x, (1, 1, 1, 2)),
        F.reflection_pad2d_backward,
    ),
    Row(
        "centre crop",
        CenterCrop,
        (IMAGE,),
        lambda x: F.crop_forward(x, 1, 2, 4, 3),
        F.crop_backward,
        {"output_size": (4, 3)},
    ),
    Row(
        "concat",
        Concat,
        (IMAGE, (2, 1, 7, 8), (2, 4, 7, 8)),
        lambda *xs: F.concat_forward(list(xs)),
        F.concat_backward,
    ),
    Row(
        "concat of rows",
        lambda: Concat(dim=-2),
        (IMAGE, (2, 3, 2, 8)),
        lambda *xs: F.concat_forward(list(xs), -2),
        F.concat_backward,
    ),
    Row("add", Add, (IMAGE, IMAGE), F.add_forward, F.add_backward),
    Row(
        "crop",
        lambda: Crop(2, 1),
        (IMAGE,),
        lambda x: F.crop_forward(x, 2, 1, 4, 3),
        F.crop_backward,
        {"output_size": (4, 3)},
    ),
    Row(
        "flatten", Flatten, (IMAGE,), lambda x: (x.reshape(2, -1), x.shape), lambda dy, shape: dy.reshape(shape)
    ),
    Row(
        "global average pool",
        GlobalAvgPool2d,
        (IMAGE,),
        lambda x: F.avg_pool2d_forward(x, (7, 8)),
        F.avg_pool2d_backward,
    ),
    Row("conv from zero", lambda: ZeroConv2d(3, 4, 1), (IMAGE,), F.conv2d_forward, F.conv2d_backward),
    Row(
        "transposed conv from bilinear",
        lambda: BilinearConvTranspose2d(3, 4, stride=2, padding=1),
        (IMAGE,),
        lambda x, weight, bias: F.conv_transpose2d_forward(x, weight, bias, 2, 1),
        F.conv_transpose2d_backward,
    ),
    Row("relu", ReLU, (IMAGE,), F.relu_forward, F.relu_backward),
    Row("sigmoid", Sigmoid, (IMAGE,), F.sigmoid_forward, F.sigmoid_backward),
    Row("softmax", Softmax, (IMAGE,), F.softmax_forward, F.softmax_backward),
    Row("softmax of rows", lambda: Softmax(2), (IMAGE,), lambda x: F.softmax_forward(x, 2), F.softmax_backward),
    Row(
        "dropout",
        lambda: Dropout(0.3, seed=11),
        (IMAGE,),
        lambda x: F.dropout_forward(x, 0.3, 11),
        F.dropout_backward,
    ),
    Row(
        "batch norm",
        lambda: BatchNorm2d(3, eps=1e-3),
        (IMAGE,),
        lambda x, weight, bias: F.batch_norm2d_forward(x, weight, bias, eps=1e-3),
        F.batch_norm2d_backward,
    ),
    Row(
        "batch norm in evaluation",
        lambda: BatchNorm2d(3).eval(),
        (IMAGE,),
        lambda x, weight, bias: F.batch_norm2d_forward(x, weight, bias, np.zeros(3, x.dtype), np.ones(3, x.dtype)),
        F.batch_norm2d_backward,
    ),
    Row(
        "cross entropy",
        lambda: CrossEntropyLoss([1, 2, 0.5], ignore_index=2, reduction="sum"),
        (IMAGE, labels(2, 7, 8, classes=3)),
        lambda x, t: F.softmax_cross_entropy_forward(x, t, np.array([1, 2, 0.5], x.dtype), 2, None, "sum"),
        F.softmax_cross_entropy_backward,
    ),
    Row(
        "cross entropy with a weight map",
        lambda: CrossEntropyLoss(reduction="none"),
        (IMAGE, labels(2, 7, 8, classes=3), (2, 7, 8)),
        lambda x, t, w: F.softmax_cross_entropy_forward(x, t, pixel_weight=w, reduction="none"),
        F.softmax_cross_entropy_backward,
    ),
    Row(
        "binary cross entropy",
        BCEWithLogitsLoss,
        (IMAGE, lambda rng: rng.random(IMAGE)),
        F.binary_cross_entropy_with_logits_forward,
        F.binary_cross_entropy_with_logits_backward,
    ),
    Row(
        "smooth l1",
        lambda: SmoothL1Loss("none", beta=0.5),
        (IMAGE, IMAGE),
        lambda x, t: F.smooth_l1_forward(x, t, 0.5, "none"),
        F.smooth_l1_backward,
    ),
    Row(
        "dice",
        lambda: DiceLoss(ignore_index=1, smooth=0.5),
        (IMAGE, labels(2, 7, 8, classes=3)),
        lambda x, t: F.dice_forward(x, t, 1, 0.5),
        F.dice_backward,
    ),
]


def draw(row, seed, dtype):
    """The layer, and its inputs drawn from the seed."""
    rng = np.random.default_rng(seed)
    layer = row.layer()
    layer.initialise(rng)
    if isinstance(layer, Dropout):
        layer.seed = 11
    for parameter in layer.parameters.values():
        parameter.data[...] = rng.standard_normal(parameter.data.shape)
    layer.astype(dtype)
    drawn = [rng.standard_normal(given) if isinstance(given, tuple) else given(rng) for given in row.inputs]
    return layer, [array.astype(dtype) if array.dtype.kind == "f" else array for array in drawn], rng
