// Binary cross-entropy of logits x and targets t: weight (max(x, 0) - x t + log(1 + exp(-|x|))), which overflows
// nowhere; backward: dlogits = weight (sigmoid(x) - t) dy.
//   1  one thread a value, which writes its loss; to be reduced, the losses are read again by sum.cu
//   2  (parts) many blocks, each leaving the sum of its values' losses in `parts`, which sum.cu adds
//                                                     the losses of single values are neither written nor read again
//
// logits, targets, weight (or null, for 1), loss, dlogits   any shape, contiguous; count values, at most 2^30
// dy   one value a loss with dy_step = 1, or a single one with dy_step = 0
// Rung 1 and backward are launched with count threads, rung 2 with any number of blocks of whole warps.

#include "reduction.cuh"

__device__ float loss_of(float x, float t, const float* weight, int i)
{
    const float loss = (x > 0.0f ? x : 0.0f) - x * t + log1pf(expf(-fabsf(x)));
    return weight ? weight[i] * loss : loss;
}

extern "C" __global__ void binary_cross_entropy_with_logits_forward(const float* logits, const float* targets,
                                                                    const float* weight /* or null */,
                                                                    float* loss, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    loss[i] = loss_of(logits[i], targets[i], weight, i);
}

// scale   what the reduction multiplies every loss by
extern "C" __global__ void binary_cross_entropy_with_logits_backward(const float* dy, int dy_step, float scale,
                                                                     const float* logits, const float* targets,
                                                                     const float* weight /* or null */,
                                                                     float* dlogits, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const float x = logits[i], small = expf(-fabsf(x));
    const float slope = (x >= 0.0f ? 1.0f : small) / (1.0f + small) - targets[i];
    dlogits[i] = slope * (weight ? weight[i] : 1.0f) * (dy[dy_step * i] * scale);
}

// Rung 2.

extern "C" __global__ void binary_cross_entropy_with_logits_parts(const float* logits, const float* targets,
                                                                  const float* weight /* or null */,
                                                                  float* parts, int count)
{
    float total = 0.0f;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x)
        total += loss_of(logits[i], targets[i], weight, i);
    total = block_sum(total);
    if (threadIdx.x == 0) parts[blockIdx.x] = total;
}
