"""From a .cu file to a function: what its text may hold, the cache, and what is said of what does not fit."""

import ctypes
import os
import subprocess
import sys
import textwrap
from contextlib import nullcontext
from itertools import count

import numpy as np
import pytest
from small_kernels import HERE, KERNELS, SCHEDULES, checked, floats, needs_compiler, run

from minisegnet import emulator
from minisegnet.emulator import compiler, library, source
from minisegnet.errors import KernelError, OptionError
from minisegnet.numpy_ops import activation

# ------------------------------------------------------------------------------------------------------ the text


def test_kernels_and_their_parameters():
    text = textwrap.dedent(
        """
        // extern "C" __global__ void in_a_comment(int n) {}
        /* __global__ void in_another(int n) {} */
        template <int N> __global__ void of_a_template(int n) {}
        __global__ void only_declared(int n);
        extern "C" __global__ void __launch_bounds__(32 * (4 + 4), 2) first(const float* __restrict__ x /* or null */,
                                                                            int (*y)[1], unsigned long long n)
        {
            const char* text = "__global__ void in_a_string() {}";
        }
        __global__ static void second() { }
        extern "C" __global__ void
        third(const float4 *x, float y[], int z = f(1, 2)) {}
        """
    )
    found = {name: kernel.parameters for name, kernel in source.kernels(text).items()}
    assert found.keys() == {"first", "second", "third"}
    assert found["first"][0] == "x" and found["first"][-1] == "n"
    assert found["second"] == () and found["third"] == ("x", "y", "z")


def test_rewriting_keeps_lines():
    text = (HERE / "features.cu").read_text()
    rewritten = source.rewritten(text, count(1))
    assert rewritten.count("\n") == text.count("\n")
    for number, (old, new) in enumerate(zip(text.splitlines(), rewritten.splitlines(), strict=True), 1):
        assert old == new or "__shared__" in old or "WIDTH" in old or old.strip() == "];", f"line {number}: {new}"


# ------------------------------------------------------------------------------------------------------ features


@needs_compiler
@pytest.mark.parametrize("schedule", [None, *SCHEDULES])
class TestFeatures:
    def launch(self, schedule, kernel, *arguments, **options):
        if schedule is None:
            run(f"features:{kernel}", 1, *arguments, **options)
        else:
            report = checked(f"features:{kernel}", 1, *arguments, schedule=schedule, **options)
            assert not report.findings, str(report)

    def test_declarations(self, schedule):
        x, y = floats(32), np.zeros(32, np.float32)
        self.launch(schedule, "declarations", 32, x, y, 32, shared_bytes=128)
        t = np.arange(32)
        wanted = x.reshape(4, 8)[t % 4, t // 4] + 2 * x[::-1] - x[t ^ 1] + 10 + t % 8 + t % 2 + (t % 8 + 1) + t % 3
        np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)

    def test_each_instance_of_a_template_has_its_own_shared_memory(self, schedule):
        x, y = floats(32), np.zeros(32, np.float32)
        self.launch(schedule, "templates", 32, x, y)
        np.testing.assert_allclose(y, 3 * x.sum() + 32, rtol=1e-5)

    def test_bits(self, schedule):
        x = np.array([0, 1, 0x80000000, 0xDEADBEEF, 0xFFFFFFFF, 0x00010000], np.uint32)
        y = np.zeros((6, 8), np.uint32)
        self.launch(schedule, "bits", 6, x, y)
        for value, row in zip(map(int, x), y.tolist(), strict=True):
            text = f"{value:032b}"
            lowest, swapped = (value & -value).bit_length(), int.from_bytes(value.to_bytes(4, "big"), "little")
            assert row[:4] == [text.count("1"), 32 - value.bit_length(), lowest, int(text[::-1], 2)]
            assert row[4:] == [value * 0x12345678 >> 32, value, int(text[7:] + text[:7], 2), swapped]

    def test_numbers(self, schedule):
        x = np.array([-2.5, -0.3, 0.05, 0.35, 1.0, 3.7], np.float32)
        y = np.zeros((6, 14), np.float32)
        self.launch(schedule, "numbers", 6, x, y)
        erf = np.array([-0.9995930, -0.3286268, 0.0563720, 0.3793821, 0.8427008, 0.9999998])
        wanted = [
            np.exp(x), np.log(abs(x)), 1 / np.sqrt(abs(x)), x * x + 1, x / 3, np.maximum(x, 0.5) + 1 + x, x,
            np.rint(x * 10), x * x + x + 1, np.clip(x, 0, 1), np.tanh(x) + np.log1p(abs(x)) + np.expm1(x) + erf,
            np.full(6, 35), np.ones(6), np.full(6, 16 + 16 + 12 + 4),
        ]  # fmt: skip
        np.testing.assert_allclose(y, np.stack(wanted, axis=1), rtol=2e-6)

    def test_atomics(self, schedule):
        i, u = np.array([0, 0, 5, 5, 0, 0], np.int32), np.array([2**32 - 1, 0, 0, 0, 0], np.uint32)
        f, big = np.array([0, 3], np.float32), np.zeros(1, np.uint64)
        self.launch(schedule, "atomics", 32, i, u, f, big)
        assert i[:4].tolist() == [496, -496, -31, 31] and 1 <= i[4] <= 32 and i[5] == 7
        assert u.tolist() == [0, 2**32 - 1, 2**32 - 1, 2, 8]
        assert f.tolist() == [16, 31] and big[0] == 32 << 33

    def test_vectors(self, schedule):
        rng = np.random.default_rng(3)
        a, b = rng.integers(-99, 99, (5, 4)).astype(np.int32), rng.integers(0, 99, (5, 4)).astype(np.uint8)
        c, d = np.zeros((5, 2), np.int16), np.zeros((5, 2), np.uint32)
        self.launch(schedule, "vectors", 5, a, b, c, d)
        np.testing.assert_array_equal(c, a.reshape(5, 2, 2).sum(2))
        np.testing.assert_array_equal(d, b.reshape(5, 2, 2).sum(2))

    def test_every_kind_of_number(self, schedule):
        given = [
            np.int8(-7), np.uint8(200), np.int16(-30000), np.uint16(60000), np.int32(-(2**31)), np.uint32(2**32 - 1),
            np.int64(-(2**53)), np.uint64(2**53), np.float32(0.5), np.float64(0.1), np.bool_(True),
        ]  # fmt: skip
        y = np.zeros(11)
        self.launch(schedule, "parameters", 1, *given, y)
        assert y.tolist() == [float(value) for value in given]

    def test_relu_is_numpys(self, schedule):
        x = floats(1003)
        x[::7] = 0
        outputs = {name: np.zeros_like(x) for name in ("relu_forward", "relu_forward_4")}
        for name, y in outputs.items():
            arguments = [x, y, np.int32(x.size)]
            if schedule is None:
                emulator.run(KERNELS / "relu.cu", name, (8,), (128,), arguments)
            else:
                with emulator.check(schedule) as report:
                    emulator.run(KERNELS / "relu.cu", name, (8,), (128,), arguments)
                assert not report.findings, str(report)
            np.testing.assert_array_equal(y, activation.relu_forward(x)[0])


@needs_compiler
def test_max_unpool_there_and_back():
    x, rng = floats(3, 5), np.random.default_rng(9)
    indices = np.stack([rng.permutation(20)[:5] for _ in range(3)]).astype(np.int32)
    for rung in ("", "_4"):
        y, back = np.zeros((3, 20), np.float32), np.zeros((3, 5), np.float32)
        with emulator.check(4) as report:
            for kernel, arrays in (("scatter", (x, indices, y)), ("gather", (y, indices, back))):
                given = [*arrays, np.int32(15), np.int32(5), np.int32(20)]
                emulator.run(KERNELS / "max_unpool2d.cu", f"max_unpool2d_{kernel}{rung}", (1,), (32,), given)
        assert not report.findings, str(report)
        wanted = np.zeros((3, 20), np.float32)
        np.put_along_axis(wanted, indices, x, 1)
        np.testing.assert_array_equal(y, wanted)
        np.testing.assert_array_equal(back, x)


# ------------------------------------------------------------------------------------------ what does not fit


@needs_compiler
@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([floats(4)], "takes 3 arguments .x, y, stride.; got 1"),
        ([floats(4), floats(4), floats(1)], "stride is a number of type int32; got float32 .1,."),
        ([floats(4), floats(4), np.int64(1)], "stride is a number of type int32"),
        ([floats(4), floats(4), 1], "stride is a number of type int32; got a int"),
        ([np.zeros(4), floats(4), np.int32(1)], "x points to float32; got an array of float64"),
        ([np.zeros(4, ">f4"), floats(4), np.int32(1)], "x points to float32"),
        ([floats(8)[::2], floats(4), np.int32(1)], "x must be C-contiguous"),
        ([floats(4), np.broadcast_to(np.float32(1), 4).copy().view(), "1"], "stride is a number"),
        ([3, floats(4), np.int32(1)], "x is a pointer; give a NumPy array"),
    ],
)
def test_arguments_that_do_not_fit(arguments, words, check):
    with pytest.raises(KernelError, match=words), emulator.check() if check else nullcontext():
        run_as_is(arguments)


def run_as_is(arguments):
    emulator.run(HERE / "counted.cu", "strided", (1,), (4,), arguments)


@needs_compiler
def test_what_is_read_only_is_not_written():
    y = floats(4)
    y.flags.writeable = False
    with pytest.raises(KernelError, match="y may be written"):
        run_as_is([floats(4), y, np.int32(1)])
    run_as_is([y, floats(4), np.int32(1)])


@needs_compiler
@pytest.mark.parametrize(
    ("grid", "block", "words"),
    [
        ((0,), (1,), "grid"),
        ((1,), (1025,), "block"),
        ((1,), (64, 64), "up to 1024 threads; got 4096"),
        ((1, 1, 1, 1), (1,), "grid"),
    ],
)
def test_sizes_that_do_not_fit(grid, block, words):
    with pytest.raises(KernelError, match=words):
        emulator.run(HERE / "counted.cu", "strided", grid, block, [floats(4), floats(4), np.int32(1)])


@needs_compiler
def test_an_unknown_kernel_and_file():
    with pytest.raises(KernelError, match=r"counted.cu has no kernel stride; it has strided, "):
        emulator.run(HERE / "counted.cu", "stride", (1,), (1,), [])
    with pytest.raises(KernelError, match="cannot read"):
        emulator.run(HERE / "nowhere.cu", "strided", (1,), (1,), [])
    with pytest.raises(OptionError, match="schedule must be one of 'forward'"), emulator.check("backward"):
        pass


@needs_compiler
@pytest.mark.parametrize("mode", ["fast", "check", "trace"])
def test_the_compilers_message_names_the_line(tmp_path, mode):
    file = tmp_path / "wrong.cu"
    file.write_text('extern "C" __global__ void wrong(float* y)\n{\n    __shared__ float a[2];\n    y[0] = z;\n}\n')
    with pytest.raises(KernelError, match=r"wrong\.cu:4.*z"):
        library.load(file, mode)


# ------------------------------------------------------------------------------------------------------ the cache


@needs_compiler
def test_a_changed_file_or_header_is_compiled_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("MINISEGNET_CACHE", str(tmp_path / "cache"))
    file, header = tmp_path / "value.cu", tmp_path / "value.cuh"
    file.write_text('#include "value.cuh"\nextern "C" __global__ void value(int* y) { y[0] = VALUE; }\n')

    def value():
        y = np.zeros(1, np.int32)
        emulator.run(file, "value", (1,), (1,), [y])
        return y[0]

    header.write_text("#define VALUE 1\n")
    assert value() == 1
    header.write_text("#define VALUE 22\n")
    assert value() == 22
    file.write_text(file.read_text().replace("= VALUE", "= VALUE + 100"))
    assert value() == 122
    libraries = sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert len(libraries) == 4 and sum(name.startswith("machine_fast") for name in libraries) == 1
    assert not [name for name in libraries if name.startswith("building")]


@needs_compiler
def test_a_file_of_your_own_beside_headers_of_ours(tmp_path):
    """Headers are looked for beside the file that names them, then among ours, whatever their names; a file may start
    with the mark of its encoding and end within a comment."""
    (tmp_path / "below").mkdir()
    (tmp_path / "reduction.cuh").write_text("__device__ inline float twice(float x) { return 2 * x; }  // end")
    (tmp_path / "below" / "reduction.cuh").write_text("__device__ inline float next(float x) { return x + 1; }")
    (tmp_path / "below" / "other.cuh").write_text('#include "reduction.cuh"')
    file = tmp_path / "own.cu"
    text = (
        '#include "reduction.cuh"\n#include "below/other.cuh"\n#include "operands.cuh"\n#include "tensor_core.cuh"\n'
        'extern "C" __global__ void own(float* y) { y[threadIdx.x] = on_16_bytes(y + 1) ? 0 : twice(1) + next(2); } //'
    )
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    y = np.zeros(4, np.float32)
    emulator.run(file, "own", (1,), (4,), [y])
    assert y.tolist() == [5] * 4
    with emulator.check() as report:
        emulator.run(file, "own", (1,), (5,), [y])
    [finding] = report.findings
    assert finding.kind == "out of bounds" and [line.number for line in finding.places] == [5]


@needs_compiler
def test_one_machine_for_every_cache(tmp_path, monkeypatch):
    """A second one in memory would not know the first's threads."""
    file, machines = tmp_path / "meet.cu", set()
    for number in range(3):
        monkeypatch.setenv("MINISEGNET_CACHE", str(tmp_path / str(number)))
        file.write_text(
            'extern "C" __global__ void meet(int* y) { __shared__ int a[32]; a[threadIdx.x] = threadIdx.x; '
            f"__syncthreads(); y[threadIdx.x] = a[31 - threadIdx.x] + {number}; }}"
        )
        y = np.zeros(32, np.int32)
        emulator.run(file, "meet", (1,), (32,), [y])
        np.testing.assert_array_equal(y, np.arange(32)[::-1] + number)
        machines.add(library.load(file, "fast").runtime)
    assert len(machines) == 1


@needs_compiler
def test_processes_compile_at_once(tmp_path):
    """One of them compiles, and the others wait for it."""
    log, wrapper = tmp_path / "log", tmp_path / "compiler"
    wrapper.write_text(f'#!/bin/sh\necho "$@" >> "{log}"\nexec "{emulator.compiler_found()}" "$@"\n')
    wrapper.chmod(0o755)
    environment = {**os.environ, "MINISEGNET_CACHE": str(tmp_path / "cache"), "CXX": str(wrapper)}
    text = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "import numpy as np\nfrom small_kernels import run\n"
        "y = np.zeros(64, np.int32)\nrun('hostile:who', 2, 32, y)\nassert y[-1] == 10031\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", text], env=environment) for _ in range(3)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0, 0]
    assert len([line for line in log.read_text().splitlines() if " -c " in line]) == 1


@needs_compiler
def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("MINISEGNET_CACHE", str(blocked / "cache"))
    file = tmp_path / "k.cu"
    file.write_text('extern "C" __global__ void k(int* y) { y[0] = 1; }\n')
    with pytest.raises(KernelError, match="MINISEGNET_CACHE"):
        library.load(file, "fast")


def test_no_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert emulator.compiler_found() is None
    file = tmp_path / "k.cu"
    file.write_text('extern "C" __global__ void k(int* y) { y[0] = 1; }\n')
    with pytest.raises(KernelError, match="takes a C\\+\\+ compiler, and none of g\\+\\+, clang\\+\\+"):
        emulator.run(file, "k", (1,), (1,), [np.zeros(1, np.int32)])
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(KernelError, match="no-such-compiler"):
        emulator.run(file, "k", (1,), (1,), [np.zeros(1, np.int32)])


@needs_compiler
def test_fibres_by_ucontext(tmp_path, monkeypatch):
    """As on any machine but x86-64: barriers, shuffles, crashes and check mode alike."""
    modes = {mode: (*options, "-DEMULATOR_UCONTEXT") for mode, options in compiler.MODES.items()}
    monkeypatch.setattr(compiler, "MODES", modes)
    monkeypatch.setattr(library, "_loaded", {})
    x, y = floats(192), np.zeros(64, np.float32)
    run("races:rounds_right", 2, 64, x, y, 3)
    t = np.arange(64)
    np.testing.assert_allclose(y, x.reshape(3, 64)[:, (t + 33) % 64].sum(0), rtol=1e-5, atol=1e-6)
    assert checked("races:rounds", 1, 64, x, y, 3, schedule=1).findings
    with pytest.raises(KernelError, match="stack"):
        run("hostile:recursion", 1, 8, np.zeros(8, np.int32), 100000)
    z = np.zeros(5000, np.float32)
    run("warps:block_sum", 4, 256, floats(5000), z, 5000)
    np.testing.assert_allclose(z[0], floats(5000).sum(dtype=np.float64), atol=1e-3)


@needs_compiler
def test_the_machine_is_loaded_once_for_all_kernels():
    machines = {library.load(HERE / f"{name}.cu", "fast").runtime for name in ("warps", "races", "memory")}
    assert len(machines) == 1 and all(isinstance(machine, ctypes.CDLL) for machine in machines)
