"""What the tests of crews share: messages that are functions, and a guard against waiting for ever."""

import gc
import os
import signal

import numpy as np
import pytest

from minisegnet.engine.crew import Crew


@pytest.fixture(autouse=True)
def no_hang():
    """A test that waits for ever fails, and leaves no process."""

    def give_up(number, frame):
        raise TimeoutError("still waiting after 60 seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    gc.collect()
    assert not has_children()


def has_children():
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


class Team:
    """A crew whose messages are functions by name: run("name") calls name(crew, numbers) in every rank.

    numbers   float64 (count, 1024) in the arena, for what a test wants to know of each rank
    """

    def __init__(self, count, **functions):
        self.functions = functions
        self.crew = Crew(count, self.obey, count * 8192)
        self.numbers = self.crew.arena.view(np.float64).reshape(count, 1024)

    def obey(self, name):
        self.functions[name](self.crew, self.numbers)

    def run(self, name="work"):
        self.crew.run(name)
        return self.numbers

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        self.crew.close()


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
