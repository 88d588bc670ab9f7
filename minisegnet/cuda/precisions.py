"""How exactly convolutions and matrix products are computed: in float32, or from rounded operands on tensor cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from minisegnet.errors import OptionError

PRECISIONS = ("float32", "tf32", "bf16")

_precision_in_force: ContextVar[str] = ContextVar("precision", default="float32")


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Let convolutions and fully connected layers compute inside the block in one of these:

    float32   the contract's numbers; the default
    tf32      operands rounded to 10 bits of fraction, sums in float32: relative errors of about 1e-3
    bf16      operands rounded to 7 bits of fraction, sums in float32: relative errors of about 1e-2

    Parameters, activations and gradients stay float32. Where a device has no tensor cores for it (before sm_80), the
    products stay float32 too. Raises OptionError for another name.
    """
    if name not in PRECISIONS:
        raise OptionError(f"precision must be one of {', '.join(PRECISIONS)}; got {name!r}")
    token = _precision_in_force.set(name)
    try:
        yield
    finally:
        _precision_in_force.reset(token)


def precision_in_force() -> str:
    """Name of the precision that products are computed in here."""
    return _precision_in_force.get()
