"""Losses: each pixel's loss and its slope, then the reduction that all share."""

import numpy as np


def softmax_cross_entropy_forward(
    logits, labels, class_weight=None, ignore_index=None, pixel_weight=None, reduction="mean"
):
    weight = np.ones(labels.shape, logits.dtype) if pixel_weight is None else pixel_weight
    logits, labels, counted = _counted(logits, labels, ignore_index)
    weight = weight * counted
    if class_weight is not None:
        weight = weight * class_weight[labels]
    shifted = logits - logits.max(1, keepdims=True)
    probability = np.exp(shifted)
    total = probability.sum(1, keepdims=True)
    probability /= total
    loss = np.log(total[:, 0]) - np.take_along_axis(shifted, labels[:, None], axis=1)[:, 0]
    y, scale = _reduce(loss * weight, reduction, weight.sum(dtype=np.float64), logits.dtype)
    return y, (probability, labels, weight, scale)


def softmax_cross_entropy_backward(dy, saved):
    probability, labels, weight, scale = saved
    slope = probability.copy()
    at_label = np.take_along_axis(slope, labels[:, None], axis=1)
    np.put_along_axis(slope, labels[:, None], at_label - 1, axis=1)
    slope *= (weight * (dy * scale))[:, None]
    return slope


def binary_cross_entropy_with_logits_forward(logits, targets, weight=None, reduction="mean"):
    weight = np.ones((), logits.dtype) if weight is None else weight
    small = np.exp(-np.abs(logits))
    loss = np.maximum(logits, 0) - logits * targets + np.log1p(small)
    probability = np.where(logits >= 0, 1, small) / (1 + small)
    y, scale = _reduce(loss * weight, reduction, logits.size, logits.dtype)
    return y, ((probability - targets) * weight, scale)


def binary_cross_entropy_with_logits_backward(dy, saved):
    slope, scale = saved
    return np.asarray(np.multiply(slope, dy * scale, order="C"), dy.dtype)


def smooth_l1_forward(x, target, beta=1.0, reduction="mean"):
    difference = x - target
    size = np.abs(difference)
    loss = np.where(size < beta, np.square(difference) / (2 * beta), size - beta / 2)
    y, scale = _reduce(loss, reduction, x.size, x.dtype)
    return y, (np.clip(difference / beta, -1, 1), scale)


def smooth_l1_backward(dy, saved):
    slope, scale = saved
    return np.asarray(np.multiply(slope, dy * scale, order="C"), dy.dtype)


def dice_forward(logits, labels, ignore_index=None, smooth=1.0):
    logits, labels, counted = _counted(logits, labels, ignore_index)
    probability = np.exp(logits - logits.max(1, keepdims=True))
    probability /= probability.sum(1, keepdims=True)
    truth = np.zeros_like(probability)
    np.put_along_axis(truth, labels[:, None], 1, axis=1)
    truth *= counted[:, None]
    pixels = (0, *range(2, logits.ndim))
    above = 2 * (probability * truth).sum(pixels) + smooth
    below = ((probability * counted[:, None]) + truth).sum(pixels) + smooth
    there = below != 0
    below = np.where(there, below, 1)
    y = np.asarray(1 - np.where(there, above / below, 0).mean(), logits.dtype)
    return y, (probability, truth, counted, above, below, there)


def dice_backward(dy, saved):
    probability, truth, counted, above, below, there = saved
    per_class = (1, -1, *(1,) * (probability.ndim - 2))
    above, below, there = (a.reshape(per_class) for a in (above, below, there))
    slope = there * (above / below - 2 * truth) / (below * above.size)
    slope *= counted[:, None] * dy  # by the probabilities; now through the softmax
    dlogits = probability * (slope - (slope * probability).sum(1, keepdims=True))
    return np.ascontiguousarray(dlogits.astype(probability.dtype, copy=False))


def _counted(logits, labels, ignore_index):
    """Logits and labels with the ignored pixels set to 0 (they may hold NaN), and a mask of those that count."""
    if ignore_index is None:
        return logits, labels, np.ones(labels.shape, bool)
    counted = labels != ignore_index
    return np.where(counted[:, None], logits, logits.dtype.type(0)), np.where(counted, labels, 0), counted


def _reduce(loss, reduction, total, dtype):
    """The reduced loss, and the factor that the gradient of each element takes on with it."""
    number = np.dtype(dtype).type
    if reduction == "none":
        return np.asarray(loss, dtype, order="C"), number(1)
    scale = 1.0 if reduction == "sum" else (1 / total if total else 0.0)
    return np.asarray(loss.sum(dtype=np.float64) * scale, dtype), number(scale)
