"""The instructions wrapped in tensor_core.cuh do what its comments say, lane by lane."""

import re
import shutil

import numpy as np
import pytest

from minisegnet import emulator
from minisegnet.cuda import launcher, modules

pytestmark = pytest.mark.skipif(emulator.compiler_found() is None, reason="the emulator needs g++ or clang++")

# Each kernel gives its lanes what the table at the head of tensor_core.cuh says, from matrices that lie row by row.
KERNELS = r"""
// needs: sm_80
#include "tensor_core.cuh"

extern "C" __global__ void mma_tf32(const float* a, const float* b, const float* c, float* d)
{
    const int group = threadIdx.x / 4, member = threadIdx.x % 4;
    unsigned a_words[4], b_words[2];
    float sums[4], results[4];
    for (int i = 0; i < 4; i++) a_words[i] = __float_as_uint(a[(group + 8 * (i % 2)) * 8 + member + 4 * (i / 2)]);
    for (int i = 0; i < 2; i++) b_words[i] = __float_as_uint(b[(member + 4 * i) * 8 + group]);
    for (int i = 0; i < 4; i++) sums[i] = c[(group + 8 * (i / 2)) * 8 + 2 * member + i % 2];
    mma_m16n8k8_tf32(results, a_words, b_words, sums);
    for (int i = 0; i < 4; i++) d[(group + 8 * (i / 2)) * 8 + 2 * member + i % 2] = results[i];
}

extern "C" __global__ void mma_bf16(const float* a, const float* b, const float* c, float* d)
{
    const int group = threadIdx.x / 4, member = threadIdx.x % 4;
    unsigned a_words[4], b_words[2];
    float sums[4];
    for (int i = 0; i < 4; i++) {
        const float* two = a + (group + 8 * (i % 2)) * 16 + 2 * member + 8 * (i / 2);
        a_words[i] = floats_to_bf16(two[0], two[1]);
    }
    for (int i = 0; i < 2; i++) {
        const float* two = b + (2 * member + 8 * i) * 8 + group;
        b_words[i] = floats_to_bf16(two[0], two[8]);
    }
    for (int i = 0; i < 4; i++) sums[i] = c[(group + 8 * (i / 2)) * 8 + 2 * member + i % 2];
    mma_m16n8k16_bf16(sums, a_words, b_words, sums);
    for (int i = 0; i < 4; i++) d[(group + 8 * (i / 2)) * 8 + 2 * member + i % 2] = sums[i];
}

extern "C" __global__ void load_matrices(const unsigned short* matrices, unsigned* plain, unsigned* transposed)
{
    __shared__ __align__(16) unsigned short tile[4][8][8];
    for (int i = threadIdx.x; i < 256; i += 32) tile[i / 64][i / 8 % 8][i % 8] = matrices[i];
    __syncthreads();
    unsigned words[4];
    ldmatrix_x4(words, tile[threadIdx.x / 8][threadIdx.x % 8]);
    for (int i = 0; i < 4; i++) plain[i * 32 + threadIdx.x] = words[i];
    ldmatrix_x4_trans(words, tile[threadIdx.x / 8][threadIdx.x % 8]);
    for (int i = 0; i < 4; i++) transposed[i * 32 + threadIdx.x] = words[i];
}

extern "C" __global__ void convert(const float* values, unsigned* tf32, unsigned* bf16, int count)
{
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        tf32[i] = float_to_tf32(values[i]);
        bf16[i] = floats_to_bf16(values[i], values[count - 1 - i]);
    }
}

// Three groups of copies, of which the last is waited for in the end.
extern "C" __global__ void copy(const float* values, float* y, int there)
{
    __shared__ __align__(16) float tile[3][128];
    const int first = threadIdx.x * 4;
    for (int i = 0; i < 4; i++) cp_async_4(&tile[0][first + i], values + first + i, i < there ? 4 : 0);
    cp_async_commit();
    cp_async_16(&tile[1][first], values + 128 + first, there * 4);
    cp_async_commit();
    cp_async_16(&tile[2][first], values + 256 + first);
    cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    for (int i = threadIdx.x; i < 256; i += 32) y[i] = tile[i / 128][127 - i % 128];
    cp_async_wait<0>();
    __syncthreads();
    for (int i = threadIdx.x; i < 128; i += 32) y[256 + i] = tile[2][127 - i];
}
"""


HEADER = modules.path_of("gemm.cu").with_name("tensor_core.cuh")


def written(folder, text):
    """A source file of that text, with the header beside it."""
    shutil.copy(HEADER, folder)
    source = folder / "instructions.cu"
    source.write_text(text)
    return source


@pytest.fixture(params=["forward", "reverse", 11], ids=lambda schedule: f"schedule {schedule}")
def launch(request, tmp_path):
    """Launch one of the kernels above on one warp, every access checked."""
    source = written(tmp_path, KERNELS)

    def checked(kernel, *arguments):
        with emulator.check(schedule=request.param) as report:
            launcher.launch(source, kernel, 1, 32, *arguments)
        assert not report.findings, str(report)

    return checked


def rounded(values, bits, ties_to_even):
    """The nearest floats of which the lowest `bits` bits are zero."""
    whole = values.view(np.uint32).astype(np.uint64)
    up = (1 << bits - 1) - 1 + (whole >> bits & 1) if ties_to_even else 1 << bits - 1
    return (whole + up >> bits << bits).astype(np.uint32).view(np.float32).reshape(values.shape)


def drawn(*shape, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_mma_m16n8k8_tf32(launch):
    """The instruction reads the upper 19 bits of each operand and adds in float32."""
    a, b, c = drawn(16, 8, seed=1), drawn(8, 8, seed=2), drawn(16, 8, seed=3)
    d = np.full((16, 8), np.nan, "f4")
    launch("mma_tf32", a, b, c, d)
    cut = [(one.view(np.uint32) & 0xFFFFE000).view(np.float32).astype(np.float64) for one in (a, b)]
    np.testing.assert_allclose(d, cut[0] @ cut[1] + c, rtol=0, atol=2e-6)


def test_mma_m16n8k16_bf16(launch):
    a, b, c = drawn(16, 16, seed=4), drawn(16, 8, seed=5), drawn(16, 8, seed=6)
    d = np.full((16, 8), np.nan, "f4")
    launch("mma_bf16", a, b, c, d)
    A, B = (rounded(one, 16, ties_to_even=True).astype(np.float64) for one in (a, b))
    np.testing.assert_allclose(d, A @ B + c, rtol=0, atol=4e-6)


def test_ldmatrix(launch):
    matrices = np.random.default_rng(7).integers(0, 2**16, (4, 8, 8)).astype(np.uint16)
    plain, transposed = np.zeros((4, 32), np.uint32), np.zeros((4, 32), np.uint32)
    launch("load_matrices", matrices, plain, transposed)
    for result, wanted in ((plain, matrices), (transposed, matrices.swapaxes(1, 2))):
        halves = result.view(np.uint16).reshape(4, 8, 8)  # lane l: row l / 4, columns 2 (l % 4) and the next
        np.testing.assert_array_equal(halves, wanted)


def test_conversions(launch):
    """The nearest, with ties, numbers that become larger by a power of two, those next to zero, infinity and NaN."""
    bits = np.array(
        [0x3F801000, 0x3F803000, 0x3F800FFF, 0x3F801001, 0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001,
         0xBFFFFFFF, 0x007FFFFF, 0x00000001, 0x80000000, 0x7F7FFFFF, 0x7F800000, 0xFF800000],
        np.uint32,
    )  # fmt: skip
    special = np.append(bits.view(np.float32), np.float32(np.nan))
    values = np.concatenate([special, drawn(48, seed=8)])
    tf32, bf16 = np.zeros(64, np.uint32), np.zeros(64, np.uint32)
    launch("convert", values, tf32, bf16, 64)

    number = ~np.isnan(values)
    read = (tf32 & 0xFFFFE000).view(np.float32)  # the bits that the tensor cores read
    np.testing.assert_array_equal(read[number], rounded(values, 13, ties_to_even=False)[number])
    assert np.isnan(read[~number]).all()
    low, high = (bf16 << 16).view(np.float32), (bf16 & 0xFFFF0000).view(np.float32)
    np.testing.assert_array_equal(low[number], rounded(values, 16, ties_to_even=True)[number])
    np.testing.assert_array_equal(high[::-1][number], low[number])
    assert np.isnan(low[~number]).all() and np.isnan(high[::-1][~number]).all()


@pytest.mark.parametrize("there", [0, 1, 3, 4])
def test_copies_fill_up_with_zeros(launch, there):
    values = drawn(384, seed=9)
    y = np.full(384, np.nan, "f4")
    launch("copy", values, y, there)
    wanted = values.reshape(3, 32, 4).copy()
    wanted[:2, :, there:] = 0
    np.testing.assert_array_equal(y.reshape(3, 128), wanted.reshape(3, 128)[:, ::-1])


def test_a_missing_wait_is_found(tmp_path):
    """What the wait is for: without it, what is read has not arrived."""
    source = written(tmp_path, KERNELS.replace("cp_async_wait<1>();", ""))
    values, y = drawn(384, seed=10), np.zeros(384, "f4")
    with emulator.check() as report:
        launcher.launch(source, "copy", 1, 32, values, y, 4)
    assert "missing wait" in {finding.kind for finding in report.findings}, str(report)


def test_only_tensor_core_cuh_holds_ptx():
    holders = [path.name for path in HEADER.parent.glob("*.cu*") if re.search(r"\basm\b", path.read_text())]
    assert holders == ["tensor_core.cuh"]
