"""The five losses of Mask R-CNN, each with its gradient by what the network said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minisegnet import functional
from minisegnet.detection.anchors import as_maps, by_anchor
from minisegnet.detection.targets import AnchorTargets


class Loss(NamedTuple):
    """A loss, and its gradient by the array that it is a function of, of that array's shape."""

    value: float
    gradient: np.ndarray


def objectness_loss(logits: np.ndarray, sampled: np.ndarray, is_object: np.ndarray) -> Loss:
    """Mean cross entropy of the sampled anchors' logits: is it an object? 0 where none is sampled.

    logits     (T,)       of all anchors of all images
    sampled    (S,)  int  those that count
    is_object  (S,)  bool

    Source: Ren et al. 2015, equation 1, first term.
    """
    chosen = logits[sampled]
    loss, cache = functional.binary_cross_entropy_with_logits_forward(chosen, is_object.astype(logits.dtype))
    dchosen = functional.binary_cross_entropy_with_logits_backward(1.0, cache)
    return Loss(float(loss), scattered(dchosen, sampled, logits))


def box_loss(deltas: np.ndarray, chosen: Any, targets: np.ndarray, count: int, beta: float) -> Loss:
    """Smooth L1 between deltas and their targets, summed over those of objects, divided by the number of all sampled.

    deltas    (..., 4)
    chosen    the index of each object's delta in it, int (P,) or a tuple of these
    targets   (P, 4)
    count     of sampled anchors or regions, objects and background
    beta      where the parabola meets the lines

    Source: Ren et al. 2015, equation 1, second term; Girshick 2015, Fast R-CNN, equations 2 and 3.
    """
    loss, cache = functional.smooth_l1_forward(deltas[chosen], targets.astype(deltas.dtype), beta, "sum")
    dchosen = functional.smooth_l1_backward(1 / max(count, 1), cache)
    return Loss(float(loss) / max(count, 1), scattered(dchosen, chosen, deltas))


def proposal_losses(
    objectness: Sequence[np.ndarray], deltas: Sequence[np.ndarray], samples: Sequence[AnchorTargets], beta: float
) -> tuple[dict[str, float], list[np.ndarray]]:
    """The two losses of the region proposal network over a batch; see `objectness_loss` and `box_loss`.

    objectness  of each level (N, A, h, w), logits
    deltas      of each level (N, 4 A, h, w)
    samples     of each of the N images, numbered through the anchors of all levels

    Returns the losses by name, and their gradients by the objectness of each level, then by the deltas of each.
    """
    logits = np.concatenate([by_anchor(level, 1) for level in objectness], axis=1)
    boxes = np.concatenate([by_anchor(level, 4) for level in deltas], axis=1)
    count = logits.shape[1]  # of anchors in each image
    positives = np.concatenate([n * count + one.positives for n, one in enumerate(samples)])
    negatives = np.concatenate([n * count + one.negatives for n, one in enumerate(samples)])
    sampled = np.concatenate([positives, negatives])
    seen = objectness_loss(logits.reshape(-1), sampled, np.arange(len(sampled)) < len(positives))
    wanted = np.concatenate([one.deltas for one in samples])
    placed = box_loss(boxes.reshape(-1, 4), positives, wanted, len(sampled), beta)

    shapes = [level.shape[2:] for level in objectness]
    ends = np.cumsum([level[0].size for level in objectness])[:-1]  # of the levels among an image's anchors
    gradients = [
        as_maps(rows, shape)
        for gradient in (seen.gradient.reshape(logits.shape), placed.gradient.reshape(boxes.shape))
        for rows, shape in zip(np.split(gradient, ends, axis=1), shapes, strict=True)
    ]
    return {"rpn_objectness": seen.value, "rpn_box": placed.value}, gradients


def class_loss(scores: np.ndarray, labels: np.ndarray) -> Loss:
    """Mean cross entropy of the regions' classes, the background one of them; 0 without regions.

    scores   (R, K)       before softmax
    labels   (R,)    int  0 to K - 1

    Source: Girshick 2015, Fast R-CNN, section 2.3.
    """
    loss, cache = functional.softmax_cross_entropy_forward(scores, labels)
    return Loss(float(loss), functional.softmax_cross_entropy_backward(1.0, cache))


def mask_loss(logits: np.ndarray, labels: np.ndarray, targets: np.ndarray) -> Loss:
    """Mean binary cross entropy of each object's mask, that of its own class alone; 0 without objects.

    logits   (P, K, m, m)
    labels   (P,)       int  1 to K - 1
    targets  (P, m, m)       0 to 1

    Source: He et al. 2017, Mask R-CNN, section 3 ("other mask outputs do not contribute to the loss").
    """
    chosen = (np.arange(len(labels)), labels)
    loss, cache = functional.binary_cross_entropy_with_logits_forward(logits[chosen], targets.astype(logits.dtype))
    dchosen = functional.binary_cross_entropy_with_logits_backward(1.0, cache)
    return Loss(float(loss), scattered(dchosen, chosen, logits))


def scattered(gradient: np.ndarray, chosen: Any, like: np.ndarray) -> np.ndarray:
    """The gradient by an array of which only the chosen elements, each once, were read: zeros elsewhere."""
    whole = np.zeros_like(like)
    whole[chosen] = gradient
    return whole
