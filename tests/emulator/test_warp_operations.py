"""Shuffles, votes and reductions, in both modes and any order, against what their definition says of 32 lanes."""

import numpy as np
import pytest
from small_kernels import SCHEDULES, checked, floats, needs_compiler, run

pytestmark = needs_compiler

LANES = np.arange(32)


@pytest.fixture(params=["fast", *SCHEDULES])
def launch(request):
    """Runs a kernel in fast mode, or in check mode, where nothing may be found."""

    def checked_launch(*arguments):
        report = checked(*arguments, schedule=request.param)
        assert not report.findings, str(report)

    return run if request.param == "fast" else checked_launch


@pytest.mark.parametrize("width", [32, 16, 8])
def test_shuffles(launch, width):
    x, y = floats(32), np.zeros(128, np.float32)
    launch("warps:shuffles", 1, 32, x, y, width)
    group, lane = LANES // width * width, LANES % width
    np.testing.assert_array_equal(y[:32], x[group + 3])
    np.testing.assert_array_equal(y[32:64], x[np.where(lane >= 2, LANES - 2, LANES)])
    np.testing.assert_array_equal(y[64:96], x[np.where(lane + 5 < width, LANES + 5, LANES)])
    np.testing.assert_array_equal(y[96:], x[LANES ^ 6])


def test_values_of_eight_bytes(launch):
    x, n = np.random.default_rng(1).standard_normal(32), LANES.astype(np.int64) << 40
    y, m = np.zeros_like(x), np.zeros_like(n)
    launch("warps:wide_values", 1, 32, x, n, y, m)
    np.testing.assert_array_equal(y, x[LANES ^ 1])
    np.testing.assert_array_equal(m, n[LANES ^ 2])


@pytest.mark.parametrize("low", [-2, 1, -9])
def test_votes(launch, low):
    x = np.random.default_rng(2).integers(low, 3 if low > -9 else 0, 32).astype(np.int32)
    y = np.zeros(128, np.uint32)
    launch("warps:votes", 1, 32, x, y)
    assert set(y[:32]) == {sum(1 << int(lane) for lane in LANES[x > 0])}
    assert set(y[32:64]) == {int((x > 0).any())} and set(y[64:96]) == {int((x > 0).all())}
    for lane in LANES:
        assert y[96 + lane] == sum(1 << int(other) for other in LANES[x == x[lane]])


def test_reductions(launch):
    x, y = np.random.default_rng(3).integers(-99, 99, 32).astype(np.int32), np.zeros(128, np.int32)
    launch("warps:reductions", 1, 32, x, y)
    for part, wanted in enumerate([x.sum(), x.min(), x.max(), np.bitwise_xor.reduce(x)]):
        assert set(y[32 * part : 32 * part + 32]) == {wanted}


def test_groups_do_not_wait_for_each_other(launch):
    x, y = np.random.default_rng(4).integers(0, 9, 32).astype(np.int32), np.zeros(32, np.int32)
    launch("warps:in_groups", 1, 32, x, y)
    assert set(y[:10]) == {3 * x[:10].sum() + 10 * 3} and set(y[10:]) == {7 * x[10:].sum() + 22 * 21}


def test_a_warp_of_fewer_lanes(launch):
    x, y = np.random.default_rng(5).integers(0, 9, 48).astype(np.int32), np.zeros(48, np.int32)
    launch("warps:short_warp", 1, 48, x, y)
    assert y[0] == x[:32].sum() and y[32] == x[32:].sum()


def test_a_sum_over_blocks(launch):
    x, y = floats(5000), np.zeros(1, np.float32)
    launch("warps:block_sum", 4, 256, x, y, x.size)
    np.testing.assert_allclose(y[0], x.sum(dtype=np.float64), atol=1e-3)
