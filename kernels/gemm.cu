// Matrix product C = A B (+ bias), of which the fully connected layer's three products are made.
//   1  one thread an output; neighbouring threads take neighbouring rows    each writes its own row of C, and reads its
//      of C                                                                 own of A unless that is transposed: 32
//                                                                           requests for a warp
//   2  the same; neighbouring threads take neighbouring columns             they write side by side, and read B so,
//                                                                           unless it is transposed: one request
//   3  tiles of A and B in shared memory (product_tile.cuh)                 a sixteenth of the reads from memory
//   4  8 x 8 outputs a thread in registers, 16-byte loads                   an eighth of the reads from shared
//      (product_tile.cuh)                                                   memory
//   5  tensor cores, TF32 and bf16 (gemm_tensor_core.cu)                    a warp multiplies 16 x 8 x 8 at once
//   6  tensor cores fed by a pipeline of three stages (the same file)       the next tiles arrive meanwhile
//
// a      (M, K), or (K, M) if a_transposed
// b      (K, N), or (N, K) if b_transposed
// bias   (N,) or null
// c      (parts, M, N): part z sums over k from z k_per_part to (z + 1) k_per_part, and add_parts (add_parts.cu) adds
//        the parts; with k_per_part = K there is one, which is C. The bias is added to the first
//
// All contiguous float32, of at most 2^30 values. k_per_part is K or a multiple of 16.
// Launch: z over the parts; rungs 1 and 2 one thread an output; rungs 3 and 4 256 and 64 threads, x over tiles of n
// and y over tiles of m, of 16 x 16 and of 64 x 64.
#include "operands.cuh"
#include "product_tile.cuh"

__device__ float dot(const float* a, const float* b, int m, int n, int M, int N, int K, int a_transposed,
                     int b_transposed, int first_k, int last_k)
{
    float sum = 0.0f;
    for (int k = first_k; k < last_k; k++) {
        sum += (a_transposed ? a[k * M + m] : a[m * K + k]) * (b_transposed ? b[n * K + k] : b[k * N + n]);
    }
    return sum;
}

extern "C" __global__ void gemm(
    const float* a, const float* b, const float* bias /* or null */, float* c,
    int M, int N, int K, int a_transposed, int b_transposed, int k_per_part)
{
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= M * N) return;
    const int m = index % M, n = index / M;
    const int part = blockIdx.z, first_k = part * k_per_part, last_k = min(K, first_k + k_per_part);
    const float sum = dot(a, b, m, n, M, N, K, a_transposed, b_transposed, first_k, last_k);
    c[(part * M + m) * N + n] = bias && part == 0 ? sum + bias[n] : sum;
}

extern "C" __global__ void gemm_coalesced(
    const float* a, const float* b, const float* bias /* or null */, float* c,
    int M, int N, int K, int a_transposed, int b_transposed, int k_per_part)
{
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= M * N) return;
    const int m = index / N, n = index % N;
    const int part = blockIdx.z, first_k = part * k_per_part, last_k = min(K, first_k + k_per_part);
    const float sum = dot(a, b, m, n, M, N, K, a_transposed, b_transposed, first_k, last_k);
    c[(part * M + m) * N + n] = bias && part == 0 ? sum + bias[n] : sum;
}

// Rungs 3 and 4.

extern "C" __global__ void __launch_bounds__(256)
gemm_tile(
    const float* a, const float* b, const float* bias /* or null */, float* c,
    int M, int N, int K, int a_transposed, int b_transposed, int k_per_part)
{
    __shared__ Tile a_tile, b_tile;
    with_gemm_operands(a, b, bias, c, M, N, K, a_transposed, b_transposed, k_per_part,
                       [&](const auto&... operands) { tile_product(a_tile, b_tile, operands...); });
}

extern "C" __global__ void __launch_bounds__(64)
gemm_registers(
    const float* a, const float* b, const float* bias /* or null */, float* c,
    int M, int N, int K, int a_transposed, int b_transposed, int k_per_part)
{
    __shared__ __align__(16) RegisterTile<64> a_tile, b_tile;
    with_gemm_operands(a, b, bias, c, M, N, K, a_transposed, b_transposed, k_per_part,
                       [&](const auto&... operands) { register_product<64, 64>(a_tile, b_tile, operands...); });
}
