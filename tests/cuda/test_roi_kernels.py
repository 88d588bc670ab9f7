"""Kernels of regions: each rung computes what the first does and breaks no rule; boxes and scores of every kind."""

import numpy as np
import pytest
import test_kernel_rungs
from conftest import assert_close, skip_without_compiler
from stand_in_cupy import installed, ndarray
from test_kernel_rungs import BLOCK, assert_near, assert_same, blank, normal, threads

from minisegnet import cuda, functional, numpy_ops
from minisegnet.cuda import grids, modules

launch = test_kernel_rungs.launch  # the fixture: in the emulator under several schedules, and on a device
BOUND = 1e-5  # as for every operation in float32


@pytest.fixture
def launched(monkeypatch):
    """The kernels that operations launch, in the emulator."""
    skip_without_compiler("emulator")
    names = []

    def noted(source, kernel, *arguments):
        names.append(kernel)
        return original(source, kernel, *arguments)

    original = grids.launch
    monkeypatch.setattr(grids, "launch", noted)
    return names


def regions(rng, count, images, H, W):
    """Boxes of images of H x W: some cut by the border, one without area, one turned round, one outside."""
    corners = rng.uniform(-0.2, 1.2, (2, count, 2)) * (W, H)
    boxes = np.column_stack([rng.integers(0, images, count), corners.min(axis=0), corners.max(axis=0)])
    boxes[1, 3:] = boxes[1, 1:3]
    boxes[2, 1:] = boxes[2, [3, 4, 1, 2]]
    boxes[3, 1:] += 3 * max(H, W)
    return boxes.astype(np.float32)


# ------------------------------------------------------------------------------------------------------------ RoIAlign

# N, C, H, W, h, w, boxes, scale, points, aligned: channels that fill no group of 8, one, and more than one
ALIGNED = [
    (1, 1, 1, 1, 1, 1, 4, 1.0, 2, True),
    (2, 3, 6, 7, 2, 3, 9, 1.0, 0, True),
    (2, 8, 9, 5, 3, 3, 6, 0.25, 2, False),
    (3, 11, 8, 12, 4, 2, 12, 0.5, 1, True),
    (1, 9, 13, 11, 3, 2, 5, 2.0, 0, False),
]


@pytest.mark.parametrize("sizes", ALIGNED)
def test_roi_align(launch, sizes):
    """Groups of channels as single values; backward by gathering as by atomics; and both as NumPy in float64."""
    N, C, H, W, h, w, R, scale, points, aligned = sizes
    rng, source = np.random.default_rng(C), "roi_align.cu"
    x, boxes, dy = normal(rng, N, C, H, W), regions(rng, R, N, H / scale, W / scale), normal(rng, R, C, h, w)
    options = C, H, W, h, w, scale, points, aligned
    one, groups = blank(R, C, h, w), blank(R, C, h, w)
    launch(source, "roi_align_forward", threads(one.size), x, boxes, one, one.size, N, *options)
    grid = threads(R * h * w), -(-C // 8)
    launch(source, "roi_align_forward_channels", grid, x, boxes, groups, R * h * w, N, *options)
    assert_near([groups], [one])
    scattered, gathered = np.zeros_like(x), blank(*x.shape)
    launch(source, "roi_align_backward", threads(dy.size), dy, boxes, scattered, dy.size, N, *options)
    grid = threads(H * W), -(-C // 8), N
    launch(source, "roi_align_backward_gather", grid, dy, boxes, gathered, R, *options)
    assert_near([gathered], [scattered])
    wanted, saved = numpy_ops.roi_align_forward(x.astype("f8"), boxes.astype("f8"), (h, w), scale, points, aligned)
    assert_close(one.astype("f8"), wanted, BOUND)
    assert_close(gathered.astype("f8"), numpy_ops.roi_align_backward(dy.astype("f8"), saved), BOUND)


def test_a_training_step_adds_in_the_same_order_every_time(launched):
    rng = np.random.default_rng(0)
    x, boxes = normal(rng, 2, 9, 20, 24), regions(rng, 40, 2, 20, 24)
    y, saved = cuda.roi_align_forward(x, boxes, 7, sampling_ratio=2)
    _, pooled = cuda.roi_pool_forward(x, boxes, 7)
    dy = normal(rng, *y.shape)
    assert cuda.roi_align_backward(dy, saved).tobytes() == cuda.roi_align_backward(dy, saved).tobytes()
    assert cuda.roi_pool_backward(dy, pooled).tobytes() == cuda.roi_pool_backward(dy, pooled).tobytes()
    assert set(launched) == {
        "roi_align_forward_channels", "roi_align_backward_gather", "roi_pool_forward", "roi_pool_backward_gather",
    }  # fmt: skip


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("points", [0, 2])
@pytest.mark.parametrize("side", [3e3, 1e5, 1e9, 1e30])
def test_a_box_larger_than_the_map_by_any_factor(launched, side, points, aligned):
    """Only the points on the map are visited, however many there are, and counted all the same."""
    x = np.ones((1, 2, 4, 5), np.float32)
    boxes = np.float32([[0, -side, -side, side, side], [0, 1, 1, side, 3], [0, 0.5, 0.5, 3.5, 2.5]])
    y, saved = cuda.roi_align_forward(x, boxes, 3, 1.0, points, aligned)
    dx = cuda.roi_align_backward(np.ones_like(y), saved)
    middle = 0.0 if points == 2 else min(1.0, 5 * 6 / (2 * side / 3) ** 2)  # a point a pixel, of which so many lie here
    assert y[0, :, 1, 1] == pytest.approx(middle, rel=0.5, abs=1e-9)
    np.testing.assert_array_equal(y[2], 1)
    assert dx.sum() == pytest.approx(y.sum(), rel=1e-5)
    pooled, saved = cuda.roi_pool_forward(x, boxes, 3)
    assert (pooled[0, :, 1, 1] == 1).all() and set(np.unique(pooled)) <= {0, 1}
    assert cuda.roi_pool_backward(pooled, saved).sum() == pooled.sum()


@pytest.mark.parametrize("image", [-1, 2, 1e9])
def test_a_box_of_an_image_that_there_is_not(launch, image):
    """On a device nobody looks at the boxes: what is pooled is NaN, no gradient comes back, nothing else is touched."""
    rng = np.random.default_rng(1)
    x, dy, boxes = normal(rng, 2, 3, 4, 5), normal(rng, 2, 3, 2, 2), np.float32([[1, 0, 0, 3, 3], [image, 0, 0, 3, 3]])
    sizes, options = (2, 3, 4, 5, 2, 2), (1.0, 2, True)
    y, indices = blank(3, 2, 3, 2, 2), blank(2, 3, 2, 2, dtype="int32")
    launch("roi_align.cu", "roi_align_forward", 1, x, boxes, y[0], y[0].size, *sizes, *options)
    launch("roi_align.cu", "roi_align_forward_channels", 1, x, boxes, y[1], 8, *sizes, *options)
    launch("roi_pool.cu", "roi_pool_forward", 1, x, boxes, y[2], indices, y[2].size, *sizes, 1.0)
    assert np.isnan(y[:, 1]).all() and np.isfinite(y[:, 0]).all() and (indices[1] == -1).all()
    dx = [np.zeros_like(x) if half % 2 == 0 else blank(*x.shape) for half in range(4)]
    launch("roi_align.cu", "roi_align_backward", 1, dy, boxes, dx[0], dy.size, *sizes, *options)
    launch("roi_align.cu", "roi_align_backward_gather", (1, 1, 2), dy, boxes, dx[1], 2, *sizes[1:], *options)
    launch("roi_pool.cu", "roi_pool_backward", 1, dy, indices, boxes, dx[2], dy.size, 3, 20, 4)
    launch("roi_pool.cu", "roi_pool_backward_gather", (1, 1, 2), dy, indices, boxes, dx[3], 2, *sizes[1:], 1.0)
    assert_near([dx[1], dx[3]], [dx[0], dx[2]])
    for gradient in dx:
        assert gradient[1].any() and not gradient[0].any()


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("corner", range(1, 5))
def test_boxes_that_are_no_numbers_end(launched, broken, corner):
    """As training that diverged gives on a device: the kernels come back, and touch no memory that is not theirs."""
    x, boxes = np.ones((1, 2, 4, 5), np.float32), np.float32([[0, 1, 1, 3, 3]])
    boxes[0, corner] = broken
    for points in (0, 2):
        y, saved = cuda.roi_align_forward(x, boxes, 2, 1.0, points)
        assert cuda.roi_align_backward(y, saved).shape == x.shape
    y, saved = cuda.roi_pool_forward(x, boxes, 2)
    assert cuda.roi_pool_backward(y, saved).shape == x.shape


# --------------------------------------------------------------------------------------------------------- RoI pooling


@pytest.mark.parametrize(
    ("N", "C", "H", "W", "h", "w", "R", "scale"),
    [(1, 1, 1, 1, 1, 1, 4, 1), (2, 3, 6, 7, 7, 3, 9, 1), (2, 8, 9, 5, 3, 3, 6, 0.25), (3, 11, 8, 12, 2, 7, 12, 0.5)],
)
def test_roi_pool(launch, N, C, H, W, h, w, R, scale):
    """Of few different values, so that many are equal, and of some that are NaN."""
    rng, source = np.random.default_rng(C), "roi_pool.cu"
    x, boxes = rng.integers(-3, 3, (N, C, H, W)).astype(np.float32), regions(rng, R, N, H / scale, W / scale)
    x[rng.random(x.shape) < 0.05] = np.nan
    y, indices, dy = blank(R, C, h, w), blank(R, C, h, w, dtype="int32"), normal(rng, R, C, h, w)
    launch(source, "roi_pool_forward", threads(y.size), x, boxes, y, indices, y.size, N, C, H, W, h, w, scale)
    wanted, saved = numpy_ops.roi_pool_forward(x, boxes, (h, w), scale)
    np.testing.assert_array_equal(y, wanted)
    scattered, gathered = np.zeros_like(x), blank(*x.shape)
    launch(source, "roi_pool_backward", threads(dy.size), dy, indices, boxes, scattered, dy.size, C, H * W, h * w)
    grid = threads(H * W), -(-C // 8), N
    launch(source, "roi_pool_backward_gather", grid, dy, indices, boxes, gathered, R, C, H, W, h, w, scale)
    assert_near([gathered, scattered], [scattered, numpy_ops.roi_pool_backward(dy, saved)])


# ------------------------------------------------------------------------------------------- non-maximum suppression


def scored(rng, n):
    """Boxes with whole corners, so that overlaps are met to the last bit; of few scores, so that many are equal."""
    corners = rng.integers(0, 12, (n, 2))
    return np.hstack([corners, corners + rng.integers(0, 9, (n, 2))]).astype("f4"), rng.integers(0, 9, n).astype("f4")


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("n", [1, 31, 32, 33, 64, 150])
def test_nms(launch, n, threshold):
    rng, source = np.random.default_rng(n), "nms.cu"
    boxes, scores = scored(rng, n)
    words, ordered, order = -(-n // 32), blank(n, 4), blank(n, dtype="int32")
    launch(source, "nms_sort", threads(n), boxes, scores, ordered, order, n)
    assert_same([order, ordered], [np.argsort(-scores, kind="stable").astype(np.int32), boxes[order]])
    one, many, *counts = (blank(size, dtype="int32") for size in (n, n, 1, 1))
    launch(source, "nms_block", 1, ordered, order, np.zeros(n, np.int32), one, counts[0], threshold, n)
    mask, removed = np.zeros((n, words), np.uint32), np.zeros(words, np.uint32)
    launch(source, "nms_mask", (words, threads(n)), ordered, mask, threshold, n)
    launch(source, "nms_scan", 1, mask, order, removed, many, counts[1], n)
    assert counts[0] == counts[1]
    kept = int(counts[0][0])
    assert_same([many[:kept]], [one[:kept]])
    assert (one[kept:] == test_kernel_rungs.NOT_WRITTEN).all() and (many[kept:] == one[kept:]).all()
    np.testing.assert_array_equal(one[:kept], numpy_ops.nms(boxes, scores, np.float32(threshold)))


@pytest.mark.parametrize("width", [32, BLOCK, 1024])
def test_the_scan_shares_out_any_number_of_words(launch, width):
    n, words = 1300, 41
    boxes, _ = scored(np.random.default_rng(5), n)
    mask, order = np.zeros((n, words), np.uint32), np.arange(n, dtype=np.int32)
    launch("nms.cu", "nms_mask", (words, -(-n // 256)), boxes, mask, 0.5, n, block=256)
    keep, count = blank(n, dtype="int32"), blank(1, dtype="int32")
    launch("nms.cu", "nms_scan", 1, mask, order, np.zeros(words, np.uint32), keep, count, n, block=width)
    np.testing.assert_array_equal(keep[: count[0]], numpy_ops.nms(boxes, -order.astype("f4"), 0.5))


def test_boxes_of_every_kind_and_scores_that_are_no_numbers(launched):
    """No area, turned round, equal, infinite; of scores NaN comes first, in order, so that every box has a place."""
    square, point, turned_round = [0, 0, 4, 4], [2, 2, 2, 2], [4, 4, 0, 0]
    boxes = np.float32([square, point, point, turned_round, square, [0, 0, 4, 2], [1, 1, 9, 9]])
    scores = np.float32([0.5, np.nan, -np.inf, np.nan, 0.5, np.inf, -0.0])
    np.testing.assert_array_equal(cuda.nms(boxes, scores, 0.4), [1, 3, 5, 6, 2])
    np.testing.assert_array_equal(cuda.nms(boxes, scores, 0.5), [1, 3, 5, 0, 6, 2])
    boxes[:, 2] = np.nan
    assert sorted(cuda.nms(boxes, scores, 0.5)) == list(range(7))
    assert cuda.nms(boxes[:0], scores[:0], 0.5).shape == (0,)
    assert launched == 3 * ["nms_sort", "nms_mask", "nms_scan"]


def test_of_a_device_only_the_number_of_boxes_is_copied_back(monkeypatch):
    skip_without_compiler("emulator")
    cupy = installed(monkeypatch)
    boxes, scores = scored(np.random.default_rng(3), 70)
    keep = functional.nms(ndarray(boxes), ndarray(scores), 0.5)
    assert type(keep) is ndarray and keep.dtype == np.int32 and cupy.copied_back == [(1,)]
    np.testing.assert_array_equal(keep.values, numpy_ops.nms(boxes, scores, 0.5))
    modules._function.cache_clear()
