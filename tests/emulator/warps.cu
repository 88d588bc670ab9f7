// Shuffles, votes and reductions of a warp, one kernel each.

extern "C" __global__ void shuffles(const float* x, float* y, int width)
{
    const int t = threadIdx.x;
    y[t] = __shfl_sync(0xffffffffu, x[t], 3, width);
    y[t + 32] = __shfl_up_sync(0xffffffffu, x[t], 2, width);
    y[t + 64] = __shfl_down_sync(0xffffffffu, x[t], 5, width);
    y[t + 96] = __shfl_xor_sync(0xffffffffu, x[t], 6, width);
}

extern "C" __global__ void wide_values(const double* x, const long long* n, double* y, long long* m)
{
    const int t = threadIdx.x;
    y[t] = __shfl_xor_sync(0xffffffffu, x[t], 1);
    m[t] = __shfl_xor_sync(0xffffffffu, n[t], 2);
}

extern "C" __global__ void votes(const int* x, unsigned* y)
{
    const int t = threadIdx.x;
    y[t] = __ballot_sync(0xffffffffu, x[t] > 0);
    y[t + 32] = __any_sync(0xffffffffu, x[t] > 0);
    y[t + 64] = __all_sync(0xffffffffu, x[t] > 0);
    y[t + 96] = __match_any_sync(0xffffffffu, x[t]);
}

extern "C" __global__ void reductions(const int* x, int* y)
{
    const int t = threadIdx.x;
    y[t] = __reduce_add_sync(0xffffffffu, x[t]);
    y[t + 32] = __reduce_min_sync(0xffffffffu, x[t]);
    y[t + 64] = __reduce_max_sync(0xffffffffu, x[t]);
    y[t + 96] = __reduce_xor_sync(0xffffffffu, (unsigned)x[t]);
}

// Lanes 0 to 9 and lanes 10 to 31 among themselves, again and again, so that neither can wait for the other.
extern "C" __global__ void in_groups(const int* x, int* y)
{
    const int t = threadIdx.x;
    const unsigned mask = t < 10 ? 0x000003ffu : 0xfffffc00u;
    int sum = 0;
    for (int i = 0; i < (t < 10 ? 3 : 7); i++) sum += __reduce_add_sync(mask, x[t] + i);
    y[t] = sum;
}

// A block of 48 threads: its last warp has 16 lanes.
extern "C" __global__ void short_warp(const int* x, int* y)
{
    const unsigned mask = threadIdx.x < 32 ? 0xffffffffu : 0x0000ffffu;
    int value = x[threadIdx.x];
    for (int distance = threadIdx.x < 32 ? 16 : 8; distance > 0; distance /= 2)
        value += __shfl_down_sync(mask, value, distance, threadIdx.x < 32 ? 32 : 16);
    y[threadIdx.x] = value;
}

extern "C" __global__ void block_sum(const float* x, float* y, int n)
{
    __shared__ float parts[32];
    float sum = 0.0f;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += x[i];
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_down_sync(0xffffffffu, sum, distance);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x >= 32) return;
    sum = threadIdx.x < blockDim.x / 32 ? parts[threadIdx.x] : 0.0f;
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_down_sync(0xffffffffu, sum, distance);
    if (threadIdx.x == 0) atomicAdd(y, sum);
}
