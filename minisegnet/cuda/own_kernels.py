"""Kernels of your own in place of ours, in every operation, layer and network: the same name, parameters and launch."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from minisegnet.cuda import modules
from minisegnet.cuda.signature import Kernel, kernel_named, kernels
from minisegnet.errors import KernelError

# The file of each kernel that stands in for ours, and the counts of every block that this is inside.
_in_force: ContextVar[tuple[dict[str, Path], tuple[Counter[str], ...]]] = ContextVar("own_kernels", default=({}, ()))


@contextmanager
def kernels_from(path: str | Path) -> Iterator[Counter[str]]:
    """Let every kernel of your .cu file run in place of ours of that name, inside the block.

    `minisegnet.replace(path)` does this; here the launches are counted for you besides.

        with minisegnet.backend("emulator"), kernels_from("mine.cu") as launched:
            trainer.fit()

    Yields how often each kernel was launched, yours and ours.
    Raises KernelError for a kernel of a name that is none of ours, or that takes other parameters; and at the end for
    one that was never launched, since an operation may use another rung of its ladder.
    """
    own = modules.path_of(Path(path))
    text, ours = modules.text_of(own), _ours()
    names = list(kernels(text))
    if not names:
        raise KernelError(f'{own.name} has no kernel; one is written as extern "C" __global__ void name(...) {{ ... }}')
    for name in names:
        if name not in ours:
            near = difflib.get_close_matches(name, ours, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise KernelError(f"{name} in {own.name} is the name of none of our kernels{meant}")
        _check_parameters(kernel_named(text, name, own.name), ours[name])
    launched: Counter[str] = Counter()
    paths, counts = _in_force.get()
    token = _in_force.set((paths | dict.fromkeys(names, own), (*counts, launched)))
    try:
        yield launched
    finally:
        _in_force.reset(token)
    idle = [name for name in names if name not in launched]
    if idle:
        others = ", ".join(launched) or "none at all"
        raise KernelError(f"{', '.join(idle)} in {own.name} was never launched; launched were {others}")


def path_of_kernel(source: str | Path, kernel: str) -> Path:
    """The file that a launch takes a kernel from: yours where one stands in for ours, else the one that is named."""
    path = modules.path_of(source)
    if path.parent != modules.kernel_folder():
        return path
    return _in_force.get()[0].get(kernel, path)


def count_launch(kernel: str) -> None:
    """Remember that a kernel was launched."""
    for launched in _in_force.get()[1]:
        launched[kernel] += 1


def _ours() -> dict[str, Kernel]:
    """Every kernel of ours by name."""
    files = sorted(modules.kernel_folder().glob("*.cu"))
    texts = {path.name: modules.text_of(path) for path in files}
    return {name: kernel_named(text, name, file) for file, text in texts.items() for name in kernels(text)}


def _check_parameters(own: Kernel, ours: Kernel) -> None:
    def kinds(kernel: Kernel) -> list[tuple]:
        return [(parameter.dtype, parameter.pointer, parameter.const) for parameter in kernel.parameters]

    if kinds(own) != kinds(ours):
        raise KernelError(f"your {own} must take the types that ours does, {ours}")
