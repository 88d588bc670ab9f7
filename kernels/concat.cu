// Concatenation: each part is put into its place in y, and nothing else is moved; backward: each part's gradient is
// taken out of its place in dy. One launch a part.
//   1  one thread a value of the part
//   2  the same, four values a thread by 16-byte reads and writes       a quarter of the requests for the same bytes
//
// An array is seen as (outer, ...): `outer` the sizes before the dimension along which the parts are laid, then one run
// of values that lie together: `length` of them in the part, `stride` in the whole, where the part begins at `offset`.
//
// part    (outer, length) contiguous; count = outer length values, at most 2^30
// whole   (outer, stride) contiguous; both on a 16-byte boundary for rung 2, and length, stride, offset multiples of 4
// Both rungs take the same arguments. Rung 1 is launched with count threads, rung 2 with a quarter of them.

extern "C" __global__ void concat_put(const float* part, float* whole, int count, int length, int stride, int offset)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    whole[i / length * stride + offset + i % length] = part[i];
}

extern "C" __global__ void concat_take(const float* whole, float* part, int count, int length, int stride, int offset)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    part[i] = whole[i / length * stride + offset + i % length];
}

// Rung 2. Four neighbours lie in one run, since its length is a multiple of 4.

extern "C" __global__ void concat_put_4(const float* part, float* whole, int count, int length, int stride, int offset)
{
    const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= count) return;
    *reinterpret_cast<float4*>(whole + i / length * stride + offset + i % length) =
        *reinterpret_cast<const float4*>(part + i);
}

extern "C" __global__ void concat_take_4(const float* whole, float* part, int count, int length, int stride, int offset)
{
    const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= count) return;
    *reinterpret_cast<float4*>(part + i) =
        *reinterpret_cast<const float4*>(whole + i / length * stride + offset + i % length);
}
