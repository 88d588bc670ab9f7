// Convolution as a matrix product that is nowhere stored: the operands of its three products (see product_tile.cuh).
//
//                          C (M, N) =                     M              N                     K
//     forward              y = filters * windows of x     out_channels   places of the batch   in_channels taps
//     gradient by input    dx = filters * windows of dy   in_channels    pixels of the batch   out_channels taps
//     gradient by weight   dweight = dy * windows of x    out_channels   in_channels taps      places of the batch
//
// A tap is a pixel of the kernel; a place is where a window stands, that is a pixel of y.
//
// The gradient by the input gathers too. Pixel h of dx meets tap p at place i where i stride = h + padding - p
// dilation, so the pixels h = r, r + stride, r + 2 stride, ... meet the same taps, those for which r + padding - p
// dilation is a multiple of the stride, and each of these at one place further on than the pixel before. So the
// pixels fall into stride_h stride_w classes, and within a class dx is a convolution with stride 1: no product with a
// zero is computed.
#pragma once
#include "operands.cuh"

constexpr int OUTSIDE = -(1 << 29);                              // as a height: so far out that no tap leads back in

// Windows over the planes of a batch of images.
struct Windows {
    const float* image;                                          // (N, channels, H, W)
    int N, channels, H, W;
    int places_h, places_w;                                      // of the windows on an image
    int stride_h, stride_w;                                      // from place to place
    int taps_h, taps_w;                                          // of a window
    int tap_h, tap_w;                                            // from tap to tap
    int first_h, first_w;                                        // tap (0, 0) at place (0, 0)

    struct Spot { int offset, h, w; };                           // of a place, or by how much a tap is away from it

    __device__ int places() const { return N * places_h * places_w; }
    __device__ int taps() const { return channels * taps_h * taps_w; }

    __device__ Spot place(int index, int end) const              // the place of that number in the batch
    {
        if (index >= end) return {0, OUTSIDE, 0};
        const int row = index / places_w, n = row / places_h;
        const int h = (row - n * places_h) * stride_h + first_h, w = (index - row * places_w) * stride_w + first_w;
        return {(n * channels * H + h) * W + w, h, w};
    }
    __device__ Spot tap(int index, int end) const                // the tap of that number: channel, row, column
    {
        if (index >= end) return {0, OUTSIDE, 0};
        const int row = index / taps_w, channel = row / taps_h;
        const int h = (row - channel * taps_h) * tap_h, w = (index - row * taps_w) * tap_w;
        return {(channel * H + h) * W + w, h, w};
    }
    __device__ bool inside(Spot place, Spot tap) const           // the image; as unsigned, a negative number is huge
    {
        return static_cast<unsigned>(place.h + tap.h) < static_cast<unsigned>(H) &&
               static_cast<unsigned>(place.w + tap.w) < static_cast<unsigned>(W);
    }
    __device__ const float* address(Spot place, Spot tap) const
    {
        return inside(place, tap) ? image + (place.offset + tap.offset) : nullptr;
    }
    // Whether windows are pixels, which lie one after another in each image as places do, in whole fours.
    __device__ bool pixels_in_fours() const
    {
        return taps_h * taps_w * stride_h * stride_w == 1 && first_h == 0 && first_w == 0 && H == places_h &&
               W == places_w && H * W % 4 == 0 && on_16_bytes(image);
    }
};

// The windows as operand B of the first two products: its rows are places, its k are taps.
struct WindowsByPlace {
    static constexpr bool k_contiguous = false;
    const Windows& windows;
    bool fours;

    __device__ explicit WindowsByPlace(const Windows& windows) : windows(windows), fours(windows.pixels_in_fours()) {}
    __device__ Windows::Spot row(int r) const { return windows.place(r, windows.places()); }
    __device__ Windows::Spot column(int k) const { return windows.tap(k, windows.taps()); }
    __device__ const float* address(Windows::Spot row, Windows::Spot column) const
    {
        return windows.address(row, column);
    }
};

// The windows as operand B of the gradient by the weight: its rows are taps, its k are places, up to last_k.
struct WindowsByTap {
    static constexpr bool k_contiguous = true;
    const Windows& windows;
    int last_k;
    bool fours;

    __device__ WindowsByTap(const Windows& windows, int last_k)
        : windows(windows), last_k(last_k), fours(windows.pixels_in_fours())
    {
    }
    __device__ Windows::Spot row(int r) const { return windows.tap(r, windows.taps()); }
    __device__ Windows::Spot column(int k) const { return windows.place(k, last_k); }
    __device__ const float* address(Windows::Spot row, Windows::Spot column) const
    {
        return windows.address(column, row);
    }
};

// The planes of a batch as operand A of the gradient by the weight: its rows are channels, its k are the pixels of
// all images.
struct Planes {
    static constexpr bool k_contiguous = true;
    const float* values;                                         // (N, channels, plane)
    int channels, plane, last_k;
    bool fours;

    __device__ Planes(const float* values, int channels, int plane, int last_k)
        : values(values), channels(channels), plane(plane), last_k(last_k), fours(plane % 4 == 0 && on_16_bytes(values))
    {
    }
    __device__ int row(int r) const { return r < channels ? r * plane : -1; }
    __device__ int column(int k) const
    {
        if (k >= last_k) return -1;
        const int n = k / plane;
        return n * channels * plane + (k - n * plane);
    }
    __device__ const float* address(int row, int column) const
    {
        return (row | column) < 0 ? nullptr : values + row + column;
    }
};

// A class in one direction: which pixels make it up, and which taps they meet.
struct Class {
    int first_pixel, pixels;                                     // first_pixel, first_pixel + stride, ...
    int first_tap, tap_step, taps;                               // first_tap, first_tap + tap_step, ...
    int first_place;                                             // where the first pixel meets the first tap
    int place_step;                                              // by how much further each next tap lies
    int taps_before;                                             // of the classes of lower numbers

    __device__ Class(int number, int size, int kernel, int stride, int padding, int dilation)
        : first_pixel(number), pixels(number < size ? (size - number - 1) / stride + 1 : 0), first_tap(0), tap_step(0),
          taps(0), first_place(0), place_step(0), taps_before(0)
    {
        for (int tap = kernel - 1; tap >= 0; tap--) {
            const int its = of_tap(tap, stride, padding, dilation);
            taps_before += its < number;
            if (its != number) continue;
            tap_step = first_tap - tap;
            first_tap = tap;
            taps++;
        }
        if (taps == 0) return;                                   // between stamps that leave gaps
        if (taps == 1) tap_step = 0;
        first_place = (first_pixel + padding - first_tap * dilation) / stride;
        place_step = -tap_step * dilation / stride;
    }
    __device__ int position(int tap) const { return tap_step ? (tap - first_tap) / tap_step : 0; }    // among its taps
    static __device__ int of_tap(int tap, int stride, int padding, int dilation)
    {
        const int remainder = (tap * dilation - padding) % stride;
        return remainder < 0 ? remainder + stride : remainder;
    }
};

// The windows of dy over which the pixels of a class gather.
__device__ __forceinline__ Windows windows_of_class(const float* dy, int N, int out_channels, int H_out, int W_out,
                                                    const Class& vertical, const Class& horizontal)
{
    return {dy, N, out_channels, H_out, W_out, vertical.pixels, horizontal.pixels, 1, 1, vertical.taps, horizontal.taps,
            vertical.place_step, horizontal.place_step, vertical.first_place, horizontal.first_place};
}

// The filters as operand A of the gradient by the input: its rows are input channels, its k are output channels and
// the taps of one class.
struct FiltersOfClass {
    static constexpr bool k_contiguous = false;                  // nor are the rows; those are at least nearer
    static constexpr bool fours = false;
    const float* weight;                                         // (out_channels, in_channels, kernel_h, kernel_w)
    int out_channels, in_channels, kernel_h, kernel_w;
    const Class &vertical, &horizontal;

    __device__ int row(int r) const { return r < in_channels ? r * kernel_h * kernel_w : -1; }
    __device__ int column(int k) const
    {
        if (k >= out_channels * vertical.taps * horizontal.taps) return -1;
        const int row = k / horizontal.taps, channel = row / vertical.taps;
        const int p = vertical.first_tap + (row - channel * vertical.taps) * vertical.tap_step;
        const int q = horizontal.first_tap + (k - row * horizontal.taps) * horizontal.tap_step;
        return (channel * in_channels * kernel_h + p) * kernel_w + q;
    }
    __device__ const float* address(int row, int column) const
    {
        return (row | column) < 0 ? nullptr : weight + row + column;
    }
};

// Where the first two products go: to every step-th pixel of the planes (N, channels, H, W), with a bias for each
// channel.
struct PlanesResult {
    float* values;
    const float* bias;                                           // or null
    int N, channels, H, W;
    int first_h, first_w, step_h, step_w;
    int places_h, places_w;                                      // how many pixels of a plane that is
    bool twos;                                                   // places n and n + 1, n even, share a float2

    __device__ PlanesResult(float* values, const float* bias, int N, int channels, int H, int W, int first_h,
                            int first_w, int step_h, int step_w, int places_h, int places_w)
        : values(values), bias(bias), N(N), channels(channels), H(H), W(W), first_h(first_h), first_w(first_w),
          step_h(step_h), step_w(step_w), places_h(places_h), places_w(places_w),
          twos(step_w == 1 && W % 2 == 0 && on_16_bytes(values))
    {
    }
    __device__ int row(int m) const { return m < channels ? m : -1; }
    __device__ int column(int n) const
    {
        const int row = n / places_w, image = row / places_h;
        if (image >= N) return -1;
        const int h = first_h + (row - image * places_h) * step_h, w = first_w + (n - row * places_w) * step_w;
        return (image * channels * H + h) * W + w;
    }
    __device__ void store(int row, int column, float value) const
    {
        if ((row | column) >= 0) values[column + row * H * W] = bias ? value + bias[row] : value;
    }
    __device__ void store_two(int row, int column, float2 two) const
    {
        if ((row | column) < 0) return;
        if (bias) two = make_float2(two.x + bias[row], two.y + bias[row]);
        *reinterpret_cast<float2*>(values + column + row * H * W) = two;
    }
};
