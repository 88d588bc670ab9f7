"""The images of a batch side by side: NumPy lets go of the interpreter in its loops, so threads can share them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Result = TypeVar("Result")

_one_batch_at_a_time = Lock()


def over_images(function: Callable[[int], Result], count: int) -> list[Result]:
    """[function(0), ..., function(count - 1)], each image on a thread of its own.

    As many threads run as BLAS was given, and BLAS is held to one in each meanwhile: products as narrow as a
    convolution's keep one core busy and leave the others waiting. Results do not depend on the number of threads.
    """
    blas = _blas()
    if count < 2 or blas is None or not _one_batch_at_a_time.acquire(blocking=False):
        return [function(n) for n in range(count)]
    threads = blas.get_num_threads()
    try:
        blas.set_num_threads(1)
        if threads == 1:
            return [function(n) for n in range(count)]
        return list(_pool(threads).map(function, range(count)))
    finally:
        blas.set_num_threads(threads)
        _one_batch_at_a_time.release()


@cache
def _blas():
    """The BLAS library that NumPy has loaded, or None for one whose threads cannot be set."""
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    return libraries[0] if libraries else None


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="minisegnet")
