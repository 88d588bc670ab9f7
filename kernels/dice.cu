// Soft dice loss: 1 - mean over classes of (2 sum p t + smooth) / (sum p + sum t + smooth), p = softmax(logits), t = 1
// where the label is the class; sums over all pixels that are not ignored. Four jobs, one after another:
//
//   softmax     one thread a pixel keeps its largest logit and the sum of its exponentials, from which p is made again
//   sums        the sums p t, p and t of each class
//     1  one thread a class, over all pixels
//     2  (parts) many blocks a class, each leaving the sums of its part, added up by shuffles and shared memory
//        (reduction.cuh)                         the whole device reads, and neighbouring threads neighbouring pixels
//   overlap     one block: the two sides of each class's quotient, and the loss
//   backward    one thread a pixel: the slopes by its probabilities, then through its softmax
//
// Nothing is copied to the host: a label outside the classes makes the loss NaN, is ignored on the way back, and leaves
// its place in `stray`, which the host may read when it reads the loss.
//
// logits, dlogits         (N, classes, plane) contiguous; pixels = N plane, at most 2^30 values in all
// labels, largest, total  (N, plane)              a total of IGNORED, which no softmax has, marks a pixel to leave out
// sums                    (3, classes, parts)     p t, p, t of each part; parts = 1 for rung 1
// above, below            (classes,)              the quotient's two sides
// stray                   1 value: 0, or `pixels` less the place of the first label outside the classes
// Rung 1 of the sums is launched with a thread a class, rung 2 with (parts, classes) blocks of whole warps.

#include "reduction.cuh"

constexpr float LOWEST = -3.402823466e38f;           // the lowest float: minus infinity less itself would be NaN
constexpr float IGNORED = -1.0f;

// Where class `c` of a pixel stands.
__device__ int place_of(int pixel, int c, int classes, int plane)
{
    return (pixel / plane * classes + c) * plane + pixel % plane;
}

extern "C" __global__ void dice_softmax(const float* logits, const int* labels, int ignore_index,
                                        float* largest, float* total, int* stray, int pixels, int classes, int plane)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pixels) return;
    const int label = labels[i];
    const bool ignored = label == ignore_index, outside = label < 0 || label >= classes;
    if (outside && !ignored) atomicMax(stray, pixels - i);     // a maximum of whole numbers is the same in any order
    const float* own = logits + place_of(i, 0, classes, plane);
    float most = LOWEST, sum = 0.0f;
    for (int c = 0; c < classes; c++) most = fmaxf(most, own[c * plane]);
    for (int c = 0; c < classes; c++) sum += expf(own[c * plane] - most);
    largest[i] = most;
    total[i] = ignored || outside ? IGNORED : sum;
}

struct Sums { float both, probability, truth; };

__device__ void count_pixel(Sums& sums, int i, int c, const float* logits, const int* labels, const float* largest,
                            const float* total, int classes, int plane)
{
    if (total[i] == IGNORED) return;
    const float p = expf(logits[place_of(i, c, classes, plane)] - largest[i]) / total[i];
    sums.probability += p;
    if (labels[i] != c) return;
    sums.both += p;
    sums.truth += 1.0f;
}

extern "C" __global__ void dice_sums(const float* logits, const int* labels, const float* largest, const float* total,
                                     float* sums, int pixels, int classes, int plane)
{
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= classes) return;
    Sums own = {0.0f, 0.0f, 0.0f};
    for (int i = 0; i < pixels; i++) count_pixel(own, i, c, logits, labels, largest, total, classes, plane);
    sums[c] = own.both;
    sums[classes + c] = own.probability;
    sums[2 * classes + c] = own.truth;
}

extern "C" __global__ void dice_overlap(const float* sums, float* above, float* below, float* loss, const int* stray,
                                        float smooth, int classes, int parts)
{
    float overlaps = 0.0f;
    for (int c = threadIdx.x; c < classes; c += blockDim.x) {
        Sums of = {0.0f, 0.0f, 0.0f};
        for (int part = 0; part < parts; part++) {
            of.both += sums[c * parts + part];
            of.probability += sums[(classes + c) * parts + part];
            of.truth += sums[(2 * classes + c) * parts + part];
        }
        above[c] = 2.0f * of.both + smooth;
        below[c] = of.probability + of.truth + smooth;
        if (below[c] != 0.0f) overlaps += above[c] / below[c];
    }
    overlaps = block_sum(overlaps);
    if (threadIdx.x == 0) loss[0] = stray[0] > 0 ? __int_as_float(0x7fffffff) : 1.0f - overlaps / classes;    // or NaN
}

// The slope of the loss by the probability of a class at a pixel.
__device__ float slope_of(float above, float below, bool is_label, int classes)
{
    return below == 0.0f ? 0.0f : (above / below - (is_label ? 2.0f : 0.0f)) / (below * classes);
}

extern "C" __global__ void dice_backward(const float* dy, const float* logits, const int* labels, const float* largest,
                                         const float* total, const float* above, const float* below, float* dlogits,
                                         int pixels, int classes, int plane)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pixels) return;
    const int first = place_of(i, 0, classes, plane), label = labels[i];
    const float most = largest[i], sum = total[i], upstream = dy[0];
    const bool ignored = sum == IGNORED;             // what stands there, NaN perhaps, is of no account
    float along = 0.0f;                              // sum of slope times p, which the softmax takes off every slope
    for (int c = 0; c < classes && !ignored; c++)
        along += slope_of(above[c], below[c], c == label, classes) *
                 (expf(logits[first + c * plane] - most) / sum);
    for (int c = 0; c < classes; c++) {
        const float p = ignored ? 0.0f : expf(logits[first + c * plane] - most) / sum;
        dlogits[first + c * plane] = p * (slope_of(above[c], below[c], c == label, classes) - along) * upstream;
    }
}

// Rung 2.

extern "C" __global__ void dice_sums_parts(const float* logits, const int* labels, const float* largest,
                                           const float* total, float* sums, int pixels, int classes, int plane)
{
    const int c = blockIdx.y, parts = gridDim.x;
    Sums own = {0.0f, 0.0f, 0.0f};
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < pixels; i += parts * blockDim.x)
        count_pixel(own, i, c, logits, labels, largest, total, classes, plane);
    own = {block_sum(own.both), block_sum(own.probability), block_sum(own.truth)};
    if (threadIdx.x > 0) return;
    sums[c * parts + blockIdx.x] = own.both;
    sums[(classes + c) * parts + blockIdx.x] = own.probability;
    sums[(2 * classes + c) * parts + blockIdx.x] = own.truth;
}
