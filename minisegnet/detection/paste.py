"""Masks of m x m probabilities brought from their boxes into the image, at sub-pixel accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, floor

import numpy as np


def paste(masks: np.ndarray, boxes: np.ndarray, image_size: tuple[int, int], threshold: float = 0.5) -> np.ndarray:
    """Which pixels of the image belong to each object, bool (R, H, W): those whose probability is above the threshold.

    masks   (R, m, m)  probabilities; cell (i, j) is centred in its m-th parts of the box
    boxes   (R, 4)     x1, y1, x2, y2 in the image's pixels, anywhere; one of no area has no pixels

    A pixel's probability is interpolated between the four cells around its centre, with zeros around the mask: the
    same as the paste of the mask with a ring of zeros into a box that is as much larger.
    Source: He et al. 2017, Mask R-CNN, section 3.1 ("resized to the RoI size, and binarized at a threshold of 0.5").
    """
    H, W = image_size
    pasted = np.zeros((len(masks), H, W), bool)
    for i, (rows, columns, probabilities) in enumerate(windows(masks, boxes, image_size)):
        pasted[i, rows, columns] = probabilities > threshold
    return pasted


def paste_as_instances(
    masks: np.ndarray, boxes: np.ndarray, image_size: tuple[int, int], threshold: float = 0.5
) -> np.ndarray:
    """The same as one map, int32 (H, W): 0 where there is nothing, i + 1 at the pixels of mask i.

    Where several claim a pixel the first has it, the one of the best score where detections are in their order.
    """
    instances = np.zeros(image_size, np.int32)
    for i, (rows, columns, probabilities) in enumerate(windows(masks, boxes, image_size), start=1):
        there = instances[rows, columns]
        there[(probabilities > threshold) & (there == 0)] = i
    return instances


def windows(
    masks: np.ndarray, boxes: np.ndarray, image_size: tuple[int, int]
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """For each mask the rows and columns of the image that it reaches, and the probability of each pixel there."""
    H, W = image_size
    m = masks.shape[-1]
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(np.float64), strict=True):
        rows, vertical = interpolation(y1, y2, m, H)
        columns, horizontal = interpolation(x1, x2, m, W)
        yield rows, columns, vertical @ mask @ horizontal.T


def interpolation(low: float, high: float, m: int, size: int) -> tuple[slice, np.ndarray]:
    """The pixels of a line of `size` that m cells from low to high reach, and the weight of each cell there.

    The weights (pixels, m) are tents about the centres of the cells: 1 at the centre, 0 at the next cell's.
    """
    cell = (high - low) / m
    if not cell > 0:
        return slice(0, 0), np.zeros((0, m))
    first, stop = (int(np.clip(end, 0, size)) for end in (floor(low - cell / 2), ceil(high + cell / 2)))
    places = (np.arange(first, stop) + 0.5 - low) / cell - 0.5
    return slice(first, stop), np.maximum(0, 1 - np.abs(places[:, None] - np.arange(m)))
