// Accesses of memory that is not there, not written, or not where it should start, each beside its right twin.

extern "C" __global__ void beyond_the_end(const float* x, float* y, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) y[i] = x[i];                                                       // <-
}

extern "C" __global__ void before_the_start(const float* x, float* y)
{
    const int i = threadIdx.x;
    y[i] = x[i] - x[i - 1];                                                        // <-
}

extern "C" __global__ void write_beyond(const float* x, float* y)
{
    y[threadIdx.x] = x[threadIdx.x];                                               // <-
}

extern "C" __global__ void last_vector(const float4* x, float4* y)
{
    y[threadIdx.x] = x[threadIdx.x];                                               // <-
}

extern "C" __global__ void through_null(const float* x, float* y)
{
    y[threadIdx.x] = x[threadIdx.x];                                               // <-
}

extern "C" __global__ void far_away(const float* x, float* y, int distance)
{
    const int i = threadIdx.x;
    y[i] = x[i + distance];                                                        // <-
}

// threadIdx.x has no sign, and so has the sum.
extern "C" __global__ void without_a_sign(const float* x, float* y, int distance)
{
    y[threadIdx.x] = x[threadIdx.x + distance];                                    // <-
}

extern "C" __global__ void beyond_shared(const float* x, float* y)
{
    __shared__ float before[32];
    __shared__ float tile[32];
    before[threadIdx.x] = x[threadIdx.x];
    tile[threadIdx.x] = before[threadIdx.x];
    float* behind = tile;
    y[threadIdx.x] = behind[threadIdx.x + 1];                                      // <-
}

extern "C" __global__ void beyond_dynamic(const float* x, float* y)
{
    extern __shared__ float values[];
    values[threadIdx.x] = x[threadIdx.x];                                          // <-
    y[threadIdx.x] = values[threadIdx.x];
}

// The element exists, but it is the next row's.
extern "C" __global__ void beyond_the_row(const float* x, float* y, int column)
{
    __shared__ float tile[8][4];
    tile[threadIdx.x / 4][threadIdx.x % 4] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x / 8][column + threadIdx.x % 4];              // <-
}

extern "C" __global__ void beyond_a_local(const float* x, float* y, int n)
{
    float four[4] = {};
    for (int i = 0; i < n; i++) four[i] += x[i];                                   // <-
    y[threadIdx.x] = four[0] + four[3];
}

extern "C" __global__ void never_written(const float* x, float* y)
{
    __shared__ float tile[33];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x + 1];                                        // <-
}

extern "C" __global__ void never_zeroed(const float* x, float* y)
{
    __shared__ float sum;
    atomicAdd(&sum, x[threadIdx.x]);                                               // <-
    __syncthreads();
    y[threadIdx.x] = sum;
}

// What the block before has left behind is not this block's.
extern "C" __global__ void of_the_block_before(const float* x, float* y)
{
    __shared__ float tile[32];
    if (blockIdx.x == 0) tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[blockIdx.x * 32 + threadIdx.x] = tile[threadIdx.x];                          // <-
}

extern "C" __global__ void adds_to(const float* x, float* y)
{
    y[threadIdx.x] += x[threadIdx.x];                                              // <-
}

extern "C" __global__ void vector_off_its_boundary(const float* x, float* y)
{
    const float4 value = *reinterpret_cast<const float4*>(x + 4 * threadIdx.x + 1);        // <-
    y[threadIdx.x] = value.x + value.w;
}

extern "C" __global__ void vectors_from(const float* x, float* y)
{
    const float4 value = *reinterpret_cast<const float4*>(x + 4 * threadIdx.x);            // <-
    y[threadIdx.x] = value.x + value.w;
}

extern "C" __global__ void pair_off_its_boundary(const float* x, float* y)
{
    *reinterpret_cast<float2*>(y + 2 * threadIdx.x + 1) = make_float2(x[0], x[1]);         // <-
}

extern "C" __global__ void word_off_its_boundary(const unsigned char* x, int* y)
{
    y[threadIdx.x] = *reinterpret_cast<const int*>(x + threadIdx.x);               // <-
}

extern "C" __global__ void write_to_const(const float* x, float* y)
{
    const_cast<float*>(x)[threadIdx.x] = y[threadIdx.x];                           // <-
}

__constant__ float scale[2] = {2.0f, 3.0f};

// Everything that is allowed, and looks a little like what is not.
extern "C" __global__ void allowed(const float* x, const float* bias, float* y, int n)
{
    __shared__ float tile[4][9];
    extern __shared__ float more[];
    float local[8];
    const int i = threadIdx.x;
    float* flat = &tile[0][0];
    flat[i] = x[i];                                      // rows counted through
    const float* end = x + n;                            // one past the last may be an address
    more[i] = 0.0f;
    for (int k = 0; k < 8; k++) local[k] = scale[k % 2];
    __syncthreads();
    if (x + i < end) y[i] = tile[i / 9][i % 9] * local[i % 8] + (bias ? bias[i] : more[i]);
}
