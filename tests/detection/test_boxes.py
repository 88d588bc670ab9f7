"""Boxes against torchvision's, by hand, and there and back."""

import math

import numpy as np
import pytest
from conftest import assert_close
from torchvision_twin import import_torchvision

from minisegnet.detection import boxes
from minisegnet.errors import BoxError, DtypeError, ShapeError

BOUNDS = {"float32": 1e-5, "float64": 1e-12}
dtypes = pytest.mark.parametrize("dtype", sorted(BOUNDS))


def random_boxes(rng, count, dtype="float64", size=64, least=0.01):
    """Boxes (count, 4) that start inside an image of `size` and may end outside."""
    start = rng.uniform(0, size, (count, 2))
    return np.concatenate([start, start + rng.uniform(least, size, (count, 2))], axis=1).astype(dtype)


# ------------------------------------------------------------------------------------------------------------ by hand


def test_overlap_by_hand():
    a = np.array([[0, 0, 2, 2], [5, 5, 5, 9], [0, 0, 1, 1]], "f8")
    b = np.array([[1, 1, 3, 3], [0, 0, 2, 2], [2, 0, 4, 2], [5, 5, 5, 9], [0, 0, 1, 2]], "f8")
    wanted = [[1 / 7, 1, 0, 0, 1 / 2], [0, 0, 0, 0, 0], [0, 1 / 4, 0, 0, 1 / 2]]
    assert_close(boxes.intersection_over_union(a, b), np.array(wanted), 1e-15)
    assert_close(boxes.intersection_over_union(a / 64, b / 64), np.array(wanted), 1e-15)


def test_areas_and_sides():
    given = np.array([[0, 0, 2, 3], [1, 1, 1, 5], [4, 4, 3, 3]], "f4")
    assert boxes.areas(given[:2]).tolist() == [6, 0]
    assert boxes.with_area(given).tolist() == [True, False, False]
    assert boxes.sides_of_at_least(given, 2).tolist() == [True, False, False]
    assert boxes.sides_of_at_least(given[:, [1, 0, 3, 2]], 2).tolist() == [True, False, False]
    assert boxes.sides_of_at_least(given, 2.5).tolist() == [False, False, False]


def test_clip_by_hand():
    given = np.array([[[-3, 2, 5, 9]], [[8, -4, 12, -1]]], "f4")
    assert boxes.clip(given, (6, 10)).tolist() == [[[0, 2, 5, 6]], [[8, 0, 10, 0]]]
    assert given[0, 0, 0] == -3


def test_encode_by_hand():
    # Centre from (2, 3) to (4, 2), four times as wide and half as high.
    deltas = boxes.encode(np.array([[0, 1.5, 8, 2.5]]), np.array([[1, 2, 3.0, 4]]), (10, 10, 5, 5))
    assert_close(deltas, np.array([[10.0, -5.0, 5 * math.log(4), 5 * math.log(0.5)]]), 1e-15)


def test_boxes_of_masks():
    masks = np.zeros((3, 5, 7), bool)
    masks[0, 1:3, 2:6] = True
    masks[0, 1, 2] = False
    masks[1, 4, 6] = True
    found = boxes.of_masks(masks)
    assert found.tolist() == [[2, 1, 6, 3], [6, 4, 7, 5], [0, 0, 0, 0]]
    assert found.dtype == np.float32
    assert boxes.of_masks(masks, np.float64).dtype == np.float64
    assert boxes.of_masks(masks[:0]).shape == (0, 4)


# ----------------------------------------------------------------------------------------------------- there and back


@dtypes
@pytest.mark.parametrize("seed", range(4))
def test_decode_undoes_encode(dtype, seed):
    rng = np.random.default_rng(seed)
    given, references = random_boxes(rng, 50, dtype, least=2), random_boxes(rng, 50, dtype, least=2)
    weights = (10.0, 9.0, 5.0, 4.0)
    decoded = boxes.decode(boxes.encode(given, references, weights), references, weights)
    assert_close(decoded[:, 0], given, BOUNDS[dtype])


def test_growth_is_limited():
    decoded = boxes.decode(np.array([[0, 0, 1e9, -1e9]], "f4"), np.array([[10, 10, 12, 14]], "f4"))
    assert_close(decoded, np.array([[[11 - 62.5, 12, 11 + 62.5, 12]]], "f4"), 1e-6)


@dtypes
def test_no_box_at_all(dtype):
    none, one = np.zeros((0, 4), dtype), np.zeros((1, 4), dtype)
    assert boxes.areas(none).shape == (0,)
    assert boxes.intersection_over_union(none, one).shape == (0, 1)
    assert boxes.intersection_over_union(one, none).shape == (1, 0)
    assert boxes.clip(none, (4, 4)).shape == (0, 4)
    assert boxes.encode(none, none).shape == (0, 4)
    assert boxes.decode(np.zeros((0, 12), dtype), none).shape == (0, 3, 4)
    assert boxes.decode(np.zeros((0, 12), dtype), none).dtype == dtype


# ------------------------------------------------------------------------------------------------ against torchvision


@pytest.mark.torch
@dtypes
@pytest.mark.parametrize("seed", range(4))
def test_overlaps_as_torchvision(dtype, seed):
    import torch

    box_iou = import_torchvision().ops.box_iou
    rng = np.random.default_rng(seed)
    a, b = random_boxes(rng, 30, dtype), random_boxes(rng, 40, dtype)
    b[:10] = a[:10]
    wanted = box_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    assert_close(boxes.intersection_over_union(a, b), wanted, BOUNDS[dtype])


@pytest.mark.torch
@dtypes
@pytest.mark.parametrize("seed", range(4))
def test_coding_as_torchvision(dtype, seed):
    import torch

    coder = import_torchvision().models.detection._utils.BoxCoder((10.0, 9.0, 5.0, 4.0))
    rng = np.random.default_rng(seed)
    given, references = random_boxes(rng, 30, dtype), random_boxes(rng, 30, dtype)
    wanted = coder.encode_single(torch.from_numpy(given), torch.from_numpy(references)).numpy()
    assert_close(boxes.encode(given, references, coder.weights), wanted, BOUNDS[dtype])
    deltas = (rng.normal(size=(30, 12)) * 20).astype(dtype)
    wanted = coder.decode(torch.from_numpy(deltas), [torch.from_numpy(references)]).numpy()
    assert_close(boxes.decode(deltas, references, coder.weights), wanted, BOUNDS[dtype])


@pytest.mark.torch
@dtypes
@pytest.mark.parametrize("seed", range(2))
def test_clipping_as_torchvision(dtype, seed):
    import torch

    ops = import_torchvision().ops
    given = random_boxes(np.random.default_rng(seed), 40, dtype) - 20
    wanted = ops.clip_boxes_to_image(torch.from_numpy(given), (33, 51))
    clipped = boxes.clip(given, (33, 51))
    assert_close(clipped, wanted.numpy(), 0)
    kept = np.flatnonzero(boxes.sides_of_at_least(clipped, 7.5))
    assert kept.tolist() == ops.boxes.remove_small_boxes(wanted, 7.5).tolist()


# --------------------------------------------------------------------------------------------------------- wrong input


def test_boxes_without_a_logarithm():
    good, flat = np.array([[0, 0, 2, 2]], "f4"), np.array([[1, 1, 1, 2]], "f4")
    with pytest.raises(BoxError, match=r"boxes: number 0, \(1.0, 1.0, 1.0, 2.0\), has no width"):
        boxes.encode(flat, good)
    with pytest.raises(BoxError, match="references: number 0"):
        boxes.encode(good, flat)


def test_arrays_that_do_not_fit():
    good = np.zeros((3, 4), "f4")
    with pytest.raises(ShapeError, match="four numbers a box"):
        boxes.areas(np.zeros((3, 5), "f4"))
    with pytest.raises(ShapeError, match="one row a box"):
        boxes.intersection_over_union(good, np.zeros(4, "f4"))
    with pytest.raises(ShapeError, match="must have the shape of references"):
        boxes.encode(good, good[:2])
    with pytest.raises(ShapeError, match="for 3 references"):
        boxes.decode(np.zeros((2, 4), "f4"), good)
    with pytest.raises(ShapeError, match="for 3 references"):
        boxes.decode(np.zeros((3, 6), "f4"), good)
    with pytest.raises(DtypeError, match="float32 or float64"):
        boxes.areas(np.zeros((3, 4), int))
    with pytest.raises(DtypeError, match="the same type"):
        boxes.intersection_over_union(good, good.astype("f8"))
    with pytest.raises(DtypeError, match="array of bool"):
        boxes.of_masks(np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(ShapeError, match="one an object"):
        boxes.of_masks(np.zeros((3, 3), bool))
