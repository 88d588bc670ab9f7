"""cp.async that arrives when it is waited for, and matrix products of a warp, rounded as the hardware rounds."""

import numpy as np
import pytest
from small_kernels import SCHEDULES, checked, floats, marked, needs_compiler, places, run

pytestmark = needs_compiler


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    ("kernel", "threads", "arguments", "kind"),
    [
        ("no_wait", 32, (floats(128), zeros(32)), "missing wait"),
        ("no_commit", 32, (floats(128), zeros(32)), "missing wait"),
        ("no_barrier", 32, (floats(128), zeros(32)), None),
        ("waits_for_too_few", 32, (floats(64), zeros(32)), "missing wait"),
        ("pipeline_too_short", 64, (floats(256), zeros(64), 4), None),
        ("copy_off_its_boundary", 32, (floats(128), zeros(32)), "misaligned"),
        ("copy_beyond_the_end", 32, (floats(127), zeros(32)), "out of bounds"),
    ],
)
def test_bugs(kernel, threads, arguments, kind, schedule):
    """Without the barrier a thread may come too early or just in time: a missing wait, or a race."""
    arguments = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
    report = checked(f"copies:{kernel}", 1, threads, *arguments, schedule=schedule)
    allowed = {kind} if kind else {"missing wait", "race", "uninitialised"}
    assert report.findings and {finding.kind for finding in report.findings} <= allowed, str(report)
    told = {line for finding in report.findings for line in places(finding)}
    assert told == set(marked(f"copies:{kernel}")), str(report)


@pytest.mark.parametrize("schedule", [None, *SCHEDULES])
@pytest.mark.parametrize("n", [128, 127, 66, 1])
def test_copies_arrive_and_the_rest_is_zero(n, schedule):
    x, y = floats(n), np.full(128, 9, np.float32)
    launch("copied_right", x, y, n, schedule=schedule)
    np.testing.assert_array_equal(y, np.concatenate([x, zeros(128 - n)])[::-1])


@pytest.mark.parametrize("schedule", [None, *SCHEDULES])
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_pipeline(n, schedule):
    x, y = floats(n, 32), zeros(32)
    launch("pipeline_right", x, y, n, schedule=schedule)
    np.testing.assert_allclose(y, x.sum(axis=0)[::-1], rtol=1e-5, atol=1e-6)


def launch(kernel, *arguments, schedule):
    if schedule is None:
        run(f"copies:{kernel}", 1, 32, *arguments)
    else:
        report = checked(f"copies:{kernel}", 1, 32, *arguments, schedule=schedule)
        assert not report.findings, str(report)


@pytest.mark.parametrize("schedule", [None, *SCHEDULES])
@pytest.mark.parametrize(("kernel", "depth", "bits"), [("product_tf32", 8, 10), ("product_bf16", 16, 7)])
def test_products(kernel, depth, bits, schedule):
    """Exact, up to the last bits of a float's sum, for inputs that need no more bits than the format has."""
    rng = np.random.default_rng(6)
    a, b = (rng.integers(-(2**bits), 2**bits, shape).astype(np.float32) for shape in ((16, depth), (depth, 8)))
    c, d = floats(16, 8), zeros(16, 8)
    launch(kernel, a, b, c, d, schedule=schedule)
    np.testing.assert_allclose(d, a.astype(np.float64) @ b + c, rtol=1e-6, atol=0.5)
    launch(kernel, np.eye(16, depth, dtype=np.float32), b, zeros(16, 8), d, schedule=schedule)
    np.testing.assert_array_equal(d[:8], b[:8])


@pytest.mark.parametrize(("kernel", "depth", "bits"), [("product_tf32", 8, 10), ("product_bf16", 16, 7)])
def test_products_of_rounded_inputs(kernel, depth, bits):
    a, b, d = floats(16, depth, seed=1), floats(depth, 8, seed=2), zeros(16, 8)
    run(f"copies:{kernel}", 1, 32, a, b, zeros(16, 8), d)
    exact = a.astype(np.float64) @ b
    error = np.abs(d - exact).max() / np.abs(exact).max()
    assert 2.0 ** -(bits + 6) < error < 2.0**-bits  # rounded, and not more than that


def test_roundings():
    """TF32 keeps 10 bits of fraction and takes a tie away from zero, bf16 7 bits and to even."""
    one = 0x3F800000
    bits = np.array([one, one + 0xFFF, one + 0x1000, one + 0x8000, one + 0x18000, 0x7F800000, 0xFF800000], np.uint32)
    tf32, bf16 = zeros(7, dtype=np.uint32), zeros(7, dtype=np.uint32)
    run("copies:rounded", 1, 7, bits.view(np.float32), tf32, bf16)
    assert tf32.tolist() == [one, one, one + 0x2000, one + 0x8000, one + 0x18000, 0x7F800000, 0xFF800000]
    low = (bf16 & 0xFFFF).tolist()
    assert low == [0x3F80, 0x3F80, 0x3F80, 0x3F80, 0x3F82, 0x7F80, 0xFF80]
    assert (bf16 >> 16).tolist() == [value ^ 0x8000 for value in low]
    nan = np.array([np.nan], np.float32)
    run("copies:rounded", 1, 1, nan, tf32, bf16)
    assert np.isnan(tf32[:1].view(np.float32)[0]) and np.isnan(np.array([bf16[0] << 16], np.uint32).view(np.float32)[0])


@pytest.mark.parametrize("schedule", [None, *SCHEDULES])
def test_ldmatrix(schedule):
    x = np.arange(256, dtype=np.uint16)
    plain, transposed = zeros(4, 32, dtype=np.uint32), zeros(4, 32, dtype=np.uint32)
    launch("matrices", x, plain, transposed, schedule=schedule)
    for matrix, values in enumerate(x.reshape(4, 8, 8).astype(np.uint32)):
        pairs = values.reshape(8, 4, 2)
        np.testing.assert_array_equal(plain[matrix], (pairs[..., 0] | pairs[..., 1] << 16).ravel())
        pairs = values.T.reshape(8, 4, 2)
        np.testing.assert_array_equal(transposed[matrix], (pairs[..., 0] | pairs[..., 1] << 16).ravel())


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_ldmatrix_orders_nothing(schedule):
    x, y = np.arange(256, dtype=np.uint16), zeros(32, dtype=np.uint32)
    report = checked("copies:matrices_unsynchronised", 1, 32, x, y, schedule=schedule)
    races = [finding for finding in report.findings if finding.kind == "race"]
    assert races and all(places(race) == marked("copies:matrices_unsynchronised") for race in races), str(report)


@pytest.mark.parametrize("threads", [32, 16, 40])
def test_the_whole_warp_multiplies(threads):
    report = checked("copies:half_a_warp", 1, threads, zeros(64))
    assert {finding.kind for finding in report.findings} == {"divergent warp"}
    assert places(report.findings[0]) == marked("copies:half_a_warp")


@pytest.mark.parametrize(("kernel", "right"), [("no_wait", False), ("no_commit", False), ("copied_right", True)])
def test_poison_shows_in_fast_mode_what_is_used_too_early(kernel, right):
    x, y = floats(128), zeros(128)
    run(f"copies:{kernel}", 1, 32, x, y, *([128] if right else []), poison=True)
    assert np.isnan(y[:32]).all() != right
