// Kernels in which one thread may see another's work or may not, each beside its right twin.

extern "C" __global__ void neighbour(const float* x, float* y)
{
    __shared__ float tile[64];
    const int t = threadIdx.x;
    tile[t] = x[t];                                                                // <-
    y[t] = tile[63 - t];                                                           // <-
}

extern "C" __global__ void neighbour_right(const float* x, float* y)
{
    __shared__ float tile[64];
    const int t = threadIdx.x;
    tile[t] = x[t];
    __syncthreads();
    y[t] = tile[63 - t];
}

// A vector on its way into a function's argument is read as any other.
static __attribute__((noinline)) __device__ float sum_of(float4 v) { return v.x + v.y + v.z + v.w; }

extern "C" __global__ void by_value(const float4* x, float* y)
{
    __shared__ float4 tile[64];
    const int t = threadIdx.x;
    tile[t] = x[t];                                                                // <-
    y[t] = sum_of(tile[63 - t]);                                                   // <-
}

extern "C" __global__ void by_value_right(const float4* x, float* y)
{
    __shared__ float4 tile[64];
    const int t = threadIdx.x;
    tile[t] = x[t];
    __syncthreads();
    y[t] = sum_of(tile[63 - t]);
}

// The barrier before the next round is missing: a quick thread overwrites what a slow one still reads.
extern "C" __global__ void rounds(const float* x, float* y, int n)
{
    __shared__ float tile[64];
    const int t = threadIdx.x;
    float sum = 0.0f;
    for (int i = 0; i < n; i++) {
        tile[t] = x[i * 64 + t];                                                   // <-
        __syncthreads();
        sum += tile[(t + 33) % 64];                                                // <-
    }
    y[t] = sum;
}

extern "C" __global__ void rounds_right(const float* x, float* y, int n)
{
    __shared__ float tile[64];
    const int t = threadIdx.x;
    float sum = 0.0f;
    for (int i = 0; i < n; i++) {
        tile[t] = x[i * 64 + t];
        __syncthreads();
        sum += tile[(t + 33) % 64];
        __syncthreads();
    }
    y[t] = sum;
}

// Within a warp, too, nothing is ordered of itself.
extern "C" __global__ void in_a_warp(const float* x, float* y)
{
    __shared__ float tile[32];
    const int t = threadIdx.x;
    tile[t] = x[t];                                                                // <-
    y[t] = tile[t ^ 1];                                                            // <-
}

extern "C" __global__ void in_a_warp_right(const float* x, float* y)
{
    __shared__ float tile[32];
    const int t = threadIdx.x;
    tile[t] = x[t];
    __syncwarp();
    y[t] = tile[t ^ 1];
}

// __syncwarp of the halves orders each half alone.
extern "C" __global__ void in_halves(const float* x, float* y)
{
    __shared__ float tile[32];
    const int t = threadIdx.x;
    tile[t] = x[t];                                                                // <-
    __syncwarp(t < 16 ? 0x0000ffffu : 0xffff0000u);
    y[t] = tile[31 - t];                                                           // <-
}

extern "C" __global__ void in_halves_right(const float* x, float* y)
{
    __shared__ float tile[32];
    const int t = threadIdx.x;
    tile[t] = x[t];
    __syncwarp(t < 16 ? 0x0000ffffu : 0xffff0000u);
    y[t] = tile[t ^ 15];
}

// __syncwarp orders no other warp, and a shuffle orders no memory.
extern "C" __global__ void across_warps(const float* x, float* y)
{
    __shared__ float tile[64];
    const int t = threadIdx.x;
    tile[t] = x[t];                                                                // <-
    __syncwarp();
    y[t] = tile[t ^ 32];                                                           // <-
}

extern "C" __global__ void shuffled(const float* x, float* y)
{
    __shared__ float tile[32];
    const int t = threadIdx.x;
    tile[t] = x[t];                                                                // <-
    const float other = __shfl_xor_sync(0xffffffffu, x[t], 1);
    y[t] = other + tile[t ^ 1];                                                    // <-
}

// Every thread adds to one place, or to a place of another block.
extern "C" __global__ void sum_of_all(const float* x, float* y)
{
    y[0] += x[blockIdx.x * blockDim.x + threadIdx.x];                              // <-
}

extern "C" __global__ void sum_of_all_right(const float* x, float* y)
{
    atomicAdd(y, x[blockIdx.x * blockDim.x + threadIdx.x]);
}

extern "C" __global__ void between_blocks(const float* x, float* y)
{
    y[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];                     // <-
}

extern "C" __global__ void same_value(const float* x, int* found)
{
    if (x[threadIdx.x] > 0.0f) found[0] = 1;                                       // <-
}

extern "C" __global__ void atomic_and_plain(const float* x, float* y)
{
    __shared__ float sum;
    if (threadIdx.x == 0) sum = 0.0f;
    __syncthreads();
    atomicAdd(&sum, x[threadIdx.x]);                                               // <-
    y[threadIdx.x] = sum;                                                          // <-
}

extern "C" __global__ void atomic_and_plain_right(const float* x, float* y)
{
    __shared__ float sum;
    if (threadIdx.x == 0) sum = 0.0f;
    __syncthreads();
    atomicAdd(&sum, x[threadIdx.x]);
    __syncthreads();
    y[threadIdx.x] = sum;
}

// Many read, one writes what they read: whoever of them it is.
extern "C" __global__ void read_then_written(float* y, int writer)
{
    __shared__ float value;
    if (threadIdx.x == 0) value = 1.0f;
    __syncthreads();
    y[threadIdx.x] = value;                                                        // <-
    if (threadIdx.x == writer) value = 2.0f;                                       // <-
}

// Neighbouring bytes are places of their own.
extern "C" __global__ void bytes_right(const unsigned char* x, unsigned char* y, unsigned short* z)
{
    __shared__ float memory[64];
    unsigned char* bytes = reinterpret_cast<unsigned char*>(memory);
    bytes[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = bytes[threadIdx.x];
    z[threadIdx.x] = bytes[threadIdx.x];
}

// The last block to come adds up what all have left behind: fences and an atomic counter order them.
extern "C" __global__ void last_block(const float* x, float* parts, unsigned* arrived, float* y)
{
    __shared__ bool last;
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = x[blockIdx.x];                                         // <-
        last = atomicAdd(arrived, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 1) {
        float sum = 0.0f;
        for (int i = 0; i < gridDim.x; i++) sum += parts[i];                       // <-
        y[0] = sum;
    }
}

extern "C" __global__ void last_block_right(const float* x, float* parts, unsigned* arrived, float* y)
{
    __shared__ bool last;
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = x[blockIdx.x];
        __threadfence();
        last = atomicAdd(arrived, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 1) {
        float sum = 0.0f;
        for (int i = 0; i < gridDim.x; i++) sum += parts[i];
        y[0] = sum;
    }
}

// A lock, taken by one thread after another.
extern "C" __global__ void locked_right(int* lock, int* count)
{
    bool done = false;
    while (!done) {
        if (atomicCAS(lock, 0, 1) == 0) {
            __threadfence();
            count[0] = count[0] + 1;
            __threadfence();
            atomicExch(lock, 0);
            done = true;
        }
    }
}
