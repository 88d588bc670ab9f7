"""How much detected and true objects of one image overlap, by their boxes or by their masks, as COCO counts it."""

from __future__ import annotations

import numpy as np

from minisegnet.data.run_length import RunLength, encode, intersection_over_union
from minisegnet.errors import OptionError
from minisegnet.metrics.objects import DetectedObjects, TrueObjects


def overlaps(detected: DetectedObjects, true: TrueObjects, kind: str) -> np.ndarray:
    """(D, G) intersection over union of "boxes" or "masks"; with a crowd, intersection over the detection's own area.

    Raises OptionError if the boxes, or masks, were not given.
    """
    crowd = crowds(true)
    if kind == "masks":
        return intersection_over_union(_masks(detected), _masks(true), crowd)
    first, second = _boxes(detected)[:, None], _boxes(true)[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    shared = np.prod(np.maximum(sides, 0), axis=2)
    area = areas(detected, kind)[:, None]
    union = np.where(crowd, area, area + _box_areas(second[0]) - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def areas(objects: DetectedObjects | TrueObjects, kind: str) -> np.ndarray:
    """(R,) float64: the pixels that each of the boxes, or masks, covers."""
    if kind == "boxes":
        return _box_areas(_boxes(objects))
    return np.array([mask.area for mask in _masks(objects)], float)


def true_areas(true: TrueObjects) -> np.ndarray:
    """(G,) float64: the areas by which true objects are small, medium or large; see `TrueObjects`."""
    if true.areas is not None:
        return np.asarray(true.areas, float)
    return areas(true, "boxes" if true.masks is None else "masks")


def crowds(true: TrueObjects) -> np.ndarray:
    """(G,) bool: which of the objects are crowds."""
    return np.zeros(len(true.labels), bool) if true.crowd is None else np.asarray(true.crowd).astype(bool)


def _boxes(objects: DetectedObjects | TrueObjects) -> np.ndarray:
    if objects.boxes is None:
        raise OptionError("an evaluation of boxes needs the boxes of true and of detected objects; some have none")
    return np.asarray(objects.boxes, float)


def _box_areas(boxes: np.ndarray) -> np.ndarray:
    return np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)


def _masks(objects: DetectedObjects | TrueObjects) -> list[RunLength]:
    if objects.masks is None:
        raise OptionError("an evaluation of masks needs the masks of true and of detected objects; some have none")
    return [encode(mask) if isinstance(mask, np.ndarray) else mask for mask in objects.masks]
