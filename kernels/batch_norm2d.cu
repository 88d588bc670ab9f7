// Batch normalisation: y = weight (x - mean) / sqrt(var + eps) + bias, with the mean and variance of each channel.
// Three jobs: the statistics of a channel; y; and, backward, two sums of a channel, then dx.
//
//   statistics (backward: the sums dbias of dy, and dweight of dy times the normalised x)
//   1  one thread a channel: mean first, then the squares about it
//   2  (block) one block a channel: its threads add every 256th value, then add up by shuffles and shared memory
//      (reduction.cuh)                                    256 reads under way for each channel; still two passes over x
//   3  (parts, then merge) many blocks a channel, each leaving its part's statistics, which one warp merges: the whole
//      device reads even where channels are few, and x once: mean and squares grow together (Welford 1962) and those of
//      two parts are merged (Chan et al. 1979), which loses no digits where the mean is far from 0, as sums of squares
//      would. Places are found without a division at each value, slow on a GPU. The parts and their order depend on the
//      shape alone, so that a result never changes by a bit.
//   y and dx
//   1  one thread a value
//   2  four values a thread by 16-byte reads and writes, H W a multiple of 4      a quarter of the requests, and of the
//                                                                                 looking up of the channel's numbers
//
// x, y, dy, dx   (N, C, H, W) contiguous, on a 16-byte boundary for rung 2 of the last two jobs; plane = H W
// mean, var, weight, bias, dweight, dbias   (C,)
// Rung 1 of the sums is launched with C threads, rung 2 with C blocks of whole warps, rung 3 with (parts, C) blocks of
// whole warps, then C blocks of one warp. Those of values with a thread a value, or a quarter of that.

#include "reduction.cuh"

// Value k, of N plane, of a channel.
__device__ int place_of(int k, int channel, int C, int plane) { return (k / plane * C + channel) * plane + k % plane; }

// The same for k, k + step, k + 2 step, ... without a division at each: when a step leads behind a plane, it goes on in
// the channel's next one.
struct Walk {
    const int across, whole, jump;                   // of a step: pixels, values of whole images; values between planes
    int k, pixel, place;

    __device__ Walk(int k, int step, int channel, int C, int plane)
        : across(step % plane), whole(step / plane * C * plane), jump((C - 1) * plane), k(k), pixel(k % plane),
          place(place_of(k, channel, C, plane))
    {
    }
    __device__ void go_on(int step, int plane)
    {
        k += step;
        pixel += across;
        place += whole + across;
        if (pixel < plane) return;
        pixel -= plane;
        place += jump;
    }
};

__device__ float normalised(float x, float mean, float var, float eps)
{
    return (x - mean) * (1.0f / sqrtf(var + eps));
}

// ------------------------------------------------------------------------------------------------------- statistics

extern "C" __global__ void batch_norm2d_statistics(const float* x, float* mean, float* var, int N, int C, int plane)
{
    const int channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel >= C) return;
    const int count = N * plane;
    float total = 0.0f, squares = 0.0f;
    for (int k = 0; k < count; k++) total += x[place_of(k, channel, C, plane)];
    const float middle = total / count;
    for (int k = 0; k < count; k++) {
        const float distance = x[place_of(k, channel, C, plane)] - middle;
        squares += distance * distance;
    }
    mean[channel] = middle;
    var[channel] = squares / count;
}

// Rung 2.

extern "C" __global__ void batch_norm2d_statistics_block(const float* x, float* mean, float* var,
                                                         int N, int C, int plane)
{
    const int channel = blockIdx.x, count = N * plane;
    float total = 0.0f, squares = 0.0f;
    for (int k = threadIdx.x; k < count; k += blockDim.x) total += x[place_of(k, channel, C, plane)];
    const float middle = block_sum(total) / count;   // in every thread
    for (int k = threadIdx.x; k < count; k += blockDim.x) {
        const float distance = x[place_of(k, channel, C, plane)] - middle;
        squares += distance * distance;
    }
    squares = block_sum(squares);
    if (threadIdx.x == 0) {
        mean[channel] = middle;
        var[channel] = squares / count;
    }
}

// Rung 3.

struct Statistics { float count, mean, squares; };   // squares: the sum of the squared distances from the mean

__device__ Statistics merged(Statistics a, Statistics b)
{
    const float count = a.count + b.count;
    if (count == 0.0f) return a;
    const float distance = b.mean - a.mean, share = b.count / count;
    return {count, a.mean + distance * share, a.squares + b.squares + distance * distance * a.count * share};
}

// The statistics of a warp's 32, in its first lane.
__device__ Statistics warp_merged(Statistics own)
{
    for (int distance = 16; distance > 0; distance /= 2)
        own = merged(own, {__shfl_down_sync(ALL_LANES, own.count, distance),
                           __shfl_down_sync(ALL_LANES, own.mean, distance),
                           __shfl_down_sync(ALL_LANES, own.squares, distance)});
    return own;
}

// parts   (C, parts, 3): count, mean and squares of each part
extern "C" __global__ void batch_norm2d_statistics_parts(const float* x, float* parts, int N, int C, int plane)
{
    const int channel = blockIdx.y, count = N * plane, step = gridDim.x * blockDim.x;
    Statistics own = {0.0f, 0.0f, 0.0f};
    for (Walk at(blockIdx.x * blockDim.x + threadIdx.x, step, channel, C, plane); at.k < count; at.go_on(step, plane)) {
        const float value = x[at.place], distance = value - own.mean;
        own.count += 1.0f;
        own.mean += distance / own.count;
        own.squares += distance * (value - own.mean);
    }
    __shared__ Statistics warps[32];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    own = warp_merged(own);
    if (lane == 0) warps[warp] = own;
    __syncthreads();
    if (warp > 0) return;
    own = lane < blockDim.x / 32 ? warps[lane] : Statistics{0.0f, 0.0f, 0.0f};
    own = warp_merged(own);
    if (lane > 0) return;
    float* part = parts + 3 * (channel * gridDim.x + blockIdx.x);
    part[0] = own.count;
    part[1] = own.mean;
    part[2] = own.squares;
}

extern "C" __global__ void batch_norm2d_statistics_merge(const float* parts, float* mean, float* var, int parts_each)
{
    const int channel = blockIdx.x, lane = threadIdx.x;
    Statistics own = {0.0f, 0.0f, 0.0f};
    for (int k = lane; k < parts_each; k += 32) {
        const float* part = parts + 3 * (channel * parts_each + k);
        own = merged(own, {part[0], part[1], part[2]});
    }
    own = warp_merged(own);
    if (lane > 0) return;
    mean[channel] = own.mean;
    var[channel] = own.squares / own.count;
}

// --------------------------------------------------------------------------------------------------------------- y

extern "C" __global__ void batch_norm2d_forward(const float* x, const float* mean, const float* var,
                                                const float* weight, const float* bias, float* y,
                                                float eps, int count, int C, int plane)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const int channel = i / plane % C;
    y[i] = normalised(x[i], mean[channel], var[channel], eps) * weight[channel] + bias[channel];
}

extern "C" __global__ void batch_norm2d_forward_4(const float* x, const float* mean, const float* var,
                                                  const float* weight, const float* bias, float* y,
                                                  float eps, int count, int C, int plane)
{
    const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= count) return;
    const int channel = i / plane % C;
    const float m = mean[channel], v = var[channel], scale = weight[channel], shift = bias[channel];
    const float4 value = *reinterpret_cast<const float4*>(x + i);
    *reinterpret_cast<float4*>(y + i) =
        make_float4(normalised(value.x, m, v, eps) * scale + shift, normalised(value.y, m, v, eps) * scale + shift,
                    normalised(value.z, m, v, eps) * scale + shift, normalised(value.w, m, v, eps) * scale + shift);
}

// ------------------------------------------------------------------------------------------- backward: the two sums

extern "C" __global__ void batch_norm2d_sums(const float* dy, const float* x, const float* mean, const float* var,
                                             float* dweight, float* dbias, float eps, int N, int C, int plane)
{
    const int channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel >= C) return;
    float total = 0.0f, along = 0.0f;                // of dy, and of dy times the normalised x
    for (int k = 0; k < N * plane; k++) {
        const int i = place_of(k, channel, C, plane);
        total += dy[i];
        along += dy[i] * normalised(x[i], mean[channel], var[channel], eps);
    }
    dweight[channel] = along;
    dbias[channel] = total;
}

// Rung 2 where gridDim.x is 1 and dweight and dbias are the results; the first half of rung 3 where they are parts.

// dweight, dbias   (C, parts), parts = gridDim.x
extern "C" __global__ void batch_norm2d_sums_parts(const float* dy, const float* x, const float* mean, const float* var,
                                                   float* dweight, float* dbias, float eps, int N, int C, int plane)
{
    const int channel = blockIdx.y, count = N * plane, step = gridDim.x * blockDim.x;
    const float m = mean[channel], v = var[channel];
    float total = 0.0f, along = 0.0f;
    for (Walk at(blockIdx.x * blockDim.x + threadIdx.x, step, channel, C, plane); at.k < count; at.go_on(step, plane)) {
        total += dy[at.place];
        along += dy[at.place] * normalised(x[at.place], m, v, eps);
    }
    total = block_sum(total);
    along = block_sum(along);
    if (threadIdx.x == 0) {
        dweight[channel * gridDim.x + blockIdx.x] = along;
        dbias[channel * gridDim.x + blockIdx.x] = total;
    }
}

extern "C" __global__ void batch_norm2d_sums_merge(const float* dweight_parts, const float* dbias_parts,
                                                   float* dweight, float* dbias, int parts_each)
{
    const int channel = blockIdx.x, lane = threadIdx.x;
    float total = 0.0f, along = 0.0f;
    for (int k = lane; k < parts_each; k += 32) {
        along += dweight_parts[channel * parts_each + k];
        total += dbias_parts[channel * parts_each + k];
    }
    along = warp_sum(along);
    total = warp_sum(total);
    if (lane > 0) return;
    dweight[channel] = along;
    dbias[channel] = total;
}

// ------------------------------------------------------------------------------------------------------ backward: dx

// What a channel's values have in common on the way back: dx = scale (dy - mean_dy - normalised(x) mean_along), where
// the two means are those of the whole channel, through which every value moves mean and variance; 0 for fixed ones.
struct Channel { float mean, var, eps, scale, mean_dy, mean_along; };

__device__ Channel channel_of(int channel, const float* mean, const float* var, const float* weight,
                              const float* dweight, const float* dbias, float eps, float share)
{
    return {mean[channel], var[channel], eps, weight[channel] * (1.0f / sqrtf(var[channel] + eps)),
            dbias[channel] * share, dweight[channel] * share};
}

__device__ float gradient(float dy, float x, Channel c)
{
    return c.scale * (dy - c.mean_dy - normalised(x, c.mean, c.var, c.eps) * c.mean_along);
}

// share   1 / (N H W) where the statistics were the batch's own; 0 where they were fixed
extern "C" __global__ void batch_norm2d_backward(const float* dy, const float* x, const float* mean, const float* var,
                                                 const float* weight, const float* dweight, const float* dbias,
                                                 float* dx, float eps, float share, int count, int C, int plane)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    dx[i] = gradient(dy[i], x[i], channel_of(i / plane % C, mean, var, weight, dweight, dbias, eps, share));
}

extern "C" __global__ void batch_norm2d_backward_4(const float* dy, const float* x, const float* mean, const float* var,
                                                   const float* weight, const float* dweight, const float* dbias,
                                                   float* dx, float eps, float share, int count, int C, int plane)
{
    const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= count) return;
    const Channel c = channel_of(i / plane % C, mean, var, weight, dweight, dbias, eps, share);
    const float4 upstream = *reinterpret_cast<const float4*>(dy + i), value = *reinterpret_cast<const float4*>(x + i);
    *reinterpret_cast<float4*>(dx + i) =
        make_float4(gradient(upstream.x, value.x, c), gradient(upstream.y, value.y, c),
                    gradient(upstream.z, value.z, c), gradient(upstream.w, value.w, c));
}
