// Smooth L1: d^2 / (2 beta) where d = |x - target| is below beta, else d - beta / 2; backward: dx = dy times
// (x - target) / beta, held to [-1, 1].
//   1  one thread a value, which writes its loss; to be reduced, the losses are read again by sum.cu
//   2  (parts) many blocks, each leaving the sum of its values' losses in `parts`, which sum.cu adds
//                                                     the losses of single values are neither written nor read again
//
// x, target, loss, dx   any shape, contiguous; count values, at most 2^30
// dy   one value a loss with dy_step = 1, or a single one with dy_step = 0
// Rung 1 and backward are launched with count threads, rung 2 with any number of blocks of whole warps.

#include "reduction.cuh"

__device__ float loss_of(float x, float target, float beta)
{
    const float distance = fabsf(x - target);
    return distance < beta ? distance * distance / (2.0f * beta) : distance - beta / 2.0f;
}

extern "C" __global__ void smooth_l1_forward(const float* x, const float* target, float* loss, float beta, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    loss[i] = loss_of(x[i], target[i], beta);
}

// scale   what the reduction multiplies every loss by
extern "C" __global__ void smooth_l1_backward(const float* dy, int dy_step, float scale,
                                              const float* x, const float* target, float* dx, float beta, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const float slope = (x[i] - target[i]) / beta;   // held by comparing, so that NaN stays NaN
    dx[i] = (slope > 1.0f ? 1.0f : slope < -1.0f ? -1.0f : slope) * (dy[dy_step * i] * scale);
}

// Rung 2.

extern "C" __global__ void smooth_l1_parts(const float* x, const float* target, float* parts, float beta, int count)
{
    float total = 0.0f;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x)
        total += loss_of(x[i], target[i], beta);
    total = block_sum(total);
    if (threadIdx.x == 0) parts[blockIdx.x] = total;
}
