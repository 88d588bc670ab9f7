"""Whatever becomes of one worker is told, and none is left waiting for it."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from crew_team import Team, has_children, no_hang  # noqa: F401

from minisegnet.engine.processes import can_fork
from minisegnet.errors import MinisegnetError, OptionError, WorkerError

pytestmark = pytest.mark.skipif(not can_fork(), reason="this system forks no processes")


def kill_myself():
    os.kill(os.getpid(), signal.SIGKILL)


WAITS = {
    "barrier": lambda crew: crew.barrier(),
    "sum": lambda crew: crew.sum(np.ones(3)),
    "completion": lambda crew: time.sleep(1000) if crew.rank else None,
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_a_killed_worker_ends_the_run(wait):
    def work(crew, numbers):
        if crew.rank == 1:
            time.sleep(0.01)  # the others wait by now
            kill_myself()
        wait(crew)

    with Team(3, work=work, fine=lambda crew, numbers: crew.barrier()) as team:
        team.run("fine")
        with pytest.raises(WorkerError, match=r"worker 2 of 3 \(process \d+\) was killed \(signal 9\).*fewer workers"):
            team.run()
        assert not has_children()
        team.run("fine")  # with new ones


def test_a_worker_killed_between_messages():
    with Team(2, work=lambda crew, numbers: numbers[crew.rank].fill(os.getpid())) as team:
        os.kill(int(team.run()[1, 0]), signal.SIGKILL)
        with pytest.raises(WorkerError, match=r"worker 2 of 2 .* was killed"):
            team.run()
        assert not has_children()


@pytest.mark.parametrize(
    "ending, words",
    [
        (lambda: os._exit(3), "ended with exit code 3"),
        (lambda: os._exit(0), "ended with exit code 0"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), r"ended by signal 15 \(Terminated\)"),
    ],
)
def test_how_a_worker_ended_is_told_in_words(ending, words):
    team = Team(2, work=lambda crew, numbers: ending() if crew.rank else crew.barrier())
    with team, pytest.raises(WorkerError, match=words):
        team.run()


def test_what_a_worker_raises_is_told_with_its_traceback():
    def stumbles():
        raise OptionError("a number of 0 makes no sense: give 1")

    def work(crew, numbers):
        if crew.rank == 2:
            stumbles()
        crew.barrier()

    with Team(3, work=work) as team:
        with pytest.raises(
            WorkerError, match=r"worker 3 of 3 .* raised minisegnet.errors.OptionError: a number of 0 .* give 1"
        ) as told:
            team.run()
        assert "in stumbles" in str(told.value.__cause__)
        assert isinstance(told.value, MinisegnetError)
        assert not has_children()


@pytest.mark.parametrize("problem", [SystemExit(0), ValueError("\u00e9" * 100_000), RuntimeError()])
def test_whatever_a_worker_raises_is_told(problem):
    def work(crew, numbers):
        if crew.rank:
            raise problem

    with Team(2, work=work) as team:
        with pytest.raises(WorkerError, match=f"raised {type(problem).__name__}") as told:
            team.run()
        assert len(str(told.value)) < 5000


@pytest.mark.parametrize("kind", [KeyboardInterrupt, OptionError])
def test_what_rank_0_raises_leaves_nobody_waiting(kind):
    def work(crew, numbers):
        numbers[crew.rank, 0] += 1
        if crew.rank == 0:
            raise kind
        crew.barrier()

    with Team(4, work=work, fine=lambda crew, numbers: crew.barrier()) as team:
        for _ in range(2):
            with pytest.raises(kind):
                team.run()
            assert not has_children()
        team.run("fine")


def test_ctrl_c_reaches_rank_0_alone():
    def work(crew, numbers):
        numbers[crew.rank, 0] = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        if crew.rank:
            os.kill(os.getpid(), signal.SIGINT)
        crew.barrier()
        if crew.rank:
            os.kill(os.getppid(), signal.SIGINT)
            time.sleep(1000)
        crew.barrier()

    with Team(2, work=work) as team:
        with pytest.raises(KeyboardInterrupt):
            team.run()
        assert not has_children() and team.numbers[:, 0].tolist() == [0, 1]


@pytest.mark.parametrize("early", [0, 1])
def test_a_barrier_to_which_not_all_come_is_an_error(early):
    def work(crew, numbers):
        if crew.rank != early:
            crew.barrier()

    with Team(3, work=work) as team:
        with pytest.raises(WorkerError, match=f"waits for worker {early + 1}, which has finished"):
            team.run()
        assert not has_children()


@pytest.mark.skipif(not os.path.exists("/proc/self/oom_score_adj"), reason="only Linux lets a program choose")
def test_rank_0_is_the_last_to_be_killed_when_memory_runs_out():
    def work(crew, numbers):
        with open("/proc/self/oom_score_adj") as file:
            numbers[crew.rank, 0] = int(file.read())

    with Team(3, work=work) as team:
        first, *others = team.run()[:, 0]
        assert all(other > first or other == 1000 for other in others)


def test_a_worker_s_end_is_noticed_where_children_are_waited_for_elsewhere():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system throws away how a child ended
    try:
        team = Team(2, work=lambda crew, numbers: kill_myself() if crew.rank else crew.barrier())
        with team, pytest.raises(WorkerError, match=r"worker 2 of 2 .* has ended"):
            team.run()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_message_that_cannot_be_sent():
    with Team(2, work=lambda crew, numbers: None) as team:
        team.run()
        with pytest.raises(TypeError, match="pickle"):
            team.crew.run(threading.Lock())
        team.run()
