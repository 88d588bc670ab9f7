"""Races: found whatever the order that threads happen to take, at both lines, and never where there is none."""

import numpy as np
import pytest
from small_kernels import SCHEDULES, checked, floats, marked, needs_compiler, places, run

from minisegnet import emulator

pytestmark = needs_compiler


def ints(count):
    return np.zeros(count, np.int32)


def zeros(count):
    return np.zeros(count, np.float32)


# What each kernel is launched with.
LAUNCHES = {
    "neighbour": lambda: (1, 64, floats(64), zeros(64)),
    "by_value": lambda: (1, 64, floats(256), zeros(64)),
    "rounds": lambda: (1, 64, floats(192), zeros(64), 3),
    "in_a_warp": lambda: (1, 32, floats(32), zeros(32)),
    "in_halves": lambda: (1, 32, floats(32), zeros(32)),
    "across_warps": lambda: (1, 64, floats(64), zeros(64)),
    "shuffled": lambda: (1, 32, floats(32), zeros(32)),
    "sum_of_all": lambda: (2, 32, floats(64), zeros(1)),
    "between_blocks": lambda: (2, 32, floats(64), zeros(32)),
    "same_value": lambda: (1, 64, np.ones(64, np.float32), ints(1)),
    "atomic_and_plain": lambda: (1, 64, floats(64), zeros(64)),
    "read_then_written": lambda: (1, 96, zeros(96), 40),
    "last_block": lambda: (4, 32, floats(4), zeros(4), np.zeros(1, np.uint32), zeros(1)),
}
RIGHT = {
    **{f"{name}_right": LAUNCHES[name] for name in LAUNCHES if name in (
        "neighbour", "by_value", "rounds", "in_a_warp", "in_halves", "sum_of_all", "atomic_and_plain", "last_block")},
    "bytes_right": lambda: (
        1, 256, np.random.default_rng(0).integers(0, 256, 256).astype(np.uint8), np.zeros(256, np.uint8),
        np.zeros(256, np.uint16)),
    "locked_right": lambda: (2, 64, ints(1), ints(1)),
}  # fmt: skip


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("kernel", LAUNCHES)
def test_race(kernel, schedule):
    report = checked(f"races:{kernel}", *LAUNCHES[kernel](), schedule=schedule)
    races = [finding for finding in report.findings if finding.kind == "race"]
    assert races, str(report)
    assert set(marked(f"races:{kernel}")) == {line for race in races for line in places(race)}, str(report)
    for race in races:
        (block, thread), (other_block, other_thread) = race.threads
        assert (block, thread) != (other_block, other_thread)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("kernel", RIGHT)
def test_no_false_alarm(kernel, schedule):
    report = checked(f"races:{kernel}", *RIGHT[kernel](), schedule=schedule)
    assert not report.findings, str(report)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("writer", [0, 1, 31, 32, 95])
def test_whoever_writes_what_others_read(writer, schedule):
    report = checked("races:read_then_written", 1, 96, zeros(96), writer, schedule=schedule)
    assert [finding.kind for finding in report.findings] == ["race"], str(report)


def test_right_kernels_compute():
    x = floats(64)
    y = zeros(64)
    checked("races:neighbour_right", 1, 64, x, y, schedule="adversarial")
    np.testing.assert_array_equal(y, x[::-1])
    count = ints(1)
    checked("races:locked_right", 3, 64, ints(1), count, schedule=3)
    assert count[0] == 192
    parts, total = zeros(4), zeros(1)
    checked("races:last_block_right", 4, 32, x[:4].copy(), parts, np.zeros(1, np.uint32), total, schedule="reverse")
    np.testing.assert_allclose(total[0], x[:4].sum(), rtol=1e-6)


def test_message_names_lines_threads_and_element():
    report = checked("races:neighbour", 1, 64, floats(64), zeros(64))
    [race] = [finding for finding in report.findings if finding.kind == "race"]
    first, second = marked("races:neighbour")
    told = ["tile[", "neighbour", f"races.cu:{first}", f"races.cu:{second}", "tile[t] = x[t];", "block (0, 0, 0)"]
    assert [words for words in told if words not in str(race)] == []
    assert race.argument == "tile" and race.times == 64


def test_a_race_is_told_once_for_its_lines_over_all_launches():
    with emulator.check() as report:
        for _ in range(3):
            run("races:neighbour", 1, 64, floats(64), zeros(64))
    [race] = [finding for finding in report.findings if finding.kind == "race"]
    assert race.times == 3 * 64 and report.launches == 3
