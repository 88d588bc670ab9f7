"""Losses, each one number on the device: what they are made of is added there, and nothing is copied to the host."""

from typing import Any, NamedTuple

import numpy as np

from minisegnet.cuda import arrays
from minisegnet.cuda.grids import blocks, parts_of, thread_each
from minisegnet.errors import LabelError

MOST_PARTS = 512  # of a sum, however long
NO_LABEL = -(2**31)  # the label to ignore where there is none: no class has it


class OfPixels(NamedTuple):
    """What a loss of labels leaves for its backward pass."""

    logits: Any
    labels: Any
    stray: Any  # 0, or the number of pixels less the place of the first label outside the classes
    kept: tuple


def softmax_cross_entropy_forward(
    logits, labels, class_weight=None, ignore_index=None, pixel_weight=None, reduction="mean"
):
    source = "softmax_cross_entropy.cu"
    shape, logits = labels.shape, arrays.contiguous(logits)
    labels, ignored = _as_int32(labels, ignore_index)
    class_weight, pixel_weight = (None if w is None else arrays.contiguous(w) for w in (class_weight, pixel_weight))
    weight, largest, total = (_floats(shape, logits) for _ in range(3))
    stray = arrays.zeros(1, np.int32, like=logits)
    given = logits, labels, class_weight, pixel_weight, ignored
    kept = weight, largest, total, stray, *_sizes(logits, labels)
    if reduction == "none":
        y, scale = _floats(shape, logits), None
        thread_each(source, "softmax_cross_entropy_forward", labels.size, *given, y, *kept)
    else:
        y, scale = _floats((), logits), _floats((), logits)
        parts = parts_of(labels.size, MOST_PARTS)
        sums = [arrays.zeros(parts, np.float32, like=logits) for _ in range(2)]
        if labels.size:
            blocks(source, "softmax_cross_entropy_parts", parts, *given, *sums, *kept)
        blocks(source, "softmax_cross_entropy_reduce", 1, *sums, y, scale, reduction == "mean", parts)
    return y, OfPixels(logits, labels, stray, (weight, largest, total, scale))


def softmax_cross_entropy_backward(dy, saved):
    logits, labels, _, (weight, largest, total, scale) = saved
    dlogits = _floats(logits.shape, logits)
    given = *_upstream(dy), scale, logits, labels, weight, largest, total, dlogits, *_sizes(logits, labels)
    thread_each("softmax_cross_entropy.cu", "softmax_cross_entropy_backward", labels.size, *given)
    return dlogits


def dice_forward(logits, labels, ignore_index=None, smooth=1.0):
    logits = arrays.contiguous(logits)
    labels, ignored = _as_int32(labels, ignore_index)
    sizes = pixels, classes, _ = _sizes(logits, labels)
    largest, total = (_floats(labels.shape, logits) for _ in range(2))
    above, below = (_floats(classes, logits) for _ in range(2))
    stray = arrays.zeros(1, np.int32, like=logits)
    y = _floats((), logits)
    parts = parts_of(pixels, MOST_PARTS // 8)
    sums = arrays.zeros((3, classes, parts), np.float32, like=logits)
    thread_each("dice.cu", "dice_softmax", pixels, logits, labels, ignored, largest, total, stray, *sizes)
    if pixels:
        blocks("dice.cu", "dice_sums_parts", (parts, classes), logits, labels, largest, total, sums, *sizes)
    blocks("dice.cu", "dice_overlap", 1, sums, above, below, y, stray, smooth, classes, parts)
    return y, OfPixels(logits, labels, stray, (largest, total, above, below))


def dice_backward(dy, saved):
    logits, labels, _, kept = saved
    dlogits = _floats(logits.shape, logits)
    dy, _ = _upstream(dy)
    given = dy, logits, labels, *kept, dlogits, *_sizes(logits, labels)
    thread_each("dice.cu", "dice_backward", labels.size, *given)
    return dlogits


def binary_cross_entropy_with_logits_forward(logits, targets, weight=None, reduction="mean"):
    given = tuple(None if array is None else arrays.contiguous(array) for array in (logits, targets, weight))
    y, scale = _of_elements("binary_cross_entropy_with_logits", given, (), reduction)
    return y, (given, scale)


def binary_cross_entropy_with_logits_backward(dy, saved):
    given, scale = saved
    return _slopes("binary_cross_entropy_with_logits", dy, scale, given, ())


def smooth_l1_forward(x, target, beta=1.0, reduction="mean"):
    given = arrays.contiguous(x), arrays.contiguous(target)
    y, scale = _of_elements("smooth_l1", given, (beta,), reduction)
    return y, (given, beta, scale)


def smooth_l1_backward(dy, saved):
    given, beta, scale = saved
    return _slopes("smooth_l1", dy, scale, given, (beta,))


def check_labels(operation: str, saved: OfPixels) -> None:
    """Raise LabelError if the forward pass met a label outside the classes. This waits for the device.

    Such a label made the loss NaN; ask when the loss is read and is no number.
    """
    behind = int(arrays.to_host(saved.stray)[0])
    if behind:
        place = saved.labels.size - behind
        where = tuple(int(i) for i in np.unravel_index(place, saved.labels.shape))
        label = int(arrays.to_host(saved.labels)[where])
        raise LabelError(
            f"{operation}: label {label} at {where} is outside the classes 0 to {saved.logits.shape[1] - 1}; "
            "if it means 'no label', pass it as ignore_index"
        )


def _of_elements(name, given, options, reduction):
    """The loss of each element or of all, and what the reduction multiplied each by."""
    source, x = f"{name}.cu", given[0]
    if reduction == "none":
        y = _floats(x.shape, x)
        thread_each(source, f"{name}_forward", x.size, *given, y, *options, x.size)
        return y, 1.0
    y = arrays.zeros((), np.float32, like=x)
    scale = 1 / max(x.size, 1) if reduction == "mean" else 1.0
    if x.size:
        parts = _floats(parts_of(x.size, MOST_PARTS), x)
        blocks(source, f"{name}_parts", parts.size, *given, parts, *options, x.size)
        blocks("sum.cu", "sum_block", 1, parts, y, scale, parts.size)
    return y, scale


def _slopes(name, dy, scale, given, options):
    x = given[0]
    dx = _floats(x.shape, x)
    thread_each(f"{name}.cu", f"{name}_backward", x.size, *_upstream(dy), scale, *given, dx, *options, x.size)
    return dx


def _upstream(dy):
    """dy, and how far apart its values are for neighbouring losses: 0 where one number stands for all."""
    return arrays.contiguous(dy), int(dy.ndim > 0)


def _as_int32(labels, ignore_index):
    """Labels, and the one of them to ignore, as the kernels take them."""
    if ignore_index is None or abs(ignore_index) < 2**31:
        ignored = NO_LABEL if ignore_index is None else ignore_index
        return arrays.contiguous(labels.astype(np.int32, copy=False)), ignored
    narrow = labels.astype(np.int32)
    narrow[labels == ignore_index] = NO_LABEL  # cut to 32 bits, it might be a class
    return arrays.contiguous(narrow), NO_LABEL


def _sizes(logits, labels):
    """(pixels, classes, pixels of a plane)."""
    return labels.size, logits.shape[1], labels.size // max(len(labels), 1)


def _floats(shape, like):
    return arrays.empty(shape, np.float32, like=like)
