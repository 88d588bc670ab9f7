"""Weights that make rare classes count in the loss."""

from __future__ import annotations

import numpy as np

from minisegnet.data.sample import Dataset
from minisegnet.data.sample_checks import check_labels
from minisegnet.errors import DataError


def median_frequency(dataset: Dataset) -> np.ndarray:
    """(num_classes,) float32: median of freq / freq(c), for `class_weight` of the cross entropy.

    freq(c) is the number of pixels of class c, divided by that of all pixels in the images where c occurs; ignored
    pixels do not count. The median is that of the classes that occur. A class that never does has the weight 1: there
    is nothing to balance, and a stray pixel of it elsewhere counts like any.

    Raises DataError for a data set without images or a sample without labels, LabelError for a label outside the
    classes. Source: Eigen and Fergus 2015, section 4.2 of their paper on depth, normals and labels.
    """
    classes = len(dataset.classes)
    pixels = np.zeros(classes, np.int64)
    where_present = np.zeros(classes, np.int64)
    if len(dataset) == 0:
        raise DataError("median_frequency: the data set is empty, so no class has a frequency")
    for i in range(len(dataset)):
        sample = dataset[i]
        if sample.labels is None:
            raise DataError(f"median_frequency: {sample.name} has no labels")
        check_labels(sample.labels, classes, dataset.ignore_index, sample.name)
        known = (sample.labels >= 0) & (sample.labels < classes)  # the others, after the check, are ignored
        if dataset.ignore_index is not None:
            known &= sample.labels != dataset.ignore_index
        count = np.bincount(sample.labels[known], minlength=classes)
        pixels += count
        where_present += np.where(count > 0, count.sum(), 0)
    present = pixels > 0
    frequency = pixels[present] / where_present[present]
    weights = np.ones(classes, np.float32)
    if present.any():
        weights[present] = np.median(frequency) / frequency
    return weights
