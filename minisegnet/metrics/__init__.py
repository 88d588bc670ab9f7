"""Scores of a segmentation: how well predicted classes, segments or objects agree with the truth."""

from minisegnet.metrics.average_precision import AveragePrecision
from minisegnet.metrics.confusion import ConfusionMatrix
from minisegnet.metrics.detection_scores import DetectionScores
from minisegnet.metrics.instance_matching import DATA_SCIENCE_BOWL, InstanceMatching, pair_instances
from minisegnet.metrics.objects import DetectedObjects, TrueObjects
from minisegnet.metrics.painting import painted
from minisegnet.metrics.rand import (
    RandScore,
    best_rand_score,
    connected_segments,
    interior_rand_score,
    pixel_error,
    rand_score,
)

__all__ = [
    "DATA_SCIENCE_BOWL",
    "AveragePrecision",
    "ConfusionMatrix",
    "DetectedObjects",
    "DetectionScores",
    "InstanceMatching",
    "RandScore",
    "TrueObjects",
    "best_rand_score",
    "connected_segments",
    "interior_rand_score",
    "painted",
    "pair_instances",
    "pixel_error",
    "rand_score",
]
