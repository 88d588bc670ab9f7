// A header of features.cu: a type, and a device function with shared memory of its own for each way it is used.
#pragma once

template <class First, class Second>
struct Pair {
    First first;
    Second second;
};

extern __shared__ float of_the_file[];

template <class T, int USE>
__device__ __forceinline__ T block_sum(T value)
{
    __shared__ T parts[32];
    parts[threadIdx.x] = value;
    __syncthreads();
    T sum = 0;
#pragma unroll
    for (int i = 0; i < 32; i++) sum += parts[i];
    return sum;
}
