// Dropout: y = scale x where the value is kept, 0 elsewhere; the backward pass is the same kernel on dy, since it draws
// the same mask again: the mask is a function of seed and place, and is stored nowhere.
//   1  one thread a value: it draws the four words of its counter and uses one of them
//   2  one thread for the four values of a counter, by 16-byte reads and writes      a quarter of the draws, and of the
//                                                                                    requests for the same bytes
//
// Value i takes word i % 4 of Philox4x32-10 with counter (i / 4, 0, 0, 0) and key `seed`, low word first; it is kept
// where the word is at least `threshold` = ceil(p 2^32).
// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", table 2.
//
// x, y   any shape, contiguous, on a 16-byte boundary for rung 2; count values, at most 2^30
// Both rungs take the same arguments. Rung 1 is launched with count threads, rung 2 with a quarter of them, rounded up.

__device__ uint4 philox(unsigned counter, unsigned long long seed)
{
    uint4 word = make_uint4(counter, 0, 0, 0);
    unsigned key_low = static_cast<unsigned>(seed), key_high = static_cast<unsigned>(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const unsigned long long product_x = 0xD2511F53ull * word.x, product_z = 0xCD9E8D57ull * word.z;
        word = make_uint4(static_cast<unsigned>(product_z >> 32) ^ word.y ^ key_low, static_cast<unsigned>(product_z),
                          static_cast<unsigned>(product_x >> 32) ^ word.w ^ key_high, static_cast<unsigned>(product_x));
        key_low += 0x9E3779B9u;
        key_high += 0xBB67AE85u;
    }
    return word;
}

__device__ float kept(float x, unsigned word, float scale, unsigned long long threshold)
{
    return word >= threshold ? x * scale : 0.0f;     // a threshold of 2^32, for p = 1, keeps none
}

extern "C" __global__ void dropout(const float* x, float* y, float scale, unsigned long long threshold,
                                   unsigned long long seed, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const uint4 drawn = philox(i / 4, seed);
    const unsigned words[4] = {drawn.x, drawn.y, drawn.z, drawn.w};
    y[i] = kept(x[i], words[i % 4], scale, threshold);
}

// Rung 2.

extern "C" __global__ void dropout_4(const float* x, float* y, float scale, unsigned long long threshold,
                                     unsigned long long seed, int count)
{
    const int counter = blockIdx.x * blockDim.x + threadIdx.x, i = 4 * counter;
    if (i >= count) return;
    const uint4 drawn = philox(counter, seed);
    if (i + 3 < count) {
        const float4 value = *reinterpret_cast<const float4*>(x + i);
        *reinterpret_cast<float4*>(y + i) =
            make_float4(kept(value.x, drawn.x, scale, threshold), kept(value.y, drawn.y, scale, threshold),
                        kept(value.z, drawn.z, scale, threshold), kept(value.w, drawn.w, scale, threshold));
    } else {                                         // the last one to three values
        const unsigned words[3] = {drawn.x, drawn.y, drawn.z};
        for (int last = i; last < count; last++) y[last] = kept(x[last], words[last - i], scale, threshold);
    }
}
