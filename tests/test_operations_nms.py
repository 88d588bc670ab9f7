"""Non-maximum suppression: what is kept, in which order; ties, thresholds, empty boxes; errors, and replacing it."""

import importlib
import tracemalloc
from inspect import signature

import numpy as np
import pytest
import torch_regions
from cases import LAYOUTS
from conftest import BACKENDS

import minisegnet
from minisegnet import functional, reference
from minisegnet.errors import BackendError, BoxError, DtypeError, OptionError, ShapeError

nan, inf = np.nan, np.inf
SEVEN_TENTHS = [[0, 0, 10, 8.5], [0, 1.5, 10, 10]]  # 70 of 100 pixels
THREE_TENTHS = [[0, 0, 10, 6.5], [0, 3.5, 10, 10]]


def kept(backend, boxes, scores, threshold, dtype="float32"):
    keep = backend.nms(np.array(boxes, dtype).reshape(-1, 4), np.array(scores, dtype), threshold)
    assert type(keep) is np.ndarray and keep.dtype == np.int32 and keep.flags.c_contiguous
    return keep.tolist()


def scene(seed, count, size=100.0, side=30.0):
    """Boxes in a square, some of them on whole pixels so that some are equal, and scores with ties."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, size, (count, 2))
    boxes = np.column_stack([corner, corner + rng.uniform(1, side, (count, 2))])
    boxes[::3] = np.floor(boxes[::3] / 10) * 10 + [0, 0, 10, 10]
    return boxes.astype(np.float32), (rng.integers(0, count, count) / count).astype(np.float32)


def overlaps(boxes, threshold):
    """Which pairs of boxes, each of some area, overlap by more."""
    x1, y1, x2, y2 = boxes.T
    width = np.minimum.outer(x2, x2) - np.maximum.outer(x1, x1)
    height = np.minimum.outer(y2, y2) - np.maximum.outer(y1, y1)
    shared = np.where((width > 0) & (height > 0), width * height, np.float32(0))
    area = (x2 - x1) * (y2 - y1)
    return (shared / (np.add.outer(area, area) - shared)).astype(float) > threshold


def test_by_hand(backend):
    """Two objects of three and two boxes, and one box by itself; the best of each comes out, best first."""
    boxes = [[0, 0, 10, 10], [1, 0, 11, 10], [0, 1, 10, 11], [50, 50, 60, 60], [51, 50, 61, 60], [90, 0, 95, 5]]
    assert kept(backend, boxes, [0.8, 0.9, 0.7, 0.3, 0.2, 0.95], 0.5) == [5, 1, 3]


def test_what_is_suppressed_suppresses_nothing(backend):
    """Of a chain, each overlapping the next, every second is kept."""
    chain = [[4 * i, 0, 4 * i + 10, 10] for i in range(7)]
    assert kept(backend, chain, np.linspace(1, 0.4, 7), 0.4) == [0, 2, 4, 6]


def test_of_equal_scores_the_first_comes_first(backend):
    assert kept(backend, [[0, 0, 4, 4]] * 5, [0.5] * 5, 0.5) == [0]
    apart = [[10 * i, 0, 10 * i + 4, 4] for i in range(150)]
    assert kept(backend, apart, np.arange(150) // 50, 0.5) == [*range(100, 150), *range(50, 100), *range(50)]


def test_scores_may_be_infinite_and_negative(backend):
    apart = [[10 * i, 0, 10 * i + 4, 4] for i in range(5)]
    assert kept(backend, apart, [-inf, -3, inf, 0, -0.5], 0.5) == [2, 3, 4, 1, 0]


def test_an_overlap_of_exactly_the_threshold_is_kept(backend):
    halves = [[0, 0, 4, 4], [0, 0, 4, 2]]
    assert kept(backend, halves, [2, 1], 0.5) == [0, 1]
    assert kept(backend, halves, [2, 1], np.nextafter(np.float32(0.5), np.float32(0))) == [0]


@pytest.mark.parametrize("boxes, threshold, keep", [(SEVEN_TENTHS, 0.7, [0, 1]), (THREE_TENTHS, 0.3, [0])])
def test_a_threshold_between_two_float32_numbers_is_not_rounded(backend, boxes, threshold, keep):
    """7 / 10 in float32 lies below 0.7 and 3 / 10 above 0.3; so it is in torchvision on the CPU."""
    assert kept(backend, boxes, [2, 1], threshold) == keep


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_thresholds_0_and_1(float64_backend, dtype):
    boxes = [[0, 0, 4, 4], [3.5, 3.5, 8, 8], [4, 0, 8, 3], [0, 0, 4, 4]]
    assert kept(float64_backend, boxes, [4, 3, 2, 1], 0, dtype) == [0, 2]
    assert kept(float64_backend, boxes, [4, 3, 2, 1], 1, dtype) == [0, 1, 2, 3]


def test_boxes_of_no_area_or_the_wrong_way_round_overlap_none(backend):
    empty = [[1, 1, 1, 5], [1, 1, 1, 5], [2, 2, 2, 2], [2, 2, 2, 2], [5, 5, 0, 0], [5, 5, 0, 0], [0, 0, 8, 8]]
    assert kept(backend, empty, np.linspace(1, 0, 7), 0) == list(range(7))


def test_no_boxes_and_one(backend):
    assert kept(backend, [], [], 0.5) == []
    assert kept(backend, [[3, 3, 1, 1]], [-1], 0.5) == [0]


@pytest.mark.parametrize("count, threshold", [(40, 0.3), (127, 0.5), (128, 0.2), (129, 0.7), (300, 0.45)])
@pytest.mark.parametrize("seed", range(2))
def test_what_suppression_is(backend, seed, count, threshold):
    """In order of score; no two kept overlap; and whatever is missing overlaps a kept one that comes before it."""
    boxes, scores = scene(seed, count, size=60)
    keep = backend.nms(boxes, scores, threshold)
    overlap, place = overlaps(boxes, threshold), np.argsort(np.argsort(-scores, kind="stable"))
    assert (np.diff(place[keep]) > 0).all()
    among = overlap[np.ix_(keep, keep)]
    assert not among[~np.eye(len(keep), dtype=bool)].any()
    gone = np.setdiff1d(np.arange(count), keep)
    assert len(gone) and len(keep)
    assert (overlap[np.ix_(gone, keep)] & (place[keep] < place[gone][:, None])).any(axis=1).all()


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"one image repeated"}))
def test_any_memory_order_and_nothing_is_changed(backend, layout):
    boxes, scores = scene(0, 50)
    wanted = backend.nms(boxes, scores, 0.3)
    given = LAYOUTS[layout](boxes), LAYOUTS[layout](scores)
    before = [array.copy() for array in given]
    assert (backend.nms(*given, 0.3) == wanted).all()
    assert all((array == copy).all() for array, copy in zip(given, before, strict=True))


def test_numpy_s_memory_does_not_grow_with_the_square_of_the_boxes():
    """The whole matrix of 20000 boxes would be 400 million pairs."""
    boxes, scores = scene(3, 20_000, size=300, side=200)
    tracemalloc.start()
    keep = functional.nms(boxes, scores, 0.3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0 < len(keep) < 2000 and peak < 150e6


@pytest.mark.torch
@pytest.mark.parametrize("seed", range(10))
def test_it_agrees_with_pytorch(backend, seed):
    import torch

    rng = np.random.default_rng(seed)
    boxes, scores = scene(seed, int(rng.integers(1, 200)))
    threshold = float(rng.choice([0.1, 0.3, 0.5, 0.7, 0.95]))
    wanted = torch_regions.nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold)
    assert backend.nms(boxes, scores, threshold).tolist() == wanted


# ------------------------------------------------------------------------------------------------- the contract

BOXES, SCORES = np.ones((3, 4), np.float32), np.arange(3, dtype=np.float32)


def with_number(array, place, value):
    array = array.copy()
    array[place] = value
    return array


@pytest.mark.parametrize(
    "boxes, scores, threshold, error, message",
    [
        (np.ones((3, 5), np.float32), SCORES, 0.5, ShapeError, "nms takes boxes (R, 4) and scores (R,); got (3, 5)"),
        (BOXES[0], SCORES, 0.5, ShapeError, "got (4,) and (3,)"),
        (BOXES, SCORES[:2], 0.5, ShapeError, "got (3, 4) and (2,)"),
        (BOXES, SCORES[:, None], 0.5, ShapeError, "got (3, 4) and (3, 1)"),
        (BOXES, [1, 2, 3], 0.5, DtypeError, "scores must be a NumPy array; got list"),
        (BOXES.astype(int), SCORES, 0.5, DtypeError, "boxes must be float32 or float64; got int64"),
        (BOXES, SCORES.astype(float), 0.5, DtypeError, "scores is float64 and boxes is float32; give both the same"),
        (with_number(BOXES, (1, 2), nan), SCORES, 0.5, BoxError, "nms: box 1 is (1, 1, nan, 1), which is not finite"),
        (with_number(BOXES, (2, 0), -inf), SCORES, 0.5, BoxError, "nms: box 2 is (-inf, 1, 1, 1), which is not finite"),
        (with_number(BOXES, (0, 3), 2e18), SCORES, 0.5, BoxError, "is (1, 1, 1, 2e+18), which is not finite or off by"),
        (BOXES, with_number(SCORES, 1, nan), 0.5, BoxError, "nms: the score of box 1 is NaN"),
        (BOXES, SCORES, 50, OptionError, "nms: iou_threshold must lie between 0 and 1; got 50"),
        (BOXES, SCORES, -0.1, OptionError, "nms: iou_threshold must lie between 0 and 1; got -0.1"),
        (BOXES, SCORES, nan, OptionError, "nms: iou_threshold must lie between 0 and 1; got nan"),
    ],
)
def test_error(backend, boxes, scores, threshold, error, message):
    with pytest.raises(error) as raised:
        functional.nms(boxes, scores, threshold)
    assert message in str(raised.value)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("operation", sorted(functional.WITHOUT_BACKWARD))
def test_a_backend_s_function_has_the_contract_s_signature(name, operation):
    module = importlib.import_module((minisegnet.backends.BACKENDS | minisegnet.backends.ON_DEVICE)[name])
    assert signature(getattr(module, operation)) == signature(getattr(functional, operation))
    assert operation not in functional.OPERATIONS and not hasattr(functional, f"{operation}_backward")


def test_your_own_is_called_in_the_place_of_ours():
    seen = []

    def mine(boxes, scores, iou_threshold):
        seen.append(iou_threshold)
        return reference.nms(boxes, scores, iou_threshold).astype(np.int64)

    boxes, scores = scene(1, 60)
    wanted = functional.nms(boxes, scores, 0.4)
    with minisegnet.replace(nms=mine):
        keep = functional.nms(boxes, scores, iou_threshold=0.4)
        assert minisegnet.backends.replaced_operations() == ("nms",)
    assert seen == [0.4] and keep.dtype == np.int32 and (keep == wanted).all()
    functional.nms(boxes, scores, 0.4)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "answer, error, message",
    [
        ([0, 1], DtypeError, "the result of your nms must be a vector of integers where the boxes lie; got list"),
        (np.array([0.0]), DtypeError, "got float64 of shape (1,)"),
        (np.array([True, False, True]), DtypeError, "got bool of shape (3,)"),
        (np.array([[0]]), DtypeError, "got int64 of shape (1, 1)"),
        (np.array([0, 3]), ShapeError, "the result of your nms must be distinct indices of the 3 boxes; got [0 3]"),
        (np.array([-1]), ShapeError, "distinct indices of the 3 boxes; got [-1]"),
        (np.array([2, 2]), ShapeError, "distinct indices of the 3 boxes; got [2 2]"),
    ],
)
def test_what_your_own_returns_is_checked(answer, error, message):
    with minisegnet.replace(nms=lambda boxes, scores, iou_threshold: answer), pytest.raises(error) as raised:
        functional.nms(BOXES, SCORES, 0.5)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "functions, message",
    [
        ({"nms_forward": reference.nms}, "replace: there is no nms_forward; the operations are conv2d"),
        ({"nms_backward": reference.nms}, "roi_pool, nms"),
        ({"nms": lambda boxes, scores: None}, "nms is called as nms(boxes, scores, iou_threshold); yours takes"),
        ({"nms": 0.5}, "replace: nms must be a function; got float"),
    ],
)
def test_what_cannot_replace_it_is_refused(functions, message):
    with pytest.raises(BackendError) as raised, minisegnet.replace(**functions):
        pass
    assert message in str(raised.value)
