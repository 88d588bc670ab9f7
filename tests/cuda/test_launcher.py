"""The launcher: what fits a kernel is run as it is, what does not is told in plain words before anything runs."""

import sys
from pathlib import Path

import numpy as np
import pytest
from stand_in_cupy import CompileException, CUDADriverError, CuPy, Device, ndarray

from minisegnet import emulator
from minisegnet.cuda import modules
from minisegnet.cuda.launcher import architecture, launch, lowest_architecture
from minisegnet.errors import KernelError

OWN = """
extern "C" __global__ void scale(const float* x, float* y, float factor, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) y[i] = factor * x[i];
}
extern "C" __global__ void numbers(bool b, unsigned char c, int i, unsigned u, long long l, float f, double d) {}
extern "C" __global__ void pointers(const float* bias /* or null */, float* y, unsigned char* mask) {}
extern "C" __global__ void apart(const float* __restrict__ x, const float* z, float* y) {}
extern "C" __global__ void __launch_bounds__(64) small(float* y) {}
extern "C" __global__ void shared(float* y) { extern __shared__ float tile[]; y[0] = tile[0]; }
// needs: sm_80
extern "C" __global__ void pipeline(float* y) {}
extern "C" __global__ void wide(float* y) { *reinterpret_cast<float4*>(y) = make_float4(0, 0, 0, 0); }
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.cu"
    path.write_text(OWN)
    return path


@pytest.fixture
def ran(monkeypatch):
    """The launches that reached the emulator, which runs none of them."""
    calls = []

    def run(source, kernel, grid, block, arguments, shared_bytes=0):
        calls.append((source, kernel, grid, block, arguments, shared_bytes))

    monkeypatch.setattr(emulator, "run", run, raising=False)
    return calls


@pytest.fixture
def cupy(monkeypatch):
    module = CuPy()
    monkeypatch.setitem(sys.modules, "cupy", module)
    modules._function.cache_clear()
    yield module
    modules._function.cache_clear()


def floats(*shape):
    return np.zeros(shape, np.float32)


# ---------------------------------------------------------------------------------------------------- what does fit


def test_arguments_reach_the_emulator_in_the_declared_types(ran):
    x, y = floats(2, 3), floats(2, 3)
    launch("relu.cu", "relu_forward", 1, 32, x, y, np.int64(6))
    [(source, kernel, grid, block, arguments, shared_bytes)] = ran
    assert (source, kernel, grid, block, shared_bytes) == (
        modules.kernel_folder() / "relu.cu", "relu_forward", (1, 1, 1), (32, 1, 1), 0,
    )  # fmt: skip
    assert arguments[0] is x and arguments[1] is y
    assert type(arguments[2]) is np.int32 and arguments[2] == 6


def test_numbers_become_what_the_kernel_declares(ran, own):
    given = (True, 255, np.bool_(True), 2**32 - 1, -(2**63), np.float64(0.1), 1)
    launch(own, "numbers", (3, 2), [4, 5, 6], *given)
    [(_, _, grid, block, arguments, _)] = ran
    assert (grid, block) == ((3, 2, 1), (4, 5, 6))
    assert [type(value) for value in arguments] == [
        np.uint8, np.uint8, np.int32, np.uint32, np.int64, np.float32, np.float64,
    ]  # fmt: skip
    assert arguments == [1, 255, 1, 2**32 - 1, -(2**63), np.float32(0.1), 1.0]


def test_infinity_and_nan_are_floats(ran, own):
    for value in (np.inf, -np.inf, np.nan):
        launch(own, "scale", 1, 1, floats(1), floats(1), value, 1)
    factors = [arguments[2] for *_, arguments, _ in ran]
    assert factors[:2] == [np.inf, -np.inf] and np.isnan(factors[2])


def test_null_masks_of_bool_and_memory_of_one(ran, own):
    y, mask = floats(4), np.zeros(4, bool)
    launch(own, "pointers", 1, 1, None, y, mask)
    launch(own, "scale", 1, 1, y, y, 2, 4)  # in place, which nothing forbids without __restrict__
    launch(own, "apart", 1, 1, y[:2], y[:2], y[2:])
    launch(own, "apart", 1, 1, y[:0], y, y)
    launch(own, "shared", 1, 1, y, shared_bytes=np.int64(64))
    bias, _, bytes = ran[0][4]
    assert bias is None and bytes.dtype == np.uint8 and np.shares_memory(bytes, mask)
    assert ran[-1][5] == 64


def test_an_empty_or_single_array_is_contiguous(ran, own):
    launch(own, "scale", 1, 1, floats(4, 0)[:, ::-1], np.zeros((), np.float32), 1, 0)
    assert len(ran) == 1


def test_the_file_is_read_anew_when_it_or_its_header_changes(ran, tmp_path):
    source, header = tmp_path / "a.cu", tmp_path / "b.cuh"
    source.write_text('#include "b.cuh"\nextern "C" __global__ void f(int n) {}')
    header.write_text("")
    launch(source, "f", 1, 1, 3)
    source.write_text('#include "b.cuh"\nextern "C" __global__ void f(float* x) {}')
    launch(source, "f", 1, 1, floats(1))
    header.write_text('extern "C" __global__ void g(float* x) {}')
    launch(source, "g", 1, 1, floats(1))
    header.unlink()
    with pytest.raises(KernelError, match="no kernel g"):
        launch(source, "g", 1, 1, floats(1))


# ---------------------------------------------------------------------------------------------- what does not fit


@pytest.fixture
def refused(ran):
    """Asks that a launch fails before it runs, with these words, the kernel's signature, and what it was given."""

    def refused(words, source, kernel, *arguments, grid=1, block=32, **options):
        with pytest.raises(KernelError) as caught:
            launch(source, kernel, grid, block, *arguments, **options)
        message = str(caught.value)
        assert words in message
        assert message.startswith(f"{kernel}: ")
        assert f"signature  {kernel}(" in message and f"in {Path(source).name}" in message
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                assert f"{argument.dtype} {argument.shape}" in message
        assert f"on         {grid} blocks of {block} threads" in message
        assert ran == []

    return refused


def test_a_message_in_full(ran):
    with pytest.raises(KernelError) as caught:
        launch("relu.cu", "relu_forward", (3, 1), 256, np.zeros((2, 3)), floats(2, 3), 6)
    assert str(caught.value) == (
        "relu_forward: x must be float32, as `const float* x` points to; got float64: use x.astype('float32')\n"
        "  signature  relu_forward(const float* x, float* y, int count) in relu.cu\n"
        "  given      float64 (2, 3), float32 (2, 3), 6\n"
        "  on         (3, 1) blocks of 256 threads"
    )


def test_the_number_of_arguments(refused, own):
    x = floats(3)
    refused("takes 4 arguments; got 2: float factor, int count missing at the end", own, "scale", x, x)
    refused("takes 4 arguments; got 0: const float* x, float* y, float factor, int count missing", own, "scale")
    refused("takes 4 arguments; got 6: too many from 7", own, "scale", x, x, 1, 3, 7, 8)


@pytest.mark.parametrize(
    ("position", "value", "words"),
    [
        (0, 2, "`bool b` holds 0 to 1; got 2"),
        (1, 256, "`unsigned char c` holds 0 to 255; got 256"),
        (1, -1, "`unsigned char c` holds 0 to 255; got -1"),
        (2, 2**31, "`int i` holds -2147483648 to 2147483647; got 2147483648"),
        (2, np.int64(-(2**31) - 1), "`int i` holds"),
        (2, 10**30, "`int i` holds"),
        (2, 3.0, "`int i` is a whole number; got 3.0"),
        (2, np.float32(3), "`int i` is a whole number"),
        (2, None, "`int i` is a whole number; got None"),
        (2, "3", "`int i` is a whole number; got '3'"),
        (2, np.zeros(3, np.int32), "`int i` is a number; got an array, int32 (3,)"),
        (2, np.zeros((), np.int32), "`int i` is a number; got an array, int32 (); give its value, i.item()"),
        (3, -1, "`unsigned u` holds 0 to 4294967295; got -1"),
        (4, 2**63, "`long long l` holds"),
        (5, 1e39, "`float f` holds up to 3.4e+38; got 1e+39"),
        (5, 10**400, "`float f` holds up to 3.4e+38"),
        (5, 1j, "`float f` is a number; got 1j"),
        (5, np.complex64(1), "`float f` is a number"),
        (6, 10**400, "`double d` holds up to 1.8e+308"),
    ],
)
def test_a_number(refused, own, position, value, words):
    arguments = [1, 1, 1, 1, 1, 1.0, 1.0]
    arguments[position] = value
    refused(words, own, "numbers", *arguments)


def test_an_array(refused, own):
    x, y = floats(4, 6), floats(4, 6)
    refused("x must be a NumPy or CuPy array of float32; got a list", own, "scale", [1.0], y, 1, 1)
    refused("x must be a NumPy or CuPy array of float32; got 3", own, "scale", 3, y, 1, 1)
    refused("y must be a NumPy or CuPy array of float32; got 3.0", own, "scale", x, np.float32(3), 1, 1)
    refused("y must be float32, as `float* y` points to; got int32", own, "scale", x, y.astype(np.int32), 1, 1)
    refused("x must be float32", own, "scale", x.astype(">f4"), y, 1, 1)
    refused("mask must be uint8", own, "pointers", None, x, np.zeros(3, np.int8))
    refused("y is None; a pointer that may be null is declared so, `float* y /* or null */`", own, "apart", x, x, None)
    refused("x must be C-contiguous", own, "scale", x.T, y, 1, 1)
    refused("x must be C-contiguous, since the kernel counts on from its first element; got strides (24, 8)",
            own, "scale", x[:, ::2], y, 1, 1)  # fmt: skip
    refused("x must be C-contiguous", own, "scale", np.broadcast_to(np.float32(1), (4, 6)), y, 1, 1)
    y.flags.writeable = False
    refused("y is read-only, and `float* y` may be written", own, "scale", x, y, 1, 1)


def test_boundaries(refused, ran, own):
    memory = np.zeros(64, np.uint8)
    start = -memory.__array_interface__["data"][0] % 16
    whole = memory[start : start + 32].view(np.float32)
    refused("y must start on a multiple of 16 bytes, for the kernel's widest reads or writes; it starts 4 bytes behind",
            own, "wide", whole[1:])  # fmt: skip
    odd = memory[start + 1 : start + 9].view(np.float32)
    refused("y must start on a multiple of 4 bytes", own, "small", odd)
    launch(own, "wide", 1, 1, whole)
    launch(own, "wide", 1, 1, whole[4:])
    launch(own, "small", 1, 1, whole[1:])
    assert len(ran) == 3


def test_extents(refused, ran, own):
    x = floats(2, 3)
    refused("x must hold at least 7 values; got 6, in shape (2, 3)", own, "scale", x, x, 1, 6, extents={"x": 7})
    refused("extents are of arrays that the kernel takes; count, z is none", own, "scale", x, x, 1, 6,
            extents={"x": 1, "z": 2, "count": 1})  # fmt: skip
    launch(own, "scale", 1, 1, x, x, 1, 6, extents={"x": 6, "y": 6})
    assert len(ran) == 1


def test_overlap(refused, own):
    x = floats(8)
    words = "x and y overlap, and `const float* __restrict__ x, float* y` promises by __restrict__ that they do not"
    refused(words, own, "apart", x, floats(8), x)
    refused(words, own, "apart", x[:5], floats(8), x[4:])


@pytest.mark.parametrize(
    ("grid", "block", "words"),
    [
        (0, 32, "grid may be 1 to 2147483647 along x; got 0; where there is nothing to compute, launch nothing"),
        (2**31, 32, "grid may be 1 to 2147483647 along x; got 2147483648"),
        ((1, 65536), 32, "grid may be 1 to 65535 along y; got 65536"),
        ((1, 1, 65536), 32, "grid may be 1 to 65535 along z; got 65536"),
        ((1, -1), 32, "grid may be 1 to 65535 along y; got -1"),
        (1, 1025, "block may be 1 to 1024 along x; got 1025"),
        (1, (1, 1, 65), "block may be 1 to 64 along z; got 65"),
        (1, (32, 33), "a block may have up to 1024 threads; got 1056, as (32, 33, 1)"),
        (1.0, 32, "grid must be a whole number, or up to three of them; got 1.0"),
        ((1, 1, 1, 1), 32, "grid must be a whole number, or up to three of them"),
        ((), 32, "grid must be"),
        (1, "32", "block must be a whole number"),
        (1, None, "block must be a whole number"),
        (1, 65, "it is compiled for up to 64 threads a block, by __launch_bounds__; got 65"),
    ],
)
def test_grids_and_blocks(refused, own, grid, block, words):
    refused(words, own, "small", floats(1), grid=grid, block=block)


def test_shared_memory(refused, own):
    y = floats(1)
    refused("its `extern __shared__` array has the size that the launch gives it; give shared_bytes", own, "shared", y)
    refused("shared_bytes must be a whole number, at least 0; got -4", own, "shared", y, shared_bytes=-4)
    refused("shared_bytes must be a whole number, at least 0; got 4.0", own, "shared", y, shared_bytes=4.0)
    refused("a block has up to 232448 bytes of shared memory; the launch asks for 232449", own, "shared", y,
            shared_bytes=232449)  # fmt: skip


def test_unknown_files_and_kernels(ran, own):
    with pytest.raises(KernelError, match=r"no kernel file relo\.cu: did you mean relu\.cu\? For a file of your own"):
        launch("relo.cu", "relu_forward", 1, 1)
    with pytest.raises(KernelError, match=r"no kernel file own: there are .*relu\.cu.*\. For a file of your own"):
        launch("own", "scale", 1, 1)
    with pytest.raises(KernelError, match=r"there is no file .*missing\.cu"):
        launch(str(own.parent / "missing.cu"), "scale", 1, 1)
    with pytest.raises(KernelError, match=r"own\.cu has no kernel scales \(did you mean scale\?\)"):
        launch(str(own), "scales", 1, 1)
    own.write_bytes(b"\xff\xfe")
    with pytest.raises(KernelError, match=r"own\.cu cannot be read"):
        launch(own, "scale", 1, 1)
    assert ran == []


def test_what_the_emulator_says_comes_with_the_launch(monkeypatch, own):
    def run(*_):
        raise KernelError("no compiler was found: install g++")

    monkeypatch.setattr(emulator, "run", run, raising=False)
    with pytest.raises(KernelError, match=r"(?s)^small: no compiler was found.*float\* y.*float32 \(5,\)"):
        launch(own, "small", 1, 1, floats(5))


# -------------------------------------------------------------------------------------------------------- on a device


def test_the_device_gets_the_launch(cupy, ran, own):
    x, y = ndarray(floats(2, 3)), ndarray(floats(2, 3))
    launch(own, "scale", 2, (8, 4), x, y, 0.5, 6)
    launch(own, "scale", 2, (8, 4), x, y, 0.25, 6)
    launch(own, "pointers", 1, 1, None, y, ndarray(np.zeros(3, bool)))
    first, second = cupy.functions["scale"].launches
    assert first == ((2, 1, 1), (8, 4, 1), (x, y, 0.5, 6), 0, 0) and second[2][2] == 0.25
    assert [type(value) for value in first[2][2:]] == [np.float32, np.int32]
    [(_, _, arguments, _, _)] = cupy.functions["pointers"].launches
    assert arguments[0] == 0 and arguments[0].nbytes == 8  # a null pointer
    assert arguments[2].dtype == np.uint8
    assert len(cupy.modules) == 2  # one for each kernel: CuPy knows them for one module by their code and options
    assert len(set(cupy.modules)) == 1
    assert Device.entered == [] and ran == []


def test_modules_are_kept_by_text_and_device(cupy, own):
    def compiled(id=0, capability="90"):
        y = ndarray(floats(4), Device(id, capability))
        launch(own, "small", 1, 1, y)
        return len(cupy.modules)

    assert [compiled(), compiled(), compiled(1), compiled(1), compiled(0)] == [1, 1, 2, 2, 2]
    assert cupy.functions["small"].launches[-3][-1] == 1  # launched on the array's device
    own.write_text(OWN + "\n")
    assert compiled() == 3
    assert compiled(0, "75") == 4


def test_what_is_compiled(cupy, own, tmp_path):
    (tmp_path / "mine.cuh").write_text('#pragma once\n#include "tensor_core.cuh"\nconstexpr int MINE = 3;\n')
    own.write_text('// opening\n#include "mine.cuh"\n#include "mine.cuh"\n#include <absent.h>\n' + OWN)
    launch(own, "small", 1, 1, ndarray(floats(1), Device(capability="75")))
    [(code, options)] = cupy.modules
    assert "-std=c++17" in options and not any("fast" in option for option in options)
    assert code.startswith('#line 1 "own.cu"\n// opening\n#line 1 "mine.cuh"\n')
    assert code.count("constexpr int MINE = 3;") == 1
    assert '#line 1 "tensor_core.cuh"\n' in code and '#line 3 "mine.cuh"\n' in code and '#line 3 "own.cu"\n' in code
    assert "#include <absent.h>" in code and "pragma once" not in code
    assert "small(" in code and "pipeline(" not in code  # which needs sm_80


def test_shared_memory_of_the_device(cupy, own):
    def shared(bytes, **device):
        launch(own, "shared", 1, 1, ndarray(floats(1), Device(**device)), shared_bytes=bytes)
        return cupy.functions["shared"].max_dynamic_shared_size_bytes

    assert shared(48 * 1024) == 48 * 1024
    assert shared(100 * 1024) == 100 * 1024
    cupy.functions["shared"].shared_size_bytes = 1024
    assert shared(48 * 1024 - 1) == 48 * 1024 - 1
    assert shared(231424) == 231424
    with pytest.raises(KernelError, match="up to 232448 bytes of shared memory on this device; the kernel declares"):
        shared(231425)
    with pytest.raises(KernelError, match="up to 65536 bytes"):
        shared(65536, capability="75", shared=65536)


def test_arrays_of_two_places(cupy, refused, own):
    here, there, other = floats(3), ndarray(floats(3)), ndarray(floats(3), Device(1))
    words = "y lies on <CUDA Device 0> and x in the computer's memory; bring all to one place"
    refused(words, own, "scale", here, there, 1, 3)
    refused("y lies on <CUDA Device 1> and x on <CUDA Device 0>", own, "scale", there, other, 1, 3)
    assert cupy.modules == []


def test_rungs_and_architectures(cupy, refused, own):
    old = ndarray(floats(1), Device(capability="75"))
    refused("needs sm_80 or later, and this device is of sm_75; launch an earlier rung, or run it in the emulator",
            own, "pipeline", old)  # fmt: skip
    assert (lowest_architecture(own, "pipeline"), lowest_architecture(own, "small")) == (80, 75)
    assert (architecture(old), architecture(ndarray(floats(1))), architecture(floats(1))) == (75, 90, 90)
    with pytest.raises(KernelError, match="no kernel absent"):
        lowest_architecture(own, "absent")


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (CompileException("own.cu(3): error: expected a )"), "the kernel does not compile:\nown.cu(3): error: "),
        (CUDADriverError("CUDA_ERROR_INVALID_VALUE"), "the kernel failed on the device: CUDA_ERROR_INVALID_VALUE"),
    ],
)
def test_what_compiler_and_driver_say_comes_with_the_launch(cupy, own, problem, words):
    def run(*_):
        raise problem

    cupy.run = run
    with pytest.raises(KernelError) as caught:
        launch(own, "small", 1, 1, ndarray(floats(5)))
    assert str(caught.value).startswith(f"small: {words}")
    assert "\n  signature  small(float* y) in own.cu\n" in str(caught.value)
    assert "float32 (5,) on the device" in str(caught.value)
    assert Device.entered == []
