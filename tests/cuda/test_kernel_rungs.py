"""Every later rung of a kernel's ladder computes what its first rung does, and breaks no rule in any schedule."""

import numpy as np
import pytest
from conftest import BACKENDS, assert_close, skip_without_compiler

from minisegnet import emulator, numpy_ops
from minisegnet.cuda import arrays, launcher

SUMS = 3e-6  # of float32's 6e-8, after sums in another order
BLOCK = 64  # threads: two warps, so that small arrays fill several blocks
NOT_WRITTEN = -12345


SCHEDULES = ["forward", "reverse", 3]


@pytest.fixture(params=SCHEDULES + ["cuda"] * ("cuda" in BACKENDS), ids=lambda schedule: f"schedule {schedule}")
def launch(request):
    """`launcher.launch` on blocks of 64 threads: in the emulator, every access checked, or on a device and back."""

    def checked(source, kernel, grid, *arguments, block=BLOCK):
        with emulator.check(schedule=request.param) as report:
            launcher.launch(source, kernel, grid, block, *arguments)
        assert not report.findings, str(report)

    def brought(source, kernel, grid, *arguments, block=BLOCK):
        given = [arrays.to_device(one) if arrays.is_array(one) else one for one in arguments]
        launcher.launch(source, kernel, grid, block, *given)
        for array, result in zip(arguments, given, strict=True):
            if arrays.is_array(array):
                array[...] = arrays.to_host(result)

    if request.param == "cuda":
        return brought
    skip_without_compiler("emulator")
    return checked


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def blank(*shape, dtype="float32"):
    return np.full(shape, NOT_WRITTEN, dtype)


def threads(count):
    return -(-count // BLOCK)


def assert_same(actual, wanted):
    """Bit for bit, with every value written."""
    for one, other in zip(actual, wanted, strict=True):
        assert not (other == NOT_WRITTEN).any()
        assert one.tobytes() == other.tobytes()


def assert_near(actual, wanted):
    for one, other in zip(actual, wanted, strict=True):
        assert not (other == NOT_WRITTEN).any()
        assert_close(one, other, SUMS)


# ------------------------------------------------------------------------------------------------ four values a thread

# The numbers of arrays that are read, then of those that are written, and the options before the count.
VALUE_BY_VALUE = {
    "relu_forward": ("relu.cu", 1, 1, ()),
    "relu_backward": ("relu.cu", 2, 1, ()),
    "sigmoid_forward": ("sigmoid.cu", 1, 1, ()),
    "sigmoid_backward": ("sigmoid.cu", 2, 1, ()),
    "add_forward": ("add.cu", 2, 1, ()),
    "add_backward": ("add.cu", 1, 2, ()),
    "dropout": ("dropout.cu", 1, 1, (1.5, 2**32 // 3, 2**40 + 7)),
}


@pytest.mark.parametrize("count", [1, 4, 7, 513])
@pytest.mark.parametrize("kernel", VALUE_BY_VALUE)
def test_four_values_a_thread(launch, kernel, count):
    source, reads, writes, options = VALUE_BY_VALUE[kernel]
    rng = np.random.default_rng(count)
    given = [normal(rng, count) for _ in range(reads)]
    one, four = ([blank(count) for _ in range(writes)] for _ in range(2))
    launch(source, kernel, threads(count), *given, *one, *options, count)
    launch(source, f"{kernel}_4", threads(-(-count // 4)), *given, *four, *options, count)
    assert_same(four, one)


@pytest.mark.parametrize(("maps", "pooled"), [(1, 3), (5, 3), (3, 24), (2, 200)])
def test_max_unpool2d_by_four(launch, maps, pooled):
    """Four neighbours may lie in two maps or more."""
    rng, plane, count = np.random.default_rng(maps), 2 * pooled + 1, maps * pooled
    x, dy = normal(rng, maps, pooled), normal(rng, maps, plane)
    indices = np.array([rng.permutation(plane)[:pooled] for _ in range(maps)], np.int32)
    up, down = [np.zeros((maps, plane), np.float32) for _ in range(2)], [blank(maps, pooled) for _ in range(2)]
    for i, (rung, per_thread) in enumerate([("", 1), ("_4", 4)]):
        grid = threads(-(-count // per_thread))
        launch("max_unpool2d.cu", f"max_unpool2d_scatter{rung}", grid, x, indices, up[i], count, pooled, plane)
        launch("max_unpool2d.cu", f"max_unpool2d_gather{rung}", grid, dy, indices, down[i], count, pooled, plane)
    assert_same([up[1], down[1]], [up[0], down[0]])
    assert_same([np.take_along_axis(up[0], indices, 1), down[0]], [x, np.take_along_axis(dy, indices, 1)])


@pytest.mark.parametrize(("outer", "length", "stride", "offset"), [(1, 4, 4, 0), (3, 8, 20, 12), (2, 300, 304, 4)])
def test_concat_by_four(launch, outer, length, stride, offset):
    rng, count = np.random.default_rng(length), outer * length
    part, whole = normal(rng, outer, length), normal(rng, outer, stride)
    put, taken = [np.zeros((outer, stride), np.float32) for _ in range(2)], [blank(outer, length) for _ in range(2)]
    for i, (rung, grid) in enumerate([("", threads(count)), ("_4", threads(count // 4))]):
        launch("concat.cu", f"concat_put{rung}", grid, part, put[i], count, length, stride, offset)
        launch("concat.cu", f"concat_take{rung}", grid, whole, taken[i], count, length, stride, offset)
    assert_same([put[1], taken[1]], [put[0], taken[0]])
    assert_same([put[0][:, offset : offset + length], taken[0]], [part, whole[:, offset : offset + length]])


@pytest.mark.parametrize(("N", "C", "plane"), [(1, 1, 4), (2, 3, 20), (3, 2, 132)])
@pytest.mark.parametrize("share", [0.0, 0.01])
def test_batch_norm2d_by_four(launch, N, C, plane, share):
    rng, count = np.random.default_rng(plane), N * C * plane
    x, dy = normal(rng, N, C, plane), normal(rng, N, C, plane)
    mean, weight, bias, dweight, dbias = normal(rng, 5, C)
    var = np.abs(normal(rng, C))
    y, dx = ([blank(N, C, plane) for _ in range(2)] for _ in range(2))
    for i, (rung, grid) in enumerate([("", threads(count)), ("_4", threads(count // 4))]):
        forward = x, mean, var, weight, bias, y[i], 1e-5, count, C, plane
        backward = dy, x, mean, var, weight, dweight, dbias, dx[i], 1e-5, share, count, C, plane
        launch("batch_norm2d.cu", f"batch_norm2d_forward{rung}", grid, *forward)
        launch("batch_norm2d.cu", f"batch_norm2d_backward{rung}", grid, *backward)
    assert_near([y[1], dx[1]], [y[0], dx[0]])  # the compiler may join a product and a sum in one of the two


# ---------------------------------------------------------------------------------------- a pixel, and through the maps

SIZES = [(1, 1, 1, 1, 3), (5, 3, 4, 9, 11), (3, 7, 12, 5, 14), (7, 1, 9, 6, 30)]  # maps, h, w, H, W
BILINEAR = [(1, 0, 1), (6, -3, 14), (2, 1, 7)]  # step, offset and whole of one direction


def geometries():
    found = []
    for sizes in SIZES:
        H, W = sizes[3:]
        found.append(pytest.param("nearest_unpool2d", sizes, (), id=f"nearest {sizes}"))
        for place in [(0, 0), (2, 1), (H - 1, W - 1)]:
            found.append(pytest.param("reflection_pad2d", sizes, place, id=f"reflection {sizes} at {place}"))
        for rows, columns in [(BILINEAR[0], BILINEAR[1]), (BILINEAR[2], BILINEAR[0]), ((0, 0, 1), BILINEAR[2])]:
            name = f"bilinear {sizes} {rows} {columns}"
            found.append(pytest.param("upsample_bilinear2d", sizes, (*rows, *columns), id=name))
    return found


@pytest.mark.parametrize(("operation", "sizes", "options"), geometries())
def test_a_pixel_of_all_maps(launch, operation, sizes, options):
    maps, h, w, H, W = sizes
    rng = np.random.default_rng(h * W)
    small, large = normal(rng, maps, h, w), normal(rng, maps, H, W)
    halves = {"forward": (small, (maps, H, W)), "backward": (large, (maps, h, w))}
    if operation == "upsample_bilinear2d":
        del halves["backward"]  # whose second rung is another
    for half, (given, shape) in halves.items():
        one, pixel = blank(*shape), blank(*shape)
        plane = shape[1] * shape[2]
        launch(f"{operation}.cu", f"{operation}_{half}", threads(maps * plane), given, one, *sizes, *options)
        for side_by_side in (1, 2):
            grid = threads(plane), side_by_side
            launch(f"{operation}.cu", f"{operation}_{half}_maps", grid, given, pixel, *sizes, *options)
            assert_same([pixel], [one])


@pytest.mark.parametrize(("h", "w", "H", "W"), [(1, 1, 3, 2), (3, 4, 7, 9), (9, 5, 4, 11), (6, 6, 6, 6)])
def test_upsample_bilinear2d_backward_along_one_direction_at_a_time(launch, h, w, H, W):
    rng, maps = np.random.default_rng(h), 3
    rows, columns = (2 * h, h - H, 2 * H), (w - 1, 0, max(W - 1, 1))  # pixels as squares down, corners across
    dy = normal(rng, maps, H, W)
    wanted, down, dx = blank(maps, h, w), blank(maps, h, W), blank(maps, h, w)
    source, kernel = "upsample_bilinear2d.cu", "upsample_bilinear2d_backward"
    launch(source, kernel, threads(wanted.size), dy, wanted, maps, h, w, H, W, *rows, *columns)
    launch(source, f"{kernel}_along", threads(down.size), dy, down, maps, h, H, W, *rows)
    launch(source, f"{kernel}_along", threads(dx.size), down, dx, maps * h, w, W, 1, *columns)
    assert_near([dx], [wanted])


# ------------------------------------------------------------------------------------------------- windows and columns


@pytest.mark.parametrize(("maps", "h", "w"), [(1, 1, 2), (3, 5, 4), (2, 9, 10)])
def test_max_pool2d_of_two_windows_a_thread(launch, maps, h, w):
    """Of few different values, so that many are equal, and of some that are NaN."""
    rng, count, source = np.random.default_rng(h), maps * h * w, "max_pool2d.cu"
    x = rng.integers(-2, 2, (maps, 2 * h, 2 * w)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    dy = normal(rng, maps, h, w)
    y, dx = [blank(maps, h, w) for _ in range(2)], [blank(maps, 2 * h, 2 * w) for _ in range(2)]
    indices = [blank(maps, h, w, dtype="int32") for _ in range(2)]
    plain = 2, 2, 2, 2, 0, 0
    sizes = 2 * h, 2 * w, h, w, *plain
    launch(source, "max_pool2d_forward", threads(count), x, y[0], indices[0], count, *sizes, 1, 1)
    launch(source, "max_pool2d_backward", threads(4 * count), dy, indices[0], dx[0], 4 * count, *sizes)
    pairs = count // 2
    launch(source, "max_pool2d_forward_2x2", threads(pairs), x, y[1], indices[1], pairs, h, w)
    launch(source, "max_pool2d_backward_2x2", threads(pairs), dy, indices[0], dx[1], pairs, h, w)
    assert_same([indices[1], dx[1]], [indices[0], dx[0]])
    (wanted, first), _ = numpy_ops.max_pool2d_forward(x[None], 2)
    np.testing.assert_array_equal(indices[0], first[0])
    np.testing.assert_array_equal(y, [wanted[0], wanted[0]])  # NaN may be of other bits


@pytest.mark.parametrize("margin", [0, 2])
def test_avg_pool2d_of_a_window_a_warp(launch, margin):
    rng, maps, H, W, h, w = np.random.default_rng(margin), 3, 11, 14, 4, 3
    x, count = normal(rng, maps, H, W), maps * h * w
    one, warp = blank(maps, h, w), blank(maps, h, w)
    sizes = count, H, W, h, w, 7, 6, 2, 5, 2, 2, margin, margin
    launch("avg_pool2d.cu", "avg_pool2d_forward", threads(count), x, one, *sizes)
    launch("avg_pool2d.cu", "avg_pool2d_forward_warp", threads(32 * count), x, warp, *sizes)
    assert_near([warp], [one])


def test_avg_pool2d_backward_of_a_pixel_of_all_maps(launch):
    rng, maps, H, W, h, w = np.random.default_rng(6), 5, 11, 14, 4, 3
    dy, one, pixel = normal(rng, maps, h, w), blank(maps, H, W), blank(maps, H, W)
    sizes = one.size, H, W, h, w, 4, 6, 3, 5, 2, 2, 1, 0
    launch("avg_pool2d.cu", "avg_pool2d_backward", threads(one.size), dy, one, *sizes)
    launch("avg_pool2d.cu", "avg_pool2d_backward_maps", (threads(H * W), 2), dy, pixel, *sizes)
    assert_same([pixel], [one])


@pytest.mark.parametrize(("top", "left", "height", "width"), [(0, 0, 11, 14), (3, 5, 7, 9), (10, 0, 1, 14)])
def test_crop_of_a_pixel_of_all_maps(launch, top, left, height, width):
    rng, maps, H, W = np.random.default_rng(7), 5, 11, 14
    x, dy = normal(rng, maps, H, W), normal(rng, maps, height, width)
    y, dx = ([blank(*array.shape) for _ in range(2)] for array in (dy, x))
    place = H, W, top, left, height, width
    for i, (rung, blocks) in enumerate(
        [("", lambda plane: threads(maps * plane)), ("_maps", lambda plane: (threads(plane), 2))]
    ):
        launch("crop.cu", f"crop_forward{rung}", blocks(height * width), x, y[i], y[i].size, *place)
        launch("crop.cu", f"crop_backward{rung}", blocks(H * W), dy, dx[i], dx[i].size, *place)
    assert_same([y[1], dx[1]], [y[0], dx[0]])
    rows, columns = slice(top, top + height), slice(left, left + width)
    assert_same([y[0], dx[0][:, rows, columns]], [x[:, rows, columns], dy])


@pytest.mark.parametrize(("stride", "output"), [((2, 2), (6, 10)), ((1, 3), (3, 15)), ((3, 2), (10, 9))])
def test_bed_of_nails2d_gathered(launch, stride, output):
    rng, maps, h, w = np.random.default_rng(1), 4, 3, 5
    x, (H, W) = normal(rng, maps, h, w), output
    scattered, gathered = np.zeros((maps, H, W), np.float32), blank(maps, H, W)
    source, kernel, sizes = "bed_of_nails2d.cu", "bed_of_nails2d_forward", (h, w, H, W, *stride)
    launch(source, kernel, threads(x.size), x, scattered, x.size, *sizes)
    launch(source, f"{kernel}_gather", threads(gathered.size), x, gathered, gathered.size, *sizes)
    assert_same([gathered], [scattered])


@pytest.mark.parametrize(("columns", "length"), [(1, 1), (5, 3), (70, 33), (3, 100)])
@pytest.mark.parametrize("scale", [1, 1000])
def test_softmax_online_and_of_a_column_a_warp(launch, columns, length, scale):
    rng, source = np.random.default_rng(length), "softmax.cu"
    x, dy = scale * normal(rng, columns, length), normal(rng, columns, length)
    x[0, 0] = -np.inf if length > 1 else 0
    y, dx = blank(3, columns, length), blank(2, columns, length)
    for i, rung in enumerate(["", "_online"]):
        launch(source, f"softmax_forward{rung}", threads(columns), x, y[i], columns, length, 1)
    launch(source, "softmax_forward_warp", threads(32 * columns), x, y[2], columns, length)
    launch(source, "softmax_backward", threads(columns), y[0], dy, dx[0], columns, length, 1)
    launch(source, "softmax_backward_warp", threads(32 * columns), y[0], dy, dx[1], columns, length)
    assert_near([y[1], y[2], dx[1]], [y[0], y[0], dx[0]])


@pytest.mark.parametrize("first", [np.nan, np.inf, -np.inf])
def test_softmax_of_what_is_no_number(launch, first):
    """All rungs agree on what a first NaN, infinity or minus infinity does."""
    x = np.array([[first, 1, -np.inf, 2]], np.float32)
    y = blank(3, 1, 4)
    for i, rung in enumerate(["", "_online"]):
        launch("softmax.cu", f"softmax_forward{rung}", 1, x, y[i], 1, 4, 1)
    launch("softmax.cu", "softmax_forward_warp", 1, x, y[2], 1, 4)
    np.testing.assert_allclose(y[1:], y[[0, 0]], rtol=1e-6)
    assert np.isnan(y[0]).any() == (first != -np.inf)


# ---------------------------------------------------------------------------------------------------------------- sums


@pytest.mark.parametrize("count", [1, 31, 64, 1000])
def test_sum(launch, count):
    x = 1 + np.random.default_rng(count).random(count, np.float32)
    one, block, parts, many = blank(1), blank(1), blank(3), blank(1)
    launch("sum.cu", "sum", 1, x, one, 0.5, count, block=1)
    launch("sum.cu", "sum_block", 1, x, block, 0.5, count)
    launch("sum.cu", "sum_parts", 3, x, parts, count)
    launch("sum.cu", "sum_block", 1, parts, many, 0.5, 3)
    assert_near([block, many], [one, one])
    assert_near([one], [(0.5 * x.sum(dtype=np.float64)).astype(np.float32).reshape(1)])


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize(("N", "C", "plane"), [(1, 1, 1), (2, 3, 5), (3, 2, 150)])
def test_batch_norm2d_statistics(launch, N, C, plane, parts):
    """Rung 3 far from zero too, where a sum of squares would have lost all digits."""
    rng, source, kernel = np.random.default_rng(plane), "batch_norm2d.cu", "batch_norm2d_statistics"
    x = normal(rng, N, C, plane) + 10
    mean, var, found = blank(3, C), blank(3, C), blank(C, parts, 3)
    launch(source, kernel, threads(C), x, mean[0], var[0], N, C, plane)
    launch(source, f"{kernel}_block", C, x, mean[1], var[1], N, C, plane)
    launch(source, f"{kernel}_parts", (parts, C), x, found, N, C, plane)
    launch(source, f"{kernel}_merge", C, found, mean[2], var[2], parts, block=32)
    assert (found[:, :, 0].sum(1) == N * plane).all()
    assert_near([*mean[1:], *var[1:]], [mean[0], mean[0], var[0], var[0]])


@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize(("N", "C", "plane"), [(1, 1, 1), (2, 3, 5), (3, 2, 150)])
def test_batch_norm2d_sums(launch, N, C, plane, parts):
    rng, source, kernel = np.random.default_rng(plane), "batch_norm2d.cu", "batch_norm2d_sums"
    dy, x = normal(rng, N, C, plane) + 1, normal(rng, N, C, plane) + 2
    mean, var = normal(rng, C), 1 + np.abs(normal(rng, C))
    wanted, merged, found = blank(2, C), blank(2, C), blank(2, C, parts)
    launch(source, kernel, threads(C), dy, x, mean, var, *wanted, 1e-5, N, C, plane)
    launch(source, f"{kernel}_parts", (parts, C), dy, x, mean, var, *found, 1e-5, N, C, plane)
    launch(source, f"{kernel}_merge", C, *found, *merged, parts, block=32)
    assert_near(merged, wanted)


@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy_with_logits_in_parts(launch, weighted):
    rng, count, name = np.random.default_rng(2), 500, "binary_cross_entropy_with_logits"
    given = normal(rng, count), rng.random(count, np.float32), rng.random(count, np.float32) if weighted else None
    each, parts = blank(count), blank(3)
    launch(f"{name}.cu", f"{name}_forward", threads(count), *given, each, count)
    launch(f"{name}.cu", f"{name}_parts", 3, *given, parts, count)
    assert_near([parts.sum()], [each.sum()])


def test_smooth_l1_in_parts(launch):
    rng, count = np.random.default_rng(3), 500
    given, each, parts = (normal(rng, count), normal(rng, count)), blank(count), blank(3)
    launch("smooth_l1.cu", "smooth_l1_forward", threads(count), *given, each, 0.7, count)
    launch("smooth_l1.cu", "smooth_l1_parts", 3, *given, parts, 0.7, count)
    assert_near([parts.sum()], [each.sum()])


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_softmax_cross_entropy_in_parts(launch, weighted, mean):
    """Rung 1's losses and weights reduced, and rung 2's, are one; the label 9 lies outside, the label 7 is ignored."""
    rng, N, classes, plane, source = np.random.default_rng(4), 2, 5, 70, "softmax_cross_entropy.cu"
    pixels = N * plane
    labels = rng.choice([0, 1, 2, 3, 4, 7], pixels).astype(np.int32)
    weights = (rng.random(classes, np.float32), rng.random(pixels, np.float32)) if weighted else (None, None)
    given = 3 * normal(rng, N, classes, plane), labels, *weights, 7
    each, parts, kept, stray = blank(pixels), blank(2, 3), blank(2, 3, pixels), np.zeros(1, np.int32)
    sizes = pixels, classes, plane
    launch(source, "softmax_cross_entropy_forward", threads(pixels), *given, each, *kept[0], stray, *sizes)
    launch(source, "softmax_cross_entropy_parts", 3, *given, *parts, *kept[1], stray, *sizes)
    assert stray == 0
    assert_near([*kept[1], parts.sum(1)], [*kept[0], np.array([each.sum(), kept[0][0].sum()])])
    reduced = blank(2, 2, 1)
    launch(source, "softmax_cross_entropy_reduce", 1, each, kept[0][0], *reduced[0], mean, pixels)
    launch(source, "softmax_cross_entropy_reduce", 1, *parts, *reduced[1], mean, 3)
    assert_near([reduced[1]], [reduced[0]])
    labels[[11, 50]] = 9
    for kernel, outputs in (("forward", (each,)), ("parts", parts)):
        stray[:] = 0
        grid = threads(pixels) if kernel == "forward" else 3
        launch(source, f"softmax_cross_entropy_{kernel}", grid, *given, *outputs, *kept[0], stray, *sizes)
        assert stray == pixels - 11
        assert np.isnan(outputs[0]).any()


@pytest.mark.parametrize("parts", [1, 3])
def test_dice_in_parts(launch, parts):
    rng, N, classes, plane = np.random.default_rng(5), 2, 5, 70
    pixels = N * plane
    sizes = pixels, classes, plane
    logits, labels = normal(rng, N, classes, plane), rng.choice([0, 1, 2, 3, 4, 7], pixels).astype(np.int32)
    largest, total, stray = blank(pixels), blank(pixels), np.zeros(1, np.int32)
    launch("dice.cu", "dice_softmax", threads(pixels), logits, labels, 7, largest, total, stray, *sizes)
    one, many = blank(3, classes, 1), blank(3, classes, parts)
    launch("dice.cu", "dice_sums", threads(classes), logits, labels, largest, total, one, *sizes)
    launch("dice.cu", "dice_sums_parts", (parts, classes), logits, labels, largest, total, many, *sizes)
    assert_near([many.sum(2)], [one[:, :, 0]])
    sides = blank(2, 2, classes), blank(2, 1)
    for i, (sums, count) in enumerate([(one, 1), (many, parts)]):
        launch("dice.cu", "dice_overlap", 1, sums, *sides[0][i], sides[1][i], stray, 1.0, classes, count)
    assert_near([sides[0][1], sides[1][1]], [sides[0][0], sides[1][0]])
