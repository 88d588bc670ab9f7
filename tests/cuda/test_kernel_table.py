"""What every kernel takes of a multiprocessor: compiled by NVRTC where it is installed, and held against the table."""

import pytest

from minisegnet.cuda import modules, registers
from minisegnet.cuda.registers import ARCHITECTURES, Usage, changes, read_log, read_table, table
from minisegnet.errors import BackendError, KernelError

LOG = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'spilling' for 'sm_80'
ptxas info    : Function properties for spilling
    96 bytes stack frame, 88 bytes spill stores, 92 bytes spill loads
ptxas info    : Function properties for helper
    32 bytes stack frame, 4 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 128 bytes cumulative stack size, 2112 bytes smem, 400 bytes cmem[0]
ptxas info    : Compile time = 1.410 ms
ptxas info    : Compiling entry function 'small' for 'sm_80'
ptxas info    : Function properties for small
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers, 372 bytes cmem[0]
"""
ROWS = [Usage("a.cu", "first", "sm_75", 12, 0, 0, 0), Usage("a.cu", "second_one", "sm_75", 128, 33792, 8, 4)]
GREEDY = """
extern "C" __global__ void __launch_bounds__(1024) greedy(float* y, int steps)   // 64 registers for 100 values
{
    float held[100];
#pragma unroll
    for (int i = 0; i < 100; i++) held[i] = y[i * 1024 + threadIdx.x];
    for (int step = 0; step < steps; step++) {
#pragma unroll
        for (int i = 0; i < 100; i++) held[i] += held[(i + 37) % 100];
    }
#pragma unroll
    for (int i = 0; i < 100; i++) y[i * 1024 + threadIdx.x] = held[i];
}
"""


@pytest.fixture
def nvrtc():
    try:
        return registers.nvrtc_version()
    except BackendError as problem:
        pytest.skip(str(problem))


def test_the_table_is_what_our_kernels_take(nvrtc, capsys):
    """Every kernel compiles for every architecture that it is for, none spills, and none changed unexplained."""
    assert registers.main([]) == 0, capsys.readouterr().err


@pytest.fixture
def folder(nvrtc, monkeypatch, tmp_path):
    """A folder of kernels with one kernel, of which the table is written."""
    monkeypatch.setattr(modules, "kernel_folder", lambda: tmp_path)
    (tmp_path / "sums.cuh").write_text(SUMS)
    (tmp_path / "mine.cu").write_text(
        '#include "sums.cuh"\nextern "C" __global__ void mine(const float* x, float* y) { y[threadIdx.x] = sum(x); }\n'
    )
    assert registers.main(["--write"]) == 0
    assert registers.main([]) == 0
    return tmp_path


SUMS = """
__device__ float sum(const float* x)
{
    __shared__ float tile[32];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    return tile[31 - threadIdx.x];
}
"""


def test_a_kernel_that_grew_fails(folder, capsys):
    """Be it by a header; and not when that is written to the table."""
    (folder / "sums.cuh").write_text(SUMS.replace("tile[32]", "tile[64]"))
    capsys.readouterr()
    assert registers.main([]) == 1
    told = capsys.readouterr().err.splitlines()
    assert told == [
        f"error: mine of mine.cu for sm_{architecture}: shared 128 -> 256; explain it, and write the table anew with "
        "--write"
        for architecture in ARCHITECTURES
    ]
    assert registers.main(["--write"]) == 0
    assert registers.main([]) == 0


def test_a_spill_among_our_kernels_fails(folder, capsys):
    """In a file that is new there; the table is left as it was."""
    before = (folder / "registers.txt").read_text()
    (folder / "greedy.cu").write_text(GREEDY)
    for arguments in ([], ["--write"]):
        capsys.readouterr()
        assert registers.main(arguments) == 1
        assert "greedy of greedy.cu spills" in capsys.readouterr().err
    assert (folder / "registers.txt").read_text() == before


def test_a_spill_in_a_kernel_written_by_a_macro_fails(nvrtc, tmp_path, capsys):
    path = tmp_path / "macro.cu"
    head, body = GREEDY.split(' extern "C" '.strip())
    path.write_text(f'#define KERNEL extern "C" __global__\n{head}KERNEL{body.removeprefix(" __global__")}')
    assert registers.main([str(path)]) == 1
    assert "greedy of macro.cu spills" in capsys.readouterr().err


def test_a_file_without_a_kernel_is_told(nvrtc, tmp_path):
    path = tmp_path / "none.cu"
    path.write_text("__device__ int one() { return 1; }\n")
    with pytest.raises(KernelError, match=r"none\.cu has no kernel"):
        registers.usage(path, 75)


def test_a_spill_fails(nvrtc, tmp_path, capsys):
    path = tmp_path / "greedy.cu"
    path.write_text(GREEDY)
    assert registers.main([str(path)]) == 1
    printed = capsys.readouterr()
    assert "greedy of greedy.cu spills" in printed.err and "__launch_bounds__" in printed.err
    spilled = [line.split()[-1] for line in printed.out.splitlines() if line.startswith("greedy.cu")]
    assert len(spilled) == len(ARCHITECTURES) and all(int(bytes) > 0 for bytes in spilled)


def test_what_does_not_compile_is_told_with_its_line(nvrtc, tmp_path, capsys):
    (tmp_path / "mine.cuh").write_text("\n__device__ int one() { return 1 }\n")
    path = tmp_path / "mine.cu"
    path.write_text('#include "mine.cuh"\nextern "C" __global__ void f(int* y)\n{\n    y[0] = missing;\n}\n')
    assert registers.main([str(path)]) == 1
    error = capsys.readouterr().err
    assert "mine.cu does not compile for sm_75" in error
    assert "mine.cuh(2): error" in error and 'mine.cu(4): error: identifier "missing" is undefined' in error


def test_kernels_are_compiled_from_the_architecture_that_they_need(nvrtc, tmp_path):
    path = tmp_path / "ladder.cu"
    path.write_text(
        'extern "C" __global__ void first(float* y) { y[0] = 1.0f; }\n'
        "// needs: sm_80\n"
        'extern "C" __global__ void second(float* y) { asm volatile("cp.async.commit_group;" ::: "memory"); }\n'
    )
    assert [row.kernel for row in registers.usage(path, 75)] == ["first"]
    assert [row.kernel for row in registers.usage(path, 80)] == ["first", "second"]
    path.write_text(path.read_text().replace("// needs: sm_80", ""))
    with pytest.raises(KernelError, match=r"(?s)ladder\.cu does not compile for sm_75.*sm_80"):
        registers.usage(path, 75)


def test_a_template_is_told_rather_than_left_out(nvrtc, tmp_path):
    path = tmp_path / "template.cu"
    path.write_text("template <int n> __global__ void f(float* y) { y[0] = n; }")
    with pytest.raises(KernelError, match=r"f in template\.cu: it is a template"):
        registers.usage(path, 75)


def test_without_nvrtc(monkeypatch, capsys):
    def missing():
        raise BackendError("NVRTC is not installed")

    monkeypatch.setattr(registers, "_nvrtc", missing)
    assert registers.main([]) == 1
    assert capsys.readouterr().err == "error: NVRTC is not installed\n"


def test_the_compilers_report():
    assert read_log(LOG) == {"spilling": (255, 2112, 128, 184), "small": (8, 0, 0, 0)}
    with pytest.raises(KernelError, match="cannot be read"):
        read_log("ptxas info    : Compiling entry function 'f' for 'sm_80'\nUsed many registers")


def test_a_table_is_read_as_it_was_written():
    text = table(ROWS, "13.5")
    assert read_table(text) == ("13.5", ROWS)
    assert text.splitlines()[1:3] == [
        "file  kernel      for    registers  shared  local  spilled",
        "a.cu  first       sm_75         12       0      0        0",
    ]


def test_changes():
    first, second = ROWS
    assert changes(ROWS, ROWS) == []
    assert changes([first], [first._replace(registers=14, shared=64)]) == [
        "first of a.cu for sm_75: registers 12 -> 14",
        "first of a.cu for sm_75: shared 0 -> 64",
    ]
    assert changes([first], [second]) == ["second_one of a.cu for sm_75 is new", "first of a.cu for sm_75 is gone"]


@pytest.fixture
def three_rows(monkeypatch, tmp_path):
    """A folder of kernels whose compiler reports what the test puts into this list."""
    rows = [*ROWS]
    monkeypatch.setattr(modules, "kernel_folder", lambda: tmp_path)
    monkeypatch.setattr(registers, "nvrtc_version", lambda: "13.5")
    monkeypatch.setattr(registers, "usage", lambda path, architecture: rows if architecture == 75 else [])
    (tmp_path / "a.cu").write_text("")
    return rows


def test_the_command_holds_the_kernels_against_the_table(three_rows, tmp_path, capsys):
    three_rows[1] = three_rows[1]._replace(spilled=0)
    assert registers.main([]) == 1
    assert "there is no table" in capsys.readouterr().err
    assert registers.main(["--write"]) == 0
    assert read_table((tmp_path / "registers.txt").read_text()) == ("13.5", three_rows)
    assert registers.main([]) == 0
    capsys.readouterr()

    three_rows[0] = three_rows[0]._replace(registers=13)
    assert registers.main([]) == 1
    assert capsys.readouterr().err == (
        "error: first of a.cu for sm_75: registers 12 -> 13; explain it, and write the table anew with --write\n"
    )
    assert registers.main(["--write"]) == 0
    assert registers.main([]) == 0


def test_a_spill_is_not_written(three_rows, tmp_path, capsys):
    assert registers.main(["--write"]) == 1
    assert "second_one of a.cu spills 4 bytes for sm_75" in capsys.readouterr().err
    assert not (tmp_path / "registers.txt").exists()


def test_the_table_of_another_compiler_is_not_compared(three_rows, monkeypatch, capsys):
    three_rows.pop()
    assert registers.main(["--write"]) == 0
    three_rows[0] = three_rows[0]._replace(registers=99)
    monkeypatch.setattr(registers, "nvrtc_version", lambda: "12.9")
    capsys.readouterr()
    assert registers.main([]) == 0
    assert "registers.txt is of NVRTC 13.5" in capsys.readouterr().out
