"""The arguments of a launch, held against the kernel's signature: CUDA itself checks neither their number nor type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from minisegnet.cuda import arrays
from minisegnet.cuda.signature import Kernel, Parameter
from minisegnet.errors import KernelError


def fitted(kernel: Kernel, arguments: Sequence[Any], extents: Mapping[str, int]) -> list[Any]:
    """The arguments as the kernel takes them: arrays as they are, numbers in the declared type, None for null.

    CUDA's bool is a byte, 0 or 1, and is given as np.uint8.

    Raises KernelError for the first that does not fit.
    """
    parameters = kernel.parameters
    if len(arguments) < len(parameters):
        missing = ", ".join(parameter.text for parameter in parameters[len(arguments) :])
        raise KernelError(f"takes {len(parameters)} arguments; got {len(arguments)}: {missing} missing at the end")
    if len(arguments) > len(parameters):
        raise KernelError(
            f"takes {len(parameters)} arguments; got {len(arguments)}: too many from {told(arguments[len(parameters)])}"
        )
    unknown = set(extents) - {parameter.name for parameter in parameters if parameter.pointer}
    if unknown:
        raise KernelError(f"extents are of arrays that the kernel takes; {', '.join(sorted(unknown))} is none")
    values = [
        _array(parameter, value, extents.get(parameter.name, 0)) if parameter.pointer else _number(parameter, value)
        for parameter, value in zip(parameters, arguments, strict=True)
    ]
    _check_same_memory(parameters, values)
    _check_overlap(parameters, values)
    return values


def told(value: Any) -> str:
    """An argument in a few words: type and shape of an array, a number as it is."""
    if arrays.is_array(value):
        where = " on the device" if arrays.is_device(value) else ""
        return f"{value.dtype} {tuple(value.shape)}{where}"
    if value is None or isinstance(value, bool | int | float | np.generic):
        return str(value)
    return f"a {type(value).__name__}"


# ------------------------------------------------------------------------------------------------------------- numbers


def _number(parameter: Parameter, value: Any) -> np.generic:
    name, dtype = parameter.name, parameter.dtype
    if arrays.is_array(value):
        advice = f"; give its value, {name}.item()" if value.size == 1 else ""
        raise KernelError(f"`{parameter}` is a number; got an array, {told(value)}{advice}")
    whole = isinstance(value, bool | int | np.bool_ | np.integer)
    if dtype.kind == "f":
        if not whole and not isinstance(value, float | np.floating):
            raise KernelError(f"`{parameter}` is a number; got {value!r}")
        return _rounded(parameter, value, whole)
    if not whole:
        raise KernelError(f"`{parameter}` is a whole number; got {value!r}")
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if not low <= int(value) <= high:
        raise KernelError(f"`{parameter}` holds {low} to {high}; got {value!r}")
    return np.uint8(value) if dtype.kind == "b" else dtype.type(value)


def _rounded(parameter: Parameter, value: Any, whole: bool) -> np.generic:
    """The value as a float of the parameter's type; infinite only where the value is."""
    try:
        with np.errstate(over="ignore"):
            number = parameter.dtype.type(value)
    except OverflowError:  # an int beyond double precision
        number = np.inf
    if np.isinf(number) and (whole or not np.isinf(value)):
        raise KernelError(f"`{parameter}` holds up to {np.finfo(parameter.dtype).max:.2g}; got {value!r}")
    return number


# -------------------------------------------------------------------------------------------------------------- arrays


def _array(parameter: Parameter, array: Any, extent: int) -> Any:
    name = parameter.name
    if array is None:
        if parameter.nullable:
            return None
        raise KernelError(f"{name} is None; a pointer that may be null is declared so, `{parameter} /* or null */`")
    if not arrays.is_array(array):
        raise KernelError(f"{name} must be a NumPy or CuPy array of {parameter.dtype}; got {told(array)}")
    if not _same_bytes(array.dtype, parameter.dtype):
        raise KernelError(
            f"{name} must be {parameter.dtype}, as `{parameter}` points to; got {array.dtype}: use "
            f"{name}.astype('{parameter.dtype}')"
        )
    if not array.flags.c_contiguous:
        raise KernelError(
            f"{name} must be C-contiguous, since the kernel counts on from its first element; got strides "
            f"{array.strides} of shape {array.shape}: use minisegnet.cuda.arrays.contiguous({name})"
        )
    if array.size and arrays.address(array) % parameter.boundary:
        raise KernelError(
            f"{name} must start on a multiple of {parameter.boundary} bytes, for the kernel's widest reads or writes; "
            f"it starts {arrays.address(array) % parameter.boundary} bytes behind one: use "
            f"minisegnet.cuda.arrays.contiguous({name}), or a rung that goes value by value"
        )
    if array.size < extent:
        raise KernelError(f"{name} must hold at least {extent} values; got {array.size}, in shape {array.shape}")
    if not parameter.const and isinstance(array, np.ndarray) and not array.flags.writeable:
        raise KernelError(f"{name} is read-only, and `{parameter}` may be written; give a copy, or declare it const")
    return array.view(np.uint8) if array.dtype.kind == "b" else array


def _same_bytes(given: np.dtype, wanted: np.dtype) -> bool:
    """Equal, or masks of one byte a value, which NumPy calls bool and CUDA unsigned char."""
    return given == wanted or {given.str, wanted.str} == {"|b1", "|u1"}


def _check_same_memory(parameters: Sequence[Parameter], values: Sequence[Any]) -> None:
    """All arrays in the computer's memory, or all on one device."""
    first: tuple[str, str] | None = None
    for parameter, value in zip(parameters, values, strict=True):
        if not arrays.is_array(value):
            continue
        place = arrays.place_of(value)
        if first is None:
            first = parameter.name, place
        elif place != first[1]:
            raise KernelError(
                f"{parameter.name} lies {place} and {first[0]} {first[1]}; bring all to one place, with "
                "minisegnet.cuda.arrays.to_device or to_host"
            )


def _check_overlap(parameters: Sequence[Parameter], values: Sequence[Any]) -> None:
    """__restrict__ promises the compiler that nothing written through one pointer is reached through another."""
    pairs = [pair for pair in zip(parameters, values, strict=True) if arrays.is_array(pair[1])]
    for (one, first), (other, second) in combinations(pairs, 2):
        if not (one.restrict or other.restrict) or (one.const and other.const):
            continue
        start, later = arrays.address(first), arrays.address(second)
        if start < later + second.nbytes and later < start + first.nbytes:
            raise KernelError(
                f"{one.name} and {other.name} overlap, and `{one}, {other}` promises by __restrict__ that they do not; "
                "give an array of its own for what is written"
            )
