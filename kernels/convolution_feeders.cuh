// What feeds the convolution's pipelined products (product_pipeline.cuh): filters, windows of an image, planes.
//
// Along k the first two products take sixteen channels at one tap, then the same sixteen at the next tap, and when
// the taps are done the next sixteen channels. So a step knows its tap, and a thread asks once a step, not once a
// value, whether its window meets the image there; the steps of a tap's neighbours read pixels that the cache still
// holds; and no index is divided. The filters are packed in this order beforehand (conv2d_pack_filters.cu), and
// rounded there, once.
//
// needs: sm_80
#pragma once
#include "convolution.cuh"
#include "product_pipeline.cuh"

constexpr int FED_CHANNELS = FED_DEPTH;                          // at one tap

__device__ __forceinline__ int channel_blocks(int channels) { return (channels + FED_CHANNELS - 1) / FED_CHANNELS; }

// How many taps the classes before this one have, each of which is packed for itself.
__device__ __forceinline__ int taps_before(const Class& vertical, const Class& horizontal, int kernel_w)
{
    return vertical.taps_before * kernel_w + vertical.taps * horizontal.taps_before;
}

// Operand A of the first two products: rows of packed filters, each `steps` times FED_DEPTH long.
template <bool rounded_, int ROWS>
struct PackedFeeder {
    static constexpr bool rounded = rounded_;
    using Tile = RowsOfK<ROWS>;
    static constexpr int STEP = FED_THREADS / (FED_DEPTH / 4);   // rows from copy to copy
    const int count, length, slot;                               // count: of rows from this thread's first on
    const float* next;                                           // of this thread's first row

    __device__ PackedFeeder(const float* packed, int rows, int first_row, int steps)
        : count(rows - first_row - int(threadIdx.x / (FED_DEPTH / 4))), length(steps * FED_DEPTH),
          slot(Tile::at(threadIdx.x / (FED_DEPTH / 4), threadIdx.x % (FED_DEPTH / 4) * 4)),
          next(packed + (first_row + threadIdx.x / (FED_DEPTH / 4)) * length + threadIdx.x % (FED_DEPTH / 4) * 4)
    {
    }
    __device__ __forceinline__ void feed(float* tile)
    {
#pragma unroll
        for (int i = 0; i < ROWS; i += STEP) {
            cp_async_16(tile + (slot + i * FED_DEPTH), next + i * length, i < count ? 16 : 0);
        }
        next += FED_DEPTH;
    }
};

// Operand B of the first two products: a thread copies one place's values, of every STEP-th channel.
template <int ROWS>
struct PlaceFeeder {
    static constexpr bool rounded = false;
    using Tile = KOfRows<ROWS>;
    static constexpr int STEP = FED_THREADS / ROWS;              // channels from copy to copy, a power of two
    const Windows& windows;
    const Windows::Spot place;
    const int plane, slot;
    int tap_h, tap_w, channel;                                   // of the next step; the channel is this thread's first

    __device__ PlaceFeeder(const Windows& windows, int first_row)
        : windows(windows), place(windows.place(first_row + threadIdx.x % ROWS, windows.places())),
          plane(windows.H * windows.W), slot(Tile::at(threadIdx.x % ROWS, threadIdx.x / ROWS)), tap_h(0), tap_w(0),
          channel(threadIdx.x / ROWS)
    {
    }
    __device__ __forceinline__ void feed(float* tile)
    {
        const int h = tap_h * windows.tap_h, w = tap_w * windows.tap_w;
        const float* first = windows.image + (place.offset + channel * plane + h * windows.W + w);
        const int count = windows.inside(place, {0, h, w}) ? windows.channels - channel : 0;
#pragma unroll
        for (int i = 0; i < FED_CHANNELS; i += STEP) {           // to Tile::at(place, own channel + i)
            cp_async_4(tile + ((slot ^ Tile::swizzle(i) << 3) + i * ROWS), first + i * plane, i < count ? 4 : 0);
        }
        if (++tap_w < windows.taps_w) return;
        tap_w = 0;
        if (++tap_h < windows.taps_h) return;
        tap_h = 0;
        channel += FED_CHANNELS;
    }
};

// Operand A of the gradient by the weight: planes of dy, along their pixels and on into the next image. A thread
// copies four pixels at once where those share 16 bytes, of every 64th channel; else one, of every 16th.
template <int ROWS>
struct PlanesFeeder {
    static constexpr bool rounded = false;
    using Tile = RowsOfK<ROWS>;
    const Planes& planes;
    const int across;                                            // threads along k
    const int count, slot;                                       // count: of channels from this thread's first on
    int k, n, pixel;                                             // of the next step: this thread's first
    const float* first;                                          // of its first channel

    __device__ PlanesFeeder(const Planes& planes, int first_row, int first_k)
        : planes(planes), across(planes.fours ? FED_DEPTH / 4 : FED_DEPTH),
          count(planes.channels - first_row - int(threadIdx.x / across)),
          slot(Tile::at(threadIdx.x / across, threadIdx.x % across * (FED_DEPTH / across))),
          k(first_k + threadIdx.x % across * (FED_DEPTH / across)), n(k / planes.plane), pixel(k % planes.plane),
          first(planes.values + (first_row + threadIdx.x / across) * planes.plane)
    {
    }
    __device__ __forceinline__ void feed(float* tile)
    {
        const float* next = first + (n * planes.channels * planes.plane + pixel);
        const int here = k < planes.last_k ? count : 0;
        if (planes.fours) {
            constexpr int STEP = FED_THREADS / (FED_DEPTH / 4);
#pragma unroll
            for (int i = 0; i < ROWS; i += STEP) {
                cp_async_16(tile + (slot + i * FED_DEPTH), next + i * planes.plane, i < here ? 16 : 0);
            }
        } else {
            constexpr int STEP = FED_THREADS / FED_DEPTH;
#pragma unroll
            for (int i = 0; i < ROWS; i += STEP) {
                cp_async_4(tile + (slot + i * FED_DEPTH), next + i * planes.plane, i < here ? 4 : 0);
            }
        }
        k += FED_DEPTH;
        for (pixel += FED_DEPTH; pixel >= planes.plane; pixel -= planes.plane) n++;
    }
};

// Operand B of the gradient by the weight: a thread copies one place's values at its COUNT taps.
template <int ROWS>
struct TapFeeder {
    static constexpr bool rounded = false;
    using Tile = RowsOfK<ROWS>;
    static constexpr int STEP = FED_THREADS / FED_DEPTH, COUNT = ROWS / STEP;
    const Windows& windows;
    const int last_k, slot;
    int k, n, i, j;                                              // this thread's place in the next step
    Windows::Spot taps[COUNT];

    __device__ TapFeeder(const Windows& windows, int first_row, int first_k, int last_k)
        : windows(windows), last_k(last_k), slot(Tile::at(threadIdx.x / FED_DEPTH, threadIdx.x % FED_DEPTH)),
          k(first_k + threadIdx.x % FED_DEPTH)
    {
        const int row = k / windows.places_w;
        n = row / windows.places_h;
        i = row - n * windows.places_h;
        j = k - row * windows.places_w;
#pragma unroll
        for (int t = 0; t < COUNT; t++) {
            taps[t] = windows.tap(first_row + threadIdx.x / FED_DEPTH + t * STEP, windows.taps());
        }
    }
    __device__ __forceinline__ void feed(float* tile)
    {
        const int h = i * windows.stride_h + windows.first_h, w = j * windows.stride_w + windows.first_w;
        const int offset = (n * windows.channels * windows.H + h) * windows.W + w;
        const Windows::Spot place = {offset, k < last_k ? h : OUTSIDE, w};
#pragma unroll
        for (int t = 0; t < COUNT; t++) {
            cp_async_4(tile + (slot + t * STEP * FED_DEPTH), windows.image + (place.offset + taps[t].offset),
                       windows.inside(place, taps[t]) ? 4 : 0);
        }
        k += FED_DEPTH;
        for (j += FED_DEPTH; j >= windows.places_w; j -= windows.places_w) {
            if (++i == windows.places_h) {
                i = 0;
                n++;
            }
        }
    }
};
