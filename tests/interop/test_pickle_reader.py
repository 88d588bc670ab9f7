"""The restricted unpickler: no name, opcode or length in a pickle gets it to do anything but describe arrays."""

import os
import pickle
import pickletools
import re
import struct
import sys
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from weight_files import OPEN, called, named, program, storage, table, tensor, value, write_torch

from minisegnet.errors import CheckpointError
from minisegnet.interop import read_weights
from minisegnet.interop.pickle_reader import PickleReader

DESCRIBING = {
    "PROTO", "FRAME", "STOP", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "SHORT_BINUNICODE", "EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_DICT", "MARK", "TUPLE", "TUPLE1", "TUPLE2",
    "TUPLE3", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET",
    "GLOBAL", "STACK_GLOBAL", "REDUCE", "BINPERSID", "BUILD",
}  # fmt: skip

ORDERED = "collections", "OrderedDict"
PARAMETER = named("torch._utils", "_rebuild_parameter")
DANGEROUS = [
    ("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "Popen"), ("pty", "spawn"),
    ("builtins", "eval"), ("builtins", "exec"), ("builtins", "__import__"), ("builtins", "getattr"),
    ("builtins", "open"), ("builtins", "print"), ("builtins", "dict"), ("__builtin__", "eval"), ("__builtin__", "set"),
    ("importlib", "import_module"), ("runpy", "run_path"), ("pickle", "loads"), ("marshal", "loads"),
    ("types", "CodeType"), ("functools", "partial"), ("operator", "methodcaller"), ("codecs", "decode"),
    ("copyreg", "_reconstructor"), ("collections", "defaultdict"), ("collections", "Counter"), ("weakref", "finalize"),
    ("numpy", "load"), ("numpy.core.multiarray", "_reconstruct"), ("argparse", "Namespace"), ("torch", "load"),
    ("torch.hub", "load"), ("torch", "Size"), ("torch.storage", "_load_from_bytes"), ("torch.storage", "FloatStorage"),
    ("torch._utils", "_rebuild_tensor_v3"), ("torch._utils", "_rebuild_qtensor"), ("torch.nn.modules.linear", "Linear"),
    ("torch._utils", "_rebuild_tensor_v2.__globals__"), ("collections.OrderedDict", "fromkeys"),
    ("collections", "OrderedDict.__class__"), ("torch._utils._rebuild_tensor_v2", "__globals__"),
    ("minisegnet.interop.torch_file", "Storage"), ("Collections", "OrderedDict"), ("torch", "FloatStorage\u200b"),
]  # fmt: skip


def by_line(module, name):
    return named(module, name)


def by_stack(module, name):
    parts = (pickle.SHORT_BINUNICODE + bytes([len(text.encode())]) + text.encode() for text in (module, name))
    return b"".join(parts) + pickle.STACK_GLOBAL


def by_instance(module, name):
    return pickle.MARK + pickle.INST + f"{module}\n{name}\n".encode()


def refused(tmp_path, opcodes, message):
    path = write_torch(tmp_path / "weights.pth", opcodes)
    with pytest.raises(CheckpointError, match=message):
        read_weights(path)


class Reduced:
    """Pickled as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def left_by(function, *arguments):
    return pickle.dumps({"weight": Reduced(function, *arguments)}, 2)


@pytest.mark.parametrize("kind", ["system", "eval", "exec", "open"])
def test_a_pickle_that_runs_something_runs_nothing(tmp_path, kind):
    trace = tmp_path / "executed"
    code = f"open({str(trace)!r}, 'w').close()"
    content = {
        "system": left_by(os.system, f"touch {trace}"),
        "eval": left_by(eval, code),
        "exec": left_by(exec, code),
        "open": left_by(open, str(trace), "w"),
    }[kind]
    pickle.loads(content)["weight"]
    assert trace.exists(), "the pickle of this test is harmless, so the test shows nothing"
    trace.unlink()
    with zipfile.ZipFile(tmp_path / "weights.pth", "w") as archive:
        archive.writestr(OPEN, content)
    with pytest.raises(CheckpointError, match=rf"asks for '\w+\.{kind}', .*; nothing was executed"):
        read_weights(tmp_path / "weights.pth")
    (tmp_path / "bare.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bare.pth is a pickle, which is never executed"):
        read_weights(tmp_path / "bare.pth")
    assert not trace.exists()


@pytest.mark.parametrize("way", [by_line, by_stack, by_instance])
def test_every_other_name_is_refused_by_name(tmp_path, way):
    for module, name in DANGEROUS:
        before = set(sys.modules)
        asked = re.escape(repr(f"{module}.{name}"))
        refused(tmp_path, table(weight=way(module, name)), f"asks for {asked}, which is no part of weights")
        assert set(sys.modules) == before, f"{module}.{name} was imported"


def test_every_other_opcode_is_refused_by_name(tmp_path):
    assert {opcode.name for opcode in pickletools.opcodes} > DESCRIBING
    stack = table(weight=tensor()) + value("text") + value(()) + pickle.MARK
    for opcode in pickletools.opcodes:
        if opcode.name not in DESCRIBING:
            argument = b"collections\nOrderedDict\n" if opcode.name == "INST" else b"\x01\n\x00\x00\x00\x00\x00\x00\x00"
            refused(tmp_path, stack + opcode.code.encode("latin-1") + argument, f"a pickle that uses {opcode.name}, ")
    refused(tmp_path, stack + b"\xff", r"a pickle that uses b'\\xff', ")
    assert len(PickleReader._STEPS) == len(DESCRIBING), "STOP is no step, INST is one for its message alone"


MISUSES = {
    "calls a string": (called(value("os.system"), value("true")), "calls what is no function"),
    "calls a type": (called(named("torch", "FloatStorage"), value(3)), "calls what is no function"),
    "calls a tensor": (called(tensor(), value(3)), "calls what is no function"),
    "arguments in a list": (named(*ORDERED) + value([]) + pickle.REDUCE, "calls what is no function"),
    "a table from a list": (called(named(*ORDERED), value([("a", 1)])), "makes an OrderedDict"),
    "attributes of a tensor": (tensor() + value({"shape": 3}) + pickle.BUILD, "sets attributes of an object"),
    "attributes of a name": (named(*ORDERED) + value({"call": 1}) + pickle.BUILD, "sets attributes of an object"),
    "attributes that are slots": (table() + value((None, {"a": 1})) + pickle.BUILD, "sets attributes of an object"),
    "a parameter of a string": (called(PARAMETER, value("x"), value(True), value({})), "makes a parameter"),
    "a tensor of a string": (called(named("torch._utils", "_rebuild_tensor_v2"), value("x")), "a tensor of a kind"),
    "a persistent id of text": (value("storage") + pickle.BINPERSID, "a storage in a form"),
    "a persistent id of others": (value(("module", "torch", "0", "cpu", 6)) + pickle.BINPERSID, "a storage in a form"),
    "a name of numbers": (value(1) + value(2) + pickle.STACK_GLOBAL, "a name that is no string"),
    "a tensor as key": (pickle.EMPTY_DICT + tensor() + value(1) + pickle.SETITEM, "a Tensor as key"),
    "a tuple as key": (pickle.EMPTY_DICT + value((1, 2)) + value(1) + pickle.SETITEM, "a tuple as key"),
    "a key twice": (pickle.EMPTY_DICT + pickle.MARK + (value("w") + tensor()) * 2 + pickle.SETITEMS, "key 'w' twice"),
    "a key twice, later": (table(w=tensor()) + value("w") + tensor() + pickle.SETITEM, "the key 'w' twice"),
    "a table of three": (pickle.EMPTY_DICT + pickle.MARK + value(1) * 3 + pickle.SETITEMS, "3 keys and values"),
    "a list that is a table": (table() + value(1) + pickle.APPEND, "appended to a dict"),
    "version 9": (b"\x80\x09", "a pickle of version 9"),
    "a long integer": (b"\x8a\xff" + bytes(255), "an integer of 255 bytes"),
    "a string of 4 GB": (b"X\xff\xff\xff\xff", "it ends there, where 4294967295 bytes more"),
    "a name without end": (b"c" + b"a" * 5000, "a name without an end"),
    "text that is none": (b"X\x02\x00\x00\x00\xff\xfe", "damaged at byte"),
    "an empty stack": (pickle.TUPLE2, "a tuple of 2 out of 0"),
    "no mark": (pickle.TUPLE, "damaged at byte"),
    "a memo that there is not": (b"h\x07", "damaged at byte"),
    "nothing": (b"", "damaged at byte"),
}


@pytest.mark.parametrize("case", MISUSES)
def test_misused_opcodes(tmp_path, case):
    refused(tmp_path, *MISUSES[case])


def test_a_storages_type_is_a_type(tmp_path):
    words = [value("storage"), named(*ORDERED), value("0"), value("cpu"), value(6)]
    identity = pickle.MARK + b"".join(words) + pickle.TUPLE + pickle.BINPERSID
    refused(tmp_path, table(weight=tensor(identity)), "a storage in a form that PyTorch does not write")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_cut_short_at(tmp_path, share):
    whole = program(table(weight=tensor()))
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(OPEN, whole[: int(share * len(whole))])
        archive.writestr("archive/data/0", bytes(24))
    with pytest.raises(CheckpointError, match="has a pickle damaged at byte"):
        read_weights(path)


def test_random_damage_is_told_or_describes_arrays(tmp_path):
    """Every result is arrays inside their storage, whatever three bytes of the pickle are changed."""
    whole = program(table(weight=tensor(), other=tensor(offset=1, shape=(5,), strides=(1,)), epoch=value(3)))
    read = 0
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        content = bytearray(whole)
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            content[place] = rng.integers(256)
        with zipfile.ZipFile(tmp_path / "weights.pth", "w") as archive:
            archive.writestr(OPEN, bytes(content))
            archive.writestr("archive/data/0", np.arange(6, dtype="<f4").tobytes())
        try:
            weights = read_weights(tmp_path / "weights.pth")
        except CheckpointError as error:
            assert "weights.pth" in str(error), f"seed {seed}"
            continue
        read += 1
        for array in weights.values():
            assert type(array) is np.ndarray and set(array.ravel().tolist()) <= set(range(6)), f"seed {seed}"
    assert 0 < read < 1000


# ------------------------------------------------------------------------------------------------- time and memory

LAUGHS = value(("ha", "ha")) + (pickle.BINPUT + b"\x00" + b"h\x00" + pickle.TUPLE2) * 100  # 2^100 words, written out
REBUILD = named("torch._utils", "_rebuild_tensor_v2")
KEYS_ALIKE = b"".join(b"\x8a\x08" + struct.pack("<q", i << 40) + pickle.NONE for i in range(150_000))
NO_TABLE = "holds a value of type (int|list|tuple|dict), where weights by name are wanted"
BOMBS = {
    "a memo of 2^32": (value(1) + b"r" + struct.pack("<I", 2**32 - 1), NO_TABLE),
    "a frame of 2^62": (b"\x95" + struct.pack("<Q", 2**62), "damaged at byte"),
    "marks": (pickle.MARK * 2_000_000, "damaged at byte"),
    "tables": (pickle.EMPTY_DICT * 2_000_000, "no tensors by name"),
    "lists remembered": ((pickle.EMPTY_LIST + pickle.MEMOIZE) * 500_000, NO_TABLE),
    "tuples in tuples": (value(1) + pickle.TUPLE1 * 1_000_000, NO_TABLE),
    "lists in lists": (pickle.EMPTY_LIST * 700_000 + pickle.APPEND * 600_000, NO_TABLE),
    "tuples that double": (LAUGHS, NO_TABLE),
    "doubled as key": (pickle.EMPTY_DICT + LAUGHS + value(1) + pickle.SETITEM, "a table with a tuple as key"),
    "doubled as shape": (
        called(REBUILD, storage(), value(0), LAUGHS, LAUGHS, value(False), value({})),
        "no whole numbers of at least 0",
    ),
    "doubled as storage": (LAUGHS + pickle.BINPERSID, "a storage in a form"),
    "doubled as metadata": (tensor(storage(), 0, (2, 3), (3, 1), LAUGHS), "a tensor of a kind"),
    "a table in itself": (
        pickle.EMPTY_DICT + b"q\x00" + value("state_dict") + b"h\x00" + pickle.SETITEM,
        "no tensors by name, but a table with the keys 'state_dict'",
    ),
    "keys of like hashes": (pickle.EMPTY_DICT + pickle.MARK + KEYS_ALIKE + pickle.SETITEMS, "no tensors by name"),
    "names without end": (b"c\n" * 900_000, "asks for"),
    "300,000 sides": (
        called(REBUILD, storage(), value(0), value((1,) * 300_000), value((1,) * 300_000), value(False), value({})),
        "300000 dimensions",
    ),
    "longer than a pickle is": (b"N" * (2**21 + 1), "describes itself in 2097156 bytes"),
}


@pytest.mark.parametrize("case", BOMBS)
def test_no_pickle_takes_much_time_or_memory(tmp_path, case):
    started = time.perf_counter()
    refused(tmp_path, *BOMBS[case])
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize("case", ["a memo of 2^32", "a frame of 2^62", "tuples that double", "doubled as shape"])
def test_what_a_pickle_promises_gets_no_memory(tmp_path, case):
    tracemalloc.start()
    try:
        refused(tmp_path, *BOMBS[case])
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
