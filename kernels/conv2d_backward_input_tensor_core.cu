// conv2d's gradient by its input on the tensor cores: rungs 5 and 6 of the ladder in conv2d_backward_input.cu.
//   5  (tf32, bf16) operands rounded into tiles in shared memory, multiplied by mma (product_mma.cuh)
//   6  (tf32_pipeline, bf16_pipeline) the same; the next two pairs of tiles are copied meanwhile by cp.async from
//      filters packed beforehand (conv2d_pack_filters.cu), windows are found without a division
//      (convolution_feeders.cuh), and shared memory is free of conflicts (product_pipeline.cuh). Tiles of 128
//      in_channels, or of 64 where there are no more
//
// TF32 rounds each value of dy and weight by up to one part in 2048, bf16 by one in 256; sums are float32. Rung 5
// takes the arguments of rungs 1 to 4; rung 6 takes packed filters for weight, for tf32_pipeline packed to TF32.
// Launch: z over the stride_h stride_w classes. Rung 5: 128 threads, x over tiles of the largest class's pixels and y
// over tiles of in_channels, of 64 x 64. Rung 6: 256 threads and tiles of 128 (pipeline_64: 64) in_channels and 128
// pixels, all along x, channels fastest: blocks that run together share windows.
//
// needs: sm_80
#include "convolution_feeders.cuh"

template <class Format>
__device__ __forceinline__ void mma_backward_input(const FiltersOfClass& filters, const Windows& windows,
                                                   const PlanesResult& result)
{
    __shared__ MmaTile a_tile, b_tile;
    if (blockIdx.x * MMA_ROWS >= windows.places()) return;        // this class has fewer pixels than the largest
    mma_product<Format>(a_tile, b_tile, filters, WindowsByPlace(windows), result, 0, windows.taps());
}

template <class Format, int ROWS>
__device__ __forceinline__ void pipelined_backward_input(const float* packed, const Windows& windows,
                                                         const PlanesResult& result)
{
    __shared__ __align__(128) float a_tiles[STAGES][ROWS * FED_DEPTH], b_tiles[STAGES][128 * FED_DEPTH];
    const int m_tiles = (result.channels + ROWS - 1) / ROWS;
    const int m0 = blockIdx.x % m_tiles * ROWS, n0 = blockIdx.x / m_tiles * 128;
    if (n0 >= windows.places()) return;                          // this class has fewer pixels than the largest
    const int steps = channel_blocks(windows.channels) * windows.taps_h * windows.taps_w;
    PackedFeeder<Format::PER_WORD == 1, ROWS> filters(packed, result.channels, m0, steps);
    PlaceFeeder<128> places(windows, n0);
    pipelined_product<Format, ROWS, 128>(a_tiles, b_tiles, filters, places, result, m0, n0, steps);
}

extern "C" __global__ void __launch_bounds__(128, 4)
conv2d_backward_input_tf32(
    const float* dy, const float* weight, const float* bias /* or null */, float* dx,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    const Class vertical(blockIdx.z / stride_w, H, kernel_h, stride_h, padding_h, dilation_h);
    const Class horizontal(blockIdx.z % stride_w, W, kernel_w, stride_w, padding_w, dilation_w);
    const Windows windows = windows_of_class(dy, N, out_channels, H_out, W_out, vertical, horizontal);
    const PlanesResult result(dx, bias, N, in_channels, H, W, vertical.first_pixel, horizontal.first_pixel,
                              stride_h, stride_w, vertical.pixels, horizontal.pixels);
    const FiltersOfClass filters{weight, out_channels, in_channels, kernel_h, kernel_w, vertical, horizontal};
    mma_backward_input<Tf32>(filters, windows, result);
}

extern "C" __global__ void __launch_bounds__(128, 4)
conv2d_backward_input_bf16(
    const float* dy, const float* weight, const float* bias /* or null */, float* dx,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    const Class vertical(blockIdx.z / stride_w, H, kernel_h, stride_h, padding_h, dilation_h);
    const Class horizontal(blockIdx.z % stride_w, W, kernel_w, stride_w, padding_w, dilation_w);
    const Windows windows = windows_of_class(dy, N, out_channels, H_out, W_out, vertical, horizontal);
    const PlanesResult result(dx, bias, N, in_channels, H, W, vertical.first_pixel, horizontal.first_pixel,
                              stride_h, stride_w, vertical.pixels, horizontal.pixels);
    const FiltersOfClass filters{weight, out_channels, in_channels, kernel_h, kernel_w, vertical, horizontal};
    mma_backward_input<Bf16>(filters, windows, result);
}

extern "C" __global__ void __launch_bounds__(256)
conv2d_backward_input_tf32_pipeline(
    const float* dy, const float* packed, const float* bias /* or null */, float* dx,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    const Class vertical(blockIdx.z / stride_w, H, kernel_h, stride_h, padding_h, dilation_h);
    const Class horizontal(blockIdx.z % stride_w, W, kernel_w, stride_w, padding_w, dilation_w);
    const Windows windows = windows_of_class(dy, N, out_channels, H_out, W_out, vertical, horizontal);
    const PlanesResult result(dx, bias, N, in_channels, H, W, vertical.first_pixel, horizontal.first_pixel,
                              stride_h, stride_w, vertical.pixels, horizontal.pixels);
    packed += in_channels * channel_blocks(out_channels) * FED_CHANNELS * taps_before(vertical, horizontal, kernel_w);
    pipelined_backward_input<Tf32, 128>(packed, windows, result);
}

extern "C" __global__ void __launch_bounds__(256)
conv2d_backward_input_tf32_pipeline_64(
    const float* dy, const float* packed, const float* bias /* or null */, float* dx,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    const Class vertical(blockIdx.z / stride_w, H, kernel_h, stride_h, padding_h, dilation_h);
    const Class horizontal(blockIdx.z % stride_w, W, kernel_w, stride_w, padding_w, dilation_w);
    const Windows windows = windows_of_class(dy, N, out_channels, H_out, W_out, vertical, horizontal);
    const PlanesResult result(dx, bias, N, in_channels, H, W, vertical.first_pixel, horizontal.first_pixel,
                              stride_h, stride_w, vertical.pixels, horizontal.pixels);
    packed += in_channels * channel_blocks(out_channels) * FED_CHANNELS * taps_before(vertical, horizontal, kernel_w);
    pipelined_backward_input<Tf32, 64>(packed, windows, result);
}

extern "C" __global__ void __launch_bounds__(256)
conv2d_backward_input_bf16_pipeline(
    const float* dy, const float* packed, const float* bias /* or null */, float* dx,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    const Class vertical(blockIdx.z / stride_w, H, kernel_h, stride_h, padding_h, dilation_h);
    const Class horizontal(blockIdx.z % stride_w, W, kernel_w, stride_w, padding_w, dilation_w);
    const Windows windows = windows_of_class(dy, N, out_channels, H_out, W_out, vertical, horizontal);
    const PlanesResult result(dx, bias, N, in_channels, H, W, vertical.first_pixel, horizontal.first_pixel,
                              stride_h, stride_w, vertical.pixels, horizontal.pixels);
    packed += in_channels * channel_blocks(out_channels) * FED_CHANNELS * taps_before(vertical, horizontal, kernel_w);
    pipelined_backward_input<Bf16, 128>(packed, windows, result);
}

extern "C" __global__ void __launch_bounds__(256)
conv2d_backward_input_bf16_pipeline_64(
    const float* dy, const float* packed, const float* bias /* or null */, float* dx,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    const Class vertical(blockIdx.z / stride_w, H, kernel_h, stride_h, padding_h, dilation_h);
    const Class horizontal(blockIdx.z % stride_w, W, kernel_w, stride_w, padding_w, dilation_w);
    const Windows windows = windows_of_class(dy, N, out_channels, H_out, W_out, vertical, horizontal);
    const PlanesResult result(dx, bias, N, in_channels, H, W, vertical.first_pixel, horizontal.first_pixel,
                              stride_h, stride_w, vertical.pixels, horizontal.pixels);
    packed += in_channels * channel_blocks(out_channels) * FED_CHANNELS * taps_before(vertical, horizontal, kernel_w);
    pipelined_backward_input<Bf16, 64>(packed, windows, result);
}
