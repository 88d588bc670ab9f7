// Kernels that go wrong in ways of their own.

extern "C" __global__ void wild_pointer(float* y, long long distance)
{
    y[distance] = 1.0f;                                                            // <-
}

extern "C" __global__ void divides(const int* x, int* y)
{
    y[threadIdx.x] = 100 / x[threadIdx.x];                                         // <-
}

__device__ __noinline__ int deeper(int n, volatile int* keep)
{
    volatile int much[256];
    much[n % 256] = n;
    return n == 0 ? much[0] : deeper(n - 1, keep) + much[n % 256] + keep[0] * 0;
}

extern "C" __global__ void recursion(int* y, int n)
{
    y[threadIdx.x] = deeper(n, y);
}

extern "C" __global__ void asserts(const int* x, int* y)
{
    assert(x[threadIdx.x] < 5);                                                    // <-
    y[threadIdx.x] = x[threadIdx.x];
}

extern "C" __global__ void traps(int* y)
{
    if (threadIdx.x == 3) __trap();                                                // <-
    y[threadIdx.x] = 1;
}

extern "C" __global__ void endless(volatile int* y)
{
    while (y[0] == 0) {                                                            // <-
    }
}

// Waits for a thread that comes after it.
extern "C" __global__ void patient(int* flag, int* y)
{
    if (threadIdx.x == 0) {
        while (atomicAdd(flag, 0) == 0) {
        }
    }
    if (threadIdx.x == 31) atomicExch(flag, 1);
    y[threadIdx.x] = 1;
}

extern "C" __global__ void talks(const float* x)
{
    if (threadIdx.x < 2) printf("thread %d has %.2f\n", threadIdx.x, x[threadIdx.x]);
}

extern "C" __global__ void too_much_shared(float* y)
{
    __shared__ float tile[20000];
    tile[threadIdx.x] = 1.0f;
    y[threadIdx.x] = tile[threadIdx.x];
}

// Block by block and thread by thread, who it is.
extern "C" __global__ void who(int* y)
{
    const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    y[block * blockDim.x * blockDim.y * blockDim.z + thread] = block * 10000 + thread;
}
