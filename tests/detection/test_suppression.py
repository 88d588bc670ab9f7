"""Suppression in groups: against torchvision's, and group by group."""

import numpy as np
import pytest
from torchvision_twin import import_torchvision

from minisegnet import functional
from minisegnet.detection.suppression import batched_nms
from minisegnet.errors import BoxError, DtypeError, ShapeError


def crowd(rng, count, dtype):
    """Boxes that overlap much, with some scores alike."""
    start = rng.uniform(0, 30, (count, 2))
    boxes = np.concatenate([start, start + rng.uniform(1, 30, (count, 2))], axis=1).astype(dtype)
    return boxes, rng.integers(0, 50, count).astype(dtype) / 50, rng.integers(-1, 4, count)


@pytest.mark.torch
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [1, 120, 1100])
@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_as_torchvision(seed, count, threshold):
    # Of float64: torchvision moves the groups of less than a thousand boxes apart, and rounds.
    import torch

    nms = import_torchvision().ops.batched_nms
    boxes, scores, groups = crowd(np.random.default_rng(seed), count, "f8")
    scores += np.arange(count) * 1e-9  # torchvision's order of equals is chance
    wanted = nms(*map(torch.from_numpy, (boxes, scores, groups)), threshold)
    assert batched_nms(boxes, scores, groups, threshold).tolist() == wanted.tolist()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(3))
def test_a_group_is_suppressed_as_if_alone(dtype, seed):
    boxes, scores, groups = crowd(np.random.default_rng(seed), 150, dtype)
    keep = batched_nms(boxes, scores, groups, 0.5)
    assert keep.dtype == np.int32
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        alone = members[functional.nms(boxes[members], scores[members], 0.5)]
        assert keep[groups[keep] == group].tolist() == alone.tolist()
    order = np.lexsort((keep, -scores[keep]))
    assert keep.tolist() == keep[order].tolist()


def test_the_same_box_of_two_groups_stays_twice():
    boxes = np.array([[0, 0, 4, 4]] * 3, "f4")
    assert batched_nms(boxes, np.array([0.5, 0.9, 0.5], "f4"), np.array([7, 2, 7]), 0.5).tolist() == [1, 0]


def test_far_from_the_origin_as_near_it():
    # Groups moved apart by the size of such an image would lose every second pixel in float32.
    boxes = np.array([[0, 0, 2, 2], [1, 0, 3, 2]], "f4") + np.float32(2**22)
    groups = np.array([90, 90])
    assert batched_nms(boxes, np.array([0.5, 0.9], "f4"), groups, 0.34).tolist() == [1, 0]
    assert batched_nms(boxes, np.array([0.5, 0.9], "f4"), groups, 0.33).tolist() == [1]


def test_nothing_to_suppress():
    keep = batched_nms(np.zeros((0, 4), "f4"), np.zeros(0, "f4"), np.zeros(0, int), 0.5)
    assert keep.shape == (0,)
    assert keep.dtype == np.int32


def test_what_does_not_fit():
    boxes, scores, groups = crowd(np.random.default_rng(0), 3, "f4")
    with pytest.raises(ShapeError, match="must have one shape"):
        batched_nms(boxes, scores, groups[:2], 0.5)
    with pytest.raises(DtypeError, match="integers"):
        batched_nms(boxes, scores, groups.astype("f4"), 0.5)
    with pytest.raises(BoxError, match="NaN"):
        batched_nms(boxes, scores * np.nan, groups, 0.5)
