// Max-unpooling: y[n, c, indices[i]] = x[i], zeros elsewhere; backward: dx[i] = dy[n, c, indices[i]].
//   1  one thread a pooled value; y is zeroed beforehand, and no two threads share a place, since indices are distinct
//   2  the same, four values a thread by 16-byte reads      fewer, wider reads of x and indices (backward: writes of
//                                                           dx); the scattered side stays as it is
//
// x, indices, dx   (N, C, h, w) contiguous, on a 16-byte boundary for rung 2; count = N C h w, pooled = h w
// y, dy            (N, C, H, W) contiguous, of at most 2^30 values, so that an int counts them; plane = H W
// Both rungs take the same arguments. Rung 1 is launched with count threads, rung 2 with a quarter of them, rounded up.

extern "C" __global__ void max_unpool2d_scatter(const float* x, const int* indices, float* y,
                                                int count, int pooled, int plane)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const int map = i / pooled;                      // which (n, c)
    y[map * plane + indices[i]] = x[i];
}

extern "C" __global__ void max_unpool2d_gather(const float* dy, const int* indices, float* dx,
                                               int count, int pooled, int plane)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const int map = i / pooled;
    dx[i] = dy[map * plane + indices[i]];
}

// Rung 2. Four neighbours may lie in two maps or more, so each asks for its own.

extern "C" __global__ void max_unpool2d_scatter_4(const float* x, const int* indices, float* y,
                                                  int count, int pooled, int plane)
{
    const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i + 3 < count) {
        const float4 value = *reinterpret_cast<const float4*>(x + i);
        const int4 index = *reinterpret_cast<const int4*>(indices + i);
        y[(i + 0) / pooled * plane + index.x] = value.x;
        y[(i + 1) / pooled * plane + index.y] = value.y;
        y[(i + 2) / pooled * plane + index.z] = value.z;
        y[(i + 3) / pooled * plane + index.w] = value.w;
    } else {                                         // the last one to three values
        for (int last = i; last < count; last++) y[last / pooled * plane + indices[last]] = x[last];
    }
}

extern "C" __global__ void max_unpool2d_gather_4(const float* dy, const int* indices, float* dx,
                                                 int count, int pooled, int plane)
{
    const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i + 3 < count) {
        const int4 index = *reinterpret_cast<const int4*>(indices + i);
        *reinterpret_cast<float4*>(dx + i) = make_float4(dy[(i + 0) / pooled * plane + index.x],
                                                         dy[(i + 1) / pooled * plane + index.y],
                                                         dy[(i + 2) / pooled * plane + index.z],
                                                         dy[(i + 3) / pooled * plane + index.w]);
    } else {
        for (int last = i; last < count; last++) dx[last] = dy[last / pooled * plane + indices[last]];
    }
}
