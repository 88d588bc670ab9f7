"""Regions read from a pyramid: which level each is of, beside torchvision, and the gradients of what is read."""

import numpy as np
import pytest
from conftest import assert_close

from minisegnet import functional
from minisegnet.detection.roi_features import (
    pyramid_levels,
    pyramid_roi_align_backward,
    pyramid_roi_align_forward,
    summed,
)

STRIDES = (4, 8, 16, 32)


def squares(*sides):
    return np.array([(10, 20, 10 + side, 20 + side) for side in sides], np.float64)


def test_levels_by_hand():
    """224 x 224 belongs to stride 16; each doubling is one level up, and there is nothing beyond the last ones."""
    levels = pyramid_levels(squares(0, 1, 55, 111.9, 112, 223.9, 224, 447, 448, 5000), STRIDES)
    assert levels.tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert pyramid_levels(squares(3, 28, 56, 112), STRIDES, canonical_size=56).tolist() == [0, 1, 2, 3]
    assert pyramid_levels(squares(3, 20, 40, 80), (2, 4), 20, 2).tolist() == [0, 1, 1, 1]
    assert pyramid_levels(squares(1, 1000), (16,)).tolist() == [0, 0]
    assert pyramid_levels(np.zeros((0, 4), np.float32), STRIDES).shape == (0,)


def test_boxes_of_no_area_belong_to_the_finest():
    boxes = np.array([[5, 5, 5, 900], [9, 9, 3, 3], [0, 0, 0, 0]], np.float32)
    assert pyramid_levels(boxes, STRIDES).tolist() == [0, 0, 0]


@pytest.mark.torch
@pytest.mark.parametrize("strides, dtype", [(STRIDES, np.float64), (STRIDES, np.float32), ((2, 4, 8), np.float64)])
def test_levels_beside_torchvision(strides, dtype):
    from torchvision_twin import import_torchvision

    import_torchvision()
    import torch
    from torchvision.ops.poolers import initLevelMapper

    rng = np.random.default_rng(len(strides))
    corners = rng.uniform(0, 300, (500, 2))
    boxes = np.concatenate([corners, corners + 2 ** rng.uniform(0, 10, (500, 2))], axis=1)
    boxes = np.concatenate([boxes, squares(28, 56, 112, 224, 448, 896)]).astype(dtype)
    lowest, highest = int(np.log2(strides[0])), int(np.log2(strides[-1]))
    wanted = initLevelMapper(lowest, highest, 224, 4)([torch.tensor(boxes)]).numpy()
    assert (pyramid_levels(boxes, strides) == wanted).all()
    assert len(np.unique(wanted)) == len(strides)


def regions_and_features(rng, count=7):
    features = [rng.standard_normal((2, 3, 64 // stride, 96 // stride)) for stride in STRIDES]
    corners = rng.uniform(-5, 60, (count, 2))
    boxes = np.concatenate([corners, corners + 2 ** rng.uniform(1, 9, (count, 2))], axis=1)
    regions = np.concatenate([rng.integers(0, 2, (count, 1)), boxes], axis=1)
    return features, regions, pyramid_levels(boxes, STRIDES, 60)


@pytest.mark.parametrize("aligned", [False, True])
def test_each_region_is_read_from_its_level(aligned):
    rng = np.random.default_rng(1)
    features, regions, levels = regions_and_features(rng)
    y, _ = pyramid_roi_align_forward(features, regions, levels, STRIDES, 5, 2, aligned)
    assert len(np.unique(levels)) > 2
    for one, region, level in zip(y, regions, levels, strict=True):
        wanted, _ = functional.roi_align_forward(features[level], region[None], 5, 1 / STRIDES[level], 2, aligned)
        assert_close(one, wanted[0], 1e-14)


def test_gradients():
    """What is read is linear in the features: sum(dy y) is the sum of dfeatures features, whatever the features."""
    rng = np.random.default_rng(2)
    features, regions, levels = regions_and_features(rng)
    y, cache = pyramid_roi_align_forward(features, regions, levels, STRIDES, 5)
    dy = rng.standard_normal(y.shape)
    gradients = pyramid_roi_align_backward(dy, cache)
    for level, (gradient, x) in enumerate(zip(gradients, features, strict=True)):
        of_level = levels == level
        assert gradient.shape == x.shape
        assert (gradient * x).sum() == pytest.approx((dy * y)[of_level].sum(), rel=1e-12)
        assert of_level.any() or not gradient.any()


def test_no_region():
    features, regions, levels = regions_and_features(np.random.default_rng(3), count=0)
    y, cache = pyramid_roi_align_forward(features, regions, levels, STRIDES, 7)
    assert y.shape == (0, 3, 7, 7)
    gradients = pyramid_roi_align_backward(y, cache)
    assert [gradient.shape for gradient in gradients] == [x.shape for x in features]
    assert not any(gradient.any() for gradient in gradients)


def test_gradients_of_several_readers_add_up():
    rng = np.random.default_rng(4)
    several = [[rng.standard_normal((1, 2, 3, 4)) for _ in STRIDES] for _ in range(3)]
    for total, *parts in zip(summed(several), *several, strict=True):
        assert_close(total, sum(parts), 1e-15)
