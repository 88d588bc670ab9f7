"""The features of each region, read by RoIAlign from the level of the pyramid that fits the region's size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minisegnet import functional
from minisegnet.cuda import arrays
from minisegnet.in_place import added

# A region of exactly the canonical size belongs to the canonical level, whatever its area's last bit says.
TOLERANCE = 1e-6


def pyramid_levels(
    boxes: np.ndarray, strides: Sequence[int], canonical_size: float = 224.0, canonical_level: int = 4
) -> np.ndarray:
    """Which of the levels each box is read from, (R,) int: k = floor(k0 + log2(sqrt(w h) / canonical_size)).

    boxes             (R, 4)  in the image's pixels; one of no area belongs to the finest level
    strides           of the levels there are, the finest first, each twice the one before: level k has stride 2**k,
                      and boxes beyond the finest or the coarsest belong to that
    canonical_size    the side of a box that is read from level k0, canonical_level; 224 is that of ImageNet's images

    Source: Lin et al. 2017, Feature pyramid networks, equation 1.
    """
    widths, heights = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).T
    sizes = np.maximum(np.sqrt(widths * heights), np.finfo(boxes.dtype).tiny)
    levels = np.floor(canonical_level + np.log2(sizes / canonical_size) + TOLERANCE)
    finest = round(np.log2(strides[0]))
    return np.clip(levels - finest, 0, len(strides) - 1).astype(np.int32)


def pyramid_roi_align_forward(
    features: Sequence[np.ndarray],
    regions: np.ndarray,
    levels: np.ndarray,
    strides: Sequence[int],
    output_size: int,
    sampling_ratio: int = 2,
    aligned: bool = False,
) -> tuple[np.ndarray, Any]:
    """RoIAlign of each region on the level chosen for it; see `functional.roi_align_forward`.

    features   of each level, (N, C, h, w), where they are to be computed with; regions and levels in NumPy's arrays
    regions    (R, 5)       image number, x1, y1, x2, y2 in the image's pixels
    levels     (R,)    int  from `pyramid_levels`

    Returns y (R, C, output_size, output_size) and the cache. Differentiable: features.
    Source: He et al. 2017, Mask R-CNN, section 3.
    """
    shape = (len(regions), features[0].shape[1], output_size, output_size)
    y = arrays.empty(shape, features[0].dtype, like=features[0])
    caches = []
    for level, (x, stride) in enumerate(zip(features, strides, strict=True)):
        chosen = np.flatnonzero(levels == level)
        of_level = arrays.beside(x, regions[chosen])
        chosen = arrays.beside(x, chosen)
        y[chosen], cache = functional.roi_align_forward(x, of_level, output_size, 1 / stride, sampling_ratio, aligned)
        caches.append((chosen, cache))
    return y, caches


def pyramid_roi_align_backward(dy: np.ndarray, cache: Any) -> list[np.ndarray]:
    """Gradients of `pyramid_roi_align_forward` by the features of each level."""
    return [functional.roi_align_backward(dy[chosen], level) for chosen, level in cache]


def summed(several: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Gradients by the features of each level, added over the heads that read them."""
    total = list(several[0])
    for gradients in several[1:]:
        total = [added(a, b) for a, b in zip(total, gradients, strict=True)]
    return total
