"""Kernels that crash, hang, assert or print: Python goes on, and is told who did what."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from small_kernels import HERE, SCHEDULES, checked, floats, marked, needs_compiler, places, run

from minisegnet.emulator import launch
from minisegnet.errors import KernelError

pytestmark = needs_compiler


def ints(count, value=0):
    return np.full(count, value, np.int32)


def works():
    y = ints(8)
    run("hostile:divides", 1, 8, ints(8, 5), y)
    return set(y) == {20}


@pytest.mark.parametrize(
    ("kernel", "arguments", "words"),
    [
        ("wild_pointer", (floats(8), np.int64(1 << 45)), "thread .0, 0, 0. of block .., 0, 0. accessed memory"),
        ("recursion", (ints(8), 100000), "ran out of stack"),
        ("asserts", (ints(8, 7), ints(8)), "assertion failed: x.threadIdx.x. < 5"),
        ("traps", (ints(8),), "thread .3, 0, 0. .*__trap"),
        ("too_much_shared", (floats(8),), "80000 bytes of shared arrays"),
    ],
)
def test_a_crash_is_an_error(kernel, arguments, words):
    for _ in range(2):
        with pytest.raises(KernelError, match=words):
            run(f"hostile:{kernel}", 3, 8, *arguments)
    assert works()


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "i686"), reason="only x86 traps an integer division by zero")
def test_division_by_zero_in_fast_mode():
    with pytest.raises(KernelError, match="divided an integer by zero"):
        run("hostile:divides", 1, 8, ints(8), ints(8))
    assert works()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    ("kernel", "arguments", "kind"),
    [
        ("divides", (ints(8), ints(8)), "division by zero"),
        ("asserts", (ints(8, 7), ints(8)), "failed"),
        ("traps", (ints(8),), "failed"),
        ("recursion", (ints(8), 100000), "crashed"),
        ("wild_pointer", (floats(8), np.int64(1 << 45)), "out of bounds"),
    ],
)
def test_in_check_mode_it_is_a_finding(kernel, arguments, kind, schedule):
    report = checked(f"hostile:{kernel}", 1, 8, *arguments, schedule=schedule)
    assert [finding.kind for finding in report.findings] == [kind], str(report)
    assert places(report.findings[0]) == marked(f"hostile:{kernel}")


def test_an_endless_loop_ends_in_check_mode():
    report = checked("hostile:endless", 1, 1, ints(1))
    assert [finding.kind for finding in report.findings] == ["endless"], str(report)
    assert places(report.findings[0]) == marked("hostile:endless")


@pytest.mark.parametrize("schedule", [None, *SCHEDULES])
def test_waiting_for_a_later_thread(schedule):
    y = ints(32)
    if schedule is None:
        run("hostile:patient", 2, 32, ints(1), y)
    else:
        assert not checked("hostile:patient", 1, 32, ints(1), y, schedule=schedule).findings
    assert y.all()


@pytest.mark.parametrize("processors", [1, 4])
def test_an_endless_kernel_is_interrupted_by_the_second_ctrl_c(processors, monkeypatch):
    monkeypatch.setattr(launch, "cores", lambda: processors)

    def press():
        for _ in range(2):
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)

    run("hostile:endless", 1, 1, ints(1, 1))  # compiled
    presses = threading.Thread(target=press)
    presses.start()
    with pytest.raises(KeyboardInterrupt):
        try:
            run("hostile:endless", 4, 1, ints(1))
        finally:
            presses.join()
    assert works()


def test_what_a_kernel_prints_goes_to_stdout(capsys):
    run("hostile:talks", 1, 32, np.array([0.5, 1.5], np.float32))
    assert sorted(capsys.readouterr().out.splitlines()) == ["thread 0 has 0.50", "thread 1 has 1.50"]
    checked("hostile:talks", 1, 32, np.array([0.5, 1.5], np.float32))
    assert "thread 1 has 1.50" in capsys.readouterr().out


@pytest.mark.parametrize("schedule", [None, *SCHEDULES])
@pytest.mark.parametrize(
    ("grid", "block"), [((3, 2, 2), (5, 3, 2)), ((7,), (33,)), ((1, 1, 2), (1, 1, 64)), ((40, 3), (1024,))]
)
def test_every_thread_of_every_block_runs_once(grid, block, schedule):
    blocks, threads = int(np.prod(grid)), int(np.prod(block))
    y = ints(blocks * threads)
    if schedule is None:
        run("hostile:who", grid, block, y)
    else:
        assert not checked("hostile:who", grid, block, y, schedule=schedule).findings
    np.testing.assert_array_equal(y.reshape(blocks, threads), np.arange(blocks)[:, None] * 10000 + np.arange(threads))


@pytest.fixture
def four_processors(monkeypatch):
    """Blocks are spread over four threads of the processor, however many cores there are."""
    monkeypatch.setattr(launch, "cores", lambda: 4)


def test_blocks_spread_over_processors(four_processors):
    for _ in range(20):
        y = ints(300 * 64)
        run("hostile:who", (100, 3), 64, y)
        np.testing.assert_array_equal(y.reshape(300, 64), np.arange(300)[:, None] * 10000 + np.arange(64))
    total = np.zeros(1, np.float32)
    run("races:sum_of_all_right", 200, 64, np.ones(200 * 64, np.float32), total)
    assert total[0] == 200 * 64


def test_a_crash_on_one_of_them(four_processors):
    for _ in range(5):
        with pytest.raises(KernelError, match="accessed memory"):
            run("hostile:wild_pointer", 50, 8, floats(8), np.int64(1 << 45))
        with pytest.raises(KernelError, match="nobody can go on"):
            run("barriers:crossed", 50, 32, np.zeros(32, np.float32))
        assert works()


def test_a_forked_child_runs_kernels():
    """Its parent's threads are not there, and it starts its own."""
    text = (
        f"import sys, os; sys.path.insert(0, {str(HERE)!r})\n"
        "import numpy as np\n"
        "from minisegnet.emulator import launch\n"
        "from small_kernels import run\n"
        "launch.cores = lambda: 4\n"
        "y = np.zeros(2560, np.int32)\n"
        "run('hostile:who', 10, 256, y)\n"
        "child = os.fork()\n"
        "y[:] = 0\n"
        "run('hostile:who', 10, 256, y)\n"
        "good = (y.reshape(10, 256) == np.arange(10)[:, None] * 10000 + np.arange(256)).all()\n"
        "if child == 0: os._exit(0 if good else 1)\n"
        "sys.exit(os.waitpid(child, 0)[1] or not good)\n"
    )
    assert subprocess.run([sys.executable, "-c", text], timeout=120).returncode == 0


def test_threads_of_python_launch_at_once(four_processors):
    def start(y):
        run("hostile:who", (50, 3), 256, y)

    outputs = [ints(150 * 256) for _ in range(6)]
    threads = [threading.Thread(target=start, args=(y,)) for y in outputs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for y in outputs:
        np.testing.assert_array_equal(y.reshape(150, 256), np.arange(150)[:, None] * 10000 + np.arange(256))
