"""Non-maximum suppression: of boxes that overlap, the one of the highest score."""

import numpy as np

from minisegnet.cuda import arrays
from minisegnet.cuda.grids import blocks, ceil_div, thread_each

ROWS = 128  # of the mask that a block writes
WORD = 32  # boxes, a bit each


def nms(boxes, scores, iou_threshold):
    """The kept boxes' indices; how many they are is copied back, since their array has that size."""
    if len(boxes) == 0:
        return arrays.empty(0, np.int32, like=boxes)
    keep, count = suppress(boxes, scores, iou_threshold)
    return keep[: int(arrays.to_host(count)[0])]


def suppress(boxes, scores, iou_threshold):
    """keep (R,) and count (1,): the kept boxes' indices come first, so many of them. R is at least 1."""
    boxes, scores = arrays.contiguous(boxes), arrays.contiguous(scores)
    R, threshold = len(boxes), _rounded_down(iou_threshold)
    words = ceil_div(R, WORD)
    sorted_boxes = arrays.empty((R, 4), np.float32, like=boxes)
    order, keep, count = (arrays.empty(size, np.int32, like=boxes) for size in (R, R, 1))
    mask = arrays.empty((R, words), np.uint32, like=boxes)
    removed = arrays.zeros(words, np.uint32, like=boxes)
    thread_each("nms.cu", "nms_sort", R, boxes, scores, sorted_boxes, order, R)
    blocks("nms.cu", "nms_mask", (words, ceil_div(R, ROWS)), sorted_boxes, mask, threshold, R, block=ROWS)
    blocks("nms.cu", "nms_scan", 1, mask, order, removed, keep, count, R)
    return keep, count


def _rounded_down(threshold):
    """The largest float32 that is no larger: other float32s are above it where they are above the threshold itself."""
    near = np.float32(threshold)
    return near if float(near) <= threshold else np.nextafter(near, np.float32(0))
