// Matrix products on the tensor cores, fed by a pipeline: rung 6 of every ladder.
//
// Three pairs of tiles lie in shared memory. While the tensor cores work on one, the next two are on their way there,
// copied by the memory system itself (cp.async): no thread waits for memory and none spends registers on it. So the
// values arrive as they are, in float32, and are rounded when they are read out of the tile.
//
// Every access to shared memory is free of bank conflicts: the 16-byte units of a tile are swizzled, that is stored
// at their place exclusive-or a number made of their row. Nothing is wasted on padding, and the three pairs take 48
// KiB at most, which every device grants.
//
// An operand is copied by a feeder: `feed(tile)` starts this thread's copies of the next tile along k, in the layout
// Tile. A result is as in product_tile.cuh and may in addition take two neighbouring columns at once.
//
// needs: sm_80
#pragma once
#include "product_mma.cuh"

constexpr int STAGES = 3;
constexpr int FED_DEPTH = 16;                                    // of a tile along k
constexpr int FED_THREADS = 256;                                 // 2 x 4 warps

// ------------------------------------------------------------------------------------------------ layouts of a tile
//
// Each has readers, which hold what a lane needs to know of its places, worked out before the loop: within it every
// address is one of these numbers, exclusive-or or plus a constant. All rows and k that the readers are asked for are
// multiples of eight.

__device__ __forceinline__ int lane_of_warp() { return threadIdx.x % 32; }
__device__ __forceinline__ int group_of_lane() { return threadIdx.x % 32 / 4; }              // see tensor_core.cuh
__device__ __forceinline__ int member_of_group() { return threadIdx.x % 4; }

// [row][k]: 64 bytes a row, four units of 16. Eight rows of one unit (ldmatrix) fill the 32 banks once, and so do
// four rows of two units (float2).
template <int ROWS_>
struct RowsOfK {
    static constexpr int ROWS = ROWS_, PER_ROW = FED_DEPTH;      // values from row to row

    static __device__ __forceinline__ int at(int row, int k)
    {
        const int swizzle = (row & 2) | (row >> 2 & 1);
        return row * FED_DEPTH + ((k >> 2 ^ swizzle) << 2) + (k & 3);
    }
    // From what a lane reads for row 0 and k 0, to what it reads for others.
    static __device__ __forceinline__ int moved(int offset, int row, int k) { return (offset ^ k) + row * FED_DEPTH; }

    template <class Format, bool rounded>
    struct Reader;

    template <bool rounded>
    struct Reader<Tf32, rounded> {
        int a_offset, b_offset;

        __device__ Reader()
            : a_offset(at(lane_of_warp() % 16, lane_of_warp() / 16 * 4)),
              b_offset(at(lane_of_warp() % 8 + lane_of_warp() / 16 * 8, lane_of_warp() / 8 % 2 * 4))
        {
        }
        // The words of A for 16 rows.
        __device__ __forceinline__ void a_words(unsigned (&words)[4], const float* tile, int row, int k) const
        {
            ldmatrix_x4(words, tile + moved(a_offset, row, k));
#pragma unroll
            for (int i = 0; i < 4 && !rounded; i++) words[i] = float_to_tf32(__uint_as_float(words[i]));
        }
        // The words of B for 8 rows and the next 8.
        __device__ __forceinline__ void b_words(unsigned (&words)[2][2], const float* tile, int row, int k) const
        {
            unsigned four[4];
            ldmatrix_x4(four, tile + moved(b_offset, row, k));
#pragma unroll
            for (int i = 0; i < 4; i++) words[i / 2][i % 2] = float_to_tf32(__uint_as_float(four[i]));
        }
    };

    template <bool rounded>
    struct Reader<Bf16, rounded> {
        int offset;

        __device__ Reader() : offset(at(group_of_lane(), member_of_group() * 2)) {}
        __device__ __forceinline__ unsigned word(const float* tile, int row, int k) const
        {
            const float2 two = *reinterpret_cast<const float2*>(tile + moved(offset, row, k));
            return floats_to_bf16(two.x, two.y);
        }
        __device__ __forceinline__ void a_words(unsigned (&words)[4], const float* tile, int row, int k) const
        {
#pragma unroll
            for (int i = 0; i < 4; i++) words[i] = word(tile, row + i % 2 * 8, k + i / 2 * 8);
        }
        __device__ __forceinline__ void b_words(unsigned (&words)[2][2], const float* tile, int row, int k) const
        {
#pragma unroll
            for (int i = 0; i < 4; i++) words[i / 2][i % 2] = word(tile, row + i / 2 * 8, k + i % 2 * 8);
        }
    };
};

// [k][row]: eight rows at four k, neighbouring (TF32) or every other (bf16), fill the 32 banks once.
template <int ROWS_>
struct KOfRows {
    static constexpr int ROWS = ROWS_, PER_ROW = 1;

    static constexpr __device__ __forceinline__ int swizzle(int k) { return (k & 3) ^ (k >> 2 & 1); }
    static __device__ __forceinline__ int at(int row, int k) { return k * ROWS + (row ^ swizzle(k) << 3); }

    template <class Format, bool rounded>
    struct Reader {
        int offsets[4];                                          // for the lane's first k, and rows 0, 8, 16 and 24

        __device__ Reader()
        {
            const int k = member_of_group() * Format::PER_WORD;
#pragma unroll
            for (int i = 0; i < 4; i++) offsets[i] = at(i * 8 + group_of_lane(), k);
        }
        __device__ __forceinline__ unsigned word(const float* tile, int row, int k) const
        {
            float values[Format::PER_WORD];
#pragma unroll
            for (int j = 0; j < Format::PER_WORD; j++) {         // swizzle(own k + k) is the exclusive-or of both
                values[j] = tile[offsets[(row / 8 ^ swizzle(k + j)) % 4] + row / 32 * 32 + (k + j) * ROWS];
            }
            return Format::word(values);
        }
        __device__ __forceinline__ void a_words(unsigned (&words)[4], const float* tile, int row, int k) const
        {
#pragma unroll
            for (int i = 0; i < 4; i++) words[i] = word(tile, row + i % 2 * 8, k + i / 2 * 4 * Format::PER_WORD);
        }
        __device__ __forceinline__ void b_words(unsigned (&words)[2][2], const float* tile, int row, int k) const
        {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                words[i / 2][i % 2] = word(tile, row + i / 2 * 8, k + i % 2 * 4 * Format::PER_WORD);
            }
        }
    };
};

// --------------------------------------------------------------------------------------------------------- feeding

// Start copying four neighbours, of which the first `count` are there (any number below 1 for none), and zeros for
// the rest.
__device__ __forceinline__ void feed_four(float* slot, const float* first, int count, bool fours)
{
    if (fours) {
        cp_async_16(slot, first, count > 0 ? 16 : 0);
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++) cp_async_4(slot + i, first + i, i < count ? 4 : 0);
    }
}

// Feeds a matrix that is stored as one (see Matrix in operands.cuh): a thread copies four neighbours ...
template <bool contiguous_along_k, int ROWS>
struct MatrixFeeder;

// ... along k, of every STEP-th row;
template <int ROWS>
struct MatrixFeeder<true, ROWS> {
    static constexpr bool rounded = false;
    using Tile = RowsOfK<ROWS>;
    static constexpr int ACROSS = FED_DEPTH / 4, STEP = FED_THREADS / ACROSS;
    const Matrix<true>& matrix;
    const int row, slot;
    int k;

    __device__ MatrixFeeder(const Matrix<true>& matrix, int first_row, int first_k)
        : matrix(matrix), row(first_row + threadIdx.x / ACROSS),
          slot(Tile::at(threadIdx.x / ACROSS, threadIdx.x % ACROSS * 4)), k(first_k + threadIdx.x % ACROSS * 4)
    {
    }
    __device__ __forceinline__ void feed(float* tile)
    {
#pragma unroll
        for (int i = 0; i < ROWS; i += STEP) {
            feed_four(tile + (slot + i * FED_DEPTH), matrix.values + (row + i) * matrix.stride + k,
                      row + i < matrix.rows ? matrix.last_k - k : 0, matrix.fours);
        }
        k += FED_DEPTH;
    }
};

// ... or along the rows, at every STEP-th k.
template <int ROWS>
struct MatrixFeeder<false, ROWS> {
    static constexpr bool rounded = false;
    using Tile = KOfRows<ROWS>;
    static constexpr int ACROSS = ROWS / 4, STEP = FED_THREADS / ACROSS;
    const Matrix<false>& matrix;
    const int row;
    int k;

    __device__ MatrixFeeder(const Matrix<false>& matrix, int first_row, int first_k)
        : matrix(matrix), row(first_row + threadIdx.x % ACROSS * 4), k(first_k + threadIdx.x / ACROSS)
    {
    }
    __device__ __forceinline__ void feed(float* tile)
    {
#pragma unroll
        for (int i = 0; i < FED_DEPTH; i += STEP) {
            feed_four(tile + Tile::at(threadIdx.x % ACROSS * 4, threadIdx.x / ACROSS + i),
                      matrix.values + (k + i) * matrix.stride + row, k + i < matrix.last_k ? matrix.rows - row : 0,
                      matrix.fours);
        }
        k += FED_DEPTH;
    }
};

template <int ROWS, bool contiguous_along_k>
__device__ __forceinline__ MatrixFeeder<contiguous_along_k, ROWS> matrix_feeder(
    const Matrix<contiguous_along_k>& matrix, int first_row, int first_k)
{
    return {matrix, first_row, first_k};
}

// ----------------------------------------------------------------------------------------------------- the pipeline

// The part of C from (m0, n0) on, ROWS x COLUMNS, in `steps` tiles along k. 2 x 4 warps share it, each with ROWS / 2 x
// COLUMNS / 4.
template <class Format, int ROWS, int COLUMNS, class A, class B, class Result>
__device__ __forceinline__ void pipelined_product(float (*a_tiles)[ROWS * FED_DEPTH],
                                                  float (*b_tiles)[COLUMNS * FED_DEPTH], A& a, B& b,
                                                  const Result& result, int m0, int n0, int steps)
{
    constexpr int M_TILES = ROWS / 2 / 16, N_TILES = COLUMNS / 4 / 8;
    const int warp = threadIdx.x / 32, warp_m = warp / 4 * (ROWS / 2), warp_n = warp % 4 * (COLUMNS / 4);
    const typename A::Tile::template Reader<Format, A::rounded> a_reader;
    const typename B::Tile::template Reader<Format, B::rounded> b_reader;

    // Each step has one group of copies, empty beyond the last step, so that waiting for a step is counting groups.
#pragma unroll
    for (int step = 0; step < STAGES - 1; step++) {
        if (step < steps) {
            a.feed(a_tiles[step]);
            b.feed(b_tiles[step]);
        }
        cp_async_commit();
    }

    float sums[M_TILES][N_TILES][4] = {};
    int now = 0, next = STAGES - 1;                              // stages
    for (int step = 0; step < steps; step++) {
        cp_async_wait<STAGES - 2>();                             // this thread's share of the step's tiles is here;
        __syncthreads();                                         // now all is, and the tiles before are free
        if (step + STAGES - 1 < steps) {
            a.feed(a_tiles[next]);
            b.feed(b_tiles[next]);
        }
        cp_async_commit();
#pragma unroll
        for (int k = 0; k < FED_DEPTH; k += 8 * Format::PER_WORD) {
            unsigned a_words[M_TILES][4], b_words[N_TILES / 2][2][2];
#pragma unroll
            for (int i = 0; i < M_TILES; i++) {
                a_reader.a_words(a_words[i], a_tiles[now] + warp_m * A::Tile::PER_ROW, i * 16, k);
            }
#pragma unroll
            for (int j = 0; j < N_TILES / 2; j++) {
                b_reader.b_words(b_words[j], b_tiles[now] + warp_n * B::Tile::PER_ROW, j * 16, k);
            }
#pragma unroll
            for (int i = 0; i < M_TILES; i++) {
#pragma unroll
                for (int j = 0; j < N_TILES; j++) Format::multiply_add(sums[i][j], a_words[i], b_words[j / 2][j % 2]);
            }
        }
        now = now + 1 < STAGES ? now + 1 : 0;
        next = next + 1 < STAGES ? next + 1 : 0;
    }

#pragma unroll
    for (int j = 0; j < N_TILES; j++) {
        const int n = n0 + warp_n + j * 8 + member_of_group() * 2;
        const auto first = result.column(n), second = result.column(n + 1);
#pragma unroll
        for (int i = 0; i < M_TILES * 2; i++) {
            const auto row = result.row(m0 + warp_m + i * 8 + group_of_lane());
            const float *two = &sums[i / 2][j][i % 2 * 2];
            if (result.twos) {
                result.store_two(row, first, make_float2(two[0], two[1]));
            } else {
                result.store(row, first, two[0]);
                result.store(row, second, two[1]);
            }
        }
    }
}
