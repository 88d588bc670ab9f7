"""What BLAS is told and tells: held to one thread where a process has one core to itself, and how it goes about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

# OpenBLAS's names for processors with AVX-512.
WITH_SMALL_PRODUCTS = {"SkylakeX", "Cooperlake", "SapphireRapids"}


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread inside the block.

    The number is set only where it is another: right after a fork, setting it makes OpenBLAS start all its threads.
    """
    given = [(library, library.get_num_threads()) for library in _libraries()]
    changed = [(library, number) for library, number in given if number != 1]
    try:
        for library, _ in changed:
            library.set_num_threads(1)
        yield
    finally:
        for library, number in changed:
            library.set_num_threads(number)


@cache
def _libraries():
    """The BLAS libraries in this process; to look for them takes a millisecond."""
    return ThreadpoolController().select(user_api="blas").lib_controllers


@cache
def has_small_products() -> bool:
    """Whether BLAS has a way of its own for small products, which copies nothing.

    OpenBLAS's kernels for AVX-512 have one; its others copy the matrices of any product into an order of their own.
    """
    return any(getattr(library, "architecture", None) in WITH_SMALL_PRODUCTS for library in _libraries())


def blas_threads() -> int:
    """How many threads BLAS has in this process; 1 for a BLAS that does not tell."""
    return min((library.get_num_threads() for library in _libraries()), default=1)
