// Kernels whose costs of memory are known by counting.

extern "C" __global__ void strided(const float* x, float* y, int stride)
{
    y[threadIdx.x] = x[threadIdx.x * stride];
}

extern "C" __global__ void four_at_once(const float4* x, float4* y)
{
    y[threadIdx.x] = x[threadIdx.x];
}

extern "C" __global__ void same_for_all(const float* x, float* y)
{
    y[threadIdx.x] = x[5];
}

extern "C" __global__ void banks(float* y, int stride)
{
    __shared__ float tile[32 * 33];
    for (int i = threadIdx.x; i < 32 * 33; i += 32) tile[i] = i;
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x * stride];
}

extern "C" __global__ void bank_vectors(float* y, int stride)
{
    __shared__ __align__(16) float4 tile[32 * 4];
    for (int i = 0; i < 4; i++) tile[threadIdx.x + 32 * i] = make_float4(i, i, i, i);
    __syncthreads();
    const float4 value = tile[threadIdx.x * stride];
    y[threadIdx.x] = value.x + value.y + value.z + value.w;
}

extern "C" __global__ void waits(float* y, int n)
{
    for (int i = 0; i < n; i++) __syncthreads();
    for (int i = 0; i < 2 * n; i++) __syncwarp();
    y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
}

extern "C" __global__ void counted_up(int* y)
{
    atomicAdd(&y[threadIdx.x % 4], 1);
}

// In a loop that some lanes leave early.
extern "C" __global__ void long_loop(const float* x, float* y, int n)
{
    float sum = 0.0f;
    for (int i = 0; i < n; i++) sum += x[i * 32 + threadIdx.x];
    y[threadIdx.x] = sum;
}
