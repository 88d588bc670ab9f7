"""Masks in run lengths: there and back, areas, boxes and overlaps, equal to dense masks and to pycocotools."""

import numpy as np
import pytest

from minisegnet.data.run_length import (
    RunLength,
    encode,
    encode_numbered,
    from_coco,
    from_text,
    intersection_over_union,
    merge,
    to_text,
)
from minisegnet.errors import DataError, DtypeError, MinisegnetError, OptionError, ShapeError


def random_masks(seed, count=6, size=None):
    """Masks of one size from empty to full, some of them noise, some blobs at the border."""
    rng = np.random.default_rng(seed)
    height, width = size or rng.integers(1, 40, 2)
    for number in range(count):
        mask = rng.random((height, width)) < [0, 0.02, 0.3, 0.9, 1.0][(seed + number) % 5]
        if rng.random() < 0.5:
            mask[rng.integers(height) :, : rng.integers(width) + 1] ^= True
        yield mask


HARD = {
    "chessboard": np.indices((31, 40)).sum(axis=0) % 2 == 0,
    "chessboard from inside": np.indices((30, 41)).sum(axis=0) % 2 == 1,
    "full": np.ones((700, 600), bool),
    "empty": np.zeros((700, 600), bool),
    "last pixel": np.arange(300 * 400).reshape(300, 400) == 300 * 400 - 1,
    "first pixel": np.arange(300 * 400).reshape(300, 400) == 0,
    "one row": np.arange(40)[:, None] * np.ones(7) == 39,
    "two whole columns": np.ones((40, 1)) * np.arange(7) // 2 == 1,
    "one pixel": np.ones((1, 1), bool),
    "no pixels": np.zeros((0, 5), bool),
}
HARD = {name: np.asarray(mask, bool) for name, mask in HARD.items()}


@pytest.mark.parametrize("seed", range(20))
def test_there_and_back(seed):
    for mask in random_masks(seed):
        packed = encode(mask)
        assert packed.size == mask.shape and packed.area == mask.sum() == len(packed.pixels())
        np.testing.assert_array_equal(packed.mask(), mask)
        np.testing.assert_array_equal(mask.T.ravel()[packed.pixels()], True)
        np.testing.assert_array_equal(from_text(to_text(packed.counts)), packed.counts)
        np.testing.assert_array_equal(from_coco(packed.to_coco()).counts, packed.counts)
        listed = from_coco({"size": list(mask.shape), "counts": packed.counts.tolist()})
        np.testing.assert_array_equal(listed.mask(), mask)


@pytest.mark.parametrize("name", sorted(HARD))
def test_hard_masks(name):
    mask = HARD[name]
    packed = encode(mask)
    np.testing.assert_array_equal(packed.mask(), mask)
    rows, columns = np.nonzero(mask)
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else np.zeros(4)
    np.testing.assert_array_equal(packed.box, box)


def test_text_by_hand():
    # 2 pixels outside, 3 inside, 35 outside, 1 inside (a change of -2 from the 3), 6 outside (-29 from the 35).
    # 2 -> "2"; 3 -> "3"; 35 = 00001 00011 -> 3 + 32, 1 -> "S1"; -2 -> 11110 -> "N"; -29 = 11111 00011 -> "SO".
    assert to_text(np.array([2, 3, 35, 1, 6])) == "23S1NSO"
    assert from_text("23S1NSO").tolist() == [2, 3, 35, 1, 6]
    assert from_text(b"23S1NSO").tolist() == [2, 3, 35, 1, 6]
    assert from_text("").tolist() == [] and to_text(np.zeros(0, int)) == ""


@pytest.mark.parametrize("seed", range(5))
def test_text_of_any_counts(seed):
    counts = np.random.default_rng(seed).integers(0, 2 ** np.random.default_rng(seed).integers(1, 32, 200))
    np.testing.assert_array_equal(from_text(to_text(counts)), counts)


@pytest.mark.parametrize("seed", range(12))
def test_overlaps_are_those_of_dense_masks(seed):
    masks = list(random_masks(seed, 9))
    packed = [encode(mask) for mask in masks]
    crowd = np.random.default_rng(seed).random(5) < 0.5
    actual = intersection_over_union(packed[:4], packed[4:], crowd)
    for i, j in np.ndindex(4, 5):
        one, other = masks[i], masks[4 + j]
        over = one.sum() if crowd[j] else (one | other).sum()
        assert actual[i, j] == ((one & other).sum() / over if over else 0)
    np.testing.assert_array_equal(merge(packed).mask(), np.logical_or.reduce(masks))
    np.testing.assert_array_equal(merge(packed[:3], intersect=True).mask(), np.logical_and.reduce(masks[:3]))


def test_runs_of_no_length_change_nothing():
    odd = from_coco({"size": [3, 4], "counts": [0, 0, 2, 0, 1, 3, 0, 2, 4, 0]})
    plain = encode(odd.mask())
    np.testing.assert_array_equal(plain.counts, [3, 5, 4])
    assert odd.area == 5 and odd.box.tolist() == plain.box.tolist() == [1, 0, 3, 3]
    assert intersection_over_union([odd], [plain]) == intersection_over_union([plain], [odd]) == 1
    np.testing.assert_array_equal(merge([odd, odd], intersect=True).counts, plain.counts)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_no_masks_have_no_overlaps(shape):
    masks = [encode(np.eye(4, dtype=bool))] * 3
    assert intersection_over_union(masks[: shape[0]], masks[: shape[1]]).shape == shape


@pytest.mark.parametrize("seed", range(5))
def test_a_map_of_objects_in_one_pass(seed):
    rng = np.random.default_rng(seed)
    instances = rng.integers(0, 5, (9, 11)).astype(np.int32) * rng.integers(0, 2, (9, 11), dtype=np.int32) * 3
    numbers = np.array([3, 4, 12, 6])
    for number, packed in zip(numbers, encode_numbered(instances, numbers), strict=True):
        np.testing.assert_array_equal(packed.counts, encode(instances == number).counts)


@pytest.mark.parametrize("seed", range(30))
def test_equal_to_pycocotools(seed):
    theirs = pytest.importorskip("pycocotools.mask")
    masks = list(random_masks(seed, 8))
    packed = [encode(mask) for mask in masks]
    packed_by_them = [theirs.encode(np.asfortranarray(mask, np.uint8)) for mask in masks]
    for mask, ours, other in zip(masks, packed, packed_by_them, strict=True):
        assert ours.to_coco() == {"size": list(mask.shape), "counts": other["counts"].decode()}
        x, y, width, height = theirs.toBbox(other)
        assert ours.box.tolist() == [x, y, x + width, y + height]
    crowd = np.random.default_rng(seed).random(5) < 0.5
    np.testing.assert_array_equal(
        intersection_over_union(packed[:3], packed[3:], crowd),
        theirs.iou(packed_by_them[:3], packed_by_them[3:], crowd.astype(np.uint8)),
    )
    for intersect in (False, True):
        assert (
            merge(packed, intersect).to_coco()["counts"] == theirs.merge(packed_by_them, intersect)["counts"].decode()
        )


@pytest.mark.parametrize("name", sorted(HARD.keys() - {"no pixels"}))
def test_hard_masks_as_pycocotools_writes_them(name):
    theirs = pytest.importorskip("pycocotools.mask")
    packed = theirs.encode(np.asfortranarray(HARD[name], np.uint8))
    assert encode(HARD[name]).to_coco()["counts"] == packed["counts"].decode()


@pytest.mark.parametrize(
    "segmentation, message",
    [
        (None, "size.*counts.*got None"),
        ({"size": [2, 2]}, "counts"),
        ({"size": [2], "counts": [4]}, "size of a mask"),
        ({"size": [2, -2], "counts": [4]}, r"whole numbers from 1; got \[2, -2\]"),
        ({"size": [2, 2.0], "counts": [4]}, "whole numbers"),
        ({"size": [2, True], "counts": [2]}, "whole numbers"),
        ({"size": [2, 2], "counts": [3]}, "add up to 4; got 3"),
        ({"size": [2, 2], "counts": [5, -1]}, "counts"),
        ({"size": [2, 2], "counts": [float("nan"), 4]}, "counts"),
        ({"size": [2, 2], "counts": 4}, "counts"),
        ({"size": [2, 2], "counts": [10**30]}, "counts"),
        ({"size": [2, 2], "counts": "a b"}, "character 1 is another"),
        ({"size": [2, 2], "counts": "ä"}, "characters"),
        ({"size": [2, 2], "counts": "P"}, "cut off"),
        ({"size": [2, 2], "counts": "P" * 50 + "0"}, "number of 51 characters"),
        ({"size": [2, 2], "counts": "O5"}, "at least 0; got -1"),
        ({"size": [2, 2], "counts": ""}, "add up to 4; got 0"),
    ],
)
def test_what_is_no_mask_is_refused(segmentation, message):
    with pytest.raises(DataError, match=message):
        from_coco(segmentation)


@pytest.mark.parametrize("seed", range(40))
def test_random_text_is_a_mask_or_refused(seed):
    rng = np.random.default_rng(seed)
    text = "".join(map(chr, rng.integers(40, 120, rng.integers(0, 30))))
    try:
        assert from_coco({"size": [30, 30], "counts": text}).mask().shape == (30, 30)
    except MinisegnetError as problem:
        assert "run lengths" in str(problem)


def test_arrays_that_do_not_fit_are_refused():
    small, large = encode(np.ones((2, 3), bool)), encode(np.ones((3, 2), bool))
    with pytest.raises(ShapeError, match=r"of one size.*\(2, 3\) and \(3, 2\)"):
        intersection_over_union([small], [large])
    with pytest.raises(ShapeError, match="crowd"):
        intersection_over_union([small], [small, small], np.array([True]))
    with pytest.raises(ShapeError, match="one size"):
        merge([small, large])
    with pytest.raises(OptionError, match="at least one"):
        merge([])
    with pytest.raises(ShapeError, match=r"\(1, 2, 3\)"):
        encode(np.ones((1, 2, 3), bool))
    with pytest.raises(DtypeError, match="float64"):
        encode(np.ones((2, 3)))
    assert isinstance(small, RunLength)
