"""Files of the safetensors format: a length, a header in JSON, and the numbers of each tensor one after another."""

from __future__ import annotations

import json
from math import prod
from typing import Any

import numpy as np

from minisegnet.errors import CheckpointError
from minisegnet.interop.number_types import ITEMSIZE, MOST_DIMENSIONS, decoded
from minisegnet.interop.opening import MOST_AT_ONCE, BoundedFile

KINDS = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64", "U16": "uint16",
    "U32": "uint32", "U64": "uint64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
}  # fmt: skip


def read_safetensors(file: BoundedFile) -> dict[str, np.ndarray]:
    """The tensors by name, as arrays that are not to be written to; float16 and bfloat16 become float32.

    Raises CheckpointError for a file that breaks the format's rules: the header lies in the file and names no tensor
    twice, each tensor has as many bytes as its shape says, and together they fill the rest without overlap or hole.
    """
    length = int.from_bytes(file.read(8), "little")
    room = file.length - 8
    if length > min(room, MOST_AT_ONCE):
        raise CheckpointError(
            f"promises a header of {length} bytes, and has {max(room, 0)} bytes after its first 8 (no header needs "
            f"{MOST_AT_ONCE}); it is cut short, damaged, or no safetensors file"
        )
    header = json.loads(file.read(length).decode(), object_pairs_hook=_table)
    if not isinstance(header, dict):
        raise CheckpointError(f"has a {type(header).__name__} as header, where a table of tensors is wanted")
    header.pop("__metadata__", None)
    tensors = {name: _checked(name, entry) for name, entry in header.items()}
    _check_places(tensors, room - length)
    numbers = memoryview(file.read_array(room - length))
    return {
        name: decoded(numbers[begin:end], kind).reshape(shape) for name, (kind, shape, begin, end) in tensors.items()
    }


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; Python would take the last of two entries of one name, another reader the first."""
    table: dict[str, Any] = {}
    for name, value in pairs:
        if name in table:
            raise CheckpointError(f"has {name[:200]!r} twice in its header")
        table[name] = value
    return table


def _checked(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Type, shape, begin and end of a tensor, once they agree with one another."""
    told = f"is damaged: tensor {name[:200]!r}"
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [begin, end]}:
            pass
        case _:
            raise CheckpointError(f"{told} lacks a dtype, a shape or two data_offsets")
    if dtype not in KINDS:
        raise CheckpointError(
            f"has {name[:200]!r} as {dtype[:20]!r}, which is not read; save it as one of {', '.join(KINDS)}"
        )
    if any(type(number) is not int or number < 0 for number in (*shape, begin, end)) or len(shape) > MOST_DIMENSIONS:
        raise CheckpointError(f"{told} has a shape or data_offsets that are no sizes")
    kind = KINDS[dtype]
    if end - begin != prod(shape) * ITEMSIZE[kind]:
        raise CheckpointError(
            f"{told} is {dtype} of shape {tuple(shape)}, and has the {end - begin} bytes from {begin} to {end}"
        )
    return kind, tuple(shape), begin, end


def _check_places(tensors: dict[str, tuple[str, tuple[int, ...], int, int]], room: int) -> None:
    """Raise CheckpointError unless the tensors lie one after another and fill the room."""
    place = 0
    for name, (_, _, begin, end) in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if begin != place:
            fault = "overlaps the one" if begin < place else "leaves a hole"
            raise CheckpointError(
                f"is damaged: tensor {name[:200]!r} begins at byte {begin}, not {place}, so it {fault} before it"
            )
        place = end
    if place != room:
        raise CheckpointError(f"is cut short or damaged: its tensors take {place} bytes, and it has {room} for them")
