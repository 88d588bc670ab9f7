// Sigmoid: y = 1 / (1 + exp(-x)), written so that exp sees no number above 0; backward: dx = dy y (1 - y).
//   1  one thread a value
//   2  the same, four values a thread by 16-byte reads and writes       a quarter of the requests for the same bytes
//
// x, y, dy, dx   any shape, contiguous, on a 16-byte boundary for rung 2; count values, at most 2^30
// Both rungs take the same arguments. Rung 1 is launched with count threads, rung 2 with a quarter of them, rounded up.

__device__ float sigmoid(float x)
{
    const float small = expf(-fabsf(x));             // at most 1, so neither end overflows
    return (x >= 0.0f ? 1.0f : small) / (1.0f + small);
}

__device__ float sigmoid_gradient(float y, float dy) { return dy * y * (1.0f - y); }

extern "C" __global__ void sigmoid_forward(const float* x, float* y, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    y[i] = sigmoid(x[i]);
}

extern "C" __global__ void sigmoid_backward(const float* y, const float* dy, float* dx, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    dx[i] = sigmoid_gradient(y[i], dy[i]);
}

// Rung 2.

extern "C" __global__ void sigmoid_forward_4(const float* x, float* y, int count)
{
    const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i + 3 < count) {
        const float4 value = *reinterpret_cast<const float4*>(x + i);
        *reinterpret_cast<float4*>(y + i) =
            make_float4(sigmoid(value.x), sigmoid(value.y), sigmoid(value.z), sigmoid(value.w));
    } else {                                         // the last one to three values
        for (int last = i; last < count; last++) y[last] = sigmoid(x[last]);
    }
}

extern "C" __global__ void sigmoid_backward_4(const float* y, const float* dy, float* dx, int count)
{
    const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i + 3 < count) {
        const float4 value = *reinterpret_cast<const float4*>(y + i);
        const float4 upstream = *reinterpret_cast<const float4*>(dy + i);
        *reinterpret_cast<float4*>(dx + i) =
            make_float4(sigmoid_gradient(value.x, upstream.x), sigmoid_gradient(value.y, upstream.y),
                        sigmoid_gradient(value.z, upstream.z), sigmoid_gradient(value.w, upstream.w));
    } else {
        for (int last = i; last < count; last++) dx[last] = sigmoid_gradient(y[last], dy[last]);
    }
}
