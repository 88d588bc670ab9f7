"""torchvision's detectors as an oracle, also where its compiled operators do not load.

On a PyTorch for the CPU alone, torchvision's wheel finds no operators, and then it cannot even be imported. Its
detectors are Python but for two of them, which stand here in plain PyTorch.
"""

import importlib.util
import sys
from pathlib import Path

import pytest

_libraries = []  # what is declared lasts as long as the object that declared it


def import_torchvision():
    """torchvision, its detectors ready to run; skips the test where it is not installed."""
    found = importlib.util.find_spec("torchvision")
    if found is None:
        pytest.skip("torchvision is not installed (pip install -e .[torch])")
    if "torchvision" not in sys.modules and not _operators_load(Path(found.origin).parent / "_C.so"):
        _stand_in()
    import torchvision

    return torchvision


def _operators_load(path):
    import torch

    try:
        torch.ops.load_library(str(path))
    except OSError:
        return False
    return True


def _stand_in():
    """Declare what torchvision's import asks for, and compute what its detectors call."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define(
        "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width, "
        "int sampling_ratio, bool aligned) -> Tensor"
    )
    library.impl("nms", nms, "CPU")
    library.impl("roi_align", roi_align, "CompositeImplicitAutograd")
    _libraries.append(library)

    import torchvision

    torchvision.extension._has_ops = lambda: True
    sys.modules["torchvision.ops.roi_align"]._has_ops = lambda: True


def nms(boxes, scores, iou_threshold):
    """Indices of the boxes kept, by decreasing score: of two that overlap by more, the lower-scored goes."""
    import torch

    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = torch.sort(scores, descending=True, stable=True).indices
    kept = []
    while len(left):
        first, left = left[0], left[1:]
        kept.append(first)
        start = torch.maximum(boxes[first, :2], boxes[left, :2])
        end = torch.minimum(boxes[first, 2:], boxes[left, 2:])
        shared = (end - start).clamp(min=0).prod(dim=1)
        left = left[~(shared / (areas[first] + areas[left] - shared) > iou_threshold)]
    return torch.stack(kept) if kept else torch.zeros(0, dtype=torch.int64)


def roi_align(features, rois, spatial_scale, height, width, sampling_ratio, aligned):
    """The mean of the features, interpolated linearly, over a grid of points in each bin.

    A point's value is a sum over the features of its row's weights by its column's, and so is the mean of a grid of
    points: each RoI is a matrix for its rows and one for its columns.
    """
    import torch

    answers = []
    for roi in rois:
        x1, y1, x2, y2 = roi[1:] * spatial_scale - (0.5 if aligned else 0)
        rows = _bins(y1, y2, height, features.shape[2], sampling_ratio, aligned)
        columns = _bins(x1, x2, width, features.shape[3], sampling_ratio, aligned)
        answers.append(rows @ features[int(roi[0])] @ columns.T)
    return torch.stack(answers) if answers else features.new_zeros(0, features.shape[1], height, width)


def _bins(start, end, bins, size, sampling_ratio, aligned):
    """(bins, size): how much each row of the features weighs in each bin of an RoI from `start` to `end`."""
    import torch

    length = end - start if aligned else (end - start).clamp(min=1)
    points = sampling_ratio if sampling_ratio > 0 else int(torch.ceil(length / bins))
    bin_length = length / bins
    steps = (torch.arange(points, dtype=start.dtype) + 0.5) * (bin_length / max(points, 1))
    places = start + torch.arange(bins, dtype=start.dtype)[:, None] * bin_length + steps
    inside = (places >= -1) & (places <= size)
    places = places.clamp(min=0, max=size - 1)
    distance = (places[..., None] - torch.arange(size, dtype=start.dtype)).abs()
    weights = (1 - distance).clamp(min=0) * inside[..., None]
    return weights.sum(dim=1) / max(points, 1)
