// Cross-entropy of the softmax: weight (log sum exp(logits) - logits[label]) at each pixel, summed or averaged;
// backward: dlogits = weight (softmax - one hot) dy.
//   1  one thread a pixel, which looks for its largest logit, sums, and writes its loss; to be reduced, losses and
//      weights are read again by one block
//   2  (parts) many blocks, each leaving the sums of its pixels' losses and weights; largest logit and sum are found in
//      one pass: when a larger logit turns up, the sum so far shrinks with it
//                                     the logits are read once, and the losses are neither written nor read again
//
// The forward pass keeps three numbers a pixel instead of a probability a class; from them the backward pass, one
// thread a pixel, makes the probabilities again. Neighbouring threads read neighbouring pixels of one class.
// Nothing is copied to the host: a label outside the classes makes the loss NaN, weighs nothing on the way back, and
// leaves its place in `stray`, which the host may read when it reads the loss.
//
// logits, dlogits            (N, classes, plane) contiguous; pixels = N plane, at most 2^30 values in all
// labels, pixel_weight       (N, plane)          pixel_weight may be null, for 1; so may class_weight (classes,)
// weight, largest, total     (N, plane)          what a pixel counts, its largest logit, the sum of its exponentials
// stray                      1 value: 0, or `pixels` less the place of the first label outside the classes
// dy                         one value a pixel with dy_step = 1, or a single one with dy_step = 0
// Rung 1 and backward are launched with a thread a pixel, rung 2 with any number of blocks of whole warps.

#include "reduction.cuh"

constexpr float LOWEST = -3.402823466e38f;           // the lowest float: minus infinity less itself would be NaN

struct Softmax { float largest, total; };

// The values of a pixel's classes are `plane` apart.
__device__ Softmax softmax_in_two_passes(const float* logits, int classes, int plane)
{
    Softmax of = {LOWEST, 0.0f};
    for (int c = 0; c < classes; c++) of.largest = fmaxf(of.largest, logits[c * plane]);
    for (int c = 0; c < classes; c++) of.total += expf(logits[c * plane] - of.largest);
    return of;
}

__device__ Softmax softmax_online(const float* logits, int classes, int plane)
{
    Softmax of = {LOWEST, 0.0f};
    for (int c = 0; c < classes; c++) {
        const float logit = logits[c * plane], before = of.largest;
        of.largest = fmaxf(of.largest, logit);
        of.total = of.total * expf(before - of.largest) + expf(logit - of.largest);
    }
    return of;
}

__device__ const float* first_class(const float* logits, int pixel, int classes, int plane)
{
    return logits + pixel / plane * classes * plane + pixel % plane;
}

// What a pixel weighs: 0 where its label is to be ignored or is no class.
__device__ float weight_of(int pixel, int label, const float* class_weight, const float* pixel_weight,
                           int ignore_index, int classes)
{
    if (label == ignore_index || label < 0 || label >= classes) return 0.0f;
    return (class_weight ? class_weight[label] : 1.0f) * (pixel_weight ? pixel_weight[pixel] : 1.0f);
}

__device__ float loss_of(int pixel, int label, Softmax of, const float* logits, float weight, int ignore_index,
                         int* stray, int pixels, int classes, int plane)
{
    if (label == ignore_index) return 0.0f;
    if (label < 0 || label >= classes) {
        atomicMax(stray, pixels - pixel);            // a maximum of whole numbers is the same in any order
        return __int_as_float(0x7fffffff);           // NaN
    }
    return weight * (logf(of.total) - (logits[label * plane] - of.largest));
}

extern "C" __global__ void softmax_cross_entropy_forward(const float* logits, const int* labels,
                                                         const float* class_weight /* or null */,
                                                         const float* pixel_weight /* or null */, int ignore_index,
                                                         float* loss, float* weight, float* largest, float* total,
                                                         int* stray, int pixels, int classes, int plane)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pixels) return;
    const float* own = first_class(logits, i, classes, plane);
    const Softmax of = softmax_in_two_passes(own, classes, plane);
    const int label = labels[i];
    const float counts = weight_of(i, label, class_weight, pixel_weight, ignore_index, classes);
    weight[i] = counts;
    largest[i] = of.largest;
    total[i] = of.total;
    loss[i] = loss_of(i, label, of, own, counts, ignore_index, stray, pixels, classes, plane);
}

// scale   1 value, what the reduction multiplied every loss by; null for 1
extern "C" __global__ void softmax_cross_entropy_backward(const float* dy, int dy_step,
                                                          const float* scale /* or null */, const float* logits,
                                                          const int* labels, const float* weight,
                                                          const float* largest, const float* total, float* dlogits,
                                                          int pixels, int classes, int plane)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pixels) return;
    const float* own = first_class(logits, i, classes, plane);
    float* slope = dlogits + (own - logits);
    const int label = labels[i];
    const float counts = weight[i], most = largest[i], sum = total[i];
    const float upstream = counts * (dy[dy_step * i] * (scale ? scale[0] : 1.0f));
    for (int c = 0; c < classes; c++) {
        const float probability = expf(own[c * plane] - most) / sum;
        // what stands at an ignored pixel, NaN perhaps, is of no account
        slope[c * plane] = counts == 0.0f ? 0.0f : upstream * (probability - (c == label ? 1.0f : 0.0f));
    }
}

// One block: the loss of the sums, and the scale that the gradients take on with it. Of rung 1, losses and weights.
extern "C" __global__ void softmax_cross_entropy_reduce(const float* losses, const float* weights, float* loss,
                                                        float* scale, int mean, int count)
{
    float total = 0.0f, divisor = 0.0f;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        total += losses[i];
        divisor += weights[i];
    }
    total = block_sum(total);
    divisor = block_sum(divisor);
    if (threadIdx.x > 0) return;
    scale[0] = !mean ? 1.0f : divisor != 0.0f ? 1.0f / divisor : 0.0f;
    loss[0] = total * scale[0];
}

// Rung 2.

// loss_parts, weight_parts   the sums of each block's losses and weights
extern "C" __global__ void softmax_cross_entropy_parts(const float* logits, const int* labels,
                                                       const float* class_weight /* or null */,
                                                       const float* pixel_weight /* or null */, int ignore_index,
                                                       float* loss_parts, float* weight_parts,
                                                       float* weight, float* largest, float* total,
                                                       int* stray, int pixels, int classes, int plane)
{
    float losses = 0.0f, weights = 0.0f;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < pixels; i += gridDim.x * blockDim.x) {
        const int label = labels[i];
        const float* own = first_class(logits, i, classes, plane);
        const Softmax of = softmax_online(own, classes, plane);
        const float counts = weight_of(i, label, class_weight, pixel_weight, ignore_index, classes);
        weight[i] = counts;
        largest[i] = of.largest;
        total[i] = of.total;
        losses += loss_of(i, label, of, own, counts, ignore_index, stray, pixels, classes, plane);
        weights += counts;
    }
    losses = block_sum(losses);
    weights = block_sum(weights);
    if (threadIdx.x > 0) return;
    loss_parts[blockIdx.x] = losses;
    weight_parts[blockIdx.x] = weights;
}
