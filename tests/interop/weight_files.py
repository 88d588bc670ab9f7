"""Files of weights written byte by byte, honest and hostile, for the tests of interop."""

import json
import pickle
import struct
import zipfile

import numpy as np

OPEN = "archive/data.pkl"
BYTE_ORDER = {"little": "<", "big": ">"}


def value(thing):
    """Opcodes that leave a plain value on a pickle's stack."""
    return pickle.dumps(thing, 2)[2:-1]


def named(module, name):
    """Opcodes that leave what a name stands for."""
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def called(function, *arguments):
    """Opcodes that leave what a function gives for arguments."""
    return function + pickle.MARK + b"".join(arguments) + pickle.TUPLE + pickle.REDUCE


def storage(kind="FloatStorage", key="0", count=6):
    parts = [value("storage"), named("torch", kind), value(key), value("cpu"), value(count)]
    return pickle.MARK + b"".join(parts) + pickle.TUPLE + pickle.BINPERSID


def tensor(stored=None, offset=0, shape=(2, 3), strides=(3, 1), *more):
    """Opcodes of a tensor as torch.save writes it; `more` follows its usual arguments."""
    hooks = called(named("collections", "OrderedDict"))
    plain = [value(offset), value(tuple(shape)), value(tuple(strides)), value(False), hooks]
    return called(named("torch._utils", "_rebuild_tensor_v2"), stored or storage(), *plain, *more)


def table(**entries):
    """Opcodes of a table of things given as opcodes."""
    pairs = b"".join(value(name) + entry for name, entry in entries.items())
    return pickle.EMPTY_DICT + pickle.MARK + pairs + pickle.SETITEMS


def program(opcodes):
    return pickle.PROTO + b"\x02" + opcodes + pickle.STOP


def write_torch(path, opcodes, storages=None, byte_order="little", **members):
    """An archive as torch.save writes it; `opcodes` describe the value that it holds."""
    if storages is None:
        storages = {"0": np.arange(6, dtype=f"{BYTE_ORDER[byte_order]}f4")}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(OPEN, program(opcodes))
        archive.writestr("archive/byteorder", byte_order)
        for key, numbers in storages.items():
            archive.writestr(f"archive/data/{key}", np.ascontiguousarray(numbers).tobytes())
        archive.writestr("archive/version", "3\n")
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_safetensors(path, header, numbers=b"", length=None):
    """A file with this header (a table, or text as it stands) and these bytes after it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + numbers)
    return path


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
