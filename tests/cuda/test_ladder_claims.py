"""What the ladders at the heads of kernels claim of each rung, counted by the emulator: requests, sectors, reads."""

import numpy as np
import pytest
from conftest import skip_without_compiler

from minisegnet import emulator
from minisegnet.cuda import convolution, linear
from minisegnet.cuda.convolution import Sizes
from minisegnet.cuda.launcher import launch

APART, SIDE_BY_SIDE = 32, 4  # sectors of a warp's request for 32 floats
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def compiler():
    skip_without_compiler("emulator")


def draw(*shape):
    return RNG.standard_normal(shape, np.float32)


IMAGE, WEIGHT, PLACES = draw(1, 64, 8, 32), draw(64, 64, 1, 1), draw(1, 64, 8, 32)
SIZES = Sizes.of(IMAGE.shape, PLACES.shape[2:], WEIGHT, 1, 0, 1)
A, B = draw(64, 64), draw(64, 128)

# What computes a product by a rung, and the name of its result in the kernel.
PRODUCTS = {
    "conv2d_forward": (lambda rung: convolution.gather(IMAGE, WEIGHT, None, SIZES, rung), "y"),
    "conv2d_backward_input": (lambda rung: convolution.scatter(PLACES, WEIGHT, None, SIZES, rung), "dx"),
    "conv2d_backward_weight": (lambda rung: convolution.correlate(PLACES, IMAGE, SIZES, rung), "dweight"),
    "gemm": (lambda rung: linear.multiply(A, B, rung=rung), "c"),
}


def counted(run, *arguments):
    """Each line's accesses of each array while `run` runs."""
    with emulator.check() as report:
        run(*arguments)
    assert not report.findings, str(report)
    return report.counters.rows


def of_product(product, rung):
    """The rows of the product's own kernel, without those that pack filters or add parts."""
    return [row for row in counted(PRODUCTS[product][0], rung) if row.kernel.startswith(product)]


def total(rows, what, action, shared=False, array=None):
    return sum(
        getattr(row, what)
        for row in rows
        if (row.action, row.shared) == (action, shared) and array in (None, row.array)
    )


@pytest.mark.parametrize("product", PRODUCTS)
def test_rung_1_writes_far_apart_and_rung_2_side_by_side(product):
    for rung, sectors in [("naive", APART), ("coalesced", SIDE_BY_SIDE)]:
        rows = of_product(product, rung)
        result = PRODUCTS[product][1]
        written = total(rows, "sectors", "write", array=result) / total(rows, "requests", "write", array=result)
        assert written == sectors


@pytest.mark.parametrize("product", PRODUCTS)
def test_rung_3_reads_a_sixteenth_from_memory(product):
    before, tiled = (total(of_product(product, rung), "accesses", "read") for rung in ("coalesced", "tile"))
    assert before == 16 * tiled


@pytest.mark.parametrize("product", PRODUCTS)
def test_rung_4_reads_an_eighth_from_shared_memory(product):
    """In values, of which it reads four each time."""
    tile, registers = (total(of_product(product, rung), "accesses", "read", True) for rung in ("tile", "registers"))
    assert tile == 8 * (4 * registers)


@pytest.mark.parametrize(("product", "operands"), [("conv2d_forward", {"weight", "x"}), ("gemm", {"a", "b"})])
def test_rung_4_reads_memory_by_16_bytes(product, operands):
    rows = [row for row in of_product(product, "registers") if not row.shared and row.action == "read"]
    assert {row.array for row in rows} == operands
    assert all(row.bytes == 16 * row.accesses for row in rows)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("rung", ["tf32_pipeline", "bf16_pipeline", "tf32_pipeline_64", "bf16_pipeline_64"])
def test_rung_6_meets_no_bank_conflict(product, rung):
    shared = [row for row in of_product(product, rung) if row.shared]
    assert {row.action for row in shared} == {"read", "write"}
    assert all(row.rounds == row.ideal_rounds for row in shared)


ELEMENTWISE = {
    "relu_forward": ("relu.cu", 1, 1, ()),
    "sigmoid_backward": ("sigmoid.cu", 2, 1, ()),
    "add_backward": ("add.cu", 1, 2, ()),
    "dropout": ("dropout.cu", 1, 1, (1.5, 2**31, 7)),
    "sgd_step": ("sgd.cu", 3, 0, (0.1, 0.9, 0.0, 1)),
    "adam_step": ("adam.cu", 4, 0, (0.1, 0.9, 0.1, 0.9, 0.1, 1e-8, 0.0, 1.0)),
}


@pytest.mark.parametrize("kernel", ELEMENTWISE)
def test_four_values_a_thread_are_a_quarter_of_the_requests_for_the_same_bytes(kernel):
    source, reads, writes, options = ELEMENTWISE[kernel]
    count, requests, moved = 1024, [], []
    for rung, blocks in (("", 4), ("_4", 1)):
        given = [abs(draw(count)) for _ in range(reads + writes)]
        rows = counted(launch, source, kernel + rung, blocks, 256, *given, *options, count)
        requests.append(sum(row.requests for row in rows))
        moved.append(sum(row.bytes_moved for row in rows))
    assert requests[0] == 4 * requests[1]
    assert moved[0] == moved[1]


def test_a_warp_reads_a_column_of_softmax_side_by_side():
    x, y, columns, length = draw(32, 64), draw(32, 64), 32, 64
    found = []
    for rung, blocks, inner in (("_online", 1, (1,)), ("_warp", columns, ())):
        rows = counted(launch, "softmax.cu", f"softmax_forward{rung}", blocks, 32, x, y, columns, length, *inner)
        found.append(total(rows, "sectors", "read", array="x") / total(rows, "requests", "read", array="x"))
    assert found == [APART, SIDE_BY_SIDE]


def test_nails_are_gathered_side_by_side():
    x, found = draw(1, 8, 32), []
    for rung, blocks in (("", 1), ("_gather", 4)):
        sizes = (8 * 32, 8, 32) if rung == "" else (16 * 64, 8, 32)
        y = np.zeros((1, 16, 64), np.float32)
        rows = counted(
            launch, "bed_of_nails2d.cu", f"bed_of_nails2d_forward{rung}", blocks, 256, x, y, *sizes, 16, 64, 2, 2
        )
        found.append(total(rows, "sectors", "write") / total(rows, "requests", "write"))
    assert found == [2 * SIDE_BY_SIDE, SIDE_BY_SIDE]


def test_groups_of_channels_look_at_the_boxes_once():
    x, boxes, y = draw(1, 8, 12, 12), np.float32([[0, 1, 2, 9, 8], [0, 3, 0, 11, 5]]), draw(2, 8, 4, 4)
    options, found = (1, 8, 12, 12, 4, 4, 1.0, 2, True), []
    for rung, count in (("", y.size), ("_channels", y.size // 8)):
        rows = counted(launch, "roi_align.cu", f"roi_align_forward{rung}", 1, 256, x, boxes, y, count, *options)
        found.append(total(rows, "accesses", "read", array="boxes"))
    assert found[0] == 8 * found[1]


def test_gradients_of_regions_are_gathered_without_atomics():
    dy, boxes, dx = draw(1, 8, 2, 2), np.float32([[0, 1, 1, 5, 4]]), np.zeros((1, 8, 6, 6), np.float32)
    options = 8, 6, 6, 2, 2, 1.0, 2, True
    rows = counted(launch, "roi_align.cu", "roi_align_backward", 1, 32, dy, boxes, dx, 32, 1, *options)
    assert total(rows, "accesses", "atomic") == 32 * 4 * 4  # values, points and pixels around each
    rows = counted(launch, "roi_align.cu", "roi_align_backward_gather", 1, 64, dy, boxes, dx, 1, *options)
    assert total(rows, "accesses", "atomic") == 0 and total(rows, "accesses", "write") == dx.size


def test_suppression_meets_at_two_barriers_for_a_word_of_boxes():
    n, words, count = 96, 3, np.zeros(1, np.int32)
    order, keep, mask = np.arange(n, dtype=np.int32), np.zeros(n, np.int32), np.zeros((n, words), np.uint32)
    corners = draw(n, 2)
    boxes = np.hstack([corners, corners + 1])
    with emulator.check() as block:
        launch("nms.cu", "nms_block", 1, 64, boxes, order, np.zeros(n, np.int32), keep, count, 0.5, n)
    with emulator.check() as scan:
        launch("nms.cu", "nms_scan", 1, 64, mask, order, np.zeros(words, np.uint32), keep, count, n)
    assert (block.counters.barriers, scan.counters.barriers) == (n, 2 * words)
