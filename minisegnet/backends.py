"""Who computes an operation: the backend in force, or a replacement given for a block of code."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minisegnet.errors import BackendError

# Each backend is a module holding `<operation>_forward` and `<operation>_backward` for every operation, and just
# `<operation>` for what has no backward pass.
BACKENDS = {"numpy": "minisegnet.numpy_ops", "reference": "minisegnet.reference", "emulator": "minisegnet.cuda"}

# CuPy arrays are computed on where they lie, by the kernels that the emulator runs on NumPy arrays.
ON_DEVICE = {"cuda": "minisegnet.cuda"}

_backend_in_force: ContextVar[str] = ContextVar("backend", default="numpy")
_replacements: ContextVar[dict[str, Maker]] = ContextVar("replacements")


class Maker(NamedTuple):
    """The two halves of one operation, and whose they are (backward: None for what has none)."""

    name: str
    forward: Callable
    backward: Callable | None
    replaces: bool = False


class Cache(NamedTuple):
    """What a forward pass leaves for its backward pass, with the maker that alone can read it."""

    operation: str
    maker: Maker
    saved: Any
    output: tuple  # shape of the output that dy is the gradient by
    dtype: np.dtype
    inputs: tuple  # shapes of the differentiable inputs, None where one was not given
    device: Any  # CuPy's, on which the arrays lie; None in the computer's memory


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Let the named backend compute every operation on NumPy arrays inside the block.

    Arrays on a device are computed on there, whatever backend is in force.

    Raises BackendError for an unknown name.
    """
    if name in ON_DEVICE:
        raise BackendError(
            f"{name} computes on arrays that lie on a device, and on none else: bring a network there by "
            f"graph.to({name!r}), or run the same kernels on NumPy arrays by backend('emulator')"
        )
    if name not in BACKENDS:
        raise BackendError(f"unknown backend {name!r}: choose one of {', '.join(BACKENDS)}")
    token = _backend_in_force.set(name)
    try:
        yield
    finally:
        _backend_in_force.reset(token)


def backend_in_force() -> str:
    """Name of the backend that computes on NumPy arrays here."""
    return _backend_in_force.get()


@contextmanager
def replace(*kernels: str | Path, **functions: Callable) -> Iterator[None]:
    """Let your own functions, or your own kernels, compute inside the block, in every layer and network.

        with minisegnet.replace(conv2d_forward=mine, conv2d_backward=mine_too):
            trainer.fit()

    A replacement has the contract's signature (see `minisegnet.functional`) and gets the arguments as the caller
    wrote them, defaults filled in: arrays by position, options by keyword. Both halves are replaced together, since
    the backward pass reads the cache of its own forward pass. Its results are checked for shape and type.

    Files of kernels are given by their paths: each kernel in them runs wherever ours of that name is launched.

        with minisegnet.backend("emulator"), minisegnet.replace("mine.cu"):
            trainer.fit()

    Raises BackendError for a name that is no operation, a missing half, or a signature that cannot be called so, and
    KernelError as `cuda.own_kernels.kernels_from`.
    """
    from minisegnet import functional

    named: dict[str, dict[str, Callable]] = {}
    for name, function in functions.items():
        if name in functional.WITHOUT_BACKWARD:
            _check_signature(name, function, getattr(functional, name), functional.WITHOUT_BACKWARD[name])
            named[name] = {"forward": function}
            continue
        operation, _, half = name.rpartition("_")
        if half not in ("forward", "backward") or operation not in functional.OPERATIONS:
            known = ", ".join([*functional.OPERATIONS, *functional.WITHOUT_BACKWARD])
            raise BackendError(f"replace: there is no {name}; the operations are {known}")
        _check_signature(name, function, getattr(functional, name), functional.OPERATIONS[operation])
        named.setdefault(operation, {})[half] = function
    makers = dict(_replacements.get({}))
    for operation, halves in named.items():
        missing = {"forward", "backward"} - set(halves)
        if missing and operation in functional.OPERATIONS:
            raise BackendError(
                f"replace: {operation}_{missing.pop()} is missing; the two halves share a cache, so replace both"
            )
        makers[operation] = Maker(f"your {operation}", halves["forward"], halves.get("backward"), replaces=True)
    with ExitStack() as files:
        for path in kernels:
            from minisegnet.cuda.own_kernels import kernels_from

            files.enter_context(kernels_from(path))
        token = _replacements.set(makers)
        try:
            yield
        finally:
            _replacements.reset(token)


def _check_signature(name: str, function: Callable, contract: Callable, arrays: int) -> None:
    if not callable(function):
        raise BackendError(f"replace: {name} must be a function; got {type(function).__name__}")
    wanted = inspect.signature(contract)
    names = list(wanted.parameters)
    count = len(names) if name.endswith("_backward") else arrays
    try:
        inspect.signature(function).bind(*names[:count], **dict.fromkeys(names[count:]))
    except TypeError as problem:
        raise BackendError(
            f"replace: {name} is called as {name}{wanted}; yours takes {inspect.signature(function)} ({problem})"
        ) from None
    except ValueError:  # built-in functions tell no signature; the call itself will speak
        return


def replacement_of(operation: str) -> Maker | None:
    """The replacement in force for an operation, or None."""
    return _replacements.get({}).get(operation)


def replaced_operations() -> tuple[str, ...]:
    """The operations that are replaced here, in order of their names."""
    return tuple(sorted(_replacements.get({})))


@contextmanager
def pretend_replaced(operations: tuple[str, ...]) -> Iterator[None]:
    """Let `replacement_of` answer inside the block as if just these operations were replaced, for plans to be made."""

    def elsewhere(*_: Any, **__: Any) -> None:
        raise BackendError("this process knows that the operation is replaced, and not by what")

    token = _replacements.set({name: Maker(f"your {name}", elsewhere, elsewhere, True) for name in operations})
    try:
        yield
    finally:
        _replacements.reset(token)


def maker_of(operation: str, on_device: bool = False, pair: bool = True) -> Maker:
    """The functions that compute an operation here, on NumPy arrays or on those on a device.

    pair   False: the one function of what has no backward pass
    """
    replacement = replacement_of(operation)
    if replacement is not None:
        return replacement
    name = "cuda" if on_device else backend_in_force()
    module = importlib.import_module((BACKENDS | ON_DEVICE)[name])
    forward = getattr(module, f"{operation}_forward" if pair else operation, None)
    if forward is None:
        raise BackendError(f"the {name} backend has no {operation}")
    return Maker(name, forward, getattr(module, f"{operation}_backward", None))
