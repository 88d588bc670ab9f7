// What CUDA has without a header, a line each, and ways of writing that a C++ compiler must be taught.
#include "features.cuh"

constexpr int WIDTH = 8;
__constant__ float table[WIDTH] = {1, 2, 3, 4, 5, 6, 7, 8};
__device__ const int offsets[3] = {0, 1, 2};

extern "C" __global__ void __launch_bounds__(WIDTH* 4, 1)
declarations(const float* __restrict__ x, float* y, int n)
{
    __shared__ __align__(16) float a[WIDTH][WIDTH + 1], b[WIDTH * 4];      // two of them, "__shared__" in a comment
    __shared__ float one;
    __shared__ volatile int flags[
        WIDTH
    ];
    __shared__ Pair<float, int> pairs[2];
    extern __shared__ __align__(16) unsigned char bytes[];
    float* dynamic = reinterpret_cast<float*>(bytes);
    const int t = threadIdx.x;
    a[t / WIDTH][t % WIDTH] = x[t];
    b[t] = 2.0f * x[t];
    dynamic[t] = -x[t];
    if (t < WIDTH) flags[t] = t;
    if (t == 0) one = 10.0f;
    if (t < 2) pairs[t] = {1.0f, t};
    __syncthreads();
    y[t] = a[t % 4][t / 4] + b[31 - t] + dynamic[t ^ 1] + one + flags[t % WIDTH] + pairs[t % 2].second + table[t % WIDTH]
           + offsets[t % 3];
}

extern "C" __global__ void templates(const float* x, float* y)
{
    const float sum = block_sum<float, 0>(x[threadIdx.x]);
    const float twice = block_sum<float, 1>(2.0f * x[threadIdx.x]);
    const int count = block_sum<int, 0>(1);
    y[threadIdx.x] = sum + twice + count;
}

extern "C" __global__ void bits(const unsigned* x, unsigned* y)
{
    const unsigned v = x[threadIdx.x];
    unsigned* out = y + 8 * threadIdx.x;
    out[0] = __popc(v);
    out[1] = __clz(v);
    out[2] = __ffs(v);
    out[3] = __brev(v);
    out[4] = __umulhi(v, 0x12345678u);
    out[5] = __float_as_uint(__uint_as_float(v));
    out[6] = __funnelshift_l(v, v, 7);
    out[7] = __byte_perm(v, 0, 0x0123);
}

extern "C" __global__ void numbers(const float* x, float* y)
{
    const float v = x[threadIdx.x];
    float* out = y + 14 * threadIdx.x;
    out[0] = __expf(v);
    out[1] = __logf(fabsf(v));
    out[2] = rsqrtf(fabsf(v));
    out[3] = fmaf(v, v, 1.0f);
    out[4] = __fdividef(v, 3.0f);
    out[5] = max(v, 0.5f) + min(1, 2) + fmaxf(v, 0.0f) + fminf(v, 0.0f);
    out[6] = __ldg(x + threadIdx.x);
    out[7] = __float2int_rn(v * 10.0f);
    out[8] = __fmul_rn(v, v) + __fadd_rn(v, 1.0f);
    out[9] = __saturatef(v);
    out[10] = tanhf(v) + log1pf(fabsf(v)) + expm1f(v) + erff(v);
    out[11] = isnan(v) + isinf(v) + abs(-3) + warpSize;
    out[12] = __float2int_rz(1e20f) == 2147483647 && __float2int_rz(__int_as_float(0x7fc00000)) == 0;
    out[13] = sizeof(float4) + alignof(float4) + sizeof(float3) + alignof(uchar4);
}

extern "C" __global__ void atomics(int* i, unsigned* u, float* f, unsigned long long* l)
{
    const int t = threadIdx.x;
    atomicAdd(i, t);
    atomicSub(i + 1, t);
    atomicMin(i + 2, -t);
    atomicMax(i + 3, t);
    atomicAnd(u, ~(1u << t));
    atomicOr(u + 1, 1u << t);
    atomicXor(u + 2, 1u << t);
    atomicInc(u + 3, 9u);
    atomicDec(u + 4, 9u);
    atomicCAS(i + 4, 0, t + 1);
    atomicExch(i + 5, 7);
    atomicAdd(f, 0.5f);
    atomicMax(f + 1, (float)t);
    atomicAdd(l, 1ull << 33);
}

extern "C" __global__ void vectors(const int4* a, const uchar4* b, short2* c, uint2* d)
{
    const int4 four = a[threadIdx.x];
    const uchar4 bytes = b[threadIdx.x];
    c[threadIdx.x] = make_short2(four.x + four.y, four.z + four.w);
    uint2 pair;
    pair.x = bytes.x + bytes.y;
    pair.y = bytes.z + bytes.w;
    d[threadIdx.x] = pair;
}

extern "C" __global__ void parameters(signed char a, unsigned char b, short c, unsigned short d, int e, unsigned f,
                                      long long g, unsigned long long h, float i, double j, bool k, double* y)
{
    const double values[] = {double(a), double(b), double(c), double(d), double(e), double(f),
                             double(g), double(h), double(i), j,         double(k)};
    for (int n = 0; n < 11; n++) y[n] = values[n];
}
