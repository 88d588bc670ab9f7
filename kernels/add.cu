// Adding: y = a + b, value by value; backward: da = dy and db = dy, two copies in one reading.
//   1  one thread a value
//   2  the same, four values a thread by 16-byte reads and writes       a quarter of the requests for the same bytes
//
// a, b, y, dy, da, db   any shape, contiguous, on a 16-byte boundary for rung 2; count values, at most 2^30
// Both rungs take the same arguments. Rung 1 is launched with count threads, rung 2 with a quarter of them, rounded up.

extern "C" __global__ void add_forward(const float* a, const float* b, float* y, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    y[i] = a[i] + b[i];
}

extern "C" __global__ void add_backward(const float* dy, float* da, float* db, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const float upstream = dy[i];
    da[i] = upstream;
    db[i] = upstream;
}

// Rung 2.

extern "C" __global__ void add_forward_4(const float* a, const float* b, float* y, int count)
{
    const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i + 3 < count) {
        const float4 one = *reinterpret_cast<const float4*>(a + i);
        const float4 other = *reinterpret_cast<const float4*>(b + i);
        *reinterpret_cast<float4*>(y + i) =
            make_float4(one.x + other.x, one.y + other.y, one.z + other.z, one.w + other.w);
    } else {                                         // the last one to three values
        for (int last = i; last < count; last++) y[last] = a[last] + b[last];
    }
}

extern "C" __global__ void add_backward_4(const float* dy, float* da, float* db, int count)
{
    const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i + 3 < count) {
        const float4 upstream = *reinterpret_cast<const float4*>(dy + i);
        *reinterpret_cast<float4*>(da + i) = upstream;
        *reinterpret_cast<float4*>(db + i) = upstream;
    } else {
        for (int last = i; last < count; last++) da[last] = db[last] = dy[last];
    }
}
