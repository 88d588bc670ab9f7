"""The losses: cross-entropy over classes, binary cross-entropy, smooth L1 and dice."""

import numpy as np

from minisegnet.reference.activation import sigmoid, softmax, through_softmax


def softmax_cross_entropy_forward(
    logits, labels, class_weight=None, ignore_index=None, pixel_weight=None, reduction="mean"
):
    scores = np.moveaxis(logits, 1, -1)  # scores[pixel] holds the classes' scores where labels[pixel] is the label
    weight = np.zeros(labels.shape, logits.dtype)  # stays 0 at the pixels that are ignored
    loss = np.zeros(labels.shape, logits.dtype)
    for pixel in np.ndindex(labels.shape):
        label = labels[pixel]
        if label == ignore_index:
            continue
        weight[pixel] = 1 if class_weight is None else class_weight[label]
        if pixel_weight is not None:
            weight[pixel] *= pixel_weight[pixel]
        shifted = scores[pixel] - scores[pixel].max()  # the same probabilities, and no exponential overflows
        loss[pixel] = weight[pixel] * (np.log(np.exp(shifted).sum()) - shifted[label])
    divisor = weight.sum()
    return reduced(loss, divisor, reduction), (logits, labels, ignore_index, weight, divisor, reduction)


def softmax_cross_entropy_backward(dy, saved):
    logits, labels, ignore_index, weight, divisor, reduction = saved
    dlogits = np.zeros(logits.shape, logits.dtype)
    scores, dscores = np.moveaxis(logits, 1, -1), np.moveaxis(dlogits, 1, -1)
    dloss = spread(dy, labels.shape, divisor, reduction)
    for pixel in np.ndindex(labels.shape):
        if labels[pixel] == ignore_index:
            continue
        probabilities = softmax(scores[pixel])
        probabilities[labels[pixel]] -= 1
        dscores[pixel] = dloss[pixel] * weight[pixel] * probabilities
    return dlogits


def binary_cross_entropy_with_logits_forward(logits, targets, weight=None, reduction="mean"):
    loss = np.zeros(logits.shape, logits.dtype)
    for place in np.ndindex(logits.shape):
        x, t = logits[place], targets[place]
        # -log sigmoid(x) = log(1 + exp(-x)), written so that exp sees no number above 0
        loss[place] = max(x, 0) - x * t + np.log1p(np.exp(-abs(x)))
        if weight is not None:
            loss[place] *= weight[place]
    return reduced(loss, logits.size, reduction), (logits, targets, weight, reduction)


def binary_cross_entropy_with_logits_backward(dy, saved):
    logits, targets, weight, reduction = saved
    dlogits = np.zeros(logits.shape, logits.dtype)
    dloss = spread(dy, logits.shape, logits.size, reduction)
    for place in np.ndindex(logits.shape):
        dlogits[place] = dloss[place] * (sigmoid(logits[place]) - targets[place])
        if weight is not None:
            dlogits[place] *= weight[place]
    return dlogits


def smooth_l1_forward(x, target, beta=1.0, reduction="mean"):
    loss = np.zeros(x.shape, x.dtype)
    for place in np.ndindex(x.shape):
        distance = abs(x[place] - target[place])
        loss[place] = distance**2 / (2 * beta) if distance < beta else distance - beta / 2
    return reduced(loss, x.size, reduction), (x, target, beta, reduction)


def smooth_l1_backward(dy, saved):
    x, target, beta, reduction = saved
    dx = np.zeros(x.shape, x.dtype)
    dloss = spread(dy, x.shape, x.size, reduction)
    for place in np.ndindex(x.shape):
        slope = (x[place] - target[place]) / beta
        dx[place] = dloss[place] * min(max(slope, -1), 1)
    return dx


def dice_forward(logits, labels, ignore_index=None, smooth=1.0):
    classes = logits.shape[1]
    scores = np.moveaxis(logits, 1, -1)
    p = np.zeros(scores.shape, logits.dtype)  # stay 0 at the pixels that are ignored, as the truth t does
    t = np.zeros(scores.shape, logits.dtype)
    for pixel in np.ndindex(labels.shape):
        if labels[pixel] != ignore_index:
            p[pixel] = softmax(scores[pixel])
            t[pixel][labels[pixel]] = 1
    both, either, overlap = (np.zeros(classes, logits.dtype) for _ in range(3))
    for c in range(classes):
        both[c] = 2 * (p[..., c] * t[..., c]).sum() + smooth
        either[c] = p[..., c].sum() + t[..., c].sum() + smooth
        overlap[c] = both[c] / either[c] if either[c] != 0 else 0
    return np.asarray(1 - overlap.mean(), logits.dtype), (p, t, either, overlap)


def dice_backward(dy, saved):
    p, t, either, overlap = saved
    classes = p.shape[-1]
    dlogits = np.zeros(p.shape[:1] + p.shape[-1:] + p.shape[1:-1], dy.dtype)
    dscores = np.moveaxis(dlogits, 1, -1)
    for pixel in np.ndindex(p.shape[:-1]):
        dp = np.zeros(classes, dy.dtype)
        for c in range(classes):
            if either[c] != 0:
                # overlap = both / either, both grows by 2 t with p, either by 1
                dp[c] = -dy / classes * (2 * t[pixel][c] - overlap[c]) / either[c]
        dscores[pixel] = through_softmax(dp, p[pixel])
    return dlogits


def reduced(loss, divisor, reduction):
    """The losses of all elements as the reduction wants them: each, their sum, or the sum over the divisor."""
    if reduction == "none":
        return loss
    if reduction == "sum":
        return np.asarray(loss.sum(), loss.dtype)
    return np.asarray(loss.sum() / divisor if divisor != 0 else 0, loss.dtype)


def spread(dy, shape, divisor, reduction):
    """The way back through `reduced`: the gradient by the loss of each element."""
    if reduction == "mean":
        dy = dy / divisor if divisor != 0 else np.zeros_like(dy)
    return np.broadcast_to(dy, shape)
