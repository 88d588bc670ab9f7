"""What is trained on, of anchors, RoIs and masks: against torchvision's, and the images that must not break it."""

import numpy as np
import pytest
from conftest import assert_close
from torchvision_twin import import_torchvision

from minisegnet.detection.anchors import anchors
from minisegnet.detection.boxes import decode, intersection_over_union, of_masks
from minisegnet.detection.settings import DetectionSettings
from minisegnet.detection.targets import mask_targets, roi_targets, rpn_targets
from minisegnet.errors import BoxError, DtypeError, IndicesError, LabelError, ShapeError

BOUNDS = {"float32": 1e-5, "float64": 1e-12}
dtypes = pytest.mark.parametrize("dtype", sorted(BOUNDS))
SETTINGS = DetectionSettings(anchor_sizes=((8,), (16,), (32,)), rpn_samples=40, roi_samples=30)
SHAPES = [(16, 20), (8, 10), (4, 5)]
H, W = 64, 80
NO_BOXES, NO_LABELS = np.zeros((0, 4), "f4"), np.zeros(0, np.int32)


def all_anchors(dtype="float64"):
    return np.concatenate(anchors(SHAPES, (H, W), SETTINGS.anchor_sizes, SETTINGS.aspect_ratios, np.dtype(dtype)))


def objects(rng, count, dtype="float64"):
    """Boxes in the image, some cut by its border, and their classes."""
    start = rng.uniform(-8, 60, (count, 2))
    boxes = np.concatenate([start, start + rng.uniform(10, 40, (count, 2))], axis=1)
    return np.clip(boxes, 0, [W, H, W, H]).astype(dtype), rng.integers(1, 4, count)


def near(rng, boxes, count):
    """Boxes not far from those given."""
    moved = boxes[rng.integers(0, len(boxes), count)] + rng.normal(size=(count, 4)) * 4
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
    return moved.astype(boxes.dtype)


# -------------------------------------------------------------------------------------------------------------- anchors


@pytest.mark.torch
@dtypes
@pytest.mark.parametrize("seed", range(4))
def test_anchors_as_torchvision(dtype, seed):
    import torch

    detection = import_torchvision().models.detection
    network = detection.rpn.RegionProposalNetwork(None, None, 0.7, 0.3, 40, 0.5, {}, {}, 0.7)
    rng = np.random.default_rng(seed)
    levels, (boxes, _) = all_anchors(dtype), objects(rng, 5, dtype)
    [labels], [theirs] = network.assign_targets_to_anchors(
        [torch.from_numpy(levels)], [{"boxes": torch.from_numpy(boxes)}]
    )
    torch.manual_seed(seed)
    [positives], [negatives] = network.fg_bg_sampler([labels])
    positives, negatives = (np.flatnonzero(chosen.numpy()) for chosen in (positives, negatives))
    found = rpn_targets(levels, boxes, SETTINGS, rng, (positives, negatives))
    assert len(positives) >= 5 and len(negatives) >= 5
    assert_close(boxes[found.objects], theirs.numpy()[positives], 0)
    [wanted] = network.box_coder.encode([theirs], [torch.from_numpy(levels)])
    assert_close(found.deltas, wanted.numpy()[positives], BOUNDS[dtype])
    # Without a sample given: as many of each, of the same kinds.
    own = rpn_targets(levels, boxes, SETTINGS, rng)
    assert (len(own.positives), len(own.negatives)) == (len(positives), len(negatives))
    assert (labels.numpy()[own.positives] == 1).all() and (labels.numpy()[own.negatives] == 0).all()


@dtypes
def test_deltas_lead_to_the_object(dtype):
    rng = np.random.default_rng(0)
    levels, (boxes, _) = all_anchors(dtype), objects(rng, 5, dtype)
    found = rpn_targets(levels, boxes, SETTINGS, rng)
    assert_close(decode(found.deltas, levels[found.positives])[:, 0], boxes[found.objects], BOUNDS[dtype])
    assert set(found.objects.tolist()) == set(range(5))
    assert found.deltas.dtype == dtype


@dtypes
def test_an_image_with_no_object_is_all_background(dtype):
    found = rpn_targets(all_anchors(dtype), NO_BOXES, SETTINGS, np.random.default_rng(0))
    assert (len(found.positives), len(found.negatives)) == (0, 40)
    assert found.objects.shape == (0,)
    assert found.deltas.shape == (0, 4)
    assert found.deltas.dtype == dtype


@pytest.mark.parametrize("side", [1.0, 1e-3])
def test_the_smallest_object_has_an_anchor(side):
    # Far below the smallest anchor: only its best ones, ties included, are its own.
    boxes = np.array([[33, 17, 33 + side, 17 + side]])
    found = rpn_targets(all_anchors(), boxes, SETTINGS, np.random.default_rng(0))
    assert 0 < len(found.positives) <= 20
    overlaps = intersection_over_union(boxes, all_anchors())[0]
    assert (overlaps[found.positives] == overlaps.max()).all()
    assert np.isfinite(found.deltas).all()


def test_objects_without_an_area_or_out_of_reach_are_nobodys():
    boxes = np.array([[20, 20, 20, 30], [30, 30, 30, 30], [1000, 1000, 1010, 1010]], "f4")
    found = rpn_targets(all_anchors("f4"), boxes, SETTINGS, np.random.default_rng(0))
    assert (len(found.positives), len(found.negatives)) == (0, 40)


def test_all_anchors_between_the_thresholds_count_for_nothing():
    levels = np.array([[0, 0, 10, 10]] * 6, "f8")
    boxes = np.array([[0, 0, 10, 20], [0, 0, 10, 20]], "f8")
    given = DetectionSettings(rpn_positive_overlap=0.5, rpn_negative_overlap=0.5)
    assert len(rpn_targets(levels, boxes, given, np.random.default_rng(0)).positives) == 6
    # Five of six overlap the object by 1 / 2, which is neither; the last one best of all.
    levels[5] = [0, 0, 10, 11]
    found = rpn_targets(levels, boxes, SETTINGS, np.random.default_rng(0))
    assert (found.positives.tolist(), found.negatives.tolist(), found.objects.tolist()) == ([5], [], [0])
    nothing = rpn_targets(levels[:0], boxes, SETTINGS, np.random.default_rng(0))
    assert (len(nothing.positives), len(nothing.negatives)) == (0, 0)


@dtypes
def test_three_hundred_objects(dtype):
    rng = np.random.default_rng(0)
    boxes, labels = objects(rng, 300, dtype)
    found = rpn_targets(all_anchors(dtype), boxes, SETTINGS, rng)
    assert (len(found.positives), len(found.negatives)) == (20, 20)
    rois = roi_targets(near(rng, boxes, 1000), boxes, labels, SETTINGS, rng)
    assert len(rois.boxes) == 30
    assert np.isfinite(found.deltas).all() and np.isfinite(rois.deltas).all()


def test_a_sample_that_does_not_fit():
    boxes = np.array([[20, 20, 36, 36]], "f8")
    with pytest.raises(IndicesError, match="anchor 0 was sampled as positive"):
        rpn_targets(all_anchors(), boxes, SETTINGS, np.random.default_rng(0), (np.array([0]), np.array([1])))
    with pytest.raises(IndicesError, match="from 0 to 1259 of anchors; got 3 to 9999"):
        rpn_targets(all_anchors(), boxes, SETTINGS, np.random.default_rng(0), (np.array([], int), np.array([3, 9999])))


# ----------------------------------------------------------------------------------------------------------------- RoIs


def torchvision_heads(detection):
    return detection.roi_heads.RoIHeads(
        None, None, None, 0.5, 0.5, SETTINGS.roi_samples, SETTINGS.roi_positive_share, None, 0.05, 0.5, 100
    )


@pytest.mark.torch
@dtypes
@pytest.mark.parametrize("count", [0, 1, 6])
@pytest.mark.parametrize("seed", range(3))
def test_rois_as_torchvision(dtype, count, seed):
    import torch

    heads = torchvision_heads(import_torchvision().models.detection)
    rng = np.random.default_rng(seed)
    boxes, labels = objects(rng, count, dtype)
    proposals = near(rng, objects(rng, 4, dtype)[0] if count == 0 else boxes, 60)
    chosen, sample = [], heads.subsample
    heads.subsample = lambda labels: chosen.extend(sample(labels)) or chosen
    torch.manual_seed(seed)
    target = {"boxes": torch.from_numpy(boxes), "labels": torch.from_numpy(labels)}
    [rois], [matched], [classes], [deltas] = heads.select_training_samples([torch.from_numpy(proposals)], [target])
    found = roi_targets(proposals, boxes, labels, SETTINGS, rng, sampled=chosen[0].numpy())
    assert_close(found.boxes, rois.numpy(), 0)
    assert found.labels.tolist() == classes.tolist()
    positive = found.labels > 0
    assert positive.any() == (count > 0)
    assert found.objects[positive].tolist() == matched.numpy()[positive].tolist()
    assert (found.objects[~positive] == -1).all()
    assert_close(found.deltas[positive], deltas.numpy()[positive], BOUNDS[dtype])
    assert not found.deltas[~positive].any()
    own = roi_targets(proposals, boxes, labels, SETTINGS, rng)
    assert np.bincount(own.labels > 0, minlength=2).tolist() == np.bincount(positive, minlength=2).tolist()


@dtypes
def test_objects_are_proposals_too(dtype):
    rng = np.random.default_rng(0)
    boxes, labels = objects(rng, 3, dtype)
    found = roi_targets(np.zeros((0, 4), dtype), boxes, labels, SETTINGS, rng)
    assert_close(found.boxes, boxes, 0)
    assert found.labels.tolist() == labels.tolist()
    assert found.objects.tolist() == [0, 1, 2]
    assert not found.deltas.any()
    assert (found.labels.dtype, found.objects.dtype, found.deltas.dtype) == (np.int32, np.int32, dtype)


@dtypes
def test_rois_of_an_image_with_no_object(dtype):
    rng = np.random.default_rng(0)
    proposals = objects(rng, 50, dtype)[0]
    found = roi_targets(proposals, NO_BOXES, NO_LABELS, SETTINGS, rng)
    assert len(found.boxes) == 30
    assert not found.labels.any()
    assert (found.objects == -1).all()
    nothing = roi_targets(proposals[:0], NO_BOXES, NO_LABELS, SETTINGS, rng)
    assert nothing.boxes.shape == nothing.deltas.shape == (0, 4)
    assert nothing.labels.shape == nothing.objects.shape == (0,)
    assert nothing.boxes.dtype == dtype


def test_an_object_without_an_area_is_no_proposal():
    boxes = np.array([[20, 20, 20, 30], [30, 30, 31, 31]], "f4")
    proposals = np.array([[20, 20, 20, 30], [29.5, 30, 31, 31], [5, 5, 5, 5]], "f4")
    found = roi_targets(proposals, boxes, np.array([1, 2]), SETTINGS, np.random.default_rng(0))
    assert found.boxes.tolist() == [*proposals.tolist(), boxes[1].tolist()]
    assert found.labels.tolist() == [0, 2, 0, 2]
    assert found.objects.tolist() == [-1, 1, -1, 1]
    assert np.isfinite(found.deltas).all()


def test_rois_between_the_thresholds_are_left_out():
    settings = DetectionSettings(roi_positive_overlap=0.6, roi_negative_overlap=0.4)
    boxes = np.array([[0, 0, 10, 10]], "f4")
    proposals = np.array([[0, 0, 10, 5], [0, 0, 10, 7], [0, 0, 10, 3]], "f4")
    found = roi_targets(proposals, boxes, np.array([1]), settings, np.random.default_rng(0))
    assert found.boxes.tolist() == [proposals[1].tolist(), proposals[2].tolist(), boxes[0].tolist()]
    assert found.labels.tolist() == [1, 0, 1]
    # Handed over all the same, as background.
    found = roi_targets(proposals, boxes, np.array([1]), settings, np.random.default_rng(0), sampled=np.array([1, 0]))
    assert (found.labels.tolist(), found.objects.tolist()) == ([1, 0], [0, -1])


def test_objects_that_do_not_fit():
    boxes, rng = np.array([[0, 0, 10, 10]], "f4"), np.random.default_rng(0)
    with pytest.raises(LabelError, match="begin at 1"):
        roi_targets(boxes, boxes, np.array([0]), SETTINGS, rng)
    with pytest.raises(ShapeError, match="one label a box"):
        roi_targets(boxes, boxes, np.array([1, 1]), SETTINGS, rng)
    with pytest.raises(DtypeError, match="integers"):
        roi_targets(boxes, boxes, np.array([1.0]), SETTINGS, rng)
    for wrong in (np.nan, np.inf):
        broken = np.array([[0, 0, wrong, 10]], "f4")
        with pytest.raises(BoxError, match="the box of object 0"):
            roi_targets(boxes, broken, np.array([1]), SETTINGS, rng)
        with pytest.raises(BoxError, match="the box of object 0"):
            rpn_targets(boxes, broken, SETTINGS, rng)


# ---------------------------------------------------------------------------------------------------------------- masks


def disks(rng, count):
    """Masks (count, H, W), some cut by the border."""
    y, x = np.mgrid[:H, :W] + 0.5
    middle, radius = rng.uniform(0, [H, W], (count, 2)), rng.uniform(3, 20, count)
    return np.hypot(y - middle[:, :1, None], x - middle[:, 1:, None]) < radius[:, None, None]


@pytest.mark.torch
@dtypes
@pytest.mark.parametrize("size", [1, 14, 28])
@pytest.mark.parametrize("seed", range(2))
def test_masks_as_torchvision(dtype, size, seed):
    import torch

    project = import_torchvision().models.detection.roi_heads.project_masks_on_boxes
    rng = np.random.default_rng(seed)
    masks = disks(rng, 5)
    rois = near(rng, of_masks(masks, np.dtype(dtype)), 12)
    numbers = rng.integers(0, 5, 12)
    wanted = project(*map(torch.from_numpy, (masks, rois, numbers)), size).numpy()
    assert_close(mask_targets(rois, numbers, masks, size), wanted, BOUNDS[dtype])


def test_a_mask_by_hand():
    # Values stand at their pixels' upper left corners, as in torchvision. Of the two points in a bin's row, at 3.5 and
    # 4.5, the latter lies halfway to a pixel of the background, and so does the lower row's, at 2.5.
    masks = np.zeros((2, 6, 6), bool)
    masks[1, 1:3, 1:5] = True
    found = mask_targets(np.array([[1, 1, 5, 3]], "f4"), np.array([1]), masks, 2)
    assert found.tolist() == [[[1.0, 0.75], [0.5, 0.375]]]
    found = mask_targets(np.array([[1, 1, 5, 3]], "f4"), np.array([1]), masks, 2, aligned=True)
    assert found.tolist() == [[[1.0, 1.0], [1.0, 1.0]]]


@dtypes
@pytest.mark.parametrize("seed", range(2))
def test_aligned_masks_have_no_handedness(dtype, seed):
    rng = np.random.default_rng(seed)
    masks = disks(rng, 5)
    rois, numbers = near(rng, of_masks(masks, np.dtype(dtype)), 12), rng.integers(0, 5, 12)
    mirrored = np.stack([W - rois[:, 2], rois[:, 1], W - rois[:, 0], rois[:, 3]], axis=1)
    found = mask_targets(rois, numbers, masks, 28, aligned=True)
    assert_close(mask_targets(mirrored, numbers, masks[:, :, ::-1], 28, aligned=True), found[:, :, ::-1], BOUNDS[dtype])


@dtypes
def test_the_smallest_masks(dtype):
    masks = np.zeros((3, H, W), bool)
    masks[0, 10, 20] = masks[1, 0, 0] = masks[2, H - 1, W - 1] = True
    found = mask_targets(of_masks(masks, np.dtype(dtype)), np.arange(3), masks, 28)
    assert found.dtype == dtype
    assert (found.reshape(3, -1).max(axis=1) > 0.9).all()
    assert found.min() >= 0 and found.max() <= 1


@dtypes
def test_no_mask_and_no_roi(dtype):
    none, no_numbers = np.zeros((0, 4), dtype), np.zeros(0, np.int32)
    for masks in (np.zeros((0, H, W), bool), disks(np.random.default_rng(0), 2)):
        found = mask_targets(none, no_numbers, masks, 28)
        assert found.shape == (0, 28, 28)
        assert found.dtype == dtype


def test_masks_that_do_not_fit():
    masks, rois = np.zeros((2, 6, 6), bool), np.array([[1, 1, 5, 3]], "f4")
    with pytest.raises(DtypeError, match=r"use masks\.astype\(bool\)"):
        mask_targets(rois, np.array([1]), masks.astype(np.uint8), 28)
    with pytest.raises(ShapeError, match="one an object"):
        mask_targets(rois, np.array([1]), masks[0], 28)
    with pytest.raises(IndicesError, match="from 0 to 1 of masks; got 2 to 2"):
        mask_targets(rois, np.array([2]), masks, 28)
    with pytest.raises(ShapeError, match=r"objects \(P,\)"):
        mask_targets(rois, np.array([1, 0]), masks, 28)
