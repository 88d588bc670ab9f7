"""Anchors against torchvision's, by hand, and the order of a head's maps."""

import numpy as np
import pytest
from conftest import assert_close
from torchvision_twin import import_torchvision

from minisegnet.detection.anchors import anchors, as_maps, base_anchors, by_anchor
from minisegnet.detection.settings import DetectionSettings
from minisegnet.errors import OptionError, ShapeError

CASES = {
    "one level, stride 16": ([(4, 6)], (64, 96), ((128, 256, 512),), (0.5, 1.0, 2.0)),
    "pyramid": ([(16, 24), (8, 12), (4, 6), (2, 3)], (64, 96), ((32,), (64,), (128,), (256,)), (0.5, 1.0, 2.0)),
    "sizes that no stride divides": ([(7, 10), (3, 5)], (100, 157), ((8, 11.3), (16, 22.6)), (0.3, 1.0, 3.1)),
    "one place": ([(1, 1)], (5, 7), ((6,),), (1.0,)),
}  # fmt: skip


def test_by_hand():
    [found] = anchors([(2, 2)], (16, 32), ((8,),), (1.0, 0.25), np.float64)
    square, flat = [-4, -4, 4, 4], [-8, -2, 8, 2]
    at = [(0, 0), (16, 0), (0, 8), (16, 8)]
    wanted = [np.add(base, [x, y, x, y]) for x, y in at for base in (square, flat)]
    assert_close(found, np.array(wanted, np.float64), 0)


@pytest.mark.torch
@pytest.mark.parametrize("case", sorted(CASES))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_as_torchvision(case, dtype):
    import torch

    detection = import_torchvision().models.detection
    shapes, image_shape, sizes, ratios = CASES[case]
    generator = detection.anchor_utils.AnchorGenerator(sizes, (ratios,) * len(sizes))
    images = detection.image_list.ImageList(torch.zeros(1, 3, *image_shape), [image_shape])
    features = [torch.zeros(1, 2, *shape, dtype=getattr(torch, dtype)) for shape in shapes]
    [wanted] = generator(images, features)
    found = anchors(shapes, image_shape, sizes, ratios, np.dtype(dtype))
    assert [len(level) for level in found] == [h * w * len(sizes[0]) * len(ratios) for h, w in shapes]
    assert_close(np.concatenate(found), wanted.numpy(), 0)


@pytest.mark.torch
@pytest.mark.parametrize("values", [1, 4])
@pytest.mark.parametrize("seed", range(2))
def test_rows_in_the_order_of_anchors(values, seed):
    import torch

    flatten = import_torchvision().models.detection.rpn.permute_and_flatten
    maps = np.random.default_rng(seed).normal(size=(2, 3 * values, 4, 5))
    wanted = flatten(torch.from_numpy(maps), 2, 3, values, 4, 5).numpy()
    rows = by_anchor(maps, values)
    assert_close(rows, wanted, 0)
    assert_close(as_maps(rows, (4, 5)), maps, 0)


def test_a_row_belongs_to_its_anchor():
    # A head that says, at each place and for each anchor, which they are.
    A, h, w = 3, 4, 5
    which = np.meshgrid(np.arange(A), np.arange(h), np.arange(w), indexing="ij")
    rows = by_anchor(np.stack(which, axis=1).reshape(1, 3 * A, h, w), 3)[0]
    [found] = anchors([(h, w)], (8 * h, 8 * w), ((9,),), (0.5, 1.0, 2.0), np.float64)
    corners = base_anchors((9,), (0.5, 1.0, 2.0))[rows[:, 0]]
    y, x = 8 * rows[:, 1], 8 * rows[:, 2]
    assert_close(found, corners + np.stack([x, y, x, y], axis=1), 0)


def test_rows_of_no_image():
    assert by_anchor(np.zeros((0, 12, 2, 3)), 4).shape == (0, 18, 4)
    assert as_maps(np.zeros((0, 18, 4)), (2, 3)).shape == (0, 12, 2, 3)


def test_what_does_not_fit():
    with pytest.raises(ShapeError, match="2 levels of features, and sizes for 1"):
        anchors([(2, 2), (1, 1)], (16, 16), ((8,),), (1.0,))
    with pytest.raises(ShapeError, match="no place"):
        anchors([(0, 2)], (16, 16), ((8,),), (1.0,))
    with pytest.raises(OptionError, match=r"size 2 and ratio 0\.1"):
        base_anchors((8, 2), (1.0, 0.1))
    with pytest.raises(ShapeError, match=r"\(N, 4 x anchors, h, w\)"):
        by_anchor(np.zeros((1, 6, 2, 2)), 4)
    with pytest.raises(ShapeError, match="2 x 2 x anchors"):
        as_maps(np.zeros((1, 6, 4)), (2, 2))


# ----------------------------------------------------------------------------------------------------------- settings


@pytest.mark.torch
def test_settings_as_torchvision():
    torchvision = import_torchvision()
    model = torchvision.models.detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2)
    rpn, heads, settings = model.rpn, model.roi_heads, DetectionSettings()
    assert settings.anchor_sizes == rpn.anchor_generator.sizes
    assert {settings.aspect_ratios} == set(rpn.anchor_generator.aspect_ratios)
    assert {settings.anchors_per_place} == set(rpn.anchor_generator.num_anchors_per_location())
    assert settings.candidates_per_level == (rpn._pre_nms_top_n["training"], rpn._pre_nms_top_n["testing"])
    assert settings.proposals_per_image == (rpn._post_nms_top_n["training"], rpn._post_nms_top_n["testing"])
    assert (settings.proposal_nms, settings.smallest_proposal) == (rpn.nms_thresh, rpn.min_size)
    assert settings.rpn_weights == rpn.box_coder.weights
    assert settings.box_weights == heads.box_coder.weights
    for stage, theirs in (("rpn", rpn), ("roi", heads)):
        matcher, sampler = theirs.proposal_matcher, theirs.fg_bg_sampler
        assert getattr(settings, f"{stage}_positive_overlap") == matcher.high_threshold
        assert getattr(settings, f"{stage}_negative_overlap") == matcher.low_threshold
        assert getattr(settings, f"{stage}_samples") == sampler.batch_size_per_image
        assert getattr(settings, f"{stage}_positive_share") == sampler.positive_fraction
    assert settings.score_threshold == heads.score_thresh
    assert settings.detection_nms == heads.nms_thresh
    assert settings.detections_per_image == heads.detections_per_img
    for resolution, pool in (
        (settings.box_resolution, heads.box_roi_pool), (settings.mask_resolution, heads.mask_roi_pool)
    ):  # fmt: skip
        assert (resolution, resolution) == pool.output_size
        assert settings.sampling_ratio == pool.sampling_ratio
        assert (settings.canonical_size, settings.canonical_level) == (pool.canonical_scale, pool.canonical_level)


def test_settings_from_lists():
    settings = DetectionSettings(anchor_sizes=[[8], [16]], box_weights=[1, 1, 2, 2])
    assert settings == DetectionSettings(anchor_sizes=((8,), (16,)), box_weights=(1, 1, 2, 2))
    assert hash(settings) == hash(DetectionSettings(anchor_sizes=((8,), (16,)), box_weights=(1, 1, 2, 2)))


WRONG = {
    "anchor_sizes": [(), ((8,), (16, 32)), (8, 16), ((0,),), ((),)],
    "aspect_ratios": [(), (0.5, -1.0), 1.0],
    "box_weights": [(1, 1, 1), (1, 1, 1, 0)],
    "candidates_per_level": [2000, (2000, 0), (1, 2, 3)],
    "mask_resolution": [0, 7.5, True],
    "proposal_nms": [-0.1, 1.5, float("nan")],
    "roi_negative_overlap": [0.6],
    "rpn_positive_overlap": [0, 0.2],
    "sampling_ratio": [-1],
    "smooth_l1_beta": [0, float("inf")],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in sorted(WRONG) for value in WRONG[name]])
def test_settings_outside_their_values(name, value):
    with pytest.raises(OptionError, match=f"DetectionSettings: {name.split('_')[0]}_"):
        DetectionSettings(**{name: value})
