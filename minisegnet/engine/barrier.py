"""Counters in shared memory, by which processes that work side by side wait for one another."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from minisegnet.memory import ALIGNMENT, reserve

SPIN = 200e-6  # seconds of asking again and again: most waits are shorter
# Seconds of sleep between questions after that, which leave the core to those who have work: the least, the most, and
# in between this share of the time waited so far. A crew that is not needed for a while is to cost nothing.
LEAST_PAUSE, MOST_PAUSE, SHARE = 100e-6, 5e-3, 0.03


class Counters:
    """A whole number for each rank, from 0, in memory that forked processes share.

    Each rank adds to its own number alone, in a line of the cache of its own, and reads all: so no lock is needed.
    """

    def __init__(self, count: int) -> None:
        numbers = reserve(count * ALIGNMENT, shared=True).data.cast("q")
        self._numbers = numbers[:: ALIGNMENT // numbers.itemsize]

    def __getitem__(self, rank: int) -> int:
        return self._numbers[rank]

    def advance(self, rank: int) -> int:
        """Add 1 to the rank's own number and return it; who waits for that sees all that the rank wrote before."""
        _give_way()
        self._numbers[rank] += 1
        return self._numbers[rank]

    def wait(self, number: int, look_round: Callable[[], None]) -> None:
        """Return once every rank has come to `number`.

        look_round   called between the pauses of a longer wait: raises if what is waited for will never come
        """
        numbers, began = self._numbers, time.monotonic()
        while min(numbers) < number:
            waited = time.monotonic() - began
            if waited < SPIN:
                _give_way()
            else:
                look_round()
                time.sleep(min(max(LEAST_PAUSE, SHARE * waited), MOST_PAUSE))
        _give_way()


def _give_way() -> None:
    """Let another process of this core run if there is one.

    The call into the scheduler is a memory fence besides, for processors that change the order of loads and stores.
    """
    os.sched_yield()
