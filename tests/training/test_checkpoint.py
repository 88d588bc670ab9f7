"""Checkpoints: what goes in comes out, every kind of damage is told, and a failed write leaves the old file."""

import errno
import io
import json
import os
import pickle
import struct
import warnings
import zipfile

import numpy as np
import pytest

from minisegnet.errors import CheckpointError
from minisegnet.training import load_checkpoint, save_checkpoint

ARRAYS = {
    "model/conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "model/fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "scalar": np.array(7, np.int64),
    "empty": np.zeros((0, 3), np.float32),
    "flags": np.array([True, False]),
    "file": np.array([np.nan, np.inf]),
}
METADATA = {"model": {"name": "unet", "arguments": {"width": 8}}, "palette": np.eye(2, dtype=np.uint8), "mean": (0.5,)}


@pytest.fixture
def path(tmp_path):
    save_checkpoint(tmp_path / "last.npz", ARRAYS, METADATA)
    return tmp_path / "last.npz"


def rewritten(path, **members):
    """The archive at `path` with members added or replaced by the bytes given."""
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (held | members).items():
            archive.writestr(name, content)


def npy(array, **options):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **options)
    return stream.getvalue()


def test_what_goes_in_comes_out(path):
    arrays, metadata = load_checkpoint(path)
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype
        assert arrays[name].flags.c_contiguous and arrays[name].flags.writeable
    assert metadata == {"model": METADATA["model"], "palette": [[1, 0], [0, 1]], "mean": [0.5]}
    assert os.listdir(path.parent) == ["last.npz"]


def test_numpy_reads_it_without_pickle_and_equal_states_give_equal_bytes(path, tmp_path):
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["model/conv.weight"], ARRAYS["model/conv.weight"])
        assert json.loads(file["metadata"].tobytes())["mean"] == [0.5]
    save_checkpoint(tmp_path / "again.npz", ARRAYS, METADATA)
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_cut_short(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"last.npz is (cut short|no checkpoint)"):
        load_checkpoint(path)


def test_damaged_byte_is_found_by_its_checksum(path):
    content = bytearray(path.read_bytes())
    content[content.find(ARRAYS["model/conv.weight"].tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is damaged .*\(Bad CRC-32 for file 'model/conv.weight.npy'\)"):
        load_checkpoint(path)


@pytest.mark.filterwarnings("ignore")
def test_random_damage_is_told_or_harmless(path):
    whole = path.read_bytes()
    for seed in range(300):
        rng = np.random.default_rng(seed)
        content = bytearray(whole)
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        try:
            arrays, _ = load_checkpoint(path)
        except CheckpointError as error:
            assert "last.npz" in str(error), f"seed {seed}"
        else:
            for name, array in ARRAYS.items():
                np.testing.assert_array_equal(arrays[name], array, err_msg=f"seed {seed}, {name}")


class Bomb:
    """Unpickling this leaves a trace."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (open, (self.trace, "w"))


def test_pickles_are_never_executed(path, tmp_path):
    trace = str(tmp_path / "executed")
    bomb = np.array([Bomb(trace)], dtype=object)
    rewritten(path, **{"weights.npy": npy(bomb, allow_pickle=True)})
    with pytest.raises(CheckpointError, match=r"holds objects as a pickle \('weights.npy'\), which is never executed"):
        load_checkpoint(path)
    np.savez_compressed(path, weights=bomb)
    with pytest.raises(CheckpointError, match=r"holds objects as a pickle \('weights.npy'\), which is never executed"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps({"weight": Bomb(trace)}))
    with pytest.raises(CheckpointError, match="is a pickle, which is never executed"):
        load_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:  # as torch.save writes
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(trace)))
    with pytest.raises(CheckpointError, match=r"holds 'archive/data.pkl', a pickle, which is never executed"):
        load_checkpoint(path)
    assert not os.path.exists(trace)


def header(text):
    text = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "shape",
    ["(10**12,)", "(1000000000000,)", "(-1,)", "(-1, -2)", f"(0, {10**40})", "(3,)", "()"],
    ids=lambda shape: shape[:16],
)
def test_header_that_claims_another_size_gets_no_memory(path, shape):
    claim = header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}")
    rewritten(path, **{"huge.npy": claim + bytes(8)})
    with pytest.raises(CheckpointError, match="is damaged"):
        load_checkpoint(path)


def test_contents_that_share_or_inflate_bytes_are_refused(path):
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.npy", npy(np.zeros(10**7)))
    with pytest.raises(CheckpointError, match="made to fill the memory"):
        load_checkpoint(path)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("twice.npy", npy(np.zeros(3)))
        archive.writestr("twice.npy", npy(np.zeros(3)))
    with pytest.raises(CheckpointError, match=r"holds the member 'twice.npy' twice"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.unlink(), "there is no checkpoint"),
        (lambda path: (path.unlink(), path.mkdir()), "is a folder; name a checkpoint in it"),
        (lambda path: path.write_text("step,loss\n1,2\n"), "it is not a zip archive"),
        (lambda path: np.savez(path, a=np.ones(3)), "holds arrays but no metadata"),
        (lambda path: np.savez(path, a=np.array(["text"])), "holds <U4 in 'a.npy'"),
        (lambda path: rewritten(path, **{"readme.txt": b"hello"}), "holds 'readme.txt' besides arrays"),
        (lambda path: rewritten(path, **{"metadata.npy": npy(np.frombuffer(b"{nonsense", np.uint8))}), "is damaged"),
        (lambda path: rewritten(path, **{"metadata.npy": npy(np.frombuffer(b"[1]", np.uint8))}), "metadata is list"),
    ],
)
def test_what_is_no_checkpoint_is_told(path, make, message):
    make(path)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("arrays", "metadata", "message"),
    [
        ({"a": np.array([None])}, {}, "array 'a' holds object"),
        ({"a": np.array(["text"])}, {}, "array 'a' holds <U4"),
        ({"metadata": np.ones(2)}, {}, "'metadata' is taken"),
        ({}, {"function": len}, "cannot be written as JSON: builtin_function_or_method"),
    ],
)
def test_what_cannot_be_stored_is_refused_before_the_file_is_touched(path, arrays, metadata, message):
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=message):
        save_checkpoint(path, arrays, metadata)
    assert path.read_bytes() == before


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_crash_before_the_rename_leaves_the_old_file_and_no_other(path, monkeypatch, function):
    def crash(*arguments):
        raise KeyboardInterrupt

    before = path.read_bytes()
    monkeypatch.setattr(os, function, crash)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, {"new": np.ones(3)}, {})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["last.npz"]


def test_full_disk_is_told_and_leaves_the_old_file(path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = path.read_bytes()
    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(CheckpointError, match=r"last.npz could not be written: No space left.*before is unchanged"):
        save_checkpoint(path, ARRAYS, {})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["last.npz"]


def test_limit_of_the_system_on_file_size_is_told(path):
    resource = pytest.importorskip("resource", reason="no limits on files to set on this system")
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"last.npz could not be written"):
            save_checkpoint(path, {"large": np.ones(100_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["last.npz"]


def test_missing_folder_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="could not be written: No such file or directory"):
        save_checkpoint(tmp_path / "none" / "last.npz", {}, {})


def test_what_a_killed_run_left_is_written_over(path):
    path.with_name("last.npz.tmp").write_bytes(b"half a checkpoint")
    save_checkpoint(path, ARRAYS, METADATA)
    assert os.listdir(path.parent) == ["last.npz"]
    load_checkpoint(path)
