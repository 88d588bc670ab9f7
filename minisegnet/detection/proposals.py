"""From what the region proposal network says of every anchor to a few boxes that may hold an object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minisegnet import functional
from minisegnet.detection import boxes as box
from minisegnet.detection.anchors import by_anchor
from minisegnet.detection.settings import DetectionSettings
from minisegnet.detection.suppression import batched_nms
from minisegnet.errors import BoxError, ShapeError


@dataclass(frozen=True)
class Proposals:
    """The proposals of one image, by decreasing score, and the candidates that they were chosen from.

    boxes              (P, 4)  inside the image
    scores             (P,)    how likely each holds an object, 0 to 1
    levels             (P,)    int32, which level's anchors each came from
    candidates, candidate_scores, candidate_levels   the same before suppression, level by level
    """

    boxes: np.ndarray
    scores: np.ndarray
    levels: np.ndarray
    candidates: np.ndarray
    candidate_scores: np.ndarray
    candidate_levels: np.ndarray


def propose(
    objectness: Sequence[np.ndarray],
    deltas: Sequence[np.ndarray],
    anchors: Sequence[np.ndarray],
    image_sizes: Sequence[tuple[int, int]],
    settings: DetectionSettings,
    training: bool,
) -> list[Proposals]:
    """The proposals of each image: its best anchors of each level, moved by their deltas, without repetitions.

    objectness   for each level (N, A, h, w), logits
    deltas       for each level (N, 4 A, h, w)
    anchors      for each level (h w A, 4), see `anchors.anchors`
    image_sizes  (H, W) of each of the N images, without what it was padded by
    settings     candidates_per_level, proposals_per_image, proposal_nms, smallest_proposal
    training     which of the two numbers of candidates and proposals

    Returns N Proposals; one may hold none. No gradient goes back through where a proposal lies. Raises ShapeError for
    levels that do not fit one another, BoxError for objectness or deltas that are NaN or infinite.
    Source: Ren et al. 2015, section 3.3; by level: Lin et al. 2017, section 4.1.
    """
    if not len(objectness) == len(deltas) == len(anchors):
        raise ShapeError(
            f"propose: as many levels of each; got objectness of {len(objectness)}, deltas of {len(deltas)} and "
            f"anchors of {len(anchors)}"
        )
    logits = [by_anchor(level, 1)[..., 0] for level in objectness]
    moves = [by_anchor(level, 4) for level in deltas]
    for level, (logit, move, anchor) in enumerate(zip(logits, moves, anchors, strict=True)):
        wanted = (len(image_sizes), len(anchor))
        if logit.shape != wanted or move.shape[:2] != wanted:
            raise ShapeError(
                f"propose: level {level} has {wanted[1]} anchors for {wanted[0]} images; got objectness "
                f"{objectness[level].shape} and deltas {deltas[level].shape}"
            )
        _check_finite(level, logit, move)
    most, few = (pair[0 if training else 1] for pair in (settings.candidates_per_level, settings.proposals_per_image))
    return [
        _of_image([logit[n] for logit in logits], [move[n] for move in moves], anchors, size, settings, most, few)
        for n, size in enumerate(image_sizes)
    ]


def _best(scores: np.ndarray, count: int) -> np.ndarray:
    """The numbers of the `count` largest of scores (R,), by decreasing score, equals by increasing number."""
    if count >= len(scores):
        return np.argsort(-scores, kind="stable")
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    candidates = np.flatnonzero(scores >= least)
    return candidates[np.argsort(-scores[candidates], kind="stable")][:count]


def _of_image(
    logits: list[np.ndarray],
    deltas: list[np.ndarray],
    anchors: Sequence[np.ndarray],
    image_size: tuple[int, int],
    settings: DetectionSettings,
    most: int,
    few: int,
) -> Proposals:
    candidates, scores, levels = [], [], []
    for level, (logit, delta, anchor) in enumerate(zip(logits, deltas, anchors, strict=True)):
        chosen = _best(logit, most)
        decoded = box.decode(delta[chosen], anchor[chosen], settings.rpn_weights)[:, 0]
        candidates.append(box.clip(decoded, image_size))
        scores.append(functional.sigmoid_forward(logit[chosen])[0])
        levels.append(np.full(len(chosen), level, np.int32))
    boxes, score, level_of = np.concatenate(candidates), np.concatenate(scores), np.concatenate(levels)
    large = box.sides_of_at_least(boxes, settings.smallest_proposal)
    boxes, score, level_of = boxes[large], score[large], level_of[large]
    keep = batched_nms(boxes, score, level_of, settings.proposal_nms)[:few]
    return Proposals(boxes[keep], score[keep], level_of[keep], boxes, score, level_of)


def _check_finite(level: int, logit: np.ndarray, delta: np.ndarray) -> None:
    for name, values in (("objectness", logit), ("deltas", delta)):
        if not np.isfinite(values).all():
            raise BoxError(
                f"the {name} of level {level} are NaN or infinite for {int((~np.isfinite(values)).sum())} of "
                f"{values.size} values. In training, try a lower learning rate or longer warm-up; else check that the "
                "image is normalised and holds no NaN, and that all weights were loaded"
            )
