"""Scores of a segmentation: how well predicted classes, or segments, agree with the truth."""

from minisegnet.metrics.confusion import ConfusionMatrix
from minisegnet.metrics.rand import (
    RandScore,
    best_rand_score,
    connected_segments,
    interior_rand_score,
    pixel_error,
    rand_score,
)

__all__ = [
    "ConfusionMatrix",
    "RandScore",
    "best_rand_score",
    "connected_segments",
    "interior_rand_score",
    "pixel_error",
    "rand_score",
]
