// The instructions of kernels/tensor_core.cuh, computed on the CPU: lanes bring their fragments, one computes for all.
//
// Fragments are laid out as the PTX ISA says ("Matrix fragments for mma" and "ldmatrix"). Inputs have the precision that
// the instruction gives them (TF32 reads the upper 19 bits of 32, bf16 is a float's upper half); sums are float.
#pragma once
#include "machine_interface.h"

namespace emulator {

inline float float_of_bits(uint32_t bits)
{
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}
inline uint32_t bits_of_float(float value)
{
    uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}

struct Tf32 {
    static constexpr int DEPTH = 8;                             // k of one instruction
    static constexpr int VALUES = 1;                            // in a register of 32 bits
    EMULATOR_UNCHECKED static float value(uint32_t bits, int) { return float_of_bits(bits & 0xffffe000u); }
};
struct Bf16 {
    static constexpr int DEPTH = 16;
    static constexpr int VALUES = 2;
    EMULATOR_UNCHECKED static float value(uint32_t bits, int which)
    {
        return float_of_bits(which ? bits & 0xffff0000u : bits << 16);
    }
};

struct Fragments {                                              // of one lane
    const unsigned *a, *b;
    const float* c;
    float d[4];
};

// d = a b + c of a whole warp. Lane l holds, with group = l / 4 and member = l % 4, rows group and group + 8 of a, c and d,
// and column group of b.
template <class Number>
EMULATOR_UNCHECKED void multiply(void** parcels, unsigned)
{
    constexpr int M = 16, N = 8, K = Number::DEPTH, VALUES = Number::VALUES;
    float a[M][K], b[K][N], d[M][N];
    for (int lane = 0; lane < 32; lane++) {
        const Fragments& mine = *static_cast<Fragments*>(parcels[lane]);
        const int group = lane / 4, member = lane % 4;
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < VALUES; j++)
                a[group + 8 * (i % 2)][VALUES * member + K / 2 * (i / 2) + j] = Number::value(mine.a[i], j);
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < VALUES; j++)
                b[VALUES * member + K / 2 * i + j][group] = Number::value(mine.b[i], j);
        for (int i = 0; i < 4; i++) d[group + 8 * (i / 2)][2 * member + i % 2] = mine.c[i];
    }
    for (int m = 0; m < M; m++)
        for (int k = 0; k < K; k++)
            for (int n = 0; n < N; n++) d[m][n] += a[m][k] * b[k][n];
    for (int lane = 0; lane < 32; lane++) {
        Fragments& mine = *static_cast<Fragments*>(parcels[lane]);
        const int group = lane / 4, member = lane % 4;
        for (int i = 0; i < 4; i++) mine.d[i] = d[group + 8 * (i / 2)][2 * member + i % 2];
    }
}

template <class Number>
EMULATOR_UNCHECKED inline void matrix_product(float (&d)[4], const unsigned* a, const unsigned* b, const float* c,
                                              const char* name, Place place)
{
    Fragments fragments{a, b, c, {}};
    meet_all(&fragments, multiply<Number>, name, place);
    for (int i = 0; i < 4; i++) d[i] = fragments.d[i];
}

struct MatrixRows {                                             // of one lane
    const void* row;
    unsigned* matrices;
    Place place;
};

template <bool transposed>
EMULATOR_UNCHECKED void load_matrices(void** parcels, unsigned)
{
    for (int matrix = 0; matrix < 4; matrix++) {
        uint16_t values[8][8];
        for (int row = 0; row < 8; row++) {
            const auto& giver = *static_cast<MatrixRows*>(parcels[8 * matrix + row]);
            note_lane(8 * matrix + row, giver.row, 16, Access::read, giver.place);
            __builtin_memcpy(values[row], giver.row, 16);
        }
        for (int lane = 0; lane < 32; lane++) {
            const int group = lane / 4, first = 2 * (lane % 4);
            const uint32_t low = transposed ? values[first][group] : values[group][first];
            const uint32_t high = transposed ? values[first + 1][group] : values[group][first + 1];
            static_cast<MatrixRows*>(parcels[lane])->matrices[matrix] = low | high << 16;
        }
    }
}

}  // namespace emulator

// To TF32 (8 bits of exponent and 10 of fraction, in the upper 19 of 32), the nearest; a tie goes away from zero.
EMULATOR_UNCHECKED inline unsigned float_to_tf32(float value)
{
    const unsigned bits = emulator::bits_of_float(value);
    if ((bits & 0x7f800000u) == 0x7f800000u) return bits & 0x007fffffu ? 0x7fffe000u : bits;      // NaN, infinity
    return (bits + 0x1000u) & 0xffffe000u;
}

// Two floats to bf16 (a float's upper half), the nearest, a tie to even; `low` becomes the lower 16 bits.
EMULATOR_UNCHECKED inline unsigned floats_to_bf16(float low, float high)
{
    unsigned halves[2];
    for (int i = 0; i < 2; i++) {
        const unsigned bits = emulator::bits_of_float(i ? high : low);
        const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
        halves[i] = nan ? 0x7fffu : (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    }
    return halves[0] | halves[1] << 16;
}

// d = a b + c for a 16 x 8 of TF32, b 8 x 8, c and d 16 x 8 of float; d may be c.
inline void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const float (&c)[4],
                             EMULATOR_CALLER)
{
    emulator::matrix_product<emulator::Tf32>(d, a, b, c, "mma_m16n8k8_tf32", {file, line});
}

// d = a b + c for a 16 x 16 of bf16, b 16 x 8, c and d 16 x 8 of float; d may be c.
inline void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const float (&c)[4],
                              EMULATOR_CALLER)
{
    emulator::matrix_product<emulator::Bf16>(d, a, b, c, "mma_m16n8k16_bf16", {file, line});
}

// Four 8 x 8 matrices of 16-bit values out of shared memory: lane l gives the address of row l % 8 of matrix l / 8.
inline void ldmatrix_x4(unsigned (&matrices)[4], const void* row, EMULATOR_CALLER)
{
    emulator::MatrixRows rows{row, matrices, {file, line}};
    emulator::meet_all(&rows, emulator::load_matrices<false>, "ldmatrix_x4", {file, line});
}

// The same, each matrix transposed.
inline void ldmatrix_x4_trans(unsigned (&matrices)[4], const void* row, EMULATOR_CALLER)
{
    emulator::MatrixRows rows{row, matrices, {file, line}};
    emulator::meet_all(&rows, emulator::load_matrices<true>, "ldmatrix_x4_trans", {file, line});
}

// Start copying 16 (4) bytes into shared memory: the first `bytes` come from `global`, the rest are zeros.
inline void cp_async_16(void* shared, const void* global, int bytes = 16, EMULATOR_CALLER)
{
    emulator::copy_async(shared, global, 16, bytes, {file, line});
}
inline void cp_async_4(void* shared, const void* global, int bytes = 4, EMULATOR_CALLER)
{
    emulator::copy_async(shared, global, 4, bytes, {file, line});
}

// Close a group: all copies that this thread started since the last one.
inline void cp_async_commit() { emulator::commit_copies(); }

// Wait until at most the `pending` latest groups of this thread are still on their way.
template <int pending>
inline void cp_async_wait()
{
    emulator::wait_for_copies(pending);
}
