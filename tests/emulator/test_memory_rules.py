"""Accesses outside arrays, of what was never written, off their boundary: each told with its line, thread and array."""

import numpy as np
import pytest
from small_kernels import SCHEDULES, checked, floats, marked, needs_compiler, places

from minisegnet import emulator

pytestmark = needs_compiler


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def one_finding(kernel, *launch, schedule="forward", **options):
    report = checked(f"memory:{kernel}", *launch, schedule=schedule, **options)
    assert len(report.findings) == 1, str(report)
    [finding] = report.findings
    assert places(finding) == marked(f"memory:{kernel}"), str(finding)
    assert finding.threads
    return finding


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    ("kernel", "launch", "argument", "words"),
    [
        ("beyond_the_end", (2, 32, floats(40), zeros(64), 40), "x", "x[40], 1 beyond the last of x, which has 40"),
        ("before_the_start", (1, 32, floats(32), zeros(32)), "x", "x[-1], 1 before the start of x"),
        ("write_beyond", (1, 33, floats(33), zeros(32)), "y", "y[32], 1 beyond the last of y"),
        ("through_null", (1, 32, None, zeros(32)), None, "a null pointer"),
        ("far_away", (1, 1, floats(8), zeros(8), 1000), "x", "x[1000], 993 beyond"),
        ("far_away", (1, 1, floats(8), zeros(8), -1000), "x", "x[-1000], 1000 before"),
        ("without_a_sign", (1, 1, floats(8), zeros(8), -5), "x", "(-5, counted without a sign)"),
        ("beyond_shared", (1, 32, floats(32), zeros(32)), "tile", "1 beyond the last of shared array tile"),
        ("beyond_the_row", (1, 32, floats(32), zeros(32), 1), None, "float [4]"),
        ("beyond_a_local", (1, 1, floats(8), zeros(1), 5), None, "the index 4"),
    ],
)
def test_out_of_bounds(kernel, launch, argument, words, schedule):
    launch = tuple(value.copy() if isinstance(value, np.ndarray) else value for value in launch)
    finding = one_finding_of(kernel, "out of bounds", *launch, schedule=schedule)
    assert finding.argument == argument
    assert words in finding.message


def one_finding_of(kernel, kind, *launch, schedule):
    """Others may come before it: `beyond_shared` reads what a neighbour has not written yet."""
    report = checked(f"memory:{kernel}", *launch, schedule=schedule)
    [finding] = [finding for finding in report.findings if finding.kind == kind]
    assert places(finding) == marked(f"memory:{kernel}"), str(finding)
    return finding


def test_dynamic_shared_memory_has_the_size_that_the_launch_gave():
    finding = one_finding("beyond_dynamic", 1, 33, floats(33), zeros(33), shared_bytes=128)
    assert finding.kind == "out of bounds" and "values[32]" in finding.message and "which has 32" in finding.message
    assert not checked("memory:beyond_dynamic", 1, 33, floats(33), zeros(33), shared_bytes=132).findings


def test_a_vector_that_sticks_out():
    x = floats(40)
    finding = one_finding("last_vector", 1, 10, x[:38].copy(), zeros(40))
    assert finding.kind == "out of bounds" and finding.argument == "x" and "16 bytes" in finding.message


def test_neighbours_in_memory_are_not_reached():
    """Two halves of one allocation: beyond the first lies the second, and that is not the first's."""
    whole = zeros(64)
    finding = one_finding("write_beyond", 1, 33, floats(33), whole[:32])
    assert finding.argument == "y"
    report = checked("memory:beyond_the_end", 2, 32, whole[:32], whole[32:], 32)
    assert [finding.kind for finding in report.findings] == ["out of bounds"], str(report)


def test_an_access_that_ends_the_launch_leaves_the_arrays_whole():
    guarded = np.full(34, 7.0, np.float32)
    checked("memory:write_beyond", 1, 34, floats(34), guarded[:32])
    np.testing.assert_array_equal(guarded[32:], 7.0)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    ("kernel", "blocks", "threads", "size"),
    [("never_written", 1, 32, 32), ("never_zeroed", 1, 32, 32), ("of_the_block_before", 2, 32, 64)],
)
def test_uninitialised_shared_memory(kernel, blocks, threads, size, schedule):
    report = checked(f"memory:{kernel}", blocks, threads, floats(threads), zeros(size), schedule=schedule)
    assert [finding.kind for finding in report.findings] == ["uninitialised"], str(report)
    assert places(report.findings[0]) == marked(f"memory:{kernel}")


def test_uninitialised_output():
    """An array that `emulator.empty` made holds nothing until it is written, by a kernel or by NumPy."""
    with emulator.check():
        y = emulator.empty((32,), np.float32)
    finding = one_finding("adds_to", 1, 32, floats(32), y)
    assert finding.kind == "uninitialised" and finding.argument == "y" and "y[0]" in finding.message
    y[:] = 0
    assert not checked("memory:adds_to", 1, 32, floats(32), y).findings
    assert emulator.empty((2, 3), np.float32).shape == (2, 3)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    ("kernel", "x", "y", "argument"),
    [
        ("vector_off_its_boundary", floats(40), zeros(8), "x"),
        ("pair_off_its_boundary", floats(2), zeros(40), "y"),
        ("word_off_its_boundary", zeros(40, dtype=np.uint8), zeros(8, dtype=np.int32), "x"),
        ("vectors_from", floats(41)[1:], zeros(8), "x"),
    ],
)
def test_misaligned(kernel, x, y, argument, schedule):
    finding = one_finding(kernel, 1, 8, x, y.copy(), schedule=schedule)
    assert finding.kind == "misaligned" and finding.argument == argument


def test_aligned_vectors_are_no_finding():
    assert not checked("memory:vectors_from", 1, 8, floats(36)[4:], zeros(8)).findings
    assert not checked("memory:last_vector", 1, 10, floats(40), zeros(40)).findings


def test_write_to_const():
    finding = one_finding("write_to_const", 1, 8, floats(8), zeros(8))
    assert finding.kind == "write to const" and finding.argument == "x"


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("bias", [None, floats(32, seed=1)])
def test_what_is_allowed(bias, schedule):
    y = zeros(32)
    report = checked("memory:allowed", 1, 32, floats(32), bias, y, 32, schedule=schedule, shared_bytes=128)
    assert not report.findings, str(report)
    expected = floats(32) * np.where(np.arange(32) % 2, 3, 2) + (0 if bias is None else bias)
    np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_an_array_given_twice_is_one_array():
    x = floats(32)
    expected = x + x
    report = checked("memory:adds_to", 1, 32, x, x)
    assert not report.findings, str(report)
    np.testing.assert_array_equal(x, expected)
