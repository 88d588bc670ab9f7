"""PyTorch's files read without PyTorch: the right numbers, bounds before views, and archives that are not honest."""

import pickle
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from weight_files import OPEN, called, named, program, storage, table, tensor, value, write_torch

from minisegnet.errors import CheckpointError
from minisegnet.interop import read_weights
from minisegnet.interop.number_types import decoded
from minisegnet.interop.torch_file import STORAGES

NUMBERS = np.arange(6, dtype=np.float32)


def read(tmp_path, opcodes, *arguments, **options):
    return read_weights(write_torch(tmp_path / "weights.pth", opcodes, *arguments, **options))


def refused(tmp_path, message, opcodes=None, *arguments, **options):
    opcodes = table(weight=tensor()) if opcodes is None else opcodes
    with pytest.raises(CheckpointError, match=rf"weights.pth .*{message}"):
        read(tmp_path, opcodes, *arguments, **options)


# ------------------------------------------------------------------------------------------ the numbers, byte by byte


def test_a_table_of_tensors(tmp_path):
    weights = read(tmp_path, table(weight=tensor(), epoch=value(3), note=value("text")))
    assert list(weights) == ["weight"]
    np.testing.assert_array_equal(weights["weight"], NUMBERS.reshape(2, 3))
    assert weights["weight"].dtype == np.float32


def test_views_of_one_storage(tmp_path):
    """Transposed, in the middle, every second, one number, none, and overlapping windows."""
    views = {
        "transposed": tensor(None, 0, (3, 2), (1, 3)),
        "middle": tensor(None, 2, (3,), (1,)),
        "second": tensor(None, 1, (3,), (2,)),
        "scalar": tensor(None, 5, (), ()),
        "empty": tensor(None, 6, (0, 4), (4, 1)),
        "windows": tensor(None, 0, (2, 3), (2, 1)),
        "column": tensor(None, 0, (6, 1), (1, 999)),
        "again": tensor(),
    }
    weights = read(tmp_path, table(**views))
    np.testing.assert_array_equal(weights["transposed"], NUMBERS.reshape(2, 3).T)
    np.testing.assert_array_equal(weights["middle"], [2, 3, 4])
    np.testing.assert_array_equal(weights["second"], [1, 3, 5])
    np.testing.assert_array_equal(weights["scalar"], np.array(5))
    np.testing.assert_array_equal(weights["empty"], np.zeros((0, 4)))
    np.testing.assert_array_equal(weights["windows"], [[0, 1, 2], [2, 3, 4]])
    np.testing.assert_array_equal(weights["column"], NUMBERS[:, None])
    assert np.shares_memory(weights["again"], weights["transposed"])
    with pytest.raises(ValueError, match="read-only"):
        weights["again"][0, 0] = 1


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("kind", [kind for kind in STORAGES if kind not in ("BFloat16Storage", "BoolStorage")])
def test_every_type_in_either_byte_order(tmp_path, kind, order):
    stored = np.array([1, 0, 2, 100, 3, 77], STORAGES[kind])
    held = {"0": stored.astype(stored.dtype.newbyteorder(">" if order == "big" else "<"))}
    array = read(tmp_path, table(weight=tensor(storage(kind))), held, order)["weight"]
    np.testing.assert_array_equal(array.ravel(), stored)
    assert array.dtype == (np.float32 if kind == "HalfStorage" else stored.dtype) and array.dtype.isnative


def test_booleans(tmp_path):
    stored = np.array([0, 1, 2, 255, 0, 1], np.uint8)  # PyTorch writes 0 and 1; any other byte is true as well
    array = read(tmp_path, table(weight=tensor(storage("BoolStorage"))), {"0": stored})["weight"]
    np.testing.assert_array_equal(array, [[False, True, True], [True, False, True]])
    assert array.dtype == bool


def test_every_bfloat16_and_every_half_is_exact():
    patterns = np.arange(2**16, dtype=np.uint16)
    halves, brains = decoded(patterns.tobytes(), "float16"), decoded(patterns.tobytes(), "bfloat16")
    assert halves.dtype == brains.dtype == np.float32
    for i in range(0, 2**16, 7):
        (half,) = struct.unpack("<e", struct.pack("<H", i))
        sign, exponent, fraction = i >> 15, i >> 7 & 255, i & 127
        if exponent == 255:
            brain = np.nan if fraction else np.inf
        else:  # the definition: a sign, an exponent of 8 bits about 127, a fraction of 7 bits
            brain = fraction / 128 * 2.0**-126 if exponent == 0 else (1 + fraction / 128) * 2.0 ** (exponent - 127)
        np.testing.assert_array_equal(halves[i], np.float32(half))
        np.testing.assert_array_equal(brains[i], np.float32(-brain if sign else brain))
    big_endian = decoded(patterns.astype(">u2").tobytes(), "bfloat16", True)
    np.testing.assert_array_equal(big_endian.view(np.uint32), brains.view(np.uint32))


def test_a_parameter_and_a_state_dicts_attributes(tmp_path):
    hooks = called(named("collections", "OrderedDict"))
    parameter = called(named("torch._utils", "_rebuild_parameter"), tensor(), value(True), hooks)
    state = hooks + value("weight") + parameter + pickle.SETITEM + value({"_metadata": {"version": 1}}) + pickle.BUILD
    np.testing.assert_array_equal(read(tmp_path, state)["weight"], NUMBERS.reshape(2, 3))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: table(state_dict=state, best=tensor(None, 0, (), ()), epoch=value(9)),
        lambda state: table(model=state, optimizer=value({"state": {0: 1}})),
        lambda state: table(net=table(state_dict=state)),
        lambda state: table(model_state_dict=state),
    ],
)
def test_what_training_scripts_put_around_the_weights(tmp_path, wrap):
    opcodes = wrap(table(**{"module.conv.weight": tensor(), "module.conv.bias": tensor(None, 0, (2,), (1,))}))
    assert list(read(tmp_path, opcodes)) == ["conv.weight", "conv.bias"]


def test_a_prefix_that_not_every_name_has_stays(tmp_path):
    names = ["module.conv.weight", "conv.bias"]
    assert list(read(tmp_path, table(**{name: tensor() for name in names}))) == names


@pytest.mark.parametrize(
    "opcodes, message",
    [
        (tensor(), "holds a value of type Tensor, where weights by name are wanted; save the weights alone"),
        (value([1, 2]), "holds a value of type list, where weights"),
        (value({"epoch": 3, "lr": 0.1}), "no tensors by name, but a table with the keys 'epoch', 'lr'; save the"),
        (table(encoder=table(weight=tensor())), "no tensors by name, but a table with the keys 'encoder'"),
        (value({}), r"the keys \(none\)"),
        (pickle.EMPTY_DICT + value(7) + tensor() + pickle.SETITEM, "the keys 7"),
    ],
)
def test_files_without_weights_by_name(tmp_path, opcodes, message):
    refused(tmp_path, message, opcodes)


# ------------------------------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize(
    "offset, shape, strides, message",
    [
        (1, (2, 3), (3, 1), "offset 1 in a storage of 6: it reaches outside"),
        (0, (2, 3), (4, 1), "reaches outside"),
        (0, (7,), (1,), "reaches outside"),
        (6, (), (), "reaches outside"),
        (7, (0,), (1,), "reaches outside"),
        (2**62, (1,), (1,), "reaches outside"),
        (0, (2,), (2**62,), "reaches outside"),
        (0, (2**62,), (1,), "reaches outside"),
        (0, (2**31, 2**31), (2**31, 1), "reaches outside"),
        (2**64 - 2, (2,), (1,), "reaches outside"),
        (0, (2**62,), (0,), "repeats numbers"),
        (0, (3, 3), (0, 1), "repeats numbers"),
        (0, (2**40, 2**40), (0, 0), "repeats numbers"),
        (-1, (2,), (1,), "no whole numbers of at least 0"),
        (0, (-1, -6), (1, 1), "no whole numbers of at least 0"),
        (5, (6,), (-1,), "no whole numbers of at least 0"),
        (True, (2,), (1,), "no whole numbers of at least 0"),
        (0, (2.0,), (1,), "no whole numbers of at least 0"),
        (0, ("2",), (1,), "no whole numbers of at least 0"),
        (0, (2, 3), (1,), "as many strides as sides"),
        (0, (1,) * 33, (1,) * 33, "33 dimensions"),
        (0, (0, 2**63), (1, 1), "is damaged"),
    ],
)
def test_bounds_are_checked_before_any_view(tmp_path, offset, shape, strides, message):
    refused(tmp_path, message, table(weight=tensor(None, offset, shape, strides)))


@pytest.mark.parametrize("count", [5, 7, 0, -6, 2**62])
def test_a_storage_has_the_numbers_it_promises(tmp_path, count):
    opcodes = table(weight=tensor(storage(count=count), 0, (1,), (1,)))
    refused(tmp_path, f"storage 'archive/data/0' of {count} float32 has 24 bytes", opcodes)


def test_a_storage_has_one_type(tmp_path):
    opcodes = table(weight=tensor(), other=tensor(storage("IntStorage")))
    refused(tmp_path, "storage 'archive/data/0' is of two types", opcodes)


@pytest.mark.parametrize("key", ["1", "../data.pkl", "/etc/passwd", "0/../0", ""])
def test_a_storage_is_a_member(tmp_path, key):
    refused(tmp_path, "is damaged: it lacks the member 'archive/data/", table(weight=tensor(storage(key=key))))


@pytest.mark.parametrize("metadata, fine", [(None, True), ({}, True), ({"neg": True}, False), ("x", False)])
def test_views_that_are_not_plain(tmp_path, metadata, fine):
    opcodes = table(weight=tensor(None, 0, (2, 3), (3, 1), value(metadata)))
    if fine:
        assert read(tmp_path, opcodes)["weight"].shape == (2, 3)
    else:
        refused(tmp_path, "a tensor of a kind that is not read", opcodes)


# ------------------------------------------------------------------------------------------------------------ archives


def rewritten(tmp_path, change):
    """The bytes of an honest archive after `change`."""
    path = write_torch(tmp_path / "weights.pth", table(weight=tensor()))
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["../outside", "archive/../../outside", "/outside", "C:/outside", "..\\x", "\\x"])
def test_a_path_outside(tmp_path, name):
    refused(tmp_path, "holds a member with a path outside the archive, '", **{name: b"x"})
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pth"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice(tmp_path):
    refused(tmp_path, "holds the member 'archive/data/0' twice", **{"archive/data/0": bytes(24)})


def test_two_pickles(tmp_path):
    refused(tmp_path, "holds 2 members data.pkl", **{"other/data.pkl": program(table(weight=tensor()))})


def test_an_odd_byte_order(tmp_path):
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(OPEN, program(table(weight=tensor())))
        archive.writestr("archive/byteorder", "middle")
        archive.writestr("archive/data/0", NUMBERS.tobytes())
    with pytest.raises(CheckpointError, match="gives its byte order as b'middle'"):
        read_weights(path)


def test_encrypted_members(tmp_path):
    def encrypt(content):
        content[content.find(b"PK\x01\x02") + 8] |= 1  # the flags in the table of contents, of the first member

    with pytest.raises(CheckpointError, match=r"has an encrypted member, 'archive/data.pkl'"):
        read_weights(rewritten(tmp_path, encrypt))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_are_not_read(tmp_path, method):
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(OPEN, program(table(weight=tensor())))
    with pytest.raises(CheckpointError, match=r"packs 'archive/data.pkl' by method \d+, not read"):
        read_weights(path)


def test_deflated_members_are_read(tmp_path):
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(OPEN, program(table(weight=tensor())))
        archive.writestr("archive/data/0", NUMBERS.astype("<f4").tobytes())
    np.testing.assert_array_equal(read_weights(path)["weight"].ravel(), NUMBERS)


def bomb(path, claimed=None):
    """300 MB of zeros in 300 kB, with the size that the table of contents claims changed to `claimed`."""
    size = 300 * 2**20
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(OPEN, program(table(weight=tensor(storage(count=(claimed or size) // 4), 0, (1,), (1,)))))
        with archive.open("archive/data/0", "w") as member:
            for _ in range(size // 2**20):
                member.write(bytes(2**20))
    if claimed is not None:
        content = path.read_bytes().replace(struct.pack("<I", size), struct.pack("<I", claimed))
        path.write_bytes(content)


@pytest.mark.parametrize("claimed, message", [(None, "claims to hold 3145"), (4096, "is damaged or cut short")])
def test_a_compression_bomb_gets_no_memory(tmp_path, claimed, message):
    path = tmp_path / "weights.pth"
    bomb(path, claimed)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=rf"weights.pth {message}"):
            read_weights(path)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_a_member_of_2_to_the_62_bytes(tmp_path):
    """The sizes of 64 bits stand in an extra field, which follows the name in the table of contents."""
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(OPEN, program(table(weight=tensor(storage(count=2**60)))))
        archive.writestr("archive/data/0", b"spare")
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\x01\x02")
    content[at + 20 : at + 28] = b"\xff" * 8  # both sizes: see the extra field
    extra = struct.pack("<HHQQ", 1, 16, 2**62, 2**62)
    content[at + 30 : at + 32] = struct.pack("<H", len(extra))
    end = content.rfind(b"PK\x05\x06")
    content[end:end] = extra
    end += len(extra)
    length = struct.unpack_from("<I", content, end + 12)[0] + len(extra)
    content[end + 12 : end + 16] = struct.pack("<I", length)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"claims to hold {2**62 + 97}|claims to hold 46116860184273\d+ bytes"):
        read_weights(path)


def test_members_that_share_their_bytes(tmp_path):
    """A thousand entries in the table of contents that all point at the same megabyte."""
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(OPEN, program(table(weight=tensor())))
        archive.writestr("archive/data/0", bytes(2**20))
        info = archive.getinfo("archive/data/0")
        for i in range(1, 1000):
            copy = zipfile.ZipInfo(f"archive/data/{i}")
            copy.file_size, copy.compress_size, copy.CRC = info.file_size, info.compress_size, info.CRC
            copy.header_offset = info.header_offset
            archive.filelist.append(copy)
    with pytest.raises(CheckpointError, match=r"claims to hold 104857\d+ bytes"):
        read_weights(path)


def test_a_long_table_of_contents(tmp_path):
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(40_000):
            archive.writestr(f"archive/data/{i}", b"")
    started = time.perf_counter()
    with pytest.raises(CheckpointError, match=r"describes itself in \d{7} bytes; weights are described in 2097152 at"):
        read_weights(path)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_cut_short(tmp_path, share):
    path = write_torch(tmp_path / "weights.pth", table(weight=tensor()))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"weights.pth is (empty|cut short|of no kind)"):
        read_weights(path)


def test_a_damaged_number_is_found_by_its_checksum(tmp_path):
    def damage(content):
        content[content.find(NUMBERS.tobytes()) + 5] ^= 1

    with pytest.raises(CheckpointError, match=r"is damaged or cut short \(Bad CRC-32 for file 'archive/data/0'\)"):
        read_weights(rewritten(tmp_path, damage))


@pytest.mark.filterwarnings("ignore")
def test_random_damage_is_told_or_harmless(tmp_path):
    for seed in range(300):
        rng = np.random.default_rng(seed)

        def damage(content, rng=rng):
            for place in rng.integers(0, len(content), rng.integers(1, 4)):
                content[place] = rng.integers(256)

        path = rewritten(tmp_path, damage)
        try:
            weights = read_weights(path)
        except CheckpointError as error:
            assert "weights.pth" in str(error), f"seed {seed}"
        else:
            np.testing.assert_array_equal(weights["weight"], NUMBERS.reshape(2, 3), err_msg=f"seed {seed}")


# ------------------------------------------------------------------------------------------------------------- PyTorch


@pytest.mark.torch
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_torch_saves(tmp_path, protocol):
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(3)
    base = torch.randn(4, 5, 6, generator=generator)
    state = {
        "plain": base, "transposed": base.transpose(0, 2), "middle": base[1:3, :, 2], "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3), "strided": base[:, ::2], "parameter": torch.nn.Parameter(base * 2),
        "channels last": torch.randn(2, 3, 4, 5, generator=generator).contiguous(memory_format=torch.channels_last),
        "double": base.double() / 3, "half": base.half(), "brain": base.bfloat16(), "flags": base > 0,
        **{str(kind): (base * 50).to(kind) for kind in (torch.int8, torch.int16, torch.int32, torch.int64)},
        "torch.uint8": (base * 50).abs().to(torch.uint8),
    }  # fmt: skip
    torch.save(state, tmp_path / "weights.pth", pickle_protocol=protocol)
    weights = read_weights(tmp_path / "weights.pth")
    assert set(weights) == set(state)
    for name, saved in state.items():
        wanted = saved.detach()
        wanted = (wanted.float() if name in ("half", "brain") else wanted).numpy()
        np.testing.assert_array_equal(weights[name], wanted, err_msg=name)
        assert weights[name].dtype == wanted.dtype and weights[name].shape == wanted.shape, name
    assert np.shares_memory(weights["plain"], weights["middle"])


@pytest.mark.torch
def test_the_state_of_a_network_in_parallel(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.Adam(network.parameters())
    network[0](torch.ones(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    state, parallel = network.state_dict(), torch.nn.DataParallel(network).state_dict()
    whole = {"state_dict": parallel, "optimizer": optimizer.state_dict(), "epoch": 3}
    for number, saved in enumerate([whole, state, {"model": state}]):
        torch.save(saved, tmp_path / f"{number}.tar")  # as ImageNet's training script names it
        weights = read_weights(tmp_path / f"{number}.tar")
        assert list(weights) == list(state)
        for name in state:
            np.testing.assert_array_equal(weights[name], state[name].numpy())


@pytest.mark.torch
@pytest.mark.parametrize("order", ["little", "big"])
def test_torch_reads_these_tests_own_files(tmp_path, order):
    """So the archives above that no torch wrote are ones that it understands in the same way."""
    torch = pytest.importorskip("torch")
    path = write_torch(tmp_path / "weights.pth", table(weight=tensor(None, 1, (2, 2), (1, 2))), byte_order=order)
    np.testing.assert_array_equal(torch.load(path, weights_only=True)["weight"].numpy(), [[1, 3], [2, 4]])
    np.testing.assert_array_equal(read_weights(path)["weight"], [[1, 3], [2, 4]])


@pytest.mark.torch
def test_every_bfloat16_as_torch_reads_it(tmp_path):
    torch = pytest.importorskip("torch")
    patterns = np.arange(2**16, dtype=np.uint16)
    brains = torch.from_numpy(patterns.view(np.int16)).view(torch.bfloat16)
    torch.save({"weight": brains}, tmp_path / "weights.pth")
    array = read_weights(tmp_path / "weights.pth")["weight"]
    np.testing.assert_array_equal(array.view(np.uint32), brains.float().numpy().view(np.uint32))


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
def test_what_torch_saves_and_is_not_read(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "weights.pth"
    linear = torch.nn.Linear(2, 2)

    def told():
        with pytest.raises(CheckpointError) as error:
            read_weights(path)
        return str(error.value)

    torch.save(linear, path)
    assert "asks for 'torch.nn.modules.linear.Linear'" in told()
    torch.save(linear.state_dict(), path, _use_new_zipfile_serialization=False)
    assert "of before version 1.6" in told() and "torch.save(torch.load(path, weights_only=True), new_path)" in told()
    torch.jit.script(linear).save(str(path))
    assert "is a TorchScript program" in told()
    torch.save({"weight": torch.zeros(2, dtype=torch.float8_e4m3fn)}, path)
    assert "_rebuild_tensor_v3" in told()
    torch.save({"weight": torch.zeros(2, dtype=torch.complex64)}, path)
    assert "asks for 'torch.ComplexFloatStorage'" in told()
    torch.save({"weight": torch.ones(1).expand(5)}, path)
    assert "an expanded tensor" in told()
    torch.save({"weight": torch.ones(2, dtype=torch.complex64).conj().imag}, path)
    assert "a conjugate or negated view" in told()
