"""PyTorch's .pth and .pt files, read without PyTorch: tables of tensors, and nothing that could run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np

from minisegnet.errors import CheckpointError
from minisegnet.interop.archive import Archive
from minisegnet.interop.number_types import ITEMSIZE, MOST_DIMENSIONS, decoded
from minisegnet.interop.pickle_reader import ADVICE, Global, PickleReader

STORAGES = {
    "BoolStorage": "bool", "ByteStorage": "uint8", "CharStorage": "int8", "ShortStorage": "int16",
    "IntStorage": "int32", "LongStorage": "int64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "FloatStorage": "float32", "DoubleStorage": "float64",
}  # fmt: skip
# Where training scripts put the weights beside the epoch and the optimiser.
WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net", "weights")
_RESAVE = "save it anew with PyTorch 1.6 or later: torch.save(torch.load(path, weights_only=True), new_path)"


@dataclass(frozen=True, eq=False)
class Storage:
    """A run of numbers in the archive, of which tensors are views: its member, its type, how many there are."""

    member: str
    kind: str
    count: int


@dataclass(frozen=True, eq=False)
class Tensor:
    """A view of a storage, inside it; offset and strides count numbers, as PyTorch's do."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch(archive: Archive) -> dict[str, np.ndarray]:
    """The weights by name in an archive that torch.save wrote, as arrays that are not to be written to.

    A training script's {"state_dict": {...}}, {"model": {...}} and the like are seen through. Tensors that share their
    numbers in the file share them here; float16 and bfloat16 become float32.

    Raises CheckpointError for an archive of something else, and for a tensor that reaches outside its storage.
    """
    folder = _folder(archive)
    big_endian = _big_endian(archive, f"{folder}/byteorder")

    storages: dict[str, Storage] = {}

    def storage(identity: Any) -> Storage:
        """What a persistent id stands for: ("storage", type, key, device, count)."""
        match identity:
            case ("storage", Global(name=name), str(key), str(), int(count)) if name in STORAGES:
                stored = Storage(f"{folder}/data/{key}", STORAGES[name], count)
            case _:
                raise CheckpointError("is damaged: it has a storage in a form that PyTorch does not write")
        size = archive.size(stored.member)
        if count < 0 or count * ITEMSIZE[stored.kind] != size:
            raise CheckpointError(f"is damaged: storage {stored.member!r} of {count} {stored.kind} has {size} bytes")
        if storages.setdefault(stored.member, stored).kind != stored.kind:
            raise CheckpointError(f"is damaged: storage {stored.member!r} is of two types")
        return stored

    @cache
    def numbers(member: str) -> np.ndarray:
        return decoded(archive.read(member), storages[member].kind, big_endian)

    def array(tensor: Tensor) -> np.ndarray:
        held = numbers(tensor.storage.member)
        strides = [stride * held.itemsize for stride in tensor.strides]
        return np.ndarray(tensor.shape, held.dtype, held.data, tensor.offset * held.itemsize, strides)

    described = PickleReader(archive.read_description(f"{folder}/data.pkl"), _KNOWN, storage).read()
    return {name: array(tensor) for name, tensor in _tensors(described).items()}


def legacy_advice(start: bytes) -> str | None:
    """What to do with a file of one of PyTorch's older formats, told by its first bytes; None for any other file."""
    number = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"  # the format's own, 0x1950a86a20f9469cfc6c, pickled
    if start[:1] == b"\x80" and number in start[:16]:
        return f"is in PyTorch's format of before version 1.6, a pickle that only PyTorch can read; {_RESAVE}"
    if start[257:262] == b"ustar":
        return f"is a tar archive, as PyTorch wrote before version 0.1.10; {_RESAVE}"
    return None


def is_torch(archive: Archive) -> bool:
    """Whether torch.save or torch.jit.save may have written this archive."""
    return any(name.endswith("/data.pkl") for name in archive.names)


def _folder(archive: Archive) -> str:
    """The one folder that holds everything."""
    folders = [name[: -len("/data.pkl")] for name in archive.names if name.endswith("/data.pkl")]
    if len(folders) != 1:
        raise CheckpointError(f"holds {len(folders)} members data.pkl, where torch.save writes one")
    if f"{folders[0]}/constants.pkl" in archive.names:
        raise CheckpointError(
            "is a TorchScript program; load it with torch.jit.load and save its weights alone, "
            "torch.save(program.state_dict(), path)"
        )
    return folders[0]


def _big_endian(archive: Archive, member: str) -> bool:
    """Whether the numbers have their most significant byte first; older files do not say, and do not."""
    order = archive.read_description(member) if member in archive.names else b"little"
    if order not in (b"little", b"big"):
        raise CheckpointError(f"gives its byte order as {order[:20]!r}; PyTorch writes little or big")
    return order == b"big"


def _tensors(described: Any) -> dict[str, Tensor]:
    """The tensors by name in what a file describes, wherever a training script put them."""
    for _ in range(3):  # no deeper, since a table may hold itself
        inner = described if isinstance(described, dict) else {}
        found = next((inner[wrapper] for wrapper in WRAPPERS if isinstance(inner.get(wrapper), dict)), None)
        if found is None:
            break
        described = found
    if not isinstance(described, dict):
        kind = type(described).__name__
        raise CheckpointError(f"holds a value of type {kind}, where weights by name are wanted; {ADVICE}")
    tensors = {name: value for name, value in described.items() if isinstance(value, Tensor)}
    unnamed = [name for name in tensors if not isinstance(name, str)]
    if unnamed or not tensors:
        keys = ", ".join(repr(key)[:60] for key in list(described)[:10])
        raise CheckpointError(f"holds no tensors by name, but a table with the keys {keys or '(none)'}; {ADVICE}")
    return tensors


# ---------------------------------------------------------------------------------------------- what a pickle may call


def _table(arguments: tuple) -> dict:
    """OrderedDict(): its entries follow one by one."""
    if arguments:
        raise CheckpointError("is damaged: it makes an OrderedDict in a way that PyTorch does not")
    return {}


def _parameter(arguments: tuple) -> Tensor:
    """_rebuild_parameter(data, requires_grad, backward_hooks): its data."""
    match arguments:
        case (Tensor() as data, bool(), {}):
            return data
    raise CheckpointError("is damaged: it makes a parameter in a way that PyTorch does not")


def _tensor(arguments: tuple) -> Tensor:
    """_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks, and since 2.0 metadata)."""
    match arguments:
        case (Storage() as storage, offset, tuple(shape), tuple(strides), bool(), {}, *metadata) if metadata in (
            [], [None], [{}],
        ):  # fmt: skip
            _check_bounds(storage, offset, shape, strides)
            return Tensor(storage, offset, shape, strides)
    raise CheckpointError("is damaged, or has a tensor of a kind that is not read (a conjugate or negated view)")


def _check_bounds(storage: Storage, offset: Any, shape: tuple, strides: tuple) -> None:
    """Raise CheckpointError unless every number of the view lies in the storage."""
    if max(len(shape), len(strides)) > MOST_DIMENSIONS:
        raise CheckpointError(f"has a tensor of {len(shape)} dimensions; NumPy's arrays have {MOST_DIMENSIONS} at most")
    if any(type(number) is not int or number < 0 for number in (offset, *shape, *strides)):
        raise CheckpointError("has a tensor whose offset, shape or strides are no whole numbers of at least 0")
    told = f"has a tensor of shape {shape}, strides {strides} and offset {offset} in a storage of {storage.count}"
    if len(shape) != len(strides):
        raise CheckpointError(f"{told}: as many strides as sides are wanted")
    count = prod(shape)
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if offset > storage.count or (count and last >= storage.count):
        raise CheckpointError(f"{told}: it reaches outside, so the file is damaged")
    if count > storage.count:
        raise CheckpointError(f"{told}: it repeats numbers (an expanded tensor); save tensor.contiguous() in its place")


_KNOWN = {
    "collections.OrderedDict": Global("OrderedDict", _table),
    "torch._utils._rebuild_tensor_v2": Global("_rebuild_tensor_v2", _tensor),
    "torch._utils._rebuild_parameter": Global("_rebuild_parameter", _parameter),
    **{f"torch.{name}": Global(name) for name in STORAGES},
}
