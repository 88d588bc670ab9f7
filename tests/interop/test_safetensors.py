"""The safetensors format: right numbers of every type, and each of its rules enforced."""

import json
import struct
import time

import numpy as np
import pytest
from weight_files import entry, write_safetensors

from minisegnet.errors import CheckpointError
from minisegnet.interop import read_weights
from minisegnet.interop.safetensors import KINDS

NUMBERS = np.arange(6, dtype="<f4")
ONE = {"weight": entry("F32", [2, 3], 0, 24)}


def refused(tmp_path, message, header, numbers=bytes(24), length=None):
    path = write_safetensors(tmp_path / "weights.safetensors", header, numbers, length)
    started = time.perf_counter()
    with pytest.raises(CheckpointError, match=rf"weights.safetensors .*{message}"):
        read_weights(path)
    assert time.perf_counter() - started < 5


def test_tensors_by_name(tmp_path):
    """In any order, with metadata passed over, spaces after the header, and tensors of no numbers."""
    header = {
        "__metadata__": {"format": "pt"},
        "late": entry("F32", [2], 16, 24),
        "weight": entry("F32", [2, 2], 0, 16),
        "empty": entry("F32", [0, 3], 16, 16),
    }
    path = write_safetensors(tmp_path / "weights.bin", json.dumps(header).encode() + b"   ", NUMBERS.tobytes())
    weights = read_weights(path)
    assert list(weights) == ["late", "weight", "empty"]
    np.testing.assert_array_equal(weights["weight"], [[0, 1], [2, 3]])
    np.testing.assert_array_equal(weights["late"], [4, 5])
    assert weights["empty"].shape == (0, 3)
    assert read_weights(write_safetensors(tmp_path / "none.safetensors", {})) == {}


@pytest.mark.parametrize("dtype", [dtype for dtype in KINDS if dtype != "BF16"])
def test_every_type(tmp_path, dtype):
    stored = np.array([1, 0, 2, 100], KINDS[dtype])
    header = {"odd": entry("U8", [1], 0, 1), "weight": entry(dtype, [4], 1, 1 + stored.nbytes)}  # not aligned
    weights = read_weights(write_safetensors(tmp_path / "weights.safetensors", header, b"\x07" + stored.tobytes()))
    np.testing.assert_array_equal(weights["weight"], stored)
    assert weights["weight"].dtype == (np.float32 if dtype == "F16" else stored.dtype)


def test_bfloat16_is_the_upper_half_of_float32(tmp_path):
    wanted = np.array([1.0, -2.5, 3.140625, 2.0**-126, np.inf, 0.0], np.float32)
    stored = (wanted.view(np.uint32) >> 16).astype("<u2")
    path = write_safetensors(tmp_path / "weights.safetensors", {"weight": entry("BF16", [6], 0, 12)}, stored.tobytes())
    np.testing.assert_array_equal(read_weights(path)["weight"], wanted)


@pytest.mark.parametrize("length", [2**62, 2**64 - 1, 2**32, 10_000])
def test_a_header_that_the_file_does_not_hold(tmp_path, length):
    refused(tmp_path, f"promises a header of {length} bytes, and has 94 bytes", ONE, length=length)


def test_a_header_longer_than_any_is(tmp_path):
    refused(tmp_path, r"promises a header of 209\d+ bytes", json.dumps(ONE).encode() + b" " * 2**21)


@pytest.mark.parametrize("text", [b'{"weight": ', b"{" * 100_000, b'{"a":' * 200_000, b'{"w\xff": 1}', b'{"a": 1}}'])
def test_a_header_that_is_no_json(tmp_path, text):
    refused(tmp_path, "is damaged or cut short", text)


def test_a_header_of_numbers_without_end(tmp_path):
    refused(tmp_path, "is damaged", b'{"weight": {"dtype": "F32", "shape": [' + b"9" * 1_000_000 + b"]}}")


def test_a_name_twice(tmp_path):
    one = json.dumps(entry("F32", [2, 3], 0, 24))
    refused(tmp_path, "has 'weight' twice in its header", f'{{"weight": {one}, "weight": {one}}}'.encode())
    text = b'{"weight": {"dtype": "F32", "dtype": "F64", "shape": [6], "data_offsets": [0, 24]}}'
    refused(tmp_path, "has 'dtype' twice", text)


@pytest.mark.parametrize(
    "tensor, message",
    [
        (entry("F8_E4M3", [24], 0, 24), "has 'weight' as 'F8_E4M3', which is not read; save it as one of BOOL"),
        (entry("F4", [48], 0, 24), "has 'weight' as 'F4'"),
        (entry("f32", [6], 0, 24), "has 'weight' as 'f32'"),
        (entry("F32", [2, 2], 0, 24), r"is F32 of shape \(2, 2\), and has the 24 bytes from 0 to 24"),
        (entry("F32", [2**31, 2**31], 0, 24), "and has the 24 bytes"),
        (entry("F32", [2**62], 0, 2**64), r"its tensors take 18446744073709551616 bytes, and it has 24"),
        (entry("F32", [7], 0, 28), "its tensors take 28 bytes, and it has 24"),
        (entry("F32", [5], 0, 20), "its tensors take 20 bytes, and it has 24"),
        (entry("F32", [5], 4, 24), "begins at byte 4, not 0, so it leaves a hole before it"),
        (entry("F32", [6], 24, 0), "and has the -24 bytes from 24 to 0"),
        (entry("F32", [6], -24, 0), "no sizes"),
        (entry("F32", [-6], 0, 24), "no sizes"),
        (entry("F32", [-2, -3], 0, 24), "no sizes"),
        (entry("F32", [6.0], 0, 24), "no sizes"),
        (entry("F32", [True] * 6, 0, 4), "no sizes"),
        (entry("F32", [1] * 33, 0, 4), "no sizes"),
        (entry("F32", [0], 0, 0), "its tensors take 0 bytes"),
        (entry("F32", "6", 0, 24), "lacks a dtype, a shape"),
        ({"dtype": "F32", "shape": [6]}, "lacks a dtype, a shape or two data_offsets"),
        ({"dtype": "F32", "shape": [6], "data_offsets": [0, 24, 48]}, "lacks a dtype, a shape or two data_offsets"),
        ([1, 2], "lacks a dtype"),
        (None, "lacks a dtype"),
    ],
)
def test_a_tensor_that_contradicts_itself(tmp_path, tensor, message):
    refused(tmp_path, message, {"weight": tensor})


def test_tensors_that_overlap_or_leave_holes(tmp_path):
    def two(begin):
        return {"one": entry("F32", [3], 0, 12), "two": entry("F32", [3], begin, begin + 12)}

    refused(tmp_path, "tensor 'two' begins at byte 8, not 12, so it overlaps the one before it", two(8), bytes(20))
    refused(tmp_path, "tensor 'two' begins at byte 0, not 12, so it overlaps", two(0), bytes(12))
    refused(tmp_path, "tensor 'two' begins at byte 16, not 12, so it leaves a hole", two(16), bytes(28))
    many = {str(i): entry("F32", [2**18], 0, 2**20) for i in range(1000)}
    refused(tmp_path, "overlaps the one before it", many, bytes(2**20))


def test_empty_shape_too_large_for_numpy(tmp_path):
    refused(tmp_path, "is damaged", {"weight": entry("F32", [0, 2**63], 0, 0)}, b"")


def test_random_damage_is_told_or_harmless(tmp_path):
    header = json.dumps({"one": entry("F32", [3], 0, 12), "two": entry("F16", [3], 12, 18)}).encode()
    whole = struct.pack("<Q", len(header)) + header + bytes(range(18))
    read = 0
    for seed in range(500):
        rng = np.random.default_rng(seed)
        content = bytearray(whole)
        for place in rng.integers(0, 8 + len(header), rng.integers(1, 4)):
            content[place] = rng.integers(256)
        (tmp_path / "weights.safetensors").write_bytes(content)
        try:
            read += bool(read_weights(tmp_path / "weights.safetensors"))
        except CheckpointError as error:
            assert "weights.safetensors" in str(error), f"seed {seed}"
    assert 0 < read < 500
