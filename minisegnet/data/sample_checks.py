"""The checks that a sample must pass before a network learns from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from minisegnet.data.resampling import height_and_width
from minisegnet.data.sample import Dataset, Sample
from minisegnet.errors import DataError, DtypeError, LabelError

DTYPES = {
    "image": np.float32,
    "labels": np.int32,
    "instances": np.int32,
    "pixel_weight": np.float32,
    "object_classes": np.int32,
    "object_crowd": np.bool_,
}


def check_sample(sample: Sample, dataset: Dataset, when: str = "") -> None:
    """A sample that fits what the data set says of itself.

    when  put behind the sample's name in a message, such as " after the transform"

    Raises DataError (no labels, no pixels, sizes that differ, channels, NaN or infinity, objects without a number of
    their own), DtypeError, and LabelError (a label or an object's class outside the classes), each with the sample's
    name.
    """
    name = sample.name + when
    for field, dtype in DTYPES.items():
        array = getattr(sample, field)
        if array is None and field != "image":
            continue
        if not isinstance(array, np.ndarray) or array.dtype != dtype:
            given = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            hint = " and divide by 255" if field == "image" and given == np.uint8 else ""
            raise DtypeError(
                f"{name}: {field} must be an array of {np.dtype(dtype)}; got {given}. "
                f"Convert it with .astype(np.{np.dtype(dtype)}){hint}"
            )
    height_and_width(replace(sample, name=name))
    if len(sample.image) != dataset.channels:
        raise DataError(
            f"{name}: the image has {len(sample.image)} channels, but those of the data set have {dataset.channels}"
        )
    check_finite(sample.image, f"{name}: the image")
    if sample.pixel_weight is not None:
        check_finite(sample.pixel_weight, f"{name}: pixel_weight")
    if sample.labels is None:
        raise DataError(f"{name} has no labels, so nothing can be learned from it; give the data set its masks")
    check_labels(sample.labels, len(dataset.classes), dataset.ignore_index, name)
    check_objects(sample, len(dataset.classes), name)


def check_finite(array: np.ndarray, name: str) -> None:
    """Raises DataError, counting them, for NaN or infinity."""
    finite = np.isfinite(array)
    if not finite.all():
        nan = int(np.isnan(array).sum())
        infinite = array.size - int(finite.sum()) - nan
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise DataError(
            f"{name} holds {nan} NaN and {infinite} infinite values of {array.size}, the first at {where}; "
            "mend or leave out this file"
        )


def check_labels(labels: np.ndarray, num_classes: int, ignore_index: int | None, name: str) -> None:
    """Raises LabelError, with the first one's value and place, for labels that are neither a class nor ignored."""
    if labels.size == 0 or (labels.min() >= 0 and labels.max() < num_classes):
        return
    stray = (labels < 0) | (labels >= num_classes)
    if ignore_index is not None:
        stray &= labels != ignore_index
    if not stray.any():
        return
    row, column = (int(i) for i in np.argwhere(stray)[0])
    value = int(labels[row, column])
    values = np.unique(labels[stray]).tolist()
    listed = ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")
    way_out = (
        f"if {value} means 'no class', open the data set with ignore_index={value}"
        if ignore_index is None
        else f"the ignore_index is {ignore_index}"
    )
    raise LabelError(
        f"{name}: label {value} at row {row}, column {column} is outside the classes 0 to {num_classes - 1} "
        f"({int(stray.sum())} of {labels.size} pixels are; their values: {listed}); {way_out}"
    )


def check_objects(sample: Sample, num_classes: int, name: str) -> None:
    """Raises DataError for object numbers that are none, LabelError for an object of the background or of no class."""
    if sample.instances is None:
        known = [field for field in ("object_classes", "object_crowd") if getattr(sample, field) is not None]
        if known:
            raise DataError(f"{name} has {known[0]} but no instances that say where the objects are")
        return
    lowest, highest = int(sample.instances.min(initial=0)), int(sample.instances.max(initial=0))
    if lowest < 0:
        raise DataError(f"{name}: instances number objects from 1, with 0 for none; got {lowest}")
    for field in ("object_classes", "object_crowd"):
        array = getattr(sample, field)
        if array is not None and (array.ndim != 1 or len(array) < highest):
            raise DataError(f"{name}: instances number objects up to {highest}, but {field} has shape {array.shape}")
    classes = sample.object_classes
    if classes is not None and len(classes) and not (classes.min() >= 1 and classes.max() < num_classes):
        number = int(np.argmax((classes < 1) | (classes >= num_classes)))
        raise LabelError(
            f"{name}: object {number + 1} is of class {classes[number]}; objects are of the classes 1 to "
            f"{num_classes - 1}, as 0 is the background"
        )
