"""Non-maximum suppression: of boxes that overlap, the one with the highest score."""

import numpy as np


def nms(boxes, scores, iou_threshold):
    keep = []
    for candidate in sorted(range(len(boxes)), key=lambda r: -scores[r]):  # of equal scores the first stays first
        if not any(_intersection_over_union(boxes[candidate], boxes[kept]) > iou_threshold for kept in keep):
            keep.append(candidate)
    return np.array(keep, np.int32)


def _intersection_over_union(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    intersection = width * height
    return float(intersection / (_area(a) + _area(b) - intersection))


def _area(box):
    return (box[2] - box[0]) * (box[3] - box[1])
