"""Losses: the last layer of training, whose output is one number."""

import numpy as np

from minisegnet import checks, functional
from minisegnet.layers.base import Layer


class CrossEntropyLoss(Layer):
    """-log softmax(logits)[label] at each pixel; see `functional.softmax_cross_entropy_forward`.

        loss, cache = layer.forward(logits, labels)
        dlogits = layer.backward(1.0, cache)

    weight         (num_classes,) or None, one factor for each class, kept as a float32 buffer as in PyTorch
    ignore_index   label that counts for nothing, or None
    reduction      "mean", "sum" or "none"
    """

    def __init__(self, weight=None, ignore_index=None, reduction="mean"):
        super().__init__()
        self.ignore_index, self.reduction = ignore_index, checks.reduction(reduction)
        if weight is not None:
            self.buffers["weight"] = np.array(weight, np.float32)

    @property
    def weight(self):
        """The class weights in force, or None."""
        return self.buffers.get("weight")

    def forward(self, logits, labels, pixel_weight=None):
        """Loss of logits (N, C, ...) for labels (N, ...), each pixel's times pixel_weight (N, ...) if given."""
        return functional.softmax_cross_entropy_forward(
            logits, labels, self.weight, self.ignore_index, pixel_weight, self.reduction
        )

    def backward(self, dloss, cache):
        return functional.softmax_cross_entropy_backward(dloss, cache)

    def output_shape(self, logits, labels, pixel_weight=None):
        return tuple(labels) if self.reduction == "none" else ()


class BCEWithLogitsLoss(Layer):
    """Cross entropy of independent yes-or-no answers; see `functional.binary_cross_entropy_with_logits_forward`."""

    def __init__(self, reduction="mean"):
        super().__init__()
        self.reduction = checks.reduction(reduction)

    def forward(self, logits, targets, weight=None):
        return functional.binary_cross_entropy_with_logits_forward(logits, targets, weight, self.reduction)

    def backward(self, dloss, cache):
        return functional.binary_cross_entropy_with_logits_backward(dloss, cache)

    def output_shape(self, logits, targets, weight=None):
        return tuple(logits) if self.reduction == "none" else ()


class SmoothL1Loss(Layer):
    """Squared near zero, absolute beyond beta; see `functional.smooth_l1_forward`."""

    def __init__(self, reduction="mean", beta=1.0):
        super().__init__()
        self.reduction, self.beta = checks.reduction(reduction), beta
        checks.positive("SmoothL1Loss", beta=beta)

    def forward(self, x, target):
        return functional.smooth_l1_forward(x, target, self.beta, self.reduction)

    def backward(self, dloss, cache):
        return functional.smooth_l1_backward(dloss, cache)

    def output_shape(self, x, target):
        return tuple(x) if self.reduction == "none" else ()


class DiceLoss(Layer):
    """One minus the mean overlap of the classes; see `functional.dice_forward`."""

    def __init__(self, ignore_index=None, smooth=1.0):
        super().__init__()
        self.ignore_index, self.smooth = ignore_index, smooth
        checks.not_negative("DiceLoss", smooth=smooth)

    def forward(self, logits, labels):
        return functional.dice_forward(logits, labels, self.ignore_index, self.smooth)

    def backward(self, dloss, cache):
        return functional.dice_backward(dloss, cache)

    def output_shape(self, logits, labels):
        return ()
