"""Workers agree, wait for one another, and share what they are to share."""

import os
import threading
import time
import warnings

import numpy as np
import pytest
from crew_team import Team, no_hang, resident  # noqa: F401

from minisegnet.engine.blas import _libraries
from minisegnet.engine.crew import SUM, Crew
from minisegnet.engine.processes import can_fork
from minisegnet.errors import MinisegnetError
from minisegnet.layers import BatchNorm2d, Conv2d
from minisegnet.training.optimisers import SGD

pytestmark = pytest.mark.skipif(not can_fork(), reason="this system forks no processes")


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(), (3,), (2, 64), (0,)])
def test_sums_are_the_same_on_every_rank_and_every_time(count, shape):
    given = np.random.default_rng(count).standard_normal((count, *shape)) * 10.0 ** np.arange(0, 4 * count, 4).reshape(
        -1, *[1] * len(shape)
    )

    def work(crew, numbers):
        total = crew.sum(given[crew.rank])
        assert total.shape == shape and total.dtype == np.float64
        numbers[crew.rank, : total.size] = total.ravel()

    wanted = given[0].copy()
    for values in given[1:]:
        wanted = wanted + values  # in rank order: in another the rounding differs
    with Team(count, work=work) as team:
        for _ in range(3):
            for got in team.run()[:, : wanted.size]:
                assert got.tobytes() == wanted.tobytes()


def test_sums_of_any_size_type_and_strides():
    rng = np.random.default_rng(5)
    large = rng.standard_normal((3, 2 * SUM + 7))
    turned = rng.standard_normal((3, 40, 30)).astype(np.float32)

    def work(crew, numbers):
        before = large[crew.rank].copy()
        numbers[crew.rank, 0] = np.array_equal(crew.sum(large[crew.rank]), large[0] + large[1] + large[2])
        numbers[crew.rank, 1] = np.array_equal(large[crew.rank], before)
        wanted = sum(turned[rank].astype(np.float64) for rank in range(3)).T[:, ::2]
        numbers[crew.rank, 2] = np.array_equal(crew.sum(turned[crew.rank].T[:, ::2]), wanted)

    with Team(3, work=work) as team:
        assert team.run()[:, :3].all()


@pytest.mark.parametrize("count", [1, 2, 4])
def test_nobody_passes_a_barrier_before_all_have_come(count):
    def work(crew, numbers):
        rng = np.random.default_rng(crew.rank)
        for number in range(1, 101):
            if number % 10 == 0:
                time.sleep(rng.uniform(0, 0.003))  # some waits are long, most short
            numbers[crew.rank, 0] = number
            crew.barrier()
            assert (numbers[:, 0] == number).all()
            crew.barrier()
        numbers[crew.rank, 1] += 1

    with Team(count, work=work) as team:
        team.run()
        assert (team.run()[:, 1] == 2).all()


def test_run_returns_when_all_have_done():
    def work(crew, numbers):
        time.sleep(0.05 * crew.rank)
        numbers[crew.rank, 0] += 1

    with Team(3, work=work) as team:
        for number in range(1, 4):
            assert team.run()[:, 0].tolist() == [number] * 3


def test_each_rank_is_a_process_of_its_own():
    def work(crew, numbers):
        numbers[crew.rank, :2] = crew.rank, os.getpid()

    with Team(4, work=work) as team:
        assert team.crew.rank == 0
        numbers = team.run()
        assert numbers[:, 0].tolist() == [0, 1, 2, 3]
        assert numbers[0, 1] == os.getpid() and len(set(numbers[:, 1])) == 4
        assert team.run()[:, 1].tolist() == numbers[:, 1].tolist()


def test_messages_reach_every_rank_as_they_are():
    got = []
    message = {"step": (1, 2.5, None), "words": "a" * 200_000}

    def obey(message):
        got.append(message)
        crew.arena[crew.rank] = got == [given] * len(got)

    given = message
    with Crew(3, obey, 3) as crew:
        for _ in range(2):
            crew.run(message)
            assert crew.arena.all()
    assert got == [message, message]


def test_what_existed_at_the_first_message_each_rank_has_and_later_things_only_rank_0():
    state = {"before": 1.0}

    def work(crew, numbers):
        numbers[crew.rank, 0] = state["before"]
        state["before"] += 1 + crew.rank
        numbers[crew.rank, 1] = "after" in state

    with Team(2, work=work) as team:
        state["before"] = 5.0
        assert team.run()[:, 0].tolist() == [5, 5]
        state["after"] = 1.0
        numbers = team.run()
        assert numbers[:, 0].tolist() == [6, 7] and numbers[:, 1].tolist() == [1, 0]


@pytest.mark.parametrize("count", [1, 2])
def test_the_arena_is_aligned_and_takes_only_the_memory_that_is_touched(count):
    before = resident()
    with Crew(count, lambda message: None, 2**36) as crew:
        assert crew.arena.shape == (2**36,) and crew.arena.dtype == np.uint8
        assert crew.arena.ctypes.data % 64 == 0
        crew.arena[:: 2**34] += 1
        assert crew.arena[0] == 1 and crew.arena[1] == 0
        assert resident() - before < 20e6
    with Crew(count, lambda message: None, 0) as crew:
        assert crew.arena.size == 0


def test_blas_has_one_thread_in_every_rank_and_then_as_many_as_before():
    def work(crew, numbers):
        numbers[crew.rank, 0] = _libraries()[0].get_num_threads()

    [library, *_] = _libraries()
    before = library.get_num_threads()
    library.set_num_threads(2)
    try:
        for count in (1, 2):
            with Team(count, work=work) as team:
                for _ in range(2):
                    assert (team.run()[:, 0] == 1).all()
                    assert library.get_num_threads() == 2
    finally:
        library.set_num_threads(before)


def test_parameters_and_buffers_are_seen_both_ways():
    convolution, norm = Conv2d(2, 3, 3), BatchNorm2d(3)
    optimiser = SGD({"weight": convolution.weight}, lr=1.0)
    start = convolution.weight.data.copy()

    def work(crew, numbers):
        numbers[crew.rank, 0] = convolution.weight.data.sum()
        crew.barrier()
        if crew.rank == 1:
            convolution.weight.grad += 0.5
            norm.buffers["running_mean"] += 2
            norm.buffers["num_batches_tracked"] += 1

    with Team(2, work=work) as team:
        team.run()
        np.testing.assert_array_equal(convolution.weight.grad, 0.5)
        optimiser.step()
        np.testing.assert_array_equal(convolution.weight.data, start - np.float32(0.5))
        numbers = team.run()
        assert numbers[1, 0] == numbers[0, 0] == convolution.weight.data.sum()
        assert norm.buffers["running_mean"].tolist() == [4, 4, 4] and norm.buffers["num_batches_tracked"] == 2


def test_other_threads_of_the_parent_do_no_harm():
    stop = threading.Event()
    matrix = np.ones((64, 64))

    def busy():
        while not stop.is_set():
            matrix @ matrix
            sorted(range(100))

    threads = [threading.Thread(target=busy) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Python 3.12 warns of forks beside threads
            for _ in range(5):
                with Team(3, work=lambda crew, numbers: crew.sum(matrix @ matrix)) as team:
                    team.run()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_workers_outlive_the_thread_that_forked_them():
    with Team(3, work=lambda crew, numbers: numbers[crew.rank].fill(os.getpid())) as team:
        thread = threading.Thread(target=team.run)
        thread.start()
        thread.join()
        before = team.numbers.copy()
        time.sleep(0.05)
        np.testing.assert_array_equal(team.run(), before)


def test_one_process_does_the_work_where_none_can_be_forked(monkeypatch):
    monkeypatch.delattr(os, "fork")
    with pytest.warns(RuntimeWarning, match="4 workers need a fork"):
        team = Team(4, work=lambda crew, numbers: numbers[crew.rank, :2].fill(crew.sum(np.array(3.0))))
    assert team.crew.count == 1
    assert team.run()[0, 0] == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Team(1)


@pytest.mark.parametrize("count", [0, -1, 1.5, None])
def test_counts_that_are_none(count):
    with pytest.raises(MinisegnetError, match="workers must be a whole number of at least 1; got"):
        Crew(count, print, 0)
