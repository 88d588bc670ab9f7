// Threads that wait for each other, and some for whom nobody comes, each beside its right twin.

extern "C" __global__ void half_of_the_block(float* y)
{
    if (threadIdx.x < 16) __syncthreads();                                         // <-
    y[threadIdx.x] = 1.0f;
}

extern "C" __global__ void two_barriers(float* y)
{
    if (threadIdx.x % 2) {
        __syncthreads();                                                           // <-
    } else {
        __syncthreads();                                                           // <-
    }
    y[threadIdx.x] = 1.0f;
}

extern "C" __global__ void left_early(float* y, int n)
{
    const int i = threadIdx.x;
    if (i >= n) return;                                                            // <-
    y[i] = 1.0f;
    __syncthreads();                                                               // <-
    y[i] += y[n - 1 - i];
}

extern "C" __global__ void left_early_right(float* y, int n)
{
    const int i = threadIdx.x;
    if (i < n) y[i] = 1.0f;
    __syncthreads();
    const float other = i < n ? y[n - 1 - i] : 0.0f;
    __syncthreads();
    if (i >= n) return;
    y[i] += other;
}

extern "C" __global__ void unequal_rounds(float* y)
{
    for (int i = 0; i <= threadIdx.x / 32; i++) __syncthreads();                   // <-
    y[threadIdx.x] = 1.0f;
}

extern "C" __global__ void votes_right(const int* x, int* any, int* all, int* count)
{
    const int i = threadIdx.x;
    any[i] = __syncthreads_or(x[i]);
    all[i] = __syncthreads_and(x[i]);
    count[i] = __syncthreads_count(x[i]);
}

// A warp waits for a barrier, another for the first's lanes.
extern "C" __global__ void crossed(float* y)
{
    if (threadIdx.x == 0) __syncthreads();                                         // <-
    else __syncwarp();                                                             // <-
    y[threadIdx.x] = 1.0f;
}

extern "C" __global__ void not_in_its_mask(float* y)
{
    y[threadIdx.x] = __shfl_sync(0x0000ffffu, y[threadIdx.x], 0);                  // <-
}

extern "C" __global__ void lane_that_left(float* y)
{
    if (threadIdx.x == 5) return;                                                  // <-
    y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);                        // <-
}

extern "C" __global__ void lane_outside_the_mask(float* y)
{
    if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0x0000ffffu, 1.0f, 16);     // <-
}

extern "C" __global__ void two_shuffles(float* y)
{
    const float value = threadIdx.x;
    if (threadIdx.x < 16) {
        y[threadIdx.x] = __shfl_sync(0xffffffffu, value, 0);                       // <-
    } else {
        y[threadIdx.x] = __shfl_sync(0xffffffffu, value, 1);                       // <-
    }
}

extern "C" __global__ void two_masks(float* y)
{
    const unsigned mask = threadIdx.x < 16 ? 0xffffffffu : 0xffff0001u;
    y[threadIdx.x] = __shfl_sync(mask, 1.0f, 20);                                  // <-
}

// On both sides of a branch the warp may meet in __syncwarp.
extern "C" __global__ void branches_right(float* y)
{
    __shared__ float tile[32];
    if (threadIdx.x < 16) {
        tile[threadIdx.x] = 1.0f;
        __syncwarp();
    } else {
        tile[threadIdx.x] = 2.0f;
        __syncwarp();
    }
    y[threadIdx.x] = tile[31 - threadIdx.x];
}
