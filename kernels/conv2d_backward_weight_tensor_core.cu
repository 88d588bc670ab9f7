// conv2d's gradient by its filters on the tensor cores: rungs 5 and 6 of the ladder in conv2d_backward_weight.cu,
// with the same arguments.
//   5  (tf32, bf16) operands rounded into tiles in shared memory, multiplied by mma (product_mma.cuh)
//   6  (tf32_pipeline, bf16_pipeline) the same; the next two pairs of tiles are copied meanwhile by cp.async,
//      windows are found without a division (convolution_feeders.cuh), and shared memory is free of conflicts
//      (product_pipeline.cuh). Tiles of 128 out_channels, or of 64 where there are no more
//
// TF32 rounds each value of dy and x by up to one part in 2048, bf16 by one in 256; sums are float32. k_per_part is N
// H_out W_out or a multiple of 32.
// Launch: z over the parts. Rung 5: 128 threads, x over tiles of the in_channels kernel_h kernel_w taps and y over
// tiles of out_channels, of 64 x 64. Rung 6: 256 threads and tiles of 128 (pipeline_64: 64) out_channels and 128
// taps, all along x, channels fastest: blocks that run together share windows.
//
// needs: sm_80
#include "convolution_feeders.cuh"

template <class Format>
__device__ __forceinline__ void mma_backward_weight(const Planes& planes, const Windows& windows, float* dweight,
                                                    int first_k)
{
    __shared__ MmaTile a_tile, b_tile;
    const MatrixResult result(dweight, nullptr, planes.channels, windows.taps());
    mma_product<Format>(a_tile, b_tile, planes, WindowsByTap(windows, planes.last_k), result, first_k, planes.last_k);
}

template <class Format, int ROWS>
__device__ __forceinline__ void pipelined_backward_weight(const Planes& planes, const Windows& windows, float* dweight,
                                                          int first_k)
{
    __shared__ __align__(128) float a_tiles[STAGES][ROWS * FED_DEPTH], b_tiles[STAGES][128 * FED_DEPTH];
    const MatrixResult result(dweight, nullptr, planes.channels, windows.taps());
    const int m_tiles = (planes.channels + ROWS - 1) / ROWS;
    const int m0 = blockIdx.x % m_tiles * ROWS, n0 = blockIdx.x / m_tiles * 128;
    PlanesFeeder<ROWS> channels(planes, m0, first_k);
    TapFeeder<128> taps(windows, n0, first_k, planes.last_k);
    const int steps = (planes.last_k - first_k + FED_DEPTH - 1) / FED_DEPTH;
    pipelined_product<Format, ROWS, 128>(a_tiles, b_tiles, channels, taps, result, m0, n0, steps);
}

extern "C" __global__ void __launch_bounds__(128, 4)
conv2d_backward_weight_tf32(
    const float* dy, const float* x, float* dweight,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w, int k_per_part)
{
    const int first_k = blockIdx.z * k_per_part, last_k = min(N * H_out * W_out, first_k + k_per_part);
    const Planes planes(dy, out_channels, H_out * W_out, last_k);
    const Windows windows{x, N, in_channels, H, W, H_out, W_out, stride_h, stride_w, kernel_h, kernel_w,
                          dilation_h, dilation_w, -padding_h, -padding_w};
    dweight += blockIdx.z * out_channels * windows.taps();
    mma_backward_weight<Tf32>(planes, windows, dweight, first_k);
}

extern "C" __global__ void __launch_bounds__(128, 4)
conv2d_backward_weight_bf16(
    const float* dy, const float* x, float* dweight,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w, int k_per_part)
{
    const int first_k = blockIdx.z * k_per_part, last_k = min(N * H_out * W_out, first_k + k_per_part);
    const Planes planes(dy, out_channels, H_out * W_out, last_k);
    const Windows windows{x, N, in_channels, H, W, H_out, W_out, stride_h, stride_w, kernel_h, kernel_w,
                          dilation_h, dilation_w, -padding_h, -padding_w};
    dweight += blockIdx.z * out_channels * windows.taps();
    mma_backward_weight<Bf16>(planes, windows, dweight, first_k);
}

extern "C" __global__ void __launch_bounds__(256, 2)
conv2d_backward_weight_tf32_pipeline(
    const float* dy, const float* x, float* dweight,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w, int k_per_part)
{
    const int first_k = blockIdx.z * k_per_part, last_k = min(N * H_out * W_out, first_k + k_per_part);
    const Planes planes(dy, out_channels, H_out * W_out, last_k);
    const Windows windows{x, N, in_channels, H, W, H_out, W_out, stride_h, stride_w, kernel_h, kernel_w,
                          dilation_h, dilation_w, -padding_h, -padding_w};
    dweight += blockIdx.z * out_channels * windows.taps();
    pipelined_backward_weight<Tf32, 128>(planes, windows, dweight, first_k);
}

extern "C" __global__ void __launch_bounds__(256)
conv2d_backward_weight_tf32_pipeline_64(
    const float* dy, const float* x, float* dweight,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w, int k_per_part)
{
    const int first_k = blockIdx.z * k_per_part, last_k = min(N * H_out * W_out, first_k + k_per_part);
    const Planes planes(dy, out_channels, H_out * W_out, last_k);
    const Windows windows{x, N, in_channels, H, W, H_out, W_out, stride_h, stride_w, kernel_h, kernel_w,
                          dilation_h, dilation_w, -padding_h, -padding_w};
    dweight += blockIdx.z * out_channels * windows.taps();
    pipelined_backward_weight<Tf32, 64>(planes, windows, dweight, first_k);
}

extern "C" __global__ void __launch_bounds__(256)
conv2d_backward_weight_bf16_pipeline(
    const float* dy, const float* x, float* dweight,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w, int k_per_part)
{
    const int first_k = blockIdx.z * k_per_part, last_k = min(N * H_out * W_out, first_k + k_per_part);
    const Planes planes(dy, out_channels, H_out * W_out, last_k);
    const Windows windows{x, N, in_channels, H, W, H_out, W_out, stride_h, stride_w, kernel_h, kernel_w,
                          dilation_h, dilation_w, -padding_h, -padding_w};
    dweight += blockIdx.z * out_channels * windows.taps();
    pipelined_backward_weight<Bf16, 128>(planes, windows, dweight, first_k);
}

extern "C" __global__ void __launch_bounds__(256)
conv2d_backward_weight_bf16_pipeline_64(
    const float* dy, const float* x, float* dweight,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w, int k_per_part)
{
    const int first_k = blockIdx.z * k_per_part, last_k = min(N * H_out * W_out, first_k + k_per_part);
    const Planes planes(dy, out_channels, H_out * W_out, last_k);
    const Windows windows{x, N, in_channels, H, W, H_out, W_out, stride_h, stride_w, kernel_h, kernel_w,
                          dilation_h, dilation_w, -padding_h, -padding_w};
    dweight += blockIdx.z * out_channels * windows.taps();
    pipelined_backward_weight<Bf16, 64>(planes, windows, dweight, first_k);
}
