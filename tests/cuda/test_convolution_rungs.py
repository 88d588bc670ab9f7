"""Every rung of convolution and of the matrix product computes the product, and breaks no rule in any schedule."""

import numpy as np
import pytest
from conftest import BACKENDS, assert_close, skip_without_compiler

from minisegnet import emulator, numpy_ops, shapes
from minisegnet.cuda import arrays, convolution, ladder, linear
from minisegnet.cuda.convolution import Sizes
from minisegnet.cuda.ladder import RUNGS
from minisegnet.cuda.launcher import architecture
from minisegnet.cuda.precisions import precision
from minisegnet.errors import OptionError
from minisegnet.numpy_ops.convolution import correlate, gather, scatter
from minisegnet.numpy_ops.windows import Windows


@pytest.fixture(autouse=True)
def compiler(request):
    """Every test needs the emulator, but for those that compute on a device."""
    if "place" not in request.fixturenames:
        skip_without_compiler("emulator")


@pytest.fixture(params=[name for name in BACKENDS if name in ("emulator", "cuda")])
def place(request):
    """Brings an array to where the kernels are to compute; None stays None."""
    skip_without_compiler(request.param)
    return arrays.to_device if request.param == "cuda" else np.asarray


BOUND = 1e-5  # of float32's 6e-8, after sums of some hundred products; rounded operands are rounded for NumPy too
SCHEDULES = ["forward", "reverse", 7]


def to_tf32(array):
    """The nearest floats of 10 bits of fraction, ties away from zero."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32).astype(np.uint64)
    return (bits + 0x1000 & 0xFFFFE000).astype(np.uint32).view(np.float32).reshape(array.shape)


def to_bf16(array):
    """The nearest floats of 7 bits of fraction, ties to even."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32).astype(np.uint64)
    return (bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000).astype(np.uint32).view(np.float32).reshape(array.shape)


ROUNDED = {"float32": lambda array: array, "tf32": to_tf32, "bf16": to_bf16}


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


class Case:
    """One conv2d, its arrays drawn, and what each of its products must be for operands as a rung rounds them."""

    def __init__(self, image, weight, stride=1, padding=0, dilation=1):
        rng = np.random.default_rng([*image, *weight])
        N, _, *size = image
        options = stride, padding, dilation
        places = shapes.conv2d(image, weight, None, *options)[2:]
        self.image, self.weight = normal(rng, *image), normal(rng, *weight)
        self.y = normal(rng, N, weight[0], *places)
        self.out_bias, self.in_bias = normal(rng, weight[0]), normal(rng, weight[1])
        self.windows = Windows.over(size, places, weight[2:], *options)
        self.sizes = Sizes.of(image, places, self.weight, *options)

    def rounded(self, rung, *arrays):
        round_ = ROUNDED[RUNGS[rung].precision]
        return [round_(array).astype(np.float64) for array in arrays]

    def check_gather(self, rung, place=np.asarray):
        y = convolution.gather(*map(place, (self.image, self.weight, self.out_bias)), self.sizes, rung)
        image, weight = self.rounded(rung, self.image, self.weight)
        wanted = gather(image, weight, self.windows, self.out_bias.astype(np.float64))
        assert_close(arrays.to_host(y), wanted.astype(np.float32), BOUND, "forward")

    def check_scatter(self, rung, place=np.asarray):
        image = convolution.scatter(*map(place, (self.y, self.weight, self.in_bias)), self.sizes, rung)
        y, weight = self.rounded(rung, self.y, self.weight)
        wanted = scatter(y, weight, self.windows) + self.in_bias[:, None, None]
        assert_close(arrays.to_host(image), wanted.astype(np.float32), BOUND, "gradient by input")

    def check_correlate(self, rung, place=np.asarray):
        dweight = convolution.correlate(*map(place, (self.y, self.image)), self.sizes, rung)
        y, image, weight = self.rounded(rung, self.y, self.image, self.weight)
        wanted = correlate(y, image, weight, self.windows)
        assert_close(arrays.to_host(dweight), wanted.astype(np.float32), BOUND, "gradient by weight")


CASES = {
    "plain": Case((2, 2, 5, 6), (3, 2, 3, 3)),
    "1 x 1, planes in fours": Case((3, 17, 8, 8), (33, 17, 1, 1)),
    "1 x 1, planes not in fours": Case((2, 5, 3, 3), (6, 5, 1, 1)),
    "one pixel": Case((1, 2, 1, 1), (2, 2, 3, 3), padding=1),
    "pairs": Case((2, 3, 7, 9), (5, 3, 3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 3)),
    "pixels left over": Case((1, 1, 8, 7), (2, 1, 3, 3), stride=4),
    "gaps between stamps": Case((2, 2, 5, 7), (2, 2, 1, 2), stride=3),
    "padding over the kernel": Case((1, 2, 3, 3), (2, 2, 2, 2), padding=3),
    "kernel over the image": Case((2, 1, 3, 2), (2, 1, 5, 4), padding=2),
    "more classes than rows": Case((2, 2, 3, 4), (3, 2, 5, 5), stride=5, padding=2),
    "stride and dilation share a factor": Case((2, 5, 16, 16), (6, 5, 4, 4), stride=4, padding=3, dilation=6),
    "stride and dilation share none": Case((2, 3, 13, 14), (4, 3, 5, 3), stride=(3, 2), padding=2, dilation=(2, 3)),
    "several tiles, none full": Case((2, 20, 9, 8), (70, 20, 3, 3), padding=1),
    "several tiles, all full": Case((1, 64, 16, 16), (128, 64, 1, 1)),
    "more than 128 channels": Case((1, 131, 5, 6), (130, 131, 2, 2), stride=2),
}


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_convolution(case, rung, place):
    skip_above(rung, place)
    case.check_gather(rung, place)
    case.check_scatter(rung, place)
    case.check_correlate(rung, place)


def skip_above(rung, place):
    """Skip a rung that the device has no tensor cores for."""
    here = architecture(place(np.zeros(1, np.float32)))
    if RUNGS[rung].precision != "float32" and here < ladder.TENSOR_CORES:
        pytest.skip(f"{rung} needs sm_{ladder.TENSOR_CORES} or later; this device is of sm_{here}")


@pytest.mark.parametrize("rung", RUNGS)
def test_nothing_of_an_empty_batch(rung):
    case = Case((0, 17, 6, 5), (18, 17, 3, 3), padding=1)
    case.check_gather(rung)
    case.check_scatter(rung)
    case.check_correlate(rung)


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_convolution_breaks_no_rule(rung, schedule):
    case = CASES["pairs"]
    with emulator.check(schedule=schedule) as report:
        case.check_gather(rung)
        case.check_scatter(rung)
        case.check_correlate(rung)
    assert not report.findings, str(report)


@pytest.mark.parametrize("rung", ["registers", "tf32_pipeline", "bf16_pipeline_64"])
def test_many_steps_and_tiles_break_no_rule(rung):
    """Long enough for every stage of the pipeline to be filled again, with planes that are copied in fours."""
    case = Case((1, 36, 12, 12), (68, 36, 3, 3), padding=1)
    with emulator.check() as report:
        case.check_gather(rung)
        case.check_correlate(rung)
    assert not report.findings, str(report)


# ---------------------------------------------------------------------------------------------------- matrix product

LAYOUTS = [(False, False), (False, True), (True, False), (True, True)]


def check_multiply(M, N, K, layout, rung, bias=True, place=np.asarray):
    rng = np.random.default_rng([M, N, K])
    a, b = normal(rng, *((K, M) if layout[0] else (M, K))), normal(rng, *((N, K) if layout[1] else (K, N)))
    bias = normal(rng, N) if bias else None
    c = linear.multiply(place(a), place(b), None if bias is None else place(bias), *layout, rung=rung)
    round_ = ROUNDED[RUNGS[rung].precision]
    A, B = (round_(one).astype(np.float64) for one in (a, b))
    wanted = (A.T if layout[0] else A) @ (B.T if layout[1] else B) + (0 if bias is None else bias)
    assert_close(arrays.to_host(c), wanted.astype(np.float32), BOUND)


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("layout", LAYOUTS, ids=["a b", "a b^T", "a^T b", "a^T b^T"])
@pytest.mark.parametrize("size", [(1, 1, 1), (3, 5, 4), (70, 65, 33), (132, 140, 20), (64, 128, 48), (5, 30, 1500)])
def test_matrix_product(size, layout, rung, place):
    skip_above(rung, place)
    check_multiply(*size, layout, rung, place=place)


def test_matrix_product_without_a_bias():
    check_multiply(20, 7, 9, (False, True), "registers", bias=False)


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_matrix_product_breaks_no_rule(rung, schedule):
    with emulator.check(schedule=schedule) as report:
        for layout in LAYOUTS:
            check_multiply(21, 18, 50, layout, rung)
    assert not report.findings, str(report)


@pytest.mark.parametrize("rung", ["registers", "tf32_pipeline", "bf16_pipeline_64"])
@pytest.mark.parametrize("offset", [1, 2, 4])
def test_arrays_off_the_16_byte_boundary(offset, rung):
    """An array of the caller's may start anywhere; then a rung takes its values one by one."""
    rng = np.random.default_rng(offset)
    a = normal(rng, offset + 20 * 12)[offset:].reshape(20, 12)
    b = normal(rng, offset + 12 * 8)[offset:].reshape(12, 8)
    with emulator.check() as report:
        c = linear.multiply(a, b, rung=rung)
    assert not report.findings, str(report)
    round_ = ROUNDED[RUNGS[rung].precision]
    assert_close(c, (round_(a).astype(np.float64) @ round_(b)).astype(np.float32), BOUND)


@pytest.mark.parametrize("rung", [name for name, rung in RUNGS.items() if rung.pipelined])
def test_the_pipeline_has_no_bank_conflict(rung):
    case = CASES["several tiles, all full"]
    with emulator.check() as report:
        case.check_gather(rung)
        case.check_correlate(rung)
        for layout in LAYOUTS:
            check_multiply(64, 128, 48, layout, rung)
    rows = [row for row in report.counters.rows if row.shared]
    assert {row.array for row in rows} == {"a_tiles", "b_tiles"}
    assert [row for row in rows if row.rounds != row.ideal_rounds] == []


# ---------------------------------------------------------------------------------------------------------- sums


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (0, 3, 4, 4), (5, 7), (2, 2, 70, 71), (3, 1, 1, 1)])
def test_channel_sum(shape):
    x = normal(np.random.default_rng(shape), *shape)
    with emulator.check(schedule="adversarial") as report:
        y = ladder.channel_sum(x)
    assert not report.findings, str(report)
    assert_close(y, x.sum((0, *range(2, x.ndim)), dtype=np.float64).astype(np.float32), BOUND)


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (64, 576, 100_000), (3, 27, 4096), (512, 4608, 512), (1, 1, 33)])
def test_parts_of_a_split_sum_are_not_empty_and_hold_all(rung, m, n, k):
    count, each = ladder.split(rung, m, n, k)
    assert (count - 1) * each < k <= count * each
    assert each % 32 == 0


def test_a_split_sum_has_several_parts_and_the_same_bits_each_time():
    case = Case((2, 3, 40, 40), (4, 3, 3, 3), padding=1)
    count, _ = ladder.split("registers", 4, 27, case.sizes.places)
    assert count > 3
    case.check_correlate("registers")
    one, other = (convolution.correlate(case.y, case.image, case.sizes, "registers") for _ in range(2))
    assert one.tobytes() == other.tobytes()


# ------------------------------------------------------------------------------------------------- which rung is taken


@pytest.mark.parametrize(
    ("name", "m", "architecture", "rung"),
    [
        ("float32", 64, 90, "registers"),
        ("float32", 15, 90, "coalesced"),
        ("tf32", 64, 80, "tf32_pipeline_64"),
        ("tf32", 65, 90, "tf32_pipeline"),
        ("bf16", 128, 80, "bf16_pipeline"),
        ("tf32", 128, 75, "registers"),
    ],
)
def test_the_fastest_rung_that_fits(monkeypatch, name, m, architecture, rung):
    monkeypatch.setattr(ladder, "architecture", lambda like: architecture)
    with precision(name):
        assert ladder.fastest(m, None, narrow="coalesced") == rung


@pytest.mark.parametrize(
    ("m", "z", "rung"),
    [
        (65535 * 64, 1, "registers"),
        (65535 * 64 + 1, 1, "coalesced"),
        (64, 65535, "registers"),
        (64, 65536, "coalesced"),
    ],
)
def test_a_grid_too_large_for_tiles_is_of_threads(m, z, rung):
    assert ladder.fastest(m, np.zeros(1, "f4"), z=z) == rung


def test_more_rows_than_tiles_fit_along_a_grid():
    a, b = np.arange(65535 * 64 + 5, dtype=np.float32)[:, None], np.full((1, 1), 2, np.float32)
    np.testing.assert_array_equal(linear.multiply(a, b), 2 * a)


def test_more_classes_than_fit_along_a_grid():
    """Stamps 256 apart each way: 65536 classes of pixels, each of one pixel at most."""
    x, weight = normal(np.random.default_rng(0), 1, 1, 2, 1), np.ones((1, 16, 1, 1), np.float32)
    y, _ = convolution.conv_transpose2d_forward(x, weight, stride=256)
    assert y.shape == (1, 16, 257, 1)
    np.testing.assert_array_equal(y[0, :, [0, 256], 0], np.repeat(x[0, 0], 16, 1))
    assert not y[0, :, 1:256].any()


@pytest.mark.parametrize("name", ["tf32", "bf16"])
def test_precision_changes_the_operands_of_every_product(name):
    rng = np.random.default_rng(5)
    x, weight, dy = normal(rng, 20, 24), normal(rng, 18, 24), normal(rng, 20, 18)
    round_ = ROUNDED[name]
    with precision(name):
        y, saved = linear.linear_forward(x, weight)
        dx, dweight, _ = linear.linear_backward(dy, saved)
    assert_close(y, round_(x) @ round_(weight).T, BOUND)
    assert_close(dx, round_(dy) @ round_(weight), BOUND)
    assert_close(dweight, round_(dy).T @ round_(x), BOUND)
    exact, _ = linear.linear_forward(x, weight)
    assert_close(exact, x @ weight.T, BOUND)
    assert 1e-5 < np.abs(exact - y).max() / np.abs(exact).max() < 1e-2


def test_unknown_names_are_refused():
    with pytest.raises(OptionError, match="float32, tf32, bf16; got 'fp8'"), precision("fp8"):
        pass
    with pytest.raises(OptionError, match="no rung 'faster'; choose one of naive"):
        linear.multiply(np.zeros((2, 2), "f4"), np.zeros((2, 2), "f4"), rung="faster")


@pytest.mark.parametrize("operation", ["conv2d", "conv_transpose2d"])
@pytest.mark.parametrize("channels", [3, 20])
def test_operations_in_float32_are_numpys(operation, channels):
    """At sizes where the default rungs are both the tile-free and the tiled one."""
    rng = np.random.default_rng(channels)
    x, weight, bias = normal(rng, 2, channels, 9, 8), normal(rng, channels, channels, 3, 2), normal(rng, channels)
    options = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}
    if operation == "conv_transpose2d":
        options["output_padding"] = (1, 1)
    forward, backward = (f"{operation}_{half}" for half in ("forward", "backward"))
    y, saved = getattr(convolution, forward)(x, weight, bias, **options)
    wanted, wanted_saved = getattr(numpy_ops, forward)(x, weight, bias, **options)
    assert_close(y, wanted, BOUND)
    dy = normal(rng, *y.shape)
    results = getattr(convolution, backward)(dy, saved)
    for result, gradient in zip(results, getattr(numpy_ops, backward)(dy, wanted_saved), strict=True):
        assert_close(result, gradient, BOUND)
