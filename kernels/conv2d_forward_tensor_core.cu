// conv2d forward on the tensor cores: rungs 5 and 6 of the ladder in conv2d_forward.cu.
//   5  (tf32, bf16) operands rounded into tiles in shared memory, multiplied by mma (product_mma.cuh)
//   6  (tf32_pipeline, bf16_pipeline) the same; the next two pairs of tiles are copied meanwhile by cp.async from
//      filters packed beforehand (conv2d_pack_filters.cu), windows are found without a division
//      (convolution_feeders.cuh), and shared memory is free of conflicts (product_pipeline.cuh). Tiles of 128
//      out_channels, or of 64 where there are no more
//
// TF32 rounds each value of x and weight by up to one part in 2048, bf16 by one in 256; sums are float32. Rung 5
// takes the arguments of rungs 1 to 4; rung 6 takes packed filters for weight, for tf32_pipeline packed to TF32.
// Launch: rung 5: 128 threads, x over tiles of places and y over tiles of out_channels, of 64 x 64. Rung 6: 256
// threads and tiles of 128 (pipeline_64: 64) out_channels and 128 places, all along x, channels fastest: blocks that
// run together share windows.
//
// needs: sm_80
#include "convolution_feeders.cuh"

template <class Format>
__device__ __forceinline__ void mma_forward(const float* weight, const Windows& windows, const PlanesResult& result)
{
    __shared__ MmaTile a_tile, b_tile;
    const int K = windows.taps();
    mma_product<Format>(a_tile, b_tile, Matrix<true>(weight, result.channels, K, K), WindowsByPlace(windows), result,
                        0, K);
}

template <class Format, int ROWS>
__device__ __forceinline__ void pipelined_forward(const float* packed, const Windows& windows,
                                                  const PlanesResult& result)
{
    __shared__ __align__(128) float a_tiles[STAGES][ROWS * FED_DEPTH], b_tiles[STAGES][128 * FED_DEPTH];
    const int m_tiles = (result.channels + ROWS - 1) / ROWS;
    const int m0 = blockIdx.x % m_tiles * ROWS, n0 = blockIdx.x / m_tiles * 128;
    const int steps = channel_blocks(windows.channels) * windows.taps_h * windows.taps_w;
    PackedFeeder<Format::PER_WORD == 1, ROWS> filters(packed, result.channels, m0, steps);
    PlaceFeeder<128> places(windows, n0);
    pipelined_product<Format, ROWS, 128>(a_tiles, b_tiles, filters, places, result, m0, n0, steps);
}

extern "C" __global__ void __launch_bounds__(128, 4)
conv2d_forward_tf32(
    const float* x, const float* weight, const float* bias /* or null */, float* y,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    const Windows windows{x, N, in_channels, H, W, H_out, W_out, stride_h, stride_w, kernel_h, kernel_w,
                          dilation_h, dilation_w, -padding_h, -padding_w};
    const PlanesResult result(y, bias, N, out_channels, H_out, W_out, 0, 0, 1, 1, H_out, W_out);
    mma_forward<Tf32>(weight, windows, result);
}

extern "C" __global__ void __launch_bounds__(128, 4)
conv2d_forward_bf16(
    const float* x, const float* weight, const float* bias /* or null */, float* y,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    const Windows windows{x, N, in_channels, H, W, H_out, W_out, stride_h, stride_w, kernel_h, kernel_w,
                          dilation_h, dilation_w, -padding_h, -padding_w};
    const PlanesResult result(y, bias, N, out_channels, H_out, W_out, 0, 0, 1, 1, H_out, W_out);
    mma_forward<Bf16>(weight, windows, result);
}

extern "C" __global__ void __launch_bounds__(256)
conv2d_forward_tf32_pipeline(
    const float* x, const float* packed, const float* bias /* or null */, float* y,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    const Windows windows{x, N, in_channels, H, W, H_out, W_out, stride_h, stride_w, kernel_h, kernel_w,
                          dilation_h, dilation_w, -padding_h, -padding_w};
    const PlanesResult result(y, bias, N, out_channels, H_out, W_out, 0, 0, 1, 1, H_out, W_out);
    pipelined_forward<Tf32, 128>(packed, windows, result);
}

extern "C" __global__ void __launch_bounds__(256)
conv2d_forward_tf32_pipeline_64(
    const float* x, const float* packed, const float* bias /* or null */, float* y,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    const Windows windows{x, N, in_channels, H, W, H_out, W_out, stride_h, stride_w, kernel_h, kernel_w,
                          dilation_h, dilation_w, -padding_h, -padding_w};
    const PlanesResult result(y, bias, N, out_channels, H_out, W_out, 0, 0, 1, 1, H_out, W_out);
    pipelined_forward<Tf32, 64>(packed, windows, result);
}

extern "C" __global__ void __launch_bounds__(256)
conv2d_forward_bf16_pipeline(
    const float* x, const float* packed, const float* bias /* or null */, float* y,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    const Windows windows{x, N, in_channels, H, W, H_out, W_out, stride_h, stride_w, kernel_h, kernel_w,
                          dilation_h, dilation_w, -padding_h, -padding_w};
    const PlanesResult result(y, bias, N, out_channels, H_out, W_out, 0, 0, 1, 1, H_out, W_out);
    pipelined_forward<Bf16, 128>(packed, windows, result);
}

extern "C" __global__ void __launch_bounds__(256)
conv2d_forward_bf16_pipeline_64(
    const float* x, const float* packed, const float* bias /* or null */, float* y,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    const Windows windows{x, N, in_channels, H, W, H_out, W_out, stride_h, stride_w, kernel_h, kernel_w,
                          dilation_h, dilation_w, -padding_h, -padding_w};
    const PlanesResult result(y, bias, N, out_channels, H_out, W_out, 0, 0, 1, 1, H_out, W_out);
    pipelined_forward<Bf16, 64>(packed, windows, result);
}
