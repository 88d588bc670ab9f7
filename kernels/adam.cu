// One step of Adam or AdamW, in place, with PyTorch's numbers:
//     w = keep w,  g = gradient + weight_decay w,  m = m + (1 - beta1) (g - m),  v = beta2 v + (1 - beta2) g^2,
//     w = w - rate m / (sqrt(v) / root + eps)
// Adam:  keep = 1.   AdamW:  weight_decay = 0, keep = 1 - lr times its own decay, so that decay stays out of m and v.
// The host works out, in double precision, rate = lr / (1 - beta1^steps) and root = sqrt(1 - beta2^steps), which undo
// the bias of m and v towards their start at 0.
//   1  one thread a weight: four arrays are read and three written in one pass
//   2  the same, four weights a thread by 16-byte reads and writes      a quarter of the requests for the same bytes
//
// w, gradient, m, v   any shape, contiguous, on a 16-byte boundary for rung 2; count values, at most 2^30
// Both rungs take the same arguments. Rung 1 is launched with count threads, rung 2 with a quarter of them, rounded up.

// All is read before anything is written: after a write the compiler, which cannot know that the arrays are apart,
// would read again.
__device__ void adam(float& w, float gradient, float& m, float& v, float rate, float root, float one_minus_beta1,
                     float beta2, float one_minus_beta2, float eps, float weight_decay, float keep)
{
    const float kept = keep * w, g = gradient + weight_decay * kept;
    const float mean = m + one_minus_beta1 * (g - m), square = beta2 * v + one_minus_beta2 * (g * g);
    m = mean;
    v = square;
    w = kept - rate * (mean / (sqrtf(square) / root + eps));
}

extern "C" __global__ void adam_step(float* w, const float* gradient, float* m, float* v, float rate, float root,
                                     float one_minus_beta1, float beta2, float one_minus_beta2, float eps,
                                     float weight_decay, float keep, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    adam(w[i], gradient[i], m[i], v[i], rate, root, one_minus_beta1, beta2, one_minus_beta2, eps, weight_decay, keep);
}

// Rung 2.

extern "C" __global__ void adam_step_4(float* w, const float* gradient, float* m, float* v, float rate, float root,
                                       float one_minus_beta1, float beta2, float one_minus_beta2, float eps,
                                       float weight_decay, float keep, int count)
{
    const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    const auto update = [=](float& w, float g, float& m, float& v) {
        adam(w, g, m, v, rate, root, one_minus_beta1, beta2, one_minus_beta2, eps, weight_decay, keep);
    };
    if (i + 3 < count) {
        float4 weight = *reinterpret_cast<const float4*>(w + i);
        float4 mean = *reinterpret_cast<const float4*>(m + i);
        float4 square = *reinterpret_cast<const float4*>(v + i);
        const float4 slope = *reinterpret_cast<const float4*>(gradient + i);
        update(weight.x, slope.x, mean.x, square.x);
        update(weight.y, slope.y, mean.y, square.y);
        update(weight.z, slope.z, mean.z, square.z);
        update(weight.w, slope.w, mean.w, square.w);
        *reinterpret_cast<float4*>(w + i) = weight;
        *reinterpret_cast<float4*>(m + i) = mean;
        *reinterpret_cast<float4*>(v + i) = square;
    } else {                                         // the last one to three weights
        for (int last = i; last < count; last++) update(w[last], gradient[last], m[last], v[last]);
    }
}
