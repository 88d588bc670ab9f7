"""Workers end with their crew and with their parent, however it ends, and leave nothing behind."""

import gc
import os
import select
import signal
import subprocess
import sys

import numpy as np
import pytest
from crew_team import Team, has_children, no_hang, resident  # noqa: F401

from minisegnet.engine.processes import can_fork
from minisegnet.errors import WorkerError

pytestmark = pytest.mark.skipif(not can_fork(), reason="this system forks no processes")


def test_closing():
    outer = Team(2, work=lambda crew, numbers: crew.barrier())
    inner = Team(3, work=lambda crew, numbers: crew.barrier())
    with outer, inner, inner, outer:
        outer.run()
        inner.run()
        outer.run()
    outer.crew.close()
    assert not has_children()
    alone = Team(1, work=lambda crew, numbers: None)
    alone.run()
    alone.crew.close()
    for team in (outer, inner, alone):
        with pytest.raises(WorkerError, match="compile the graph again"):
            team.run()


def test_a_crew_that_is_collected_ends():
    team = Team(2, work=lambda crew, numbers: None)
    team.run()
    assert has_children()
    del team
    gc.collect()
    assert not has_children()


def test_a_crew_belongs_to_the_process_that_made_it():
    with Team(2, work=lambda crew, numbers: crew.barrier()) as team:
        team.run()
        pid = os.fork()
        if pid == 0:
            try:
                team.run()
            except WorkerError:
                team.crew.close()  # must leave the workers alone
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        team.run()


def test_many_messages_leave_nothing_behind():
    def work(crew, numbers):
        crew.sum(np.ones(100))
        crew.barrier()

    def look(crew, numbers):
        numbers[crew.rank, :2] = len(os.listdir("/proc/self/fd")), resident()

    with Team(2, work=work, look=look) as team:
        for _ in range(200):
            team.run()
        before = team.run("look").copy()
        for _ in range(2000):
            team.run()
        after = team.run("look")
        np.testing.assert_array_equal(after[:, 0], before[:, 0])
        assert (after[:, 1] - before[:, 1] < 2**20).all()


def test_many_crews_leave_nothing_behind():
    def one():
        with Team(3, work=lambda crew, numbers: crew.barrier()) as team:
            team.run()

    one()
    before = len(os.listdir("/proc/self/fd")), len(mappings())
    for _ in range(30):
        one()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before[0] and len(mappings()) <= before[1] + 5


def mappings():
    with open("/proc/self/maps") as file:
        return file.readlines()


# ------------------------------------------------------------------------------------------- the end of the parent

PROGRAM = """
import atexit, os, signal, sys, threading, time
from minisegnet.engine.crew import Crew

def obey(message):
    if message == "busy" and crew.rank:
        while True:
            time.sleep(0.01) if crew.rank == 1 else crew.barrier()
    if message == "busy":
        print("begun", flush=True)
        while True:  # a Ctrl-C just before a single long sleep would come to nothing
            time.sleep(0.01)
    print("rank", crew.rank)

def work():
    crew.run("hello")
    {what}

atexit.register(print, "at exit")
sys.stdout.write("once\\n")
crew = Crew(3, obey, 100)
{how}
"""


def parent(what, how="work()"):
    """A program with workers that do `what`, and a file that is at its end when all of its processes have ended."""
    receiving, held = os.pipe()
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(what=what, how=how)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[held],
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )
    os.close(held)
    return program, receiving


def assert_all_have_ended(receiving):
    with os.fdopen(receiving, "rb") as held:
        assert select.select([held], [], [], 30)[0], "a process is still there"
        assert held.read() == b""


@pytest.mark.parametrize("how", ["work()", "thread = threading.Thread(target=work); thread.start(); thread.join()"])
@pytest.mark.parametrize("what", ['crew.run("busy")', 'print("begun", flush=True); time.sleep(1000)'])
def test_workers_end_with_a_parent_that_is_killed(what, how):
    program, receiving = parent(what, how)
    while program.stdout.readline() != "begun\n":
        assert program.poll() is None, program.stderr.read()
    program.kill()
    assert_all_have_ended(receiving)
    program.communicate()


def test_ctrl_c_at_the_terminal_ends_everything_once():
    program, receiving = parent('crew.run("busy")')
    while program.stdout.readline() != "begun\n":
        assert program.poll() is None, program.stderr.read()
    os.killpg(program.pid, signal.SIGINT)
    output, errors = program.communicate()
    assert_all_have_ended(receiving)
    assert errors.count("KeyboardInterrupt") == 1 and output.count("at exit") == 1


def test_an_ordinary_exit_runs_and_prints_everything_once():
    program, receiving = parent("pass")
    output, errors = program.communicate()
    assert_all_have_ended(receiving)
    assert program.returncode == 0 and errors == ""
    assert sorted(output.split("\n")) == ["", "at exit", "once", "rank 0", "rank 1", "rank 2"]
