"""ONNX's own test cases of our operations: how `minisegnet.functional` computes each node, and which are left out."""

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
from onnx.backend.test.loader import load_model_tests
from onnx.helper import get_attribute_value

from minisegnet import functional as F

# Why a case of one of our operations is not run; every other case is.
LEFT_OUT = {
    "one or three dimensions: our images have two": [
        "test_averagepool_1d_default",
        "test_averagepool_3d_default",
        "test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_False",
        "test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_True",
        "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_False",
        "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True",
        "test_averagepool_3d_dilations_small",
        "test_convtranspose_1d",
        "test_convtranspose_3d",
        "test_maxpool_1d_default",
        "test_maxpool_3d_default",
        "test_maxpool_3d_dilations",
        "test_maxpool_3d_dilations_use_ref_impl",
        "test_maxpool_3d_dilations_use_ref_impl_large",
    ],
    "grouped convolution: we have none": ["test_convtranspose_group_2", "test_convtranspose_group_2_image_3"],
    "dilated average pooling: we have none, nor has PyTorch": ["test_averagepool_2d_dilations"],
    "a mask from NumPy's generator: ours is Philox": [
        "test_training_dropout",
        "test_training_dropout_default",
        "test_training_dropout_default_mask",
        "test_training_dropout_mask",
    ],
    "a product of vectors, or of stacks of matrices: linear takes one matrix": [
        "test_matmul_1d_1d",
        "test_matmul_1d_3d",
        "test_matmul_3d",
        "test_matmul_4d",
        "test_matmul_4d_1d",
        "test_matmul_bcast",
    ],
    "a bias for each row: linear has one for each column": ["test_gemm_default_matrix_bias"],
    "padding with a constant, the edge or the far side: ours mirrors": [
        "test_constant_pad",
        "test_constant_pad_axes",
        "test_constant_pad_negative_axes",
        "test_edge_pad",
        "test_wrap_pad",
    ],
    "cubic interpolation: we have none": [
        "test_resize_downsample_scales_cubic",
        "test_resize_downsample_scales_cubic_A_n0p5_exclude_outside",
        "test_resize_downsample_scales_cubic_align_corners",
        "test_resize_downsample_scales_cubic_antialias",
        "test_resize_downsample_sizes_cubic",
        "test_resize_downsample_sizes_cubic_antialias",
        "test_resize_upsample_scales_cubic",
        "test_resize_upsample_scales_cubic_A_n0p5_exclude_outside",
        "test_resize_upsample_scales_cubic_align_corners",
        "test_resize_upsample_scales_cubic_asymmetric",
        "test_resize_upsample_sizes_cubic",
    ],
    "antialiasing: we have none": [
        "test_resize_downsample_scales_linear_antialias",
        "test_resize_downsample_sizes_linear_antialias",
    ],
    "a crop of the image is resized: ours takes all of it": [
        "test_resize_tf_crop_and_resize",
        "test_resize_tf_crop_and_resize_axes_2_3",
        "test_resize_tf_crop_and_resize_axes_3_2",
        "test_resize_tf_crop_and_resize_extrapolation_value",
    ],
    "a scale that is not the ratio of the sizes, as 0.6 from 4 pixels to 2: ours is that ratio": [
        "test_resize_downsample_scales_linear",
        "test_resize_downsample_scales_linear_align_corners",
        "test_resize_downsample_scales_linear_half_pixel_symmetric",
        "test_resize_upsample_scales_linear_half_pixel_symmetric",
    ],
    "one output pixel is the first input pixel: ours is the middle": [
        "test_resize_downsample_sizes_linear_pytorch_half_pixel",
    ],
    "nearest by another rounding: ours is floor(i h / H)": [
        "test_resize_downsample_sizes_nearest",
        "test_resize_downsample_sizes_nearest_not_smaller",
        "test_resize_upsample_sizes_nearest_ceil_half_pixel",
        "test_resize_upsample_sizes_nearest_floor_align_corners",
        "test_resize_upsample_sizes_nearest_round_prefer_ceil_asymmetric",
    ],
    "steps other than 1, or nothing left: crop takes a rectangle of pixels": [
        "test_slice_neg_steps",
        "test_slice_start_out_of_bounds",
    ],
    "the largest sample of each bin: RoIAlign takes their mean": ["test_roialign_mode_max"],
    "pads: crop only cuts": [
        "test_center_crop_pad_crop_and_pad",
        "test_center_crop_pad_crop_axes_chw",
        "test_center_crop_pad_crop_axes_hwc",
        "test_center_crop_pad_crop_negative_axes_hwc",
        "test_center_crop_pad_pad",
    ],
}


@dataclass(frozen=True)
class NodeCase:
    """One node, what it is given (None for an input left out), and what it must return."""

    name: str
    operator: str
    attributes: dict
    inputs: tuple
    outputs: tuple

    def compute(self):
        """What our operations make of it."""
        return OPERATORS[self.operator](self.attributes, *self.inputs)

    @property
    def reason(self):
        """Why it is left out, or None."""
        return next((reason for reason, names in LEFT_OUT.items() if self.name in names), None)


@cache
def loaded():
    """All of ONNX's node tests."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of other operators' cases, which are made as they are loaded
        return load_model_tests(kind="node")


def operators_of(test):
    return [node.op_type for node in test.model.graph.node]


def node_cases():
    """Every test that is one node of one of our operators."""
    return [node_case(test) for test in loaded() if len(operators_of(test)) == 1 and operators_of(test)[0] in OPERATORS]


def node_case(test):
    """A loaded test as a NodeCase."""
    [node], [(inputs, outputs)] = test.model.graph.node, test.data_sets
    attributes = {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
    attributes = {k: value.decode() if isinstance(value, bytes) else value for k, value in attributes.items()}
    given = iter(inputs)
    placed = tuple(next(given) if name else None for name in node.input)
    return NodeCase(test.name, node.op_type, attributes, placed, tuple(outputs))


# ------------------------------------------------------------------------- operators: attributes and inputs -> outputs


def conv(attributes, x, weight, bias=None):
    strides, dilations = strides_of(attributes), attributes.get("dilations", (1, 1))
    top, left, bottom, right = pads_of(attributes, x.shape, weight.shape[2:], strides, dilations)
    if (top, left) != (bottom, right):
        x, top, left = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right))), 0, 0
    return [F.conv2d_forward(x, weight, bias, strides, (top, left), dilations)[0]]


def conv_transpose(attributes, x, weight, bias=None):
    """The whole image of stamps, then cut as the node says, or given empty rows where it asks for more."""
    strides, dilations = strides_of(attributes), attributes.get("dilations", (1, 1))
    added = attributes.get("output_padding", (0, 0))
    size = attributes.get("output_shape")
    if attributes.get("auto_pad", "NOTSET").startswith("SAME"):
        size = [n * stride for n, stride in zip(x.shape[2:], strides, strict=True)]
    if size is None:
        pads = attributes.get("pads", (0, 0, 0, 0))
    else:
        whole = F.conv_transpose2d_forward(x, weight, None, strides, 0, added, dilations)[0].shape[2:]
        cut = [max(n - wanted, 0) for n, wanted in zip(whole, size, strict=True)]
        added = [a + max(wanted - n, 0) for a, n, wanted in zip(added, whole, size, strict=True)]
        pads = [*(n // 2 for n in cut), *(n - n // 2 for n in cut)]
    top, left, bottom, right = pads
    if (top, left) == (bottom, right):
        return [F.conv_transpose2d_forward(x, weight, bias, strides, (top, left), added, dilations)[0]]
    y, _ = F.conv_transpose2d_forward(x, weight, bias, strides, 0, added, dilations)
    H, W = y.shape[2:]
    return [F.crop_forward(y, top, left, H - top - bottom, W - left - right)[0]]


def max_pool(attributes, x):
    kernel, strides, dilations = attributes["kernel_shape"], strides_of(attributes), attributes.get("dilations", (1, 1))
    pads = pads_of(attributes, x.shape, kernel, strides, dilations)
    x, (top, left), (above, before) = padded(floats(x), pads, kernel, dilations, -np.inf)
    (y, indices), _ = F.max_pool2d_forward(
        x, kernel, strides, (top, left), dilations, bool(attributes.get("ceil_mode", 0))
    )
    N, C, H, W = x.shape[0], x.shape[1], x.shape[2] - above[0] - above[1], x.shape[3] - before[0] - before[1]
    row, column = np.divmod(indices, x.shape[3])
    row, column = row - above[0], column - before[0]
    plane = np.arange(N * C).reshape(N, C, 1, 1) * H * W
    return [y, plane + (column * H + row if attributes.get("storage_order", 0) else row * W + column)]


def average_pool(attributes, x):
    kernel, strides = attributes["kernel_shape"], strides_of(attributes)
    pads = pads_of(attributes, x.shape, kernel, strides)
    ceil_mode, counted = bool(attributes.get("ceil_mode", 0)), bool(attributes.get("count_include_pad", 0))
    inside = padded(np.ones_like(x), pads, kernel)[0]
    x, padding, _ = padded(x, pads, kernel)
    y = F.avg_pool2d_forward(x, kernel, strides, padding, ceil_mode, counted)[0]
    if counted or inside.all():
        return [y]
    return [y / F.avg_pool2d_forward(inside, kernel, strides, padding, ceil_mode, counted)[0]]


def global_average_pool(attributes, x):
    return [F.avg_pool2d_forward(x, x.shape[2:])[0]]


def global_max_pool(attributes, x):
    return [F.max_pool2d_forward(x, x.shape[2:])[0][0]]


def max_unpool(attributes, x, indices, output_shape=None):
    """The indices are those of the smallest image that pools so; a larger one gets empty rows and columns."""
    strides = strides_of(attributes)
    H, W = (
        (n - 1) * stride + kernel
        for n, stride, kernel in zip(x.shape[2:], strides, attributes["kernel_shape"], strict=True)
    )
    y, _ = F.max_unpool2d_forward(x, indices % (H * W), (H, W))
    rows, columns = (0, 0) if output_shape is None else (output_shape[2] - H, output_shape[3] - W)
    return [np.pad(y, ((0, 0), (0, 0), (0, rows), (0, columns)))]


def resize(attributes, x, roi=None, scales=None, sizes=None):
    axes = list(attributes.get("axes", range(x.ndim)))
    given = sizes if scales is None else scales
    asked = dict(zip(axes, given.tolist(), strict=True))
    policy = attributes.get("keep_aspect_ratio_policy", "stretch")
    if sizes is not None and policy != "stretch":
        scale = (min if policy == "not_larger" else max)(asked[axis] / x.shape[axis] for axis in axes)
        size = tuple(int(scale * x.shape[axis] + 0.5) for axis in (2, 3))
    elif sizes is not None:
        size = asked[2], asked[3]
    else:
        size = tuple(int(np.floor(x.shape[axis] * asked[axis])) for axis in (2, 3))
    if attributes.get("mode", "nearest") == "nearest":
        return [F.nearest_unpool2d_forward(x, size)[0]]
    corners = attributes.get("coordinate_transformation_mode", "half_pixel") == "align_corners"
    return [F.upsample_bilinear2d_forward(x, size, corners)[0]]


def upsample(attributes, x, scales):
    return resize(attributes, x, None, scales)


def batch_normalization(attributes, x, weight, bias, mean, var):
    eps = attributes.get("epsilon", 1e-5)
    if not attributes.get("training_mode", 0):
        return [F.batch_norm2d_forward(x, weight, bias, mean, var, eps)[0][0]]
    (y, batch_mean, batch_var), _ = F.batch_norm2d_forward(x, weight, bias, eps=eps)
    momentum = attributes.get("momentum", 0.9)
    return [y, momentum * mean + (1 - momentum) * batch_mean, momentum * var + (1 - momentum) * batch_var]


def relu(attributes, x):
    return [F.relu_forward(x)[0]]


def sigmoid(attributes, x):
    return [F.sigmoid_forward(x)[0]]


def softmax(attributes, x):
    return [F.softmax_forward(x, attributes.get("axis", -1))[0]]


def log_softmax(attributes, x):
    """Minus the cross entropy of each label in turn."""
    x = np.moveaxis(x, attributes.get("axis", -1), 1)
    labels = np.zeros(x.shape[:1] + x.shape[2:], int)
    nll = [F.softmax_cross_entropy_forward(x, labels + i, reduction="none")[0] for i in range(x.shape[1])]
    return [-np.moveaxis(np.stack(nll, 1), 1, attributes.get("axis", -1))]


def dropout(attributes, x, ratio=None, training=None):
    """Outside training nothing is dropped, whatever the ratio; in training, cases of ratio 0 are run."""
    y = F.dropout_forward(x, float(ratio) if training else 0.0)[0]
    return [y, np.ones(x.shape, bool)]


def concat(attributes, *xs):
    return [F.concat_forward(list(xs), attributes["axis"])[0]]


def add(attributes, a, b):
    return [F.add_forward(floats(a), np.ascontiguousarray(np.broadcast_to(floats(b), a.shape)))[0]]


def gemm(attributes, a, b, c=None):
    a = attributes.get("alpha", 1.0) * (a.T if attributes.get("transA", 0) else a)
    weight = b if attributes.get("transB", 0) else b.T
    bias = None if c is None else np.broadcast_to(attributes.get("beta", 1.0) * c, (1, len(weight)))[0]
    return [F.linear_forward(a.astype(b.dtype), weight, bias)[0]]


def matmul(attributes, a, b):
    return [F.linear_forward(a, b.T)[0]]


def pad(attributes, x, pads, value=None, axes=None):
    (top, left), (bottom, right) = pads[2:4], pads[6:8]
    return [F.reflection_pad2d_forward(floats(x), (int(left), int(right), int(top), int(bottom)))[0]]


def softmax_cross_entropy_loss(attributes, x, labels, weight=None):
    reduction, ignored = attributes.get("reduction", "mean"), attributes.get("ignore_index")
    loss, _ = F.softmax_cross_entropy_forward(x, labels, weight, ignored, reduction=reduction)
    return [loss, *log_softmax({"axis": 1}, x)]


def slice_(attributes, x, starts, ends, axes=None, steps=None):
    axes = range(len(starts)) if axes is None else axes.tolist()
    cuts = [range(n) for n in x.shape]
    for axis, start, end in zip(axes, starts.tolist(), ends.tolist(), strict=True):
        cuts[axis] = range(x.shape[axis])[start:end]
    return [cropped(x, cuts)]


def center_crop_pad(attributes, x, shape):
    return [cropped(x, [range(n)[(n - size) // 2 :][:size] for n, size in zip(x.shape, shape.tolist(), strict=True)])]


def roi_align(attributes, x, corners, images):
    size = attributes.get("output_height", 1), attributes.get("output_width", 1)
    boxes = np.column_stack([images, corners]).astype(x.dtype)
    aligned = attributes.get("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    ratio = attributes.get("sampling_ratio", 0)
    return [F.roi_align_forward(x, boxes, size, attributes.get("spatial_scale", 1.0), ratio, aligned)[0]]


def non_max_suppression(attributes, boxes, scores, most=None, iou_threshold=None, score_threshold=None):
    """Each image's boxes for each class in turn; rows (y1, x1, y2, x2), any way round, or centres and sizes."""
    first, second = boxes[..., :2], boxes[..., 2:]
    if attributes.get("center_point_box", 0):
        first, second = first - second / 2, first + second / 2
    boxes = np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=2)
    least = -np.inf if score_threshold is None else score_threshold.item()
    chosen = [np.zeros((0, 3), np.int64)]
    for image, label in np.ndindex(scores.shape[:2]):
        candidates = np.flatnonzero(scores[image, label] > least)
        threshold = 0.0 if iou_threshold is None else iou_threshold.item()
        keep = candidates[F.nms(boxes[image, candidates], scores[image, label, candidates], threshold)]
        keep = keep[: 0 if most is None else most.item()]
        chosen.append(np.column_stack([np.full_like(keep, image), np.full_like(keep, label), keep]))
    return [np.concatenate(chosen)]


OPERATORS = {
    "Add": add,
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "CenterCropPad": center_crop_pad,
    "Concat": concat,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Dropout": dropout,
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "LogSoftmax": log_softmax,
    "MatMul": matmul,
    "MaxPool": max_pool,
    "MaxUnpool": max_unpool,
    "NonMaxSuppression": non_max_suppression,
    "Pad": pad,
    "Relu": relu,
    "Resize": resize,
    "RoiAlign": roi_align,
    "Sigmoid": sigmoid,
    "Slice": slice_,
    "Softmax": softmax,
    "SoftmaxCrossEntropyLoss": softmax_cross_entropy_loss,
    "Upsample": upsample,
}


# ------------------------------------------------------------------------------------------------------ common parts


def strides_of(attributes):
    return attributes.get("strides", (1, 1))


def pads_of(attributes, shape, kernel, strides, dilations=(1, 1)):
    """(top, left, bottom, right); SAME gives ceil(size / stride) places, an odd row to the end (UPPER) or the start."""
    mode = attributes.get("auto_pad", "NOTSET")
    if not mode.startswith("SAME"):
        return tuple(attributes.get("pads", (0, 0, 0, 0)))
    begins, ends = [], []
    for size, k, stride, dilation in zip(shape[2:], kernel, strides, dilations, strict=True):
        total = max((-(-size // stride) - 1) * stride + dilation * (k - 1) + 1 - size, 0)
        begins.append(total // 2 if mode == "SAME_UPPER" else total - total // 2)
        ends.append(total - begins[-1])
    return *begins, *ends


def padded(x, pads, kernel, dilations=(1, 1), value=0.0):
    """x, the padding left to the operation, and the rows and columns put around x here, where its own cannot do."""
    top, left, bottom, right = pads
    extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    if (top, left) == (bottom, right) and 2 * top <= extents[0] and 2 * left <= extents[1]:
        return x, (top, left), ((0, 0), (0, 0))
    around = (top, bottom), (left, right)
    return np.pad(x, ((0, 0), (0, 0), *around), constant_values=value), (0, 0), around


def cropped(x, cuts):
    """The ranges of x, of which at most two cut anything: those dimensions are the rows and columns of one image."""
    cut = [axis for axis, kept in enumerate(cuts) if len(kept) < x.shape[axis]]
    whole = [axis for axis in range(x.ndim) if axis not in cut]
    axes = whole + cut
    rows, columns = (cuts[axis] for axis in axes[-2:])
    image = x.transpose(axes).reshape(1, -1, *(x.shape[axis] for axis in axes[-2:]))
    y, _ = F.crop_forward(image, rows.start, columns.start, len(rows), len(columns))
    return y.reshape([len(cuts[axis]) for axis in axes]).transpose(np.argsort(axes))


def floats(x):
    """Pixels of an integer type as float32, which holds them exactly."""
    return x if x.dtype.kind == "f" else x.astype(np.float32)
