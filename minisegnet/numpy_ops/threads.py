"""Parts of an operation side by side: NumPy lets go of the interpreter in its loops, so threads can share them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

Result = TypeVar("Result")

_one_call_at_a_time = Lock()


def side_by_side(function: Callable[..., Result], jobs: Iterable[Sequence]) -> list[Result]:
    """[function(*job) for job in jobs], with the jobs on several threads.

    As many threads run as BLAS was given, and BLAS is held to one in each meanwhile: products as narrow as a
    convolution's keep one core busy and leave the others waiting. Results do not depend on the number of threads.
    """
    jobs = list(jobs)
    libraries = _blas_libraries()
    if not libraries or not _one_call_at_a_time.acquire(blocking=False):
        return [function(*job) for job in jobs]
    given = [library.get_num_threads() for library in libraries]
    threads = min(given)
    try:
        for library in libraries:
            library.set_num_threads(1)
        if threads == 1 or len(jobs) < 2:
            return [function(*job) for job in jobs]
        results: list[Any] = [None] * len(jobs)
        remaining = enumerate(jobs)

        def work(_: int) -> None:  # fetches jobs as it goes: to hand each over as a task of its own takes longer
            for i, job in remaining:
                results[i] = function(*job)

        list(_pool(threads).map(work, range(threads)))
        return results
    finally:
        for library, number in zip(libraries, given, strict=True):
            library.set_num_threads(number)
        _one_call_at_a_time.release()


@cache
def _blas_libraries():
    """The BLAS libraries in this process: NumPy's, and SciPy's if it was loaded first; only those that can be set."""
    return ThreadpoolController().select(user_api="blas").lib_controllers


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="minisegnet")


if hasattr(os, "register_at_fork"):  # a forked child has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
