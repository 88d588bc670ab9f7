// Matrix product C = A B (+ bias) on the tensor cores: rungs 5 and 6 of the ladder in gemm.cu, with the same
// arguments.
//   5  (tf32, bf16) operands rounded into tiles in shared memory, multiplied by mma (product_mma.cuh)
//   6  (tf32_pipeline, bf16_pipeline) the same; the next two pairs of tiles are copied meanwhile by cp.async, 16
//      bytes at a time where rows allow, and shared memory is free of conflicts (product_pipeline.cuh). Tiles of 128
//      rows of C, or of 64 where there are no more
//
// TF32 rounds each operand by up to one part in 2048, bf16 by one in 256; sums are float32. k_per_part is K or a
// multiple of 32.
// Launch: z over the parts. Rung 5: 128 threads, x over tiles of n and y over tiles of m, of 64 x 64. Rung 6: 256
// threads and tiles of 128 x 128 (pipeline_64: 64 x 128), all along x, m fastest: blocks that run together share
// columns of B.
//
// needs: sm_80
#include "operands.cuh"
#include "product_pipeline.cuh"

template <class Format>
__device__ __forceinline__ void mma_gemm(const float* a, const float* b, const float* bias, float* c, int M, int N,
                                         int K, int a_transposed, int b_transposed, int k_per_part)
{
    __shared__ MmaTile a_tile, b_tile;
    with_gemm_operands(a, b, bias, c, M, N, K, a_transposed, b_transposed, k_per_part,
                       [&](const auto&... operands) { mma_product<Format>(a_tile, b_tile, operands...); });
}

template <class Format, int ROWS>
__device__ __forceinline__ void pipelined_gemm(const float* a, const float* b, const float* bias, float* c, int M,
                                               int N, int K, int a_transposed, int b_transposed, int k_per_part)
{
    __shared__ __align__(128) float a_tiles[STAGES][ROWS * FED_DEPTH], b_tiles[STAGES][128 * FED_DEPTH];
    const int m_tiles = (M + ROWS - 1) / ROWS;
    const int m0 = blockIdx.x % m_tiles * ROWS, n0 = blockIdx.x / m_tiles * 128;
    with_gemm_operands(a, b, bias, c, M, N, K, a_transposed, b_transposed, k_per_part,
                       [&](const auto& a, const auto& b, const MatrixResult& result, int first_k, int last_k) {
        auto a_feeder = matrix_feeder<ROWS>(a, m0, first_k);
        auto b_feeder = matrix_feeder<128>(b, n0, first_k);
        const int steps = (last_k - first_k + FED_DEPTH - 1) / FED_DEPTH;
        pipelined_product<Format, ROWS, 128>(a_tiles, b_tiles, a_feeder, b_feeder, result, m0, n0, steps);
    });
}

extern "C" __global__ void __launch_bounds__(128, 4)
gemm_tf32(
    const float* a, const float* b, const float* bias /* or null */, float* c,
    int M, int N, int K, int a_transposed, int b_transposed, int k_per_part)
{
    mma_gemm<Tf32>(a, b, bias, c, M, N, K, a_transposed, b_transposed, k_per_part);
}

extern "C" __global__ void __launch_bounds__(128, 4)
gemm_bf16(
    const float* a, const float* b, const float* bias /* or null */, float* c,
    int M, int N, int K, int a_transposed, int b_transposed, int k_per_part)
{
    mma_gemm<Bf16>(a, b, bias, c, M, N, K, a_transposed, b_transposed, k_per_part);
}

extern "C" __global__ void __launch_bounds__(256)
gemm_tf32_pipeline(
    const float* a, const float* b, const float* bias /* or null */, float* c,
    int M, int N, int K, int a_transposed, int b_transposed, int k_per_part)
{
    pipelined_gemm<Tf32, 128>(a, b, bias, c, M, N, K, a_transposed, b_transposed, k_per_part);
}

extern "C" __global__ void __launch_bounds__(256)
gemm_tf32_pipeline_64(
    const float* a, const float* b, const float* bias /* or null */, float* c,
    int M, int N, int K, int a_transposed, int b_transposed, int k_per_part)
{
    pipelined_gemm<Tf32, 64>(a, b, bias, c, M, N, K, a_transposed, b_transposed, k_per_part);
}

extern "C" __global__ void __launch_bounds__(256)
gemm_bf16_pipeline(
    const float* a, const float* b, const float* bias /* or null */, float* c,
    int M, int N, int K, int a_transposed, int b_transposed, int k_per_part)
{
    pipelined_gemm<Bf16, 128>(a, b, bias, c, M, N, K, a_transposed, b_transposed, k_per_part);
}

extern "C" __global__ void __launch_bounds__(256)
gemm_bf16_pipeline_64(
    const float* a, const float* b, const float* bias /* or null */, float* c,
    int M, int N, int K, int a_transposed, int b_transposed, int k_per_part)
{
    pipelined_gemm<Bf16, 64>(a, b, bias, c, M, N, K, a_transposed, b_transposed, k_per_part);
}
