// Matrix products on the tensor cores: rung 5 of every ladder; operands and results as in product_tile.cuh.
//
// A warp's 32 threads hold small matrices together and multiply them with one instruction, 1024 multiply-adds in TF32
// and 2048 in bf16, where 32 threads otherwise do 32. The operands lose digits: TF32 keeps 10 of a float's 23 bits of
// fraction, bf16 7; sums are float32. A value of TF32 is a 32-bit word; of bf16 two neighbours along k make a word.
// In words both look the same: an instruction takes 16 rows of A and 8 of B, 8 words long.
//
// needs: sm_80
#pragma once
#include "product_tile.cuh"
#include "tensor_core.cuh"

struct Tf32 {
    static constexpr int PER_WORD = 1;
    static __device__ __forceinline__ unsigned word(const float (&values)[1]) { return float_to_tf32(values[0]); }
    static __device__ __forceinline__ void multiply_add(float (&sums)[4], const unsigned (&a)[4],
                                                        const unsigned (&b)[2])
    {
        mma_m16n8k8_tf32(sums, a, b, sums);
    }
};

struct Bf16 {
    static constexpr int PER_WORD = 2;
    static __device__ __forceinline__ unsigned word(const float (&values)[2])
    {
        return floats_to_bf16(values[0], values[1]);
    }
    static __device__ __forceinline__ void multiply_add(float (&sums)[4], const unsigned (&a)[4],
                                                        const unsigned (&b)[2])
    {
        mma_m16n8k16_bf16(sums, a, b, sums);
    }
};

// A block of 4 warps computes 64 x 64 outputs, each warp 32 x 32, which is 2 x 4 instructions. Its kernel says
// __launch_bounds__(128, 4), four blocks on a multiprocessor: left alone, the compiler aims at eight, and spills.
constexpr int MMA_ROWS = 64, MMA_THREADS = 128, MMA_WORDS = 16;
using MmaTile = unsigned[MMA_ROWS][MMA_WORDS];                   // [row][word along k]

// Fetch this thread's words of a tile and round them; neighbouring threads fetch neighbours in memory.
template <class Format, class Operand>
__device__ __forceinline__ void fetch_words(MmaTile& tile, const Operand& operand, int first_row, int k0)
{
    constexpr int ACROSS = Operand::k_contiguous ? MMA_WORDS : MMA_ROWS;     // threads along what is contiguous
    for (int i = threadIdx.x / ACROSS; i < MMA_ROWS * MMA_WORDS / ACROSS; i += MMA_THREADS / ACROSS) {
        const int r = Operand::k_contiguous ? i : threadIdx.x % ACROSS;
        const int word = Operand::k_contiguous ? threadIdx.x % ACROSS : i;
        const auto row = operand.row(first_row + r);
        float values[Format::PER_WORD];
#pragma unroll
        for (int j = 0; j < Format::PER_WORD; j++) {
            values[j] = value_at(operand.address(row, operand.column(k0 + word * Format::PER_WORD + j)));
        }
        tile[r][word] = Format::word(values);
    }
}

template <class Format, class A, class B, class Result>
__device__ void mma_product(MmaTile& a_tile, MmaTile& b_tile, const A& a, const B& b, const Result& result, int first_k,
                            int last_k)
{
    const int m0 = blockIdx.y * MMA_ROWS, n0 = blockIdx.x * MMA_ROWS;
    const int warp = threadIdx.x / 32, group = threadIdx.x % 32 / 4, member = threadIdx.x % 4;   // see tensor_core.cuh
    const int warp_m = warp / 2 * 32, warp_n = warp % 2 * 32;
    float sums[2][4][4] = {};
    for (int k0 = first_k; k0 < last_k; k0 += MMA_WORDS * Format::PER_WORD) {
        fetch_words<Format>(a_tile, a, m0, k0);
        fetch_words<Format>(b_tile, b, n0, k0);
        __syncthreads();
#pragma unroll
        for (int word = 0; word < MMA_WORDS; word += 8) {
            unsigned a_words[2][4], b_words[4][2];
#pragma unroll
            for (int i = 0; i < 2; i++) {
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    a_words[i][j] = a_tile[warp_m + i * 16 + group + j % 2 * 8][word + member + j / 2 * 4];
                }
            }
#pragma unroll
            for (int i = 0; i < 4; i++) {
#pragma unroll
                for (int j = 0; j < 2; j++) b_words[i][j] = b_tile[warp_n + i * 8 + group][word + member + j * 4];
            }
#pragma unroll
            for (int i = 0; i < 2; i++) {
#pragma unroll
                for (int j = 0; j < 4; j++) Format::multiply_add(sums[i][j], a_words[i], b_words[j]);
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const auto column = result.column(n0 + warp_n + j * 8 + member * 2 + half);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const auto row = result.row(m0 + warp_m + i / 2 * 16 + i % 2 * 8 + group);
                result.store(row, column, sums[i / 2][j][i % 2 * 2 + half]);
            }
        }
    }
}
