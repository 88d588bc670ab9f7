"""What RoIAlign and RoIPool must get right beyond the table of cases: borders, rounding, huge boxes, errors, slopes."""

from pathlib import Path

import numpy as np
import pytest
import torch_regions
from cases import regions
from conftest import assert_close

from minisegnet import functional
from minisegnet.errors import BoxError, DtypeError, OptionError, ShapeError
from minisegnet.teaching import check_operation

nan, inf = np.nan, np.inf
COUNTING = np.arange(16.0).reshape(1, 1, 4, 4)  # at row i, column j stands 4 i + j
WHOLE = np.array([[0.0, 0, 0, 4, 4]])

# Bins of a map that counts, to be checked by head: on it, interpolation at (row, column) gives 4 row + column.
BY_HAND = {
    "the four pixels of each bin": (WHOLE, {"sampling_ratio": 2}, [[2.5, 4.5], [10.5, 12.5]]),
    "one point, between the four": (WHOLE, {"sampling_ratio": 1}, [[2.5, 4.5], [10.5, 12.5]]),
    "two points, for a bin is two pixels large": (WHOLE, {}, [[2.5, 4.5], [10.5, 12.5]]),
    # half a pixel further down and to the right; the points at 3.5 take what stands at 3
    "not aligned": (WHOLE, {"sampling_ratio": 2, "aligned": False}, [[5, 6.75], [12, 13.75]]),
    "stride 2": (2 * WHOLE, {"sampling_ratio": 2, "spatial_scale": 0.5}, [[2.5, 4.5], [10.5, 12.5]]),
    "from the far corner": (WHOLE[:, [0, 3, 4, 1, 2]], {"sampling_ratio": 2}, [[12.5, 10.5], [4.5, 2.5]]),
    # rows -1.5, -0.5 | 0.5, 1.5 less one half: of the upper bins only the points at -1 count, as row 0
    "half outside": (np.array([[0.0, 0, -2, 4, 2]]), {"sampling_ratio": 2}, [[0.25, 1.25], [2.5, 4.5]]),
}


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_roi_align_by_hand(backend, name):
    boxes, options, wanted = BY_HAND[name]
    y, _ = backend.roi_align_forward(COUNTING, boxes, 2, **options)
    assert_close(y, np.array(wanted, float)[None, None], 1e-15)


@pytest.mark.torch
@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_the_oracle_by_hand(name):
    import torch

    boxes, options, wanted = BY_HAND[name]
    options = {"sampling_ratio": 0, "aligned": True} | options
    y = torch_regions.roi_align(torch.from_numpy(COUNTING), torch.from_numpy(boxes), 2, **options)
    assert y[0, 0].tolist() == wanted


@pytest.mark.parametrize("seed", range(3))
def test_mirrored_boxes_on_the_mirrored_map_give_mirrored_bins(backend, seed):
    rng = np.random.default_rng(seed)
    features, boxes = rng.standard_normal((1, 2, 8, 10)), regions(5, 1, (-4, 0), (14, 8))(rng)
    mirrored = np.column_stack([boxes[:, 0], 10 - boxes[:, 3], boxes[:, 2], 10 - boxes[:, 1], boxes[:, 4]])
    y, _ = backend.roi_align_forward(features, boxes, (2, 3), sampling_ratio=2)
    other, _ = backend.roi_align_forward(features[..., ::-1], mirrored, (2, 3), sampling_ratio=2)
    assert_close(y, other[..., ::-1], 1e-13)


@pytest.mark.parametrize("sampling_ratio", [0, 1, 2, 5])
@pytest.mark.parametrize("aligned", [False, True])
def test_a_plane_is_sampled_at_the_centres_of_the_bins(backend, aligned, sampling_ratio):
    """Wherever the points of a bin lie, their mean on a slope is what stands at its centre; 150 boxes, 3 x 2 bins."""
    rng = np.random.default_rng(1)
    boxes = regions(150, 2, (1, 1), (19, 14))(rng)
    boxes[:, 3:] += 1  # so that none is less than a pixel large
    slope = np.array([[1.0, 2.0], [-0.5, 3.0]])  # of each image, down and across
    down, across = np.mgrid[:16.0, :21.0]
    features = np.stack([a * down + b * across for a, b in slope])[:, None]
    y, _ = backend.roi_align_forward(features, boxes, (3, 2), sampling_ratio=sampling_ratio, aligned=aligned)
    image, (x1, y1, x2, y2) = boxes[:, 0].astype(int), boxes.T[1:]
    row = y1[:, None] + (np.arange(3) + 0.5) * (y2 - y1)[:, None] / 3 - aligned / 2
    column = x1[:, None] + (np.arange(2) + 0.5) * (x2 - x1)[:, None] / 2 - aligned / 2
    wanted = slope[image, 0, None, None] * row[:, :, None] + slope[image, 1, None, None] * column[:, None, :]
    assert_close(y, wanted[:, None], 1e-13)


@pytest.mark.parametrize("seed", range(3))
def test_roi_align_s_backward_is_its_adjoint(backend, seed):
    """<dy, A features> = <A^T dy, features>, for more boxes than are computed together, many of them overlapping."""
    rng = np.random.default_rng(seed)
    features, boxes = rng.standard_normal((2, 3, 12, 9)), regions(150, 2, (-3, -3), (12, 15))(rng)
    y, cache = backend.roi_align_forward(features, boxes, (4, 3), spatial_scale=0.75)
    dy = rng.standard_normal(y.shape)
    there, back = dy * y, features * backend.roi_align_backward(dy, cache)
    assert abs(there.sum() - back.sum()) < 1e-6 * np.abs(there).sum()


@pytest.mark.parametrize(
    "centre, value", [(-1.25, 0), (-1, 1), (-0.5, 1), (0, 1), (2.5, 1), (3, 1), (3.25, 0)], ids=str
)
def test_points_count_up_to_a_pixel_beyond_the_outermost(backend, centre, value):
    """On a map of ones, three pixels long in each direction."""
    ones = np.ones((1, 1, 3, 3))
    for box in ([centre, 1, centre, 1], [1, centre, 1, centre]):  # not aligned: one pixel wide and high from there
        boxes = np.array([[0, *box]]) - np.array([0, 0.5, 0.5, 0.5, 0.5])
        y, _ = backend.roi_align_forward(ones, boxes, 1, sampling_ratio=1, aligned=False)
        assert y.item() == value


def test_points_outside_count_in_the_mean(backend):
    """Of four points two lie on the map."""
    y, _ = backend.roi_align_forward(np.ones((1, 1, 8, 8)), np.array([[0.0, -4, 2, 4, 6]]), 1, sampling_ratio=2)
    assert y.item() == 0.5


@pytest.mark.parametrize("aligned", [False, True])
def test_adaptive_sampling_takes_as_many_points_as_a_bin_has_pixels_rounded_up(backend, aligned):
    """Bins of 2.25 x 1.25 pixels: three points down, two across."""
    features = np.random.default_rng(0).standard_normal((1, 2, 9, 9))
    box = np.array([[0.0, 1, 0.5, 3.5, 5]])
    y, _ = backend.roi_align_forward(features, box, 2, aligned=aligned)
    three, _ = backend.roi_align_forward(features, box, (6, 4), sampling_ratio=1, aligned=aligned)
    assert_close(y, three.reshape(1, 2, 2, 3, 2, 2).mean((3, 5)), 1e-14)


def test_a_box_as_large_as_ten_thousand_maps(backend):
    """2 10^4 points in each direction, a pixel apart, of which H + 2 = 5 and W + 2 = 6 meet a map of ones."""
    boxes = np.array([[0, -1e4, -1e4, 1e4, 1e4]])
    y, cache = backend.roi_align_forward(np.ones((1, 1, 3, 4)), boxes, 1)
    assert_close(y * 1e8, np.full((1, 1, 1, 1), 5 * 6 / 4), 1e-12)
    assert backend.roi_align_backward(np.ones((1, 1, 1, 1)), cache).shape == (1, 1, 3, 4)
    y, _ = backend.roi_pool_forward(np.arange(12.0).reshape(1, 1, 3, 4), boxes, 3)
    assert y[0, 0].tolist() == [[0, 0, 0], [0, 11, 0], [0, 0, 0]]


def test_numpy_looks_at_the_points_near_the_map_alone():
    """Of 2 10^9 points in each direction."""
    y, _ = functional.roi_align_forward(np.ones((1, 1, 3, 4)), np.array([[0, -1e9, -1e9, 1e9, 1e9]]), 1)
    assert_close(y * 1e18, np.full((1, 1, 1, 1), 5 * 6 / 4), 1e-12)


# ------------------------------------------------------------------------------------------------- RoIPool


@pytest.mark.parametrize(
    "box, wanted",
    [
        ([0, 0, 3, 3], [[5, 7], [13, 15]]),
        ([0, 0, 2, 2], [[5, 6], [9, 10]]),  # three pixels in two bins share the middle one
        ([0.49, 1.5, 2.5, 2.49], [[9, 11], [9, 11]]),
        ([1, 1, 1, 1], [[5, 5], [5, 5]]),
        ([2, 2, 0, 0], [[10, 10], [10, 10]]),  # the wrong way round: the first pixel
        ([-2, -2, 1, 1], [[0, 0], [0, 5]]),
    ],
)
def test_roi_pool_by_hand(backend, box, wanted):
    y, _ = backend.roi_pool_forward(COUNTING, np.array([[0, *box]], float), 2)
    assert y[0, 0].tolist() == wanted


def test_of_equal_values_the_first_in_row_order_wins_and_takes_the_gradient(backend):
    features = np.array([[1, 2, 2], [2, 2, 2], [2, 2, 1]], float)[None, None]
    _, cache = backend.roi_pool_forward(features, np.array([[0, 0, 0, 2, 2], [0, 0, 0, 2, 2.0]]), 1)
    dx = backend.roi_pool_backward(np.array([3.0, 4.0]).reshape(2, 1, 1, 1), cache)
    assert dx[0, 0].tolist() == [[0, 7, 0], [0, 0, 0], [0, 0, 0]]


def test_nan_wins_and_takes_the_gradient(backend):
    features = np.array([[1, 9, 3], [4, nan, nan], [7, 8, 9]])[None, None]
    y, cache = backend.roi_pool_forward(features, np.array([[0, 0, 0, 2, 2.0]]), 1)
    assert np.isnan(y.item())
    dx = backend.roi_pool_backward(np.ones((1, 1, 1, 1)), cache)
    assert dx[0, 0].tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_minus_infinity_is_a_value_like_others(backend):
    y, _ = backend.roi_pool_forward(np.full((1, 1, 3, 3), -inf), np.array([[0, 0, 0, 2, 2.0]]), 1)
    assert y.item() == -inf


# ------------------------------------------------------------------------------------------- gradients, errors


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "operation, options",
    [
        ("roi_align", {"sampling_ratio": 2}),
        ("roi_align", {}),
        ("roi_align", {"aligned": False, "spatial_scale": 0.5}),
        ("roi_pool", {"spatial_scale": 0.5}),
    ],
)
def test_gradient_check(float64_backend, operation, options, seed):
    rng = np.random.default_rng(seed)
    features, boxes = rng.standard_normal((2, 2, 6, 7)), regions(4, 2, (-2, -2), (14, 12))(rng)
    check_operation(operation, features, boxes, output_size=(2, 3), **options).raise_if_wrong()


FEATURES, BOXES = np.zeros((2, 3, 5, 6), np.float32), np.ones((4, 5), np.float32)


def changed(row, column, value):
    boxes = BOXES.copy()
    boxes[row, column] = value
    return boxes


ERRORS = [
    (FEATURES[0], BOXES, {}, ShapeError, "features must have four dimensions (N, C, H, W); got shape (3, 5, 6)"),
    (FEATURES, BOXES[:, 1:], {}, ShapeError, "boxes must have shape (R, 5), rows (image number, x1, y1, x2, y2); got"),
    (FEATURES, BOXES[0], {}, ShapeError, "got (5,)"),
    (FEATURES[:, :, :0], BOXES, {}, ShapeError, "needs at least one row and column"),
    (FEATURES, BOXES.astype(int), {}, DtypeError, "boxes must be float32 or float64; got int64"),
    (FEATURES, BOXES.astype(float), {}, DtypeError, "boxes is float64 and features is float32; give both the same"),
    (FEATURES, BOXES.tolist(), {}, DtypeError, "boxes must be a NumPy array; got list"),
    (FEATURES, BOXES, {"output_size": 0}, OptionError, "output_size must be at least 1; got 0"),
    (FEATURES, BOXES, {"output_size": 7.0}, OptionError, "output_size must be an int or a pair"),
    (FEATURES, BOXES, {"spatial_scale": 0}, OptionError, "spatial_scale must be above 0; got 0"),
    (FEATURES, BOXES, {"spatial_scale": nan}, OptionError, "spatial_scale must be above 0; got nan"),
    (FEATURES, changed(2, 0, 2), {}, BoxError, "box 2 is of image number 2, and features hold 2 images, counted from"),
    (FEATURES, changed(1, 0, -1), {}, BoxError, "box 1 is of image number -1"),
    (FEATURES, changed(3, 0, 0.5), {}, BoxError, "box 3 is of image number 0.5"),
    (FEATURES[:0], BOXES, {}, BoxError, "box 0 is of image number 1, and features hold 0 images, counted from 0 (4 of"),
    (FEATURES, changed(3, 2, nan), {}, BoxError, "box 3 is (1, 1, nan, 1, 1), which is not finite or off by more"),
    (FEATURES, changed(3, 2, -1.1e9), {}, BoxError, "off by more than 1e+09 pixels (1 of 4 are); did training diverge"),
    (FEATURES, changed(1, 3, 1e9), {"spatial_scale": 2.0}, BoxError, "off by more than 5e+08 pixels"),
    (FEATURES, changed(0, 4, inf), {}, BoxError, "box 0 is (1, 1, 1, 1, inf), which is not finite"),
    (FEATURES, changed(0, 0, nan), {}, BoxError, "box 0 is (nan, 1, 1, 1, 1), which is not finite"),
]


@pytest.mark.parametrize("operation", ["roi_align", "roi_pool"])
@pytest.mark.parametrize("features, boxes, options, error, message", ERRORS, ids=[row[4][:50] for row in ERRORS])
def test_error(backend, operation, features, boxes, options, error, message):
    with pytest.raises(error) as raised:
        getattr(functional, f"{operation}_forward")(features, boxes, **{"output_size": 2} | options)
    assert message in str(raised.value)


def test_sampling_ratio_is_a_whole_number():
    with pytest.raises(OptionError, match=r"sampling_ratio must be an int; got 1\.5"):
        functional.roi_align_forward(FEATURES, BOXES, 2, sampling_ratio=1.5)


# ------------------------------------------------------------------------------------------- against torchvision


def drawn(seed, low, high, smallest=1):
    """Features, boxes between two shares of the map, bins and options, any of them."""
    rng = np.random.default_rng(seed)
    H, W = rng.integers(smallest, 20, 2)
    features = rng.standard_normal((2, 3, H, W))
    corners = np.sort(rng.uniform(low, high, (12, 2, 2)) * [W, H], axis=1).reshape(12, 4)
    scale = rng.choice([1.0, 0.25, 0.3])
    boxes = np.column_stack([rng.integers(0, 2, 12), corners / scale])
    options = {"spatial_scale": scale, "sampling_ratio": int(rng.integers(0, 4)), "aligned": bool(rng.integers(0, 2))}
    return features, boxes, tuple(int(n) for n in rng.integers(1, 8, 2)), options


@pytest.mark.torch
@pytest.mark.parametrize("seed", range(20))
def test_roi_align_agrees_with_torchvision_s_own_python(seed):
    """Its form for torch.compile, on boxes inside the map: of points off it, it knows nothing."""
    import torch

    torchvision = imported_torchvision()
    features, boxes, size, options = drawn(seed, 0, 0.9, smallest=10)
    y, cache = functional.roi_align_forward(features, boxes, size, **options)
    dy = np.random.default_rng(seed).standard_normal(y.shape)
    x = torch.from_numpy(features).requires_grad_()
    plain = torchvision.ops.roi_align.__globals__["_roi_align"].__wrapped__
    scale, *others = options.values()
    wanted = plain(x, torch.from_numpy(boxes), scale, *size, *others)
    (dx,) = torch.autograd.grad(wanted, x, torch.from_numpy(dy))
    assert_close(y, wanted.detach().numpy(), 1e-12)
    assert_close(functional.roi_align_backward(dy, cache), dx.numpy(), 1e-12)


@pytest.mark.torch
@pytest.mark.parametrize("dtype, bound", [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("seed", range(30))
def test_any_boxes_agree_with_pytorch(seed, dtype, bound):
    """In and out of the map, by whatever options: RoIAlign and RoIPool, forward and backward."""
    import torch

    features, boxes, size, options = drawn(seed, -0.7, 1.7)
    features, boxes = features.astype(dtype), boxes.astype(dtype)
    for name, given in (("roi_align", options), ("roi_pool", {"spatial_scale": options["spatial_scale"]})):
        y, cache = getattr(functional, f"{name}_forward")(features, boxes, size, **given)
        dy = np.random.default_rng(seed).standard_normal(y.shape).astype(dtype)
        x = torch.from_numpy(features).requires_grad_()
        wanted = getattr(torch_regions, name)(x, torch.from_numpy(boxes), size, **given)
        (dx,) = torch.autograd.grad(wanted, x, torch.from_numpy(dy))
        assert_close(y, wanted.detach().numpy(), bound, name)
        assert_close(getattr(functional, f"{name}_backward")(dy, cache), dx.numpy(), bound, f"{name}'s gradient")


def imported_torchvision():
    """torchvision, also where its compiled operators do not load; skips the test where it is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent / "detection"))
        from torchvision_twin import import_torchvision
    return import_torchvision()
