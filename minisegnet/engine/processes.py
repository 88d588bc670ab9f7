"""Forked processes: begun, spoken to through a pipe, watched, ended."""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from minisegnet.errors import WorkerError
from minisegnet.forks import no_work_beside

PR_SET_PDEATHSIG = 1  # of prctl (linux/prctl.h): a signal to get at the end of the thread that forked
OOM_SCORE = 300  # added to the kernel's oom_score_adj, at most 1000: who is killed first when memory runs out


def can_fork() -> bool:
    """Whether processes can be forked here. macOS has fork, but its libraries (Accelerate) may crash after it."""
    return hasattr(os, "fork") and sys.platform != "darwin"


class ForkedProcess:
    """A copy of this process that runs `work` and ends.

    work       gets the stream of what is sent; the exit code is 0 if it returns and 1 if it raises
    siblings   those begun before, whose pipes the copy lets go of
    pid        the number of the process

    The copy has only the thread that forked it. Other threads (a loader's, a progress bar's) may have held locks just
    then, which stay locked in the copy. That is sound as long as `work` computes: it takes no lock of theirs, the C
    library and Python free their own at a fork, and BLAS needs none while it is held to one thread. What a loader is
    making is waited for (see `forks`).
    The copy ends with this process, and does so without flushing its files or running what it does at exit; it ignores
    Ctrl-C, about which this process decides, and has none of its other signal handlers.

    Raises WorkerError if the system refuses another process.
    """

    def __init__(self, work: Callable[[BinaryIO], None], siblings: Iterable[ForkedProcess] = ()) -> None:
        self._fate: str | None = None
        receiving, self._pipe = os.pipe()
        try:
            self.pid = _fork(lambda: work(self._opened(receiving, siblings)))
        except OSError as problem:
            os.close(self._pipe)
            raise WorkerError(f"the system gives no further process ({problem}); use fewer workers") from problem
        finally:
            os.close(receiving)

    def _opened(self, receiving: int, siblings: Iterable[ForkedProcess]) -> BinaryIO:
        """In the copy: its end of the pipe. The other end is held by the parent alone, or it would never close."""
        for process in (self, *siblings):
            os.close(process._pipe)
        threading.Thread(target=_end_at_hang_up, args=(receiving,), daemon=True).start()
        return os.fdopen(receiving, "rb")

    def send(self, data: bytes) -> bool:
        """Write to the process; False if it has ended."""
        try:
            while data:
                data = data[os.write(self._pipe, data) :]
        except BrokenPipeError:
            return False
        return True

    def fate(self, wait: bool = False) -> str | None:
        """How the process ended, in words; None while it runs."""
        if self._fate is None:
            try:
                pid, status = os.waitpid(self.pid, 0 if wait else os.WNOHANG)
            except ChildProcessError:  # SIGCHLD is ignored, or all children are waited for elsewhere in this process
                self._fate = "has ended (other code in this process was told how)"
            else:
                if pid:
                    self._fate = _in_words(os.waitstatus_to_exitcode(status))
        return self._fate

    def kill(self) -> None:
        """End the process at once, which `fate(wait=True)` and `let_go` complete."""
        if self.fate() is None:
            with suppress(ProcessLookupError):  # it ended meanwhile, and was waited for elsewhere
                os.kill(self.pid, signal.SIGKILL)

    def let_go(self) -> None:
        """Close the pipe."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1


def end_all(processes: list[ForkedProcess]) -> None:
    """Kill the processes, wait until they are gone, and empty the list."""
    with _signals_held():
        for process in processes:
            process.kill()
        for process in processes:
            process.fate(wait=True)
            process.let_go()
        processes.clear()


def flush_output() -> None:
    """Write out what was printed, so that a copy of this process does not print it again, or lose it."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):  # closed
                stream.flush()


def _fork(work: Callable[[], None]) -> int:
    """Fork a process that runs work() and ends; returns its number."""
    parent, prctl = os.getpid(), _prctl()
    flush_output()
    with no_work_beside(), _signals_held() as mask, warnings.catch_warnings():  # waits while Ctrl-C still counts
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, about other threads: see ForkedProcess
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                _settle(parent, prctl)
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                work()
                code = 0
            finally:
                os._exit(code)
    return pid


@contextmanager
def _signals_held() -> Iterator[set[int]]:
    """Let signals wait until the end of the block, so that no Ctrl-C cuts it in two; gives the mask that was before."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield mask
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _settle(parent: int, prctl: Callable[..., int] | None) -> None:
    """In the copy: end with the parent, and leave to it what is its own."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    gc.freeze()  # nothing of the parent's is collected here: a file among it would be flushed a second time
    with suppress(OSError):  # a parent whose worker was killed can tell and save, which the worker could not
        score = Path("/proc/self/oom_score_adj")
        score.write_text(str(min(int(score.read_text()) + OOM_SCORE, 1000)))


def _prctl() -> Callable[..., int] | None:
    """Linux's prctl; None elsewhere, and outside the main thread: there the signal would come with the thread's end."""
    if not sys.platform.startswith("linux") or threading.current_thread() is not threading.main_thread():
        return None
    return getattr(ctypes.CDLL(None), "prctl", None)


def _end_at_hang_up(pipe: int) -> None:
    """Wait, at no cost, until nobody holds the other end of the pipe, and end the process whatever it does."""
    poll = select.poll()
    poll.register(pipe, 0)  # no event but the hang-up, which always counts
    poll.poll()
    os._exit(1)


def _in_words(exit_code: int) -> str:
    """What became of a process, from its exit code (minus the signal's number if it was a signal)."""
    if exit_code == -signal.SIGKILL:
        return "was killed (signal 9): the machine may have run out of memory; use fewer workers or a smaller batch"
    if exit_code < 0:
        return f"was ended by signal {-exit_code} ({signal.strsignal(-exit_code) or 'unknown'})"
    return f"ended with exit code {exit_code} in the middle of its work"
