// Sums over the threads of a warp and of a block, always in the same order, so that a result never changes by a bit.
//
// The threads of a warp hand numbers to one another by shuffles, through no memory at all: each adds what the thread 16
// lanes away holds, then 8, 4, 2 and 1, after which all of them hold the sum of the 32. The warps' sums meet in shared
// memory, where every warp adds them up for itself.
#pragma once

constexpr unsigned ALL_LANES = 0xffffffffu;

__device__ inline float warp_sum(float value)
{
    for (int distance = 16; distance > 0; distance /= 2)
        value += __shfl_xor_sync(ALL_LANES, value, distance);
    return value;
}

__device__ inline float warp_max(float value)
{
    for (int distance = 16; distance > 0; distance /= 2)
        value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, distance));
    return value;
}

// The sum over a block of whole warps, in every thread of it; all of them must call.
__device__ inline float block_sum(float value)
{
    __shared__ float sums[32];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    value = warp_sum(value);
    if (lane == 0) sums[warp] = value;
    __syncthreads();
    value = warp_sum(lane < warps ? sums[lane] : 0.0f);
    __syncthreads();                                 // nobody may still read when the next sum is written
    return value;
}
