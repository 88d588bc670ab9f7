// ReLU: y = max(x, 0), where NaN stays NaN; backward: dx = dy where y > 0, zeros elsewhere (at 0 too).
//   1  one thread a value
//   2  the same, four values a thread by 16-byte reads and writes       a quarter of the requests for the same bytes
//
// y is positive just where x is. The backward pass asks y, which the next layer keeps anyway: so x may be forgotten.
//
// x, y, dy, dx   any shape, contiguous, on a 16-byte boundary for rung 2; count values, at most 2^30
// Both rungs take the same arguments. Rung 1 is launched with count threads, rung 2 with a quarter of them, rounded up.

__device__ float relu(float x) { return x <= 0.0f ? 0.0f : x; }       // asked this way round, NaN passes

__device__ float relu_gradient(float y, float dy) { return y > 0.0f ? dy : 0.0f; }

extern "C" __global__ void relu_forward(const float* x, float* y, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    y[i] = relu(x[i]);
}

extern "C" __global__ void relu_backward(const float* y, const float* dy, float* dx, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    dx[i] = relu_gradient(y[i], dy[i]);
}

// Rung 2.

extern "C" __global__ void relu_forward_4(const float* x, float* y, int count)
{
    const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i + 3 < count) {
        const float4 value = *reinterpret_cast<const float4*>(x + i);
        *reinterpret_cast<float4*>(y + i) =
            make_float4(relu(value.x), relu(value.y), relu(value.z), relu(value.w));
    } else {                                         // the last one to three values
        for (int last = i; last < count; last++) y[last] = relu(x[last]);
    }
}

extern "C" __global__ void relu_backward_4(const float* y, const float* dy, float* dx, int count)
{
    const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i + 3 < count) {
        const float4 value = *reinterpret_cast<const float4*>(y + i);
        const float4 upstream = *reinterpret_cast<const float4*>(dy + i);
        *reinterpret_cast<float4*>(dx + i) =
            make_float4(relu_gradient(value.x, upstream.x), relu_gradient(value.y, upstream.y),
                        relu_gradient(value.z, upstream.z), relu_gradient(value.w, upstream.w));
    } else {
        for (int last = i; last < count; last++) dx[last] = relu_gradient(y[last], dy[last]);
    }
}
