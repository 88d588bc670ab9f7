"""Arrays for kernels, in the computer's memory or the device's: the one place that knows CuPy from NumPy."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minisegnet.errors import BackendError, DtypeError, KernelError

BOUNDARY = 16  # bytes: the widest access of a thread


def cupy() -> Any:
    """The module CuPy. Raises BackendError where it is not installed or cannot be imported."""
    try:
        return importlib.import_module("cupy")
    except ImportError as problem:
        raise BackendError(
            f"the cuda backend needs CuPy ({problem}): pip install 'minisegnet[cuda12]' or 'minisegnet[cuda13]', as "
            "nvidia-smi tells; without a GPU use the emulator"
        ) from problem


def check_device() -> None:
    """Raise BackendError without CuPy, KernelError where CuPy finds no device to compute on."""
    module = cupy()
    with driver_errors("looking for a device"):
        count = module.cuda.runtime.getDeviceCount()
    if count == 0:
        raise KernelError("CuPy finds no device; see whether nvidia-smi lists one, or use the emulator")


def is_device(array: Any) -> bool:
    """Whether this is a CuPy array; CuPy is not imported to find out."""
    module = sys.modules.get("cupy")
    return module is not None and isinstance(array, module.ndarray)


def is_array(value: Any) -> bool:
    """Whether this is a NumPy or CuPy array."""
    return isinstance(value, np.ndarray) or is_device(value)


def device_of(array: Any) -> Any:
    """CuPy's device on which an array lies, or None for one in the computer's memory."""
    return array.device if is_device(array) else None


def place_of(array: Any) -> str:
    """Where an array lies, in words."""
    return f"on {array.device}" if is_device(array) else "in the computer's memory"


def empty(shape: int | tuple[int, ...], dtype: Any, like: Any) -> Any:
    """An array of any values, C-contiguous, where `like` lies."""
    return _made("empty", shape, dtype, like)


def zeros(shape: int | tuple[int, ...], dtype: Any, like: Any) -> Any:
    """An array of zeros, C-contiguous, where `like` lies."""
    return _made("zeros", shape, dtype, like)


def _made(how: str, shape: int | tuple[int, ...], dtype: Any, like: Any) -> Any:
    if not is_device(like):
        return getattr(np, how)(shape, dtype)
    with driver_errors(f"an array of shape {shape} and type {np.dtype(dtype)}"), like.device:
        return getattr(cupy(), how)(shape, dtype)


def contiguous(array: Any) -> Any:
    """The array itself where a kernel can read it as it lies, else a copy: C-contiguous, on a 16-byte boundary."""
    if array.flags.c_contiguous and address(array) % BOUNDARY == 0:
        return array
    return array.copy(order="C")


def address(array: Any) -> int:
    """Where an array's first element lies, in the memory of the computer or the device."""
    return array.data.ptr if is_device(array) else array.__array_interface__["data"][0]


def to_device(array: Any) -> Any:
    """The array's values in the memory of CuPy's current device; an array on a device is returned as it is.

    Raises BackendError without CuPy, KernelError without a device or without room on it.
    """
    if is_device(array):
        return array
    with driver_errors(f"an array of shape {array.shape} and type {array.dtype}"):
        return cupy().asarray(np.asarray(array, order="C"))


def beside(other: Any, array: Any) -> Any:
    """The array's values where another array lies: on a device, or in the computer's memory."""
    return to_device(array) if is_device(other) else to_host(array)


def to_host(array: Any) -> np.ndarray:
    """The array's values as a NumPy array, once the kernels that write them are done; a NumPy array as it is.

    Raises KernelError where a kernel launched earlier failed: this is when the device tells.
    """
    if not is_device(array):
        return array
    with driver_errors("a kernel launched earlier, or copying its result,"):
        return cupy().asnumpy(array)


def fill(array: Any, values: Any) -> None:
    """Set an array, wherever it lies, to NumPy's values of its shape."""
    if is_device(array):
        with driver_errors("copying to the device"):
            array.set(np.asarray(values, array.dtype, order="C"))
    else:
        np.copyto(array, values, casting="same_kind")


def clear(array: Any) -> None:
    """Set an array, contiguous where it lies on a device, to zeros."""
    if not is_device(array):
        array.fill(0)
    elif array.size:
        with driver_errors("clearing an array"):
            array.data.memset_async(0, array.nbytes)


@contextmanager
def driver_errors(what: str) -> Iterator[None]:
    """Turn what CuPy, the compiler and the driver raise inside the block into a KernelError about `what`."""
    module = cupy()
    try:
        yield
    except module.cuda.memory.OutOfMemoryError as problem:
        raise KernelError(f"{what} does not fit into the device's memory ({problem}); use smaller batches") from problem
    except module.cuda.compiler.CompileException as problem:
        raise KernelError(f"{what} does not compile:\n{problem}") from problem
    except (module.cuda.runtime.CUDARuntimeError, module.cuda.driver.CUDADriverError) as problem:
        raise KernelError(f"{what} failed on the device: {problem}") from problem


def float32_arrays(operation: str, **arrays: Any) -> None:
    """Refuse floats other than float32, in arrays and in lists of them; None and all else passes.

    Raises DtypeError.
    """
    for name, value in arrays.items():
        for array in value if isinstance(value, list | tuple) else [value]:
            if is_array(array) and array.dtype.kind == "f" and array.dtype != np.float32:
                raise DtypeError(
                    f"{operation}: the kernels compute in float32, and {name} is {array.dtype}; give "
                    f"{name}.astype('float32'), or choose the numpy backend"
                )
