// Tensor cores and asynchronous copies as plain functions: the one file with inline PTX.
//
// Each function is one instruction of a whole warp (mma, ldmatrix: all 32 lanes call it together) or of one thread
// (cp_async, conversions). In the emulator the same names are computed on the CPU. The instructions need sm_80.
//
// Which lane holds what, with group = lane / 4 and member = lane % 4 (PTX ISA, "Matrix fragments for mma"):
//
//     mma_m16n8k8_tf32      a[i]   row group + 8 (i % 2), column member + 4 (i / 2)                  one float each
//                           b[i]   row member + 4 i,      column group
//     mma_m16n8k16_bf16     a[i]   row group + 8 (i % 2), columns 2 member + 8 (i / 2) and the next  two bf16 each,
//                           b[i]   rows 2 member + 8 i and the next, column group                    the first below
//     both                  c[i]   row group + 8 (i / 2), column 2 member + i % 2                    one float each
#pragma once

#ifdef MINISEGNET_EMULATOR

#include "tensor_core.h"

#else

// ------------------------------------------------------------------------------------------------------ conversions

// To TF32 (8 bits of exponent and 10 of fraction, in the upper 19 of 32), the nearest; a tie goes away from zero.
__device__ __forceinline__ unsigned float_to_tf32(float value)
{
    unsigned rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(value));
    return rounded;
}

// Two floats to bf16 (a float's upper half), the nearest, a tie to even; `low` becomes the lower 16 bits.
__device__ __forceinline__ unsigned floats_to_bf16(float low, float high)
{
    unsigned rounded;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(rounded) : "f"(high), "f"(low));
    return rounded;
}

// ------------------------------------------------------------------------------------------------- matrix products

// d = a b + c for a 16 x 8 of TF32, b 8 x 8, c and d 16 x 8 of float; d may be c.
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                                                 const float (&c)[4])
{
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%10, %11, %12, %13};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]),
          "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
}

// d = a b + c for a 16 x 16 of bf16, b 16 x 8, c and d 16 x 8 of float; d may be c.
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                                                  const float (&c)[4])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%10, %11, %12, %13};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]),
          "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
}

// ------------------------------------------------------------------------------------------- out of shared memory

// Four 8 x 8 matrices of 16-bit values: lane l gives the address of row l % 8 (16 bytes, aligned) of matrix l / 8, and
// receives of matrix i, in matrices[i], the two values of row l / 4 that start at column 2 (l % 4).
// A row of 16 bytes may as well be four 32-bit values: then lane l receives the one of row l / 4, column l % 4.
__device__ __forceinline__ void ldmatrix_x4(unsigned (&matrices)[4], const void* row)
{
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
                 : "r"(address)
                 : "memory");
}

// The same, each matrix transposed: lane l receives the values of column l / 4 in rows 2 (l % 4) and the next.
__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&matrices)[4], const void* row)
{
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
                 : "r"(address)
                 : "memory");
}

// ------------------------------------------------------------------------------------------------ into shared memory

// Start copying 16 bytes (both addresses aligned to 16) past the registers and the L1 cache: the first `bytes` of them
// come from `global`, the rest are zeros. With bytes = 0 nothing is read, wherever `global` points.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, int bytes = 16)
{
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(address), "l"(global), "r"(bytes) : "memory");
}

// The same for 4 bytes (both addresses aligned to 4), through the L1 cache.
__device__ __forceinline__ void cp_async_4(void* shared, const void* global, int bytes = 4)
{
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" :: "r"(address), "l"(global), "r"(bytes) : "memory");
}

// Close a group: all copies that this thread started since the last one. A group may be empty.
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Wait until at most the `pending` latest groups of this thread are still on their way. What other threads copied is
// there only after they waited too and all met at __syncthreads.
template <int pending>
__device__ __forceinline__ void cp_async_wait() { asm volatile("cp.async.wait_group %0;" :: "n"(pending) : "memory"); }

#endif
