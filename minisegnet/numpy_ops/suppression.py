"""Non-maximum suppression by matrices of overlaps, of a block of boxes at a time with all that come after it."""

import numpy as np

BLOCK = 128  # boxes; the matrix of 128 with 20000 others takes 10 MB


def nms(boxes, scores, iou_threshold):
    threshold = _rounded_down(iou_threshold, boxes.dtype)
    rest = np.argsort(-scores, kind="stable")
    keep = [rest[:0]]
    while rest.size:
        block, rest = rest[:BLOCK], rest[BLOCK:]
        block = block[_greedy(_overlap(boxes[block], boxes[block], threshold))]
        rest = rest[~_overlap(boxes[block], boxes[rest], threshold).any(axis=0)]
        keep.append(block)
    return np.concatenate(keep).astype(np.int32)


def _greedy(overlap):
    """Which boxes, from the first, overlap none that was kept before them."""
    kept = np.ones(len(overlap), bool)
    for i in range(len(overlap)):
        if kept[i]:
            kept[i + 1 :] &= ~overlap[i, i + 1 :]
    return kept


def _overlap(a, b, threshold):
    """Whether the intersection over union of boxes a (A, 4) and b (B, 4) is above the threshold, (A, B)."""
    ax1, ay1, ax2, ay2 = a.T[:, :, None]
    bx1, by1, bx2, by2 = b.T
    zero = a.dtype.type(0)
    intersection = np.maximum(np.minimum(ax2, bx2) - np.maximum(ax1, bx1), zero)
    intersection *= np.maximum(np.minimum(ay2, by2) - np.maximum(ay1, by1), zero)
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - intersection
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0, of boxes of no area, is above no threshold
        return intersection / union > threshold


def _rounded_down(threshold, dtype):
    """The largest number of a type that is no larger: another of the type is above both or above neither."""
    near = dtype.type(threshold)
    return near if float(near) <= threshold else np.nextafter(near, dtype.type(0))
