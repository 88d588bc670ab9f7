// conv2d's gradient by its filters: dweight[o, c, p, q] = the sum over n, i, j of dy[n, o, i, j] x[n, c, h, w], where
//                                   h = i stride + p dilation - padding and w = j stride + q dilation - padding
//   1  one thread a weight; neighbouring threads take neighbouring output   they read dy, and write, far apart: 32
//      channels                                                             requests for a warp
//   2  the same; neighbouring threads take neighbouring taps                they read nearly the same pixels of x
//   3  a matrix product out of tiles in shared memory (product_tile.cuh);   a sixteenth of the reads from memory
//      its operands are dy and the windows of x (convolution.cuh)
//   4  8 x 8 weights a thread in registers, 16-byte loads                   an eighth of the reads from shared
//      (product_tile.cuh)                                                   memory
//   5  tensor cores, TF32 and bf16                                          a warp multiplies 16 x 8 x 8 at once
//      (conv2d_backward_weight_tensor_core.cu)
//   6  tensor cores fed by a pipeline of three stages (the same file)       the next tiles arrive meanwhile
//
// There are few weights and many places to sum over, so one block a tile of dweight would leave most of the device
// idle. Every rung can split the sum (split-K): part z takes the places from z k_per_part on, and add_parts
// (add_parts.cu) adds the parts, always in the same order, which atomics would not.
//
// conv_transpose2d's dweight is this as well, with its x as dy and its dy as x.
//
// dy        (N, out_channels, H_out, W_out)
// x         (N, in_channels, H, W)
// dweight   (parts, out_channels, in_channels, kernel_h, kernel_w); with k_per_part = N H_out W_out there is one part
// All contiguous float32, of at most 2^30 values. k_per_part is N H_out W_out or a multiple of 16.
// Launch: z over the parts; rungs 1 and 2 one thread a weight; rungs 3 and 4 256 and 64 threads, x over tiles of the
// in_channels kernel_h kernel_w taps and y over tiles of out_channels, of 16 x 16 and of 64 x 64.
#include "convolution.cuh"
#include "product_tile.cuh"

extern "C" __global__ void conv2d_backward_weight(
    const float* dy, const float* x, float* dweight,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w, int k_per_part)
{
    const int taps = in_channels * kernel_h * kernel_w;
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= out_channels * taps) return;
    const int o = index % out_channels, tap = index / out_channels;
    const int q = tap % kernel_w, p = tap / kernel_w % kernel_h, c = tap / kernel_w / kernel_h;
    const int first_k = blockIdx.z * k_per_part, last_k = min(N * H_out * W_out, first_k + k_per_part);
    float sum = 0.0f;
    for (int k = first_k; k < last_k; k++) {
        const int j = k % W_out, i = k / W_out % H_out, n = k / W_out / H_out;
        const int h = i * stride_h + p * dilation_h - padding_h, w = j * stride_w + q * dilation_w - padding_w;
        if (h < 0 || h >= H || w < 0 || w >= W) continue;
        sum += dy[((n * out_channels + o) * H_out + i) * W_out + j] * x[((n * in_channels + c) * H + h) * W + w];
    }
    dweight[(blockIdx.z * out_channels + o) * taps + tap] = sum;
}

extern "C" __global__ void conv2d_backward_weight_coalesced(
    const float* dy, const float* x, float* dweight,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w, int k_per_part)
{
    const int taps = in_channels * kernel_h * kernel_w;
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= out_channels * taps) return;
    const int o = index / taps, tap = index % taps;
    const int q = tap % kernel_w, p = tap / kernel_w % kernel_h, c = tap / kernel_w / kernel_h;
    const int first_k = blockIdx.z * k_per_part, last_k = min(N * H_out * W_out, first_k + k_per_part);
    float sum = 0.0f;
    for (int k = first_k; k < last_k; k++) {
        const int j = k % W_out, i = k / W_out % H_out, n = k / W_out / H_out;
        const int h = i * stride_h + p * dilation_h - padding_h, w = j * stride_w + q * dilation_w - padding_w;
        if (h < 0 || h >= H || w < 0 || w >= W) continue;
        sum += dy[((n * out_channels + o) * H_out + i) * W_out + j] * x[((n * in_channels + c) * H + h) * W + w];
    }
    dweight[(blockIdx.z * out_channels + o) * taps + tap] = sum;
}

extern "C" __global__ void __launch_bounds__(256)
conv2d_backward_weight_tile(
    const float* dy, const float* x, float* dweight,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w, int k_per_part)
{
    __shared__ Tile a_tile, b_tile;
    const int first_k = blockIdx.z * k_per_part, last_k = min(N * H_out * W_out, first_k + k_per_part);
    const Windows windows{x, N, in_channels, H, W, H_out, W_out, stride_h, stride_w, kernel_h, kernel_w,
                          dilation_h, dilation_w, -padding_h, -padding_w};
    const int taps = windows.taps();
    const MatrixResult result(dweight + blockIdx.z * out_channels * taps, nullptr, out_channels, taps);
    tile_product(a_tile, b_tile, Planes(dy, out_channels, H_out * W_out, last_k), WindowsByTap(windows, last_k), result,
                 first_k, last_k);
}

extern "C" __global__ void __launch_bounds__(64)
conv2d_backward_weight_registers(
    const float* dy, const float* x, float* dweight,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w, int k_per_part)
{
    __shared__ __align__(16) RegisterTile<64> a_tile, b_tile;
    const int first_k = blockIdx.z * k_per_part, last_k = min(N * H_out * W_out, first_k + k_per_part);
    const Windows windows{x, N, in_channels, H, W, H_out, W_out, stride_h, stride_w, kernel_h, kernel_w,
                          dilation_h, dilation_w, -padding_h, -padding_w};
    const int taps = windows.taps();
    const MatrixResult result(dweight + blockIdx.z * out_channels * taps, nullptr, out_channels, taps);
    register_product<64, 64>(a_tile, b_tile, Planes(dy, out_channels, H_out * W_out, last_k),
                             WindowsByTap(windows, last_k), result, first_k, last_k);
}
