"""Files of weights told apart by content: .npz and checkpoints of ours, and every kind that is not read."""

import os
import pickle
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
from weight_files import entry, table, tensor, write_safetensors, write_torch

from minisegnet.errors import CheckpointError
from minisegnet.interop import read_weights
from minisegnet.interop.weights import read_file
from minisegnet.training import save_checkpoint

ARRAYS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "conv.bias": np.array([1, 2], np.float64),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big_endian": np.arange(3, dtype=">f4"),
    "half": np.array([1.5, -2], np.float16),
    "count": np.array(7, np.int64),
    "empty": np.zeros((0, 3), np.float32),
}


def equal(weights, wanted):
    assert set(weights) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(weights[name], array)
        kind = np.float32 if array.dtype == np.float16 else array.dtype.newbyteorder("=")
        assert weights[name].dtype == kind and weights[name].dtype.isnative


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_that_numpy_saved(tmp_path, save):
    save(tmp_path / "weights.npz", **ARRAYS)
    equal(read_weights(tmp_path / "weights.npz"), ARRAYS)
    assert read_file(tmp_path / "weights.npz").metadata is None


def test_the_content_tells_the_kind(tmp_path):
    np.savez(tmp_path / "a.npz", weight=np.arange(6.0, dtype=np.float32).reshape(2, 3))
    write_torch(tmp_path / "b.pth", table(weight=tensor()))
    numbers = np.arange(6, dtype="<f4").tobytes()
    write_safetensors(tmp_path / "c.safetensors", {"weight": entry("F32", [2, 3], 0, 24)}, numbers)
    for file, other in (("a.npz", "a.pth"), ("b.pth", "b.npz"), ("c.safetensors", "c")):
        (tmp_path / file).rename(tmp_path / other)
        np.testing.assert_array_equal(read_weights(str(tmp_path / other))["weight"], [[0, 1, 2], [3, 4, 5]])


def test_a_checkpoint_of_ours(tmp_path):
    arrays = {f"model/{name}": array for name, array in ARRAYS.items()} | {"optimiser/momentum/conv.bias": np.ones(2)}
    save_checkpoint(tmp_path / "best.npz", arrays, {"model": "unet", "mean": [0.5]})
    weights, metadata = read_file(tmp_path / "best.npz")
    equal(weights, ARRAYS)
    assert metadata == {"model": "unet", "mean": [0.5]}


def test_an_array_named_metadata_is_an_array(tmp_path):
    np.savez(tmp_path / "weights.npz", metadata=np.ones(3))
    assert list(read_weights(tmp_path / "weights.npz")) == ["metadata"]


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_names_are_unwrapped(tmp_path, prefix):
    np.savez(tmp_path / "weights.npz", **{prefix + name: array for name, array in ARRAYS.items()})
    equal(read_weights(tmp_path / "weights.npz"), ARRAYS)


def test_reading_needs_neither_pytorch_nor_the_rest_of_minisegnet():
    code = "import sys, minisegnet.interop.weights; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "minisegnet.interop.archive" in modules
    assert {"torch", "scipy", "matplotlib", "PIL", "minisegnet.training", "minisegnet.models"}.isdisjoint(modules)


# ----------------------------------------------------------------------------------------------- what is not read


def write_members(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def refused(path, message):
    with pytest.raises(CheckpointError, match=message):
        read_weights(path)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty"),
        (
            b"\x89HDF\r\n\x1a\n" + bytes(99),
            "is of no kind that is read, beginning with .*HDF.*; PyTorch's",
        ),
        (b"\x89PNG", "is of no kind that is read"),
        (b"just text", "is of no kind"),
        (pickle.dumps({"weight": 1}), "is a pickle, which is never executed"),
        (b"PK\x03\x04" + bytes(99), "is cut short: the end of the archive is missing"),
        (b"{" * 7, "is of no kind"),
    ],
)
def test_other_kinds(tmp_path, content, message):
    (tmp_path / "weights.pth").write_bytes(content)
    refused(tmp_path / "weights.pth", rf"weights.pth {message}")


def test_other_archives(tmp_path):
    write_members(tmp_path / "some.zip", **{"readme.txt": b"hello"})
    refused(tmp_path / "some.zip", r"some.zip is a zip archive without weights in it; PyTorch's")
    with tarfile.open(tmp_path / "old.tar", "w") as archive:
        archive.add(tmp_path / "some.zip", "storages")
    refused(tmp_path / "old.tar", r"is a tar archive, as PyTorch wrote before .*torch.save\(torch.load\(path")
    np.save(tmp_path / "one.npy", np.ones(3))
    refused(tmp_path / "one.npy", r"is one array without a name; save weights with numpy.savez")


def test_no_ordinary_file(tmp_path):
    refused(tmp_path / "none.pth", r"there is no file .*none.pth")
    refused(tmp_path, "is a folder; name a file in it")
    os.mkfifo(tmp_path / "pipe.pth")
    refused(tmp_path / "pipe.pth", r"pipe.pth is no ordinary file")


class Bomb:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (self.trace, "w")


def test_arrays_of_objects_are_never_executed(tmp_path):
    trace = str(tmp_path / "executed")
    np.savez(tmp_path / "weights.npz", weight=np.array([Bomb(trace)], dtype=object))
    refused(tmp_path / "weights.npz", r"holds objects as a pickle \('weight.npy'\), which is never executed")
    assert not os.path.exists(trace)


def npy(shape, dtype="<f4", numbers=bytes(8), version=1):
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 if version == 1 else 4, "little") + text + numbers


@pytest.mark.parametrize("shape", ["(3,)", "()", "(10**12,)", "(1000000000000,)", "(-2,)", "(-1, -2)", f"(0, {2**63})"])
def test_an_array_that_claims_another_size_gets_no_memory(tmp_path, shape):
    write_members(tmp_path / "weights.npz", **{"weight.npy": npy(shape)})
    tracemalloc.start()
    try:
        refused(tmp_path / "weights.npz", r"weights.npz is damaged")
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "content, message",
    [
        (npy("(1,)", "<c8"), "holds complex64 in 'weight'; weights are real numbers"),
        (npy("(2,)", "<U1"), "holds <U1"),
        (npy("(2,)", version=2), r"has 'weight.npy' in version \(2, 0\)"),
        (b"no array", "is damaged or cut short"),
        (npy("(" * 5000), "is damaged or cut short"),
        (npy("__import__('os').getpid()"), "is damaged or cut short"),
    ],
)
def test_members_that_are_no_plain_arrays(tmp_path, content, message):
    write_members(tmp_path / "weights.npz", **{"weight.npy": content})
    refused(tmp_path / "weights.npz", rf"weights.npz {message}")


def test_something_besides_arrays(tmp_path):
    write_members(tmp_path / "weights.npz", **{"weight.npy": npy("(2,)"), "run.py": b"print()"})
    refused(tmp_path / "weights.npz", "holds 'run.py' besides arrays")


@pytest.mark.parametrize("metadata", ["[1]", '"text"', "{", "[" * 10_000])
def test_metadata_that_is_no_table(tmp_path, metadata):
    held = np.frombuffer(metadata.encode(), np.uint8)
    np.savez(tmp_path / "best.npz", **{"model/weight": np.ones(3), "metadata": held})
    refused(tmp_path / "best.npz", r"best.npz is damaged")
