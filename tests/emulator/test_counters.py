"""Counters: sectors, bank conflicts, bytes and barriers of accesses that can be counted by hand."""

import numpy as np
import pytest
from small_kernels import checked, floats, needs_compiler, run

from minisegnet import emulator

pytestmark = needs_compiler


def zeros(count):
    return np.zeros(count, np.float32)


def row(report, array, action):
    [found] = [row for row in report.counters.rows if row.array == array and row.action == action]
    return found


@pytest.mark.parametrize(("stride", "sectors"), [(1, 4), (2, 8), (4, 16), (8, 32), (9, 32)])
def test_sectors_of_strided_reads(stride, sectors):
    report = checked("counted:strided", 1, 64, floats(64 * stride), zeros(64), stride)
    reads = row(report, "x", "read")
    assert reads.requests == 2 and reads.accesses == 64
    assert reads.sectors_per_request == sectors
    assert reads.useful == pytest.approx(4 / sectors)
    assert row(report, "y", "write").sectors_per_request == 4
    assert report.counters.bytes_moved(writes=False) == 2 * sectors * 32
    assert report.counters.bytes_useful(writes=False) == 256


def test_sectors_off_their_boundary():
    report = checked("counted:strided", 1, 32, floats(40)[1:], zeros(32), 1)
    assert row(report, "x", "read").sectors_per_request == 5


def test_vectors_and_broadcasts():
    report = checked("counted:four_at_once", 1, 32, floats(128), zeros(128))
    assert row(report, "x", "read").sectors_per_request == 16 and row(report, "y", "write").useful == 1
    reads = row(checked("counted:same_for_all", 1, 32, floats(8), zeros(32)), "x", "read")
    assert reads.sectors_per_request == 1 and reads.bytes == 4


@pytest.mark.parametrize(("stride", "ways"), [(0, 1), (1, 1), (2, 2), (3, 1), (4, 4), (16, 16), (32, 32), (33, 1)])
def test_bank_conflicts(stride, ways):
    reads = row(checked("counted:banks", 1, 32, zeros(32), stride), "tile", "read")
    assert reads.ways == ways and reads.shared


@pytest.mark.parametrize(("stride", "ways"), [(0, 1), (1, 1), (2, 2), (4, 4)])
def test_bank_conflicts_of_vectors(stride, ways):
    """16 bytes a lane are served eight lanes at a time."""
    reads = row(checked("counted:bank_vectors", 1, 32, zeros(32), stride), "tile", "read")
    assert reads.requests == 1 and reads.ways == ways
    assert row(checked("counted:bank_vectors", 1, 32, zeros(32), 1), "tile", "write").ways == 1


def test_barriers():
    counters = checked("counted:waits", 3, 64, zeros(64), 5).counters
    assert counters.barriers == 15 and counters.warp_barriers == 3 * 2 * 10 and counters.warp_operations == 6


def test_atomic_operations():
    report = checked("counted:counted_up", 1, 32, np.zeros(4, np.int32))
    atomics = row(report, "y", "atomic")
    assert atomics.accesses == 32 and atomics.sectors_per_request == 1 and atomics.bytes == 16


def test_a_long_loop_is_counted_whole():
    n = 5000
    reads = row(checked("counted:long_loop", 1, 32, floats(32 * n), zeros(32), n), "x", "read")
    assert reads.accesses == 32 * n and reads.requests == n and reads.sectors == 4 * n


def test_launches_of_a_block_add_up():
    with emulator.check() as report:
        for _ in range(3):
            run("counted:strided", 1, 32, floats(32), zeros(32), 1)
    assert row(report, "x", "read").requests == 3


def test_the_table_reads_well():
    report = checked("counted:strided", 1, 64, floats(512), zeros(64), 8)
    table = str(report.counters)
    for words in ("counted.cu:5", "read", "32.0", "12%", "2,048 bytes in sectors, 256 of them asked for", "barriers 0"):
        assert words in table
    assert str(emulator.Counters()) == "no access of memory"


def test_the_picture_has_a_bar_a_line(tmp_path):
    figure = checked("counted:strided", 1, 64, floats(512), zeros(64), 8).counters.picture()
    [axes] = figure.axes
    assert [label.get_text().splitlines()[1] for label in axes.get_yticklabels()] == [
        "counted.cu:5, read x", "counted.cu:5, write y",
    ]  # fmt: skip
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == pytest.approx([4, 28, 4, 0])
    figure.savefig(tmp_path / "counters.png")
    assert (tmp_path / "counters.png").stat().st_size > 1000
