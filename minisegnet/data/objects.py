"""The objects of a sample, one by one: what a detector learns from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minisegnet.data.file_dataset import LARGEST_NUMBER
from minisegnet.data.run_length import RunLength, encode_numbered, merge
from minisegnet.data.sample import Sample
from minisegnet.errors import DataError, LabelError


@dataclass(frozen=True, eq=False)
class Objects:
    """G objects in the order of their numbers; each has at least one pixel.

    boxes    (G, 4)     float32, x1, y1, x2, y2, around the pixels whole: x2 is the last column + 1
    labels   (G,)       int32, their classes, from 1
    masks    (G, H, W)  bool, made when indexed; see `ObjectMasks`
    crowd    (G,)       bool, outlines of many objects together
    """

    boxes: np.ndarray
    labels: np.ndarray
    masks: ObjectMasks
    crowd: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Any) -> Objects:
        """Those that a slice, an array of indices or a mask of bool chooses."""
        masks = ObjectMasks(self.masks.instances, self.masks.numbers[chosen])
        return Objects(self.boxes[chosen], self.labels[chosen], masks, self.crowd[chosen])

    def run_lengths(self) -> list[RunLength]:
        """The masks in run lengths, which stay small whatever the image."""
        layers = [encode_numbered(layer, self.masks.numbers) for layer in self.masks.instances]
        return [merge(parts) for parts in zip(*layers, strict=True)]


@dataclass(frozen=True, eq=False)
class DetectionBatch:
    """Samples for a detector, which may differ in size.

    images   N images (C, H, W) float32
    targets  N times the objects to find
    names    N names
    """

    images: list[np.ndarray]
    targets: list[Objects]
    names: list[str]


class ObjectMasks:
    """The masks (G, H, W) of objects, kept as the maps in which they are numbered: 375 nuclei cost as much as one.

    instances  (L, H, W)  int32, as in `Sample`
    numbers    (G,)       the number of each object

    Indexed as an array of bool is, and each time made anew; np.asarray makes them all.
    """

    dtype = np.dtype(bool)
    ndim = 3

    def __init__(self, instances: np.ndarray, numbers: np.ndarray) -> None:
        self.instances, self.numbers = instances, numbers

    @property
    def shape(self) -> tuple[int, int, int]:
        return (len(self.numbers), *self.instances.shape[1:])

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Masks by index, slice or array; rows and columns behind it cut windows out: masks[3, 10:20, 5:9]."""
        chosen, *window = key if isinstance(key, tuple) else (key,)
        numbers = self.numbers[chosen]
        of_all_layers = (slice(None), *window)
        maps = self.instances[of_all_layers]
        numbers = numbers.reshape(numbers.shape + (1,) * (maps.ndim - 1))
        mask = np.zeros(np.broadcast_shapes(numbers.shape, maps.shape[1:]), bool)
        for layer in maps:
            mask |= layer == numbers
        return mask

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)


def objects_of(sample: Sample) -> Objects:
    """All objects of which the sample shows a pixel, crowds too.

    Raises DataError for a sample without instances; LabelError for an object that has no class: it is not among
    object_classes, or where there are none, no pixel of it has a label above 0.
    """
    from scipy import ndimage  # which takes a fifth of a second and 20 MB to import

    if sample.instances is None:
        raise DataError(
            f"{sample.name} has no instances, so its objects are not known; open data with object masks: shapes, "
            "nuclei:FOLDER, coco:FOLDER, via:FOLDER, or folder:FOLDER with instances=True"
        )
    instances = sample.instances.reshape(-1, *sample.instances.shape[-2:])
    if (highest := instances.max(initial=0)) > max(LARGEST_NUMBER, instances.size):
        raise DataError(f"{sample.name}: instances number objects up to {highest}; number them 1, 2, 3, ...")
    windows = {number: window for number, window in enumerate(ndimage.find_objects(instances), 1) if window}
    numbers = np.array(list(windows), np.int32)
    boxes = [(columns.start, rows.start, columns.stop, rows.stop) for _, rows, columns in windows.values()]
    labels = _labels_below(sample, numbers) if sample.object_classes is None else _labels_given(sample, numbers)
    crowd = np.zeros(len(numbers), bool) if sample.object_crowd is None else sample.object_crowd[numbers - 1]
    return Objects(
        np.array(boxes, np.float32).reshape(-1, 4), labels.astype(np.int32), ObjectMasks(instances, numbers), crowd
    )


def targets_of(sample: Sample) -> Objects:
    """The objects that a detector learns from: all but the crowds, whose single objects nobody has outlined."""
    objects = objects_of(sample)
    return objects[~objects.crowd]


def _labels_given(sample: Sample, numbers: np.ndarray) -> np.ndarray:
    assert sample.object_classes is not None
    if len(numbers) and numbers[-1] > len(sample.object_classes):
        raise LabelError(f"{sample.name}: object {numbers[-1]} has no class; {len(sample.object_classes)} are given")
    return sample.object_classes[numbers - 1]


def _labels_below(sample: Sample, numbers: np.ndarray) -> np.ndarray:
    """The label that most of each object's pixels have, the background aside."""
    if sample.labels is None:
        raise LabelError(f"{sample.name} has objects but neither object_classes nor labels that tell their classes")
    assert sample.instances is not None
    ranks = np.zeros(numbers.max(initial=0) + 1, np.int64)
    ranks[numbers] = np.arange(len(numbers))
    known = (sample.instances > 0) & (sample.labels > 0)
    found = np.broadcast_to(sample.labels, known.shape)[known]
    classes = int(found.max(initial=0)) + 1
    votes = np.bincount(ranks[sample.instances[known]] * classes + found, minlength=len(numbers) * classes)
    votes = votes.reshape(-1, classes)
    if not votes.any(axis=1).all():
        number = numbers[np.argmin(votes.any(axis=1))]
        raise LabelError(f"{sample.name}: all pixels of object {number} are labelled as background, so it has no class")
    return votes.argmax(axis=1)
