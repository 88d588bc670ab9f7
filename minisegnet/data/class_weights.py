"""Weights of the classes in a loss, so that rare ones count."""

from __future__ import annotations

import numpy as np

from minisegnet.data.loader import check_labels_inside
from minisegnet.data.sample import Dataset
from minisegnet.errors import DataError


def median_frequency_weights(dataset: Dataset) -> np.ndarray:
    """Weight of each class, (num_classes,) float32: the median of the classes' frequencies over the class's own.

    The frequency of a class is its pixels over all counted pixels of the images that it occurs in; ignored pixels count
    nowhere. A class that never occurs gets weight 1, that of a class of median frequency: the training loss never meets it.

    Raises DataError for a sample without labels or a data set without any labelled pixel, LabelError for a stray label.
    Source: Eigen & Fergus 2015, section 6.3.2.
    """
    num_classes, ignored = len(dataset.classes), dataset.ignore_index
    pixels = np.zeros(num_classes, np.int64)
    pixels_around = np.zeros(num_classes, np.int64)
    for index in range(len(dataset)):
        sample = dataset[index]
        if sample.labels is None:
            raise DataError(f"{sample.name} has no labels; class weights are computed from them")
        check_labels_inside(sample.labels, num_classes, ignored, sample.name)
        counted = sample.labels if ignored is None else sample.labels[sample.labels != ignored]
        here = np.bincount(counted.ravel(), minlength=num_classes)
        pixels += here
        pixels_around[here > 0] += here.sum()
    occurs = pixels > 0
    if not occurs.any():
        raise DataError("the data set has no labelled pixel, so there are no frequencies to weigh classes by")
    weights = np.ones(num_classes)
    frequency = pixels[occurs] / pixels_around[occurs]
    weights[occurs] = np.median(frequency) / frequency
    return weights.astype(np.float32)
