"""How samples become a batch: stacked into arrays, or kept apart for a detector."""

from __future__ import annotations

import numpy as np

from minisegnet.data.objects import DetectionBatch, targets_of
from minisegnet.data.sample import Batch, Sample
from minisegnet.errors import DataError


def stack(samples: list[Sample]) -> Batch:
    """Samples with labels as one batch.

    Raises DataError if their sizes differ, or if some have a pixel_weight and others not.
    """
    first = samples[0]
    for other in samples[1:]:
        if other.image.shape != first.image.shape:
            (h, w), (other_h, other_w) = first.image.shape[1:], other.image.shape[1:]
            raise DataError(
                f"images of one batch must have one size: {first.name} is {h} x {w} and {other.name} {other_h} x "
                f"{other_w}; give the loader a transform that makes them alike, such as RandomCrop or Resize, or "
                "batch_size=1"
            )
        if (other.pixel_weight is None) != (first.pixel_weight is None):
            bare, weighted = (first, other) if first.pixel_weight is None else (other, first)
            raise DataError(f"{weighted.name} has a pixel_weight and {bare.name} of the same batch has none")
    return Batch(
        np.stack([sample.image for sample in samples]),
        np.stack([sample.labels for sample in samples]),  # type: ignore[misc]
        [sample.name for sample in samples],
        None if first.pixel_weight is None else np.stack([sample.pixel_weight for sample in samples]),  # type: ignore
    )


def detection_batch(samples: list[Sample]) -> DetectionBatch:
    """Samples with instances as one batch, each of its own size. Raises what `targets_of` does."""
    return DetectionBatch(
        [sample.image for sample in samples],
        [targets_of(sample) for sample in samples],
        [sample.name for sample in samples],
    )
