"""Barriers to which not all come, shuffles with lanes that are not there: told with lines and threads, in any order."""

import numpy as np
import pytest
from small_kernels import SCHEDULES, checked, marked, needs_compiler, places, run

from minisegnet.errors import KernelError

pytestmark = needs_compiler


def zeros(count, dtype=np.float32):
    return np.zeros(count, dtype)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    ("kernel", "threads", "arguments", "kind"),
    [
        ("half_of_the_block", 64, (), "divergent barrier"),
        ("two_barriers", 64, (), "divergent barrier"),
        ("left_early", 64, (40,), "divergent barrier"),
        ("unequal_rounds", 64, (), "divergent barrier"),
        ("crossed", 32, (), "deadlock"),
        ("not_in_its_mask", 32, (), "wrong mask"),
        ("lane_that_left", 32, (), "absent lane"),
        ("lane_outside_the_mask", 32, (), "absent lane"),
        ("two_shuffles", 32, (), "divergent warp"),
        ("two_masks", 32, (), "deadlock"),
    ],
)
def test_who_does_not_come(kernel, threads, arguments, kind, schedule):
    report = checked(f"barriers:{kernel}", 2, threads, zeros(threads), *arguments, schedule=schedule)
    found = [finding for finding in report.findings if finding.kind == kind]
    assert found, str(report)
    assert set(places(found[0])) == set(marked(f"barriers:{kernel}")), str(report)
    assert found[0].threads, str(report)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("kernel", "arguments"), [("left_early_right", (20,)), ("branches_right", ())])
def test_right_kernels(kernel, arguments, schedule):
    y = zeros(32)
    report = checked(f"barriers:{kernel}", 1, 32, y, *arguments, schedule=schedule)
    assert not report.findings, str(report)
    expected = np.where(np.arange(32) < 20, 2, 0) if arguments else np.where(np.arange(32) < 16, 2, 1)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("x", [np.zeros(70, np.int32), np.ones(70, np.int32), np.arange(70, dtype=np.int32) % 3])
def test_barriers_that_count(x, schedule):
    any_of, all_of, count = (zeros(70, np.int32) for _ in range(3))
    report = checked("barriers:votes_right", 1, 70, x, any_of, all_of, count, schedule=schedule)
    assert not report.findings, str(report)
    assert (any_of != 0).all() == x.any() and (all_of != 0).all() == x.all()
    assert set(count) == {np.count_nonzero(x)}
    run("barriers:votes_right", 1, 70, x, any_of, all_of, count)
    assert set(count) == {np.count_nonzero(x)}


def test_both_sides_of_a_divergent_barrier_are_told():
    report = checked("barriers:left_early", 1, 64, zeros(64), 40)
    [finding] = [finding for finding in report.findings if finding.kind == "divergent barrier"]
    for words in ("if (i >= n) return;", "__syncthreads();", "thread (40, 0, 0)", "40 of the block's 64 threads"):
        assert words in str(finding)


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        ("crossed", "nobody can go on"),
        ("two_barriers", "barrier of line"),
        ("two_masks", "nobody can go on"),
        ("lane_that_left", "has left the kernel"),
        ("not_in_its_mask", "does not name"),
    ],
)
def test_fast_mode_does_not_hang(kernel, words):
    with pytest.raises(KernelError, match=words):
        run(f"barriers:{kernel}", 2, 32, zeros(32))
    y = zeros(32)
    run("barriers:branches_right", 1, 32, y)  # and the machine goes on
    assert y.all()
