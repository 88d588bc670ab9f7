"""What no fork may fall into: work of a thread beside the one that forks.

At a fork OpenBLAS ends its own threads and waits for their end: for ever, where they are at work for another thread
just then. So a thread that computes beside the others says so, and a fork waits until none does.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_changed = threading.Condition()
_at_work: list[int] = []  # threads, each as often as it has begun


@contextmanager
def work_beside() -> Iterator[None]:
    """Inside the block this thread computes: another that wants to fork waits. Any number of threads may at once."""
    thread = threading.get_ident()
    with _changed:
        _at_work.append(thread)
    try:
        yield
    finally:
        with _changed:
            _at_work.remove(thread)
            _changed.notify_all()


@contextmanager
def no_work_beside() -> Iterator[None]:
    """Inside the block no other thread is in a block of `work_beside`; waits until that is so."""
    with _changed:
        _wait()
        yield


def _wait() -> None:
    _changed.wait_for(lambda: set(_at_work) <= {threading.get_ident()})


def _before_fork() -> None:
    _changed.acquire()
    _wait()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_changed.release, after_in_child=_changed.release)
