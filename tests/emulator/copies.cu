// cp.async and the tensor cores, as kernels/tensor_core.cuh has them in the emulator; bugs beside right twins.
#include "tensor_core.cuh"

extern "C" __global__ void copied_right(const float* x, float* y, int n)
{
    __shared__ __align__(16) float tile[128];
    const int t = threadIdx.x, present = min(max(n - 4 * t, 0), 4);
    cp_async_16(&tile[4 * t], x + (present ? 4 * t : 0), 4 * present);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    for (int i = t; i < 128; i += 32) y[i] = tile[127 - i];
}

extern "C" __global__ void no_wait(const float* x, float* y)
{
    __shared__ __align__(16) float tile[128];
    const int t = threadIdx.x;
    cp_async_16(&tile[4 * t], x + 4 * t);                                          // <-
    cp_async_commit();
    __syncthreads();
    y[t] = tile[127 - t];                                                          // <-
}

extern "C" __global__ void no_commit(const float* x, float* y)
{
    __shared__ __align__(16) float tile[128];
    const int t = threadIdx.x;
    cp_async_16(&tile[4 * t], x + 4 * t);                                          // <-
    cp_async_wait<0>();
    __syncthreads();
    y[t] = tile[127 - t];                                                          // <-
}

extern "C" __global__ void no_barrier(const float* x, float* y)
{
    __shared__ __align__(16) float tile[128];
    const int t = threadIdx.x;
    cp_async_16(&tile[4 * t], x + 4 * t);                                          // <-
    cp_async_commit();
    cp_async_wait<0>();
    y[t] = tile[127 - t];                                                          // <-
}

// Two stages on their way, of which the wait leaves one too many.
extern "C" __global__ void waits_for_too_few(const float* x, float* y)
{
    __shared__ float tile[2][32];
    const int t = threadIdx.x;
    for (int stage = 0; stage < 2; stage++) {
        cp_async_4(&tile[stage][t], x + 32 * stage + t);                           // <-
        cp_async_commit();
    }
    cp_async_wait<1>();
    __syncthreads();
    y[t] = tile[1][31 - t];                                                        // <-
}

extern "C" __global__ void pipeline_right(const float* x, float* y, int n)
{
    __shared__ float tile[3][32];
    const int t = threadIdx.x;
    for (int stage = 0; stage < 2; stage++) {
        if (stage < n) cp_async_4(&tile[stage][t], x + 32 * stage + t);
        cp_async_commit();
    }
    float sum = 0.0f;
    for (int i = 0; i < n; i++) {
        cp_async_wait<1>();
        __syncthreads();
        if (i + 2 < n) cp_async_4(&tile[(i + 2) % 3][t], x + 32 * (i + 2) + t);
        cp_async_commit();
        sum += tile[i % 3][31 - t];
    }
    y[t] = sum;
}

// With two stages only, the next copy may overwrite what others still read.
extern "C" __global__ void pipeline_too_short(const float* x, float* y, int n)
{
    __shared__ float tile[2][64];
    const int t = threadIdx.x;
    cp_async_4(&tile[0][t], x + t);
    cp_async_commit();
    float sum = 0.0f;
    for (int i = 0; i < n; i++) {
        if (i + 1 < n) cp_async_4(&tile[(i + 1) % 2][t], x + 64 * (i + 1) + t);    // <-
        cp_async_commit();
        cp_async_wait<1>();
        __syncthreads();
        sum += tile[i % 2][63 - t];                                                // <-
    }
    y[t] = sum;
}

extern "C" __global__ void copy_off_its_boundary(const float* x, float* y)
{
    __shared__ __align__(16) float tile[132];
    cp_async_16(&tile[4 * threadIdx.x + 1], x + 4 * threadIdx.x);                  // <-
    cp_async_commit();
    cp_async_wait<0>();
    y[threadIdx.x] = 0.0f;
}

extern "C" __global__ void copy_beyond_the_end(const float* x, float* y)
{
    __shared__ __align__(16) float tile[128];
    cp_async_16(&tile[4 * threadIdx.x], x + 4 * threadIdx.x);                      // <-
    cp_async_commit();
    cp_async_wait<0>();
    y[threadIdx.x] = 0.0f;
}

// One warp's product of tiles, fragments filled by hand as the PTX ISA lays them out.
extern "C" __global__ void product_tf32(const float* a, const float* b, const float* c, float* d)
{
    const int group = threadIdx.x / 4, member = threadIdx.x % 4;
    unsigned a_words[4], b_words[2];
    float sums[4];
    for (int i = 0; i < 4; i++) a_words[i] = float_to_tf32(a[(group + 8 * (i % 2)) * 8 + member + 4 * (i / 2)]);
    for (int i = 0; i < 2; i++) b_words[i] = float_to_tf32(b[(member + 4 * i) * 8 + group]);
    for (int i = 0; i < 4; i++) sums[i] = c[(group + 8 * (i / 2)) * 8 + 2 * member + i % 2];
    mma_m16n8k8_tf32(sums, a_words, b_words, sums);
    for (int i = 0; i < 4; i++) d[(group + 8 * (i / 2)) * 8 + 2 * member + i % 2] = sums[i];
}

extern "C" __global__ void product_bf16(const float* a, const float* b, const float* c, float* d)
{
    const int group = threadIdx.x / 4, member = threadIdx.x % 4;
    unsigned a_words[4], b_words[2];
    float sums[4];
    for (int i = 0; i < 4; i++) {
        const float* at = a + (group + 8 * (i % 2)) * 16 + 2 * member + 8 * (i / 2);
        a_words[i] = floats_to_bf16(at[0], at[1]);
    }
    for (int i = 0; i < 2; i++) {
        const float* at = b + (2 * member + 8 * i) * 8 + group;
        b_words[i] = floats_to_bf16(at[0], at[8]);
    }
    for (int i = 0; i < 4; i++) sums[i] = c[(group + 8 * (i / 2)) * 8 + 2 * member + i % 2];
    mma_m16n8k16_bf16(sums, a_words, b_words, sums);
    for (int i = 0; i < 4; i++) d[(group + 8 * (i / 2)) * 8 + 2 * member + i % 2] = sums[i];
}

extern "C" __global__ void matrices(const unsigned short* x, unsigned* plain, unsigned* transposed)
{
    __shared__ __align__(16) unsigned short tile[4 * 64];
    const int t = threadIdx.x;
    for (int i = t; i < 256; i += 32) tile[i] = x[i];
    __syncthreads();
    unsigned words[4];
    ldmatrix_x4(words, tile + 8 * t);
    for (int i = 0; i < 4; i++) plain[32 * i + t] = words[i];
    ldmatrix_x4_trans(words, tile + 8 * t);
    for (int i = 0; i < 4; i++) transposed[32 * i + t] = words[i];
}

extern "C" __global__ void matrices_unsynchronised(const unsigned short* x, unsigned* y)
{
    __shared__ __align__(16) unsigned short tile[4 * 64];
    const int t = threadIdx.x;
    for (int i = t; i < 256; i += 32) tile[i] = x[i];                              // <-
    unsigned words[4];
    ldmatrix_x4(words, tile + 8 * t);                                              // <-
    y[t] = words[0];
}

extern "C" __global__ void half_a_warp(float* d)
{
    unsigned a[4] = {}, b[2] = {};
    float sums[4] = {};
    if (threadIdx.x >= 16) return;
    mma_m16n8k8_tf32(sums, a, b, sums);                                            // <-
    d[threadIdx.x] = sums[0];
}

extern "C" __global__ void rounded(const float* x, unsigned* tf32, unsigned* bf16)
{
    tf32[threadIdx.x] = float_to_tf32(x[threadIdx.x]);
    bf16[threadIdx.x] = floats_to_bf16(x[threadIdx.x], -x[threadIdx.x]);
}
