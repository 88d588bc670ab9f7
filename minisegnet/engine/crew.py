"""The crew: processes that run the same steps together, each on its own part."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
import warnings
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

import numpy as np

from minisegnet.engine.barrier import Counters
from minisegnet.engine.blas import one_blas_thread
from minisegnet.engine.processes import ForkedProcess, can_fork, end_all, flush_output
from minisegnet.errors import WorkerError
from minisegnet.layers.base import whole
from minisegnet.memory import reserve

SUM = 2**16  # values that are summed at once: 512 KB of each rank, twice
LAST_WORDS = 2**14  # bytes for the error of a worker


class WorkerTraceback(Exception):
    """Where in its own process a worker raised an error: the cause of the WorkerError that tells of it."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Crew:
    """The processes that work on one plan together: this one, of rank 0, and count - 1 forked from it.

        crew = Crew(4, obey, 2**30)
        crew.run(("step", 1))               # every rank runs obey(("step", 1)) in its own process

    count        how many; 1 where processes cannot be forked (a warning says so)
    obey         run by every rank for each message; may call `barrier` and `sum`, every rank equally often
    arena_bytes  size of the arena
    rank         0 to count - 1, another one in each process; 0 in all that has run before the first message
    arena        uint8 (arena_bytes,), the same memory in all ranks, taking up only what is touched; 64-byte aligned

    The others are forked at the first message: what exists by then each of them has a copy of, except the arena and
    arrays of `memory.shared_zeros`, which all ranks share. Between messages they sleep. While `obey` runs, BLAS has
    one thread in each rank.

    Where a rank fails, all others are ended, and `run` raises:
      WorkerError   a worker has died or raised; says which, and how
      anything      that obey raises in rank 0 (KeyboardInterrupt at a Ctrl-C, which the others ignore)
    The next message forks new ones, from rank 0 as it is then. They also end with `close`, with the crew (left as a
    context manager, or collected as garbage), and with this process, however it ends. No file or name is left behind.
    """

    def __init__(self, count: int, obey: Callable[[Any], None], arena_bytes: int) -> None:
        count = whole("workers", count)
        if count > 1 and not can_fork():
            warnings.warn(
                f"{count} workers need a fork of the process, which is not to be had on {sys.platform}: "
                "one process does all the work",
                RuntimeWarning,
                stacklevel=2,
            )
            count = 1
        self.count, self.rank = count, 0
        self.arena = reserve(arena_bytes, shared=count > 1)
        self._obey = obey
        self._workers: list[ForkedProcess] = []
        self._owner = os.getpid()
        self._closed = False
        self._finaliser = weakref.finalize(self, _end_own, self._workers, self._owner)

    # ------------------------------------------------------------------------------------------- outside of obey

    def run(self, message: Any) -> None:
        """Have every rank run obey(message); returns when all have done so. Raises as told above.

        message   a few words and numbers, in tuples or dicts: it is pickled
        """
        if self._closed:
            raise WorkerError("the workers were closed: compile the graph again to go on")
        if os.getpid() != self._owner:
            raise WorkerError(f"these workers are process {self._owner}'s: compile the graph in this process")
        with one_blas_thread():
            if self.count == 1:
                self._obey(message)
                return
            try:
                self._run_together(message)
            except BaseException:
                end_all(self._workers)
                raise

    def close(self) -> None:
        """End the other processes for good; `run` raises WorkerError from now on. Closing again does nothing."""
        self._closed = True
        self._finaliser()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *problem: Any) -> None:
        self.close()

    def _run_together(self, message: Any) -> None:
        data = pickle.dumps(message)
        if not self._workers:
            self._fork()
        for rank, worker in enumerate(self._workers, 1):
            if not worker.send(data):
                worker.fate(wait=True)
                raise self._failure(rank)
        self._obey(message)
        self._finished.wait(self._finished.advance(0), self._look_round)

    def _fork(self) -> None:
        """Begin the other ranks, and what the ranks need to work together."""
        self._arrived = Counters(self.count)  # barriers that each rank has come to
        self._finished = Counters(self.count)  # messages that each rank has done
        self._sums = reserve(2 * self.count * SUM * 8, shared=True).view(np.float64).reshape(2, self.count, SUM)
        self._turn = 0
        self._last_words = reserve(self.count * LAST_WORDS, shared=True).reshape(self.count, LAST_WORDS)
        for rank in range(1, self.count):
            self._workers.append(ForkedProcess(partial(self._serve, rank), self._workers))

    # --------------------------------------------------------------------------------------------- inside of obey

    def barrier(self) -> None:
        """Wait until every rank has come here; what each wrote before is then there for all."""
        if self.count > 1:
            self._arrived.wait(self._arrived.advance(self.rank), self._look_round)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """The sum over the ranks, float64, added in the order of ranks: the same on each to the bit, and every time.

        values   any shape, the same on every rank
        """
        total = np.array(values, np.float64, order="C")
        if self.count == 1:
            return total
        flat = total.reshape(-1)
        for start in range(0, flat.size, SUM):
            part = flat[start : start + SUM]
            # Two places in turn: who is ahead writes to one while others still read the other, and no further.
            places, self._turn = self._sums[self._turn, :, : part.size], 1 - self._turn
            places[self.rank] = part
            self.barrier()
            part[...] = places[0]
            for place in places[1:]:
                part += place
        return total

    # ------------------------------------------------------------------------------------------ in the other ranks

    def _serve(self, rank: int, stream: BinaryIO) -> None:
        """What a forked rank does: obey every message until there are no more."""
        self.rank = rank
        try:
            while (message := _next(stream)) is not None:
                with one_blas_thread():
                    self._obey(message[0])
                flush_output()
                self._finished.advance(rank)
        except BaseException as problem:
            kind = "".join(traceback.format_exception_only(type(problem), problem)).strip()
            words = f"{kind[: LAST_WORDS // 8]}\0{traceback.format_exc()[-LAST_WORDS // 2 :]}".encode()[:LAST_WORDS]
            self._last_words[rank, : len(words)] = np.frombuffer(words, np.uint8)
            raise

    # --------------------------------------------------------------------------------------------- when one fails

    def _look_round(self) -> None:
        """In a longer wait: raise, or end, if another rank will never come."""
        if self.rank == 0:
            for rank, worker in enumerate(self._workers, 1):
                if worker.fate():
                    raise self._failure(rank)
        elif os.getppid() != self._owner:
            os._exit(1)
        for rank in range(self.count):
            done = self._finished[rank] > self._finished[self.rank]
            if done and self._arrived[rank] < self._arrived[self.rank]:
                raise WorkerError(
                    f"worker {self.rank + 1} waits for worker {rank + 1}, which has finished: a step must take every "
                    "worker to the same barriers and sums"
                )

    def _failure(self, rank: int) -> WorkerError:
        """The error that tells how a rank has ended."""
        worker = self._workers[rank - 1]
        name = f"worker {rank + 1} of {self.count} (process {worker.pid})"
        words = self._last_words[rank].tobytes().rstrip(b"\0").decode(errors="replace")
        if not words:
            return WorkerError(f"{name} {worker.fate()}")
        kind, _, where = words.partition("\0")
        error = WorkerError(f"{name} raised {kind}")
        error.__cause__ = WorkerTraceback(where)
        return error


def _next(stream: BinaryIO) -> tuple[Any] | None:
    """The next message in a tuple; None when rank 0 has gone."""
    try:
        return (pickle.load(stream),)
    except EOFError:
        return None


def _end_own(workers: list[ForkedProcess], owner: int) -> None:
    """End the workers, unless this process is itself a copy of the one that they belong to."""
    if os.getpid() == owner:
        end_all(workers)
