// Matrix products out of tiles in shared memory: rungs 3 and 4 of every ladder.
//
// C = A B, where A (M, K) and B (K, N) need not be stored anywhere as matrices: an operand tells where each value
// lies. Each operand is seen as rows along k (A's rows are its m, B's rows its n):
//
//     row(r), column(k)         what the row and the column have to say about addresses: worked out once, used often
//     address(row, column)      where that value lies, or null where it is zero: in the padding, or beyond the edges
//     k_contiguous              a constant: are neighbours along k neighbours in memory, or neighbours along the rows?
//     fours                     whether four such neighbours, from a multiple of four, are always one aligned float4
//
// A result has row(m), column(n) and store(row, column, value), which leaves out what lies beyond the edges.
// Blocks: x over tiles of n, y over tiles of m.
#pragma once

__device__ __forceinline__ float value_at(const float* address) { return address ? *address : 0.0f; }

// Rung 3. One thread an output; 16 x 16 threads fetch a tile of A and one of B together, so that each value is read
// from memory once for 16 outputs that need it. Tiles are deeper than wide, so that the threads meet less often.
constexpr int TILE = 16, TILE_DEPTH = 64;                        // along the rows, along k
using Tile = float[TILE_DEPTH][TILE + 1];                        // [k][row]; one more, so that neighbours along k lie
                                                                 // in different banks
template <class A, class B, class Result>
__device__ void tile_product(Tile& a_tile, Tile& b_tile, const A& a, const B& b, const Result& result, int first_k,
                             int last_k)
{
    const int x = threadIdx.x % TILE, y = threadIdx.x / TILE;
    const int m0 = blockIdx.y * TILE, n0 = blockIdx.x * TILE;

    // Neighbouring threads (x) fetch neighbours in memory, whichever way those run.
    const int a_r = A::k_contiguous ? y : x, a_k = A::k_contiguous ? x : y;
    const int b_r = B::k_contiguous ? y : x, b_k = B::k_contiguous ? x : y;
    const auto a_row = a.row(m0 + a_r);
    const auto b_row = b.row(n0 + b_r);

    float sum = 0.0f;
    for (int k0 = first_k; k0 < last_k; k0 += TILE_DEPTH) {
        for (int k = 0; k < TILE_DEPTH; k += TILE) {
            a_tile[k + a_k][a_r] = value_at(a.address(a_row, a.column(k0 + k + a_k)));
            b_tile[k + b_k][b_r] = value_at(b.address(b_row, b.column(k0 + k + b_k)));
        }
        __syncthreads();
        for (int k = 0; k < TILE_DEPTH; k++) sum += a_tile[k][y] * b_tile[k][x];
        __syncthreads();
    }
    result.store(result.row(m0 + y), result.column(n0 + x), sum);
}

// Rung 4. Each thread computes a block of 8 x 8 outputs in registers: 16 values read from shared memory feed 64
// multiply-adds, where rung 3 reads two for one. Memory is read 16 bytes at a time where the operand allows, shared
// memory always.
constexpr int DEPTH = 16;                                        // of a tile along k
constexpr int BLOCK = 8;                                         // outputs of a thread, each way
template <int ROWS>
using RegisterTile = float[DEPTH][ROWS + 4];                     // [k][row]; four more keep each k on 16 bytes, and
                                                                 // spread neighbours along k over the banks

__device__ __forceinline__ float4 four_at(const float* address)
{
    return address ? *reinterpret_cast<const float4*>(address) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}

// One thread's share of fetching tiles [k][row] of an operand: always of the same rows, one tile after another along k.
// At a time it fetches four values: neighbours if the operand lies in fours, by one request; else four that are
// `apart`, so that each of the four requests is for neighbours in the threads.
template <int ROWS, int THREADS, class Operand, bool k_contiguous = Operand::k_contiguous>
struct Fetch;

template <int ROWS, int THREADS, class Operand>
struct Fetch<ROWS, THREADS, Operand, true> {                     // four k of every STEP-th row
    static constexpr int ACROSS = DEPTH / 4, STEP = THREADS / ACROSS, COUNT = ROWS / STEP;
    using Row = decltype(static_cast<const Operand*>(nullptr)->row(0));
    const Operand& operand;
    const int apart, k, r;
    Row rows[COUNT];

    __device__ Fetch(const Operand& operand, int first_row)
        : operand(operand), apart(operand.fours ? 1 : ACROSS), k(threadIdx.x % ACROSS * (operand.fours ? 4 : 1)),
          r(threadIdx.x / ACROSS)
    {
#pragma unroll
        for (int i = 0; i < COUNT; i++) rows[i] = operand.row(first_row + r + i * STEP);
    }
    __device__ __forceinline__ void fetch(RegisterTile<ROWS>& tile, int k0) const
    {
        decltype(operand.column(0)) columns[4];
#pragma unroll
        for (int j = 0; j < 4; j++) columns[j] = operand.column(k0 + k + j * apart);
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            float values[4];
            if (operand.fours) {
                *reinterpret_cast<float4*>(values) = four_at(operand.address(rows[i], columns[0]));
            } else {
#pragma unroll
                for (int j = 0; j < 4; j++) values[j] = value_at(operand.address(rows[i], columns[j]));
            }
#pragma unroll
            for (int j = 0; j < 4; j++) tile[k + j * apart][r + i * STEP] = values[j];
        }
    }
};

template <int ROWS, int THREADS, class Operand>
struct Fetch<ROWS, THREADS, Operand, false> {                    // four rows at every STEP-th k
    static constexpr int ACROSS = ROWS / 4, STEP = THREADS / ACROSS;
    using Row = decltype(static_cast<const Operand*>(nullptr)->row(0));
    const Operand& operand;
    const int apart, k, r;
    Row rows[4];

    __device__ Fetch(const Operand& operand, int first_row)
        : operand(operand), apart(operand.fours ? 1 : ACROSS), k(threadIdx.x / ACROSS),
          r(threadIdx.x % ACROSS * (operand.fours ? 4 : 1))
    {
#pragma unroll
        for (int j = 0; j < 4; j++) rows[j] = operand.row(first_row + r + j * apart);
    }
    __device__ __forceinline__ void fetch(RegisterTile<ROWS>& tile, int k0) const
    {
#pragma unroll
        for (int i = 0; i < DEPTH; i += STEP) {
            const auto column = operand.column(k0 + k + i);
            if (operand.fours) {
                *reinterpret_cast<float4*>(&tile[k + i][r]) = four_at(operand.address(rows[0], column));
            } else {
#pragma unroll
                for (int j = 0; j < 4; j++) tile[k + i][r + j * apart] = value_at(operand.address(rows[j], column));
            }
        }
    }
};

template <int ROWS, int COLUMNS, class A, class B, class Result>
__device__ void register_product(RegisterTile<ROWS>& a_tile, RegisterTile<COLUMNS>& b_tile, const A& a, const B& b,
                                 const Result& result, int first_k, int last_k)
{
    constexpr int THREADS = ROWS / BLOCK * (COLUMNS / BLOCK);
    const int m0 = blockIdx.y * ROWS, n0 = blockIdx.x * COLUMNS;
    const Fetch<ROWS, THREADS, A> a_fetch(a, m0);
    const Fetch<COLUMNS, THREADS, B> b_fetch(b, n0);

    // A thread's rows are two runs of four, half a tile apart, so are its columns: then a warp's float4 reads of
    // b_tile lie side by side, without a conflict.
    const int m = threadIdx.x / (COLUMNS / BLOCK) * 4, n = threadIdx.x % (COLUMNS / BLOCK) * 4;
    float sums[BLOCK][BLOCK] = {};
    for (int k0 = first_k; k0 < last_k; k0 += DEPTH) {
        a_fetch.fetch(a_tile, k0);
        b_fetch.fetch(b_tile, k0);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            float a_values[BLOCK], b_values[BLOCK];
            *reinterpret_cast<float4*>(&a_values[0]) = *reinterpret_cast<const float4*>(&a_tile[k][m]);
            *reinterpret_cast<float4*>(&a_values[4]) = *reinterpret_cast<const float4*>(&a_tile[k][m + ROWS / 2]);
            *reinterpret_cast<float4*>(&b_values[0]) = *reinterpret_cast<const float4*>(&b_tile[k][n]);
            *reinterpret_cast<float4*>(&b_values[4]) = *reinterpret_cast<const float4*>(&b_tile[k][n + COLUMNS / 2]);
#pragma unroll
            for (int i = 0; i < BLOCK; i++) {
#pragma unroll
                for (int j = 0; j < BLOCK; j++) sums[i][j] += a_values[i] * b_values[j];
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int j = 0; j < BLOCK; j++) {
        const auto column = result.column(n0 + n + j % 4 + j / 4 * (COLUMNS / 2));
#pragma unroll
        for (int i = 0; i < BLOCK; i++) {
            result.store(result.row(m0 + m + i % 4 + i / 4 * (ROWS / 2)), column, sums[i][j]);
        }
    }
}
