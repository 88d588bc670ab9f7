// Makes a .cu file a C++ file: what the CUDA compiler knows without any header. It is included before the first line.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <utility>

#include "machine_interface.h"

#define MINISEGNET_EMULATOR
#define __CUDA_ARCH__ 900                                        // stands for the largest device whose features there are

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
#define __grid_constant__

#define threadIdx (emulator::here().thread_index)
#define blockIdx (emulator::here().block_index)
#define blockDim (emulator::here().block_size)
#define gridDim (emulator::here().grid_size)
constexpr int warpSize = 32;

#include "arithmetic.h"
#include "atomics.h"
#include "shared_memory.h"
#include "warp.h"

inline void __syncthreads(EMULATOR_CALLER) { emulator::sync_block(1, {file, line}); }
inline int __syncthreads_or(int predicate, EMULATOR_CALLER)
{
    emulator::sync_block(predicate, {file, line});
    return emulator::here().votes.in_favour > 0;
}
inline int __syncthreads_and(int predicate, EMULATOR_CALLER)
{
    emulator::sync_block(predicate, {file, line});
    return emulator::here().votes.in_favour == emulator::here().votes.all;
}
inline int __syncthreads_count(int predicate, EMULATOR_CALLER)
{
    emulator::sync_block(predicate, {file, line});
    return emulator::here().votes.in_favour;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, EMULATOR_CALLER) { emulator::sync_warp(mask, {file, line}); }

inline void __threadfence() { emulator::fence(); }
inline void __threadfence_block() { emulator::fence(); }
inline void __threadfence_system() { emulator::fence(); }
inline void __nanosleep(unsigned) { emulator::breathe(); }

inline void __trap(EMULATOR_CALLER) { emulator::fail({file, line}, "the kernel called __trap()"); }
inline void emulator_assertion_failed(const char* condition, EMULATOR_CALLER)
{
    emulator::fail({file, line}, "assertion failed: %s", condition);
}
#undef assert
#define assert(condition) ((condition) ? void() : emulator_assertion_failed(#condition))
#define printf emulator::print
