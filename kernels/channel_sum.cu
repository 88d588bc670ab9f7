// Sum over a batch of images for each channel: y[c] = the sum over n and pixels of x[n, c, pixel]; a bias's gradient.
//   1  one thread a channel adds everything; right where planes are one pixel, since then neighbours read side by
//      side
//   2  (parts) one block a channel and part of its pixels, whose sums meet in shared memory (reduction.cuh); add_parts
//      (add_parts.cu) adds the parts         neighbouring threads read neighbouring pixels, and the whole device reads
//
// x       (N, C, plane) contiguous, of at most 2^30 values
// y       (C,);  parts (blocks of rung 2 along y, C)
// Rung 1 is launched with C threads, rung 2 with blocks of whole warps, x over the channels and y over the parts.
#include "reduction.cuh"

extern "C" __global__ void channel_sum(const float* x, float* y, int N, int C, int plane)
{
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= C) return;
    float sum = 0.0f;
    for (int n = 0; n < N; n++) {
        for (int pixel = 0; pixel < plane; pixel++) sum += x[(n * C + c) * plane + pixel];
    }
    y[c] = sum;
}

extern "C" __global__ void channel_sum_parts(const float* x, float* parts, int N, int C, int plane)
{
    const int c = blockIdx.x;
    float sum = 0.0f;
    for (int n = 0; n < N; n++) {
        const float* map = x + (n * C + c) * plane;
        for (int pixel = blockIdx.y * blockDim.x + threadIdx.x; pixel < plane; pixel += gridDim.y * blockDim.x) {
            sum += map[pixel];
        }
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) parts[blockIdx.y * C + c] = sum;
}
