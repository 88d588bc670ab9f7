// Sum of all values, times a factor: y[0] = factor * (x[0] + x[1] + ...): how a loss becomes one number.
//   1  one thread adds all values, one after another: the rest of the device waits, and rounding errors pile up
//   2  (block) one block: each of its threads adds every 256th value, then the threads' sums are added in pairs, of
//      pairs, ... by shuffles and shared memory (reduction.cuh)         256 reads under way at once; errors of a tree
//   3  (parts) many blocks, each leaving its own sum in `parts`; rung 2 then adds the parts     the whole device reads
//
// No atomics: their order, and with it the last bits of the sum, would change from run to run.
//
// x   any shape, contiguous; count values, at most 2^30
// y   1 value; parts   one value a block of rung 3
// Rung 1 is launched with one thread, rung 2 with one block of whole warps, rung 3 with any number of such blocks.

#include "reduction.cuh"

extern "C" __global__ void sum(const float* x, float* y, float factor, int count)
{
    float total = 0.0f;
    for (int i = 0; i < count; i++) total += x[i];
    y[0] = factor * total;
}

extern "C" __global__ void sum_block(const float* x, float* y, float factor, int count)
{
    float total = 0.0f;
    for (int i = threadIdx.x; i < count; i += blockDim.x) total += x[i];
    total = block_sum(total);
    if (threadIdx.x == 0) y[0] = factor * total;
}

extern "C" __global__ void sum_parts(const float* x, float* parts, int count)
{
    float total = 0.0f;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) total += x[i];
    total = block_sum(total);
    if (threadIdx.x == 0) parts[blockIdx.x] = total;
}
