// One step of gradient descent with momentum, in place, with PyTorch's numbers:
//     g = gradient + weight_decay w,  v = momentum v + g,  w = w - lr v      (Nesterov: w - lr (g + momentum v))
//   1  one thread a weight: all three arrays are read and w and v written in one pass; as three array expressions they
//      would cross the memory several times
//   2  the same, four weights a thread by 16-byte reads and writes      a quarter of the requests for the same bytes
//
// w, gradient, v   any shape, contiguous, on a 16-byte boundary for rung 2; count values, at most 2^30
// Both rungs take the same arguments. Rung 1 is launched with count threads, rung 2 with a quarter of them, rounded up.

// All is read before anything is written: after a write the compiler, which cannot know that the arrays are apart,
// would read again.
__device__ void sgd(float& w, float gradient, float& v, float lr, float momentum, float weight_decay, int nesterov)
{
    const float before = w, g = gradient + weight_decay * before, velocity = momentum * v + g;
    v = velocity;
    w = before - lr * (nesterov ? g + momentum * velocity : velocity);
}

extern "C" __global__ void sgd_step(float* w, const float* gradient, float* v, float lr, float momentum,
                                    float weight_decay, int nesterov, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    sgd(w[i], gradient[i], v[i], lr, momentum, weight_decay, nesterov);
}

// Rung 2.

extern "C" __global__ void sgd_step_4(float* w, const float* gradient, float* v, float lr, float momentum,
                                      float weight_decay, int nesterov, int count)
{
    const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i + 3 < count) {
        float4 weight = *reinterpret_cast<const float4*>(w + i);
        float4 velocity = *reinterpret_cast<const float4*>(v + i);
        const float4 slope = *reinterpret_cast<const float4*>(gradient + i);
        sgd(weight.x, slope.x, velocity.x, lr, momentum, weight_decay, nesterov);
        sgd(weight.y, slope.y, velocity.y, lr, momentum, weight_decay, nesterov);
        sgd(weight.z, slope.z, velocity.z, lr, momentum, weight_decay, nesterov);
        sgd(weight.w, slope.w, velocity.w, lr, momentum, weight_decay, nesterov);
        *reinterpret_cast<float4*>(w + i) = weight;
        *reinterpret_cast<float4*>(v + i) = velocity;
    } else {                                         // the last one to three weights
        for (int last = i; last < count; last++)
            sgd(w[last], gradient[last], v[last], lr, momentum, weight_decay, nesterov);
    }
}
