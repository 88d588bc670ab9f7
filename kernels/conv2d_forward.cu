// conv2d forward: y[n, o, i, j] = bias[o] + the sum over c, p, q of weight[o, c, p, q] x[n, c, h, w], where
//                 h = i stride + p dilation - padding and w = j stride + q dilation - padding
//   1  one thread an output; neighbouring threads take neighbouring         they write y, and read weight, far
//      channels of y                                                        apart: 32 requests for a warp
//   2  the same; neighbouring threads take neighbouring pixels              they read and write side by side: one
//                                                                           request
//   3  a matrix product out of tiles in shared memory (product_tile.cuh);   a sixteenth of the reads from memory
//      its operands are the filters and the windows of x, which are never
//      stored as a matrix (convolution.cuh)
//   4  8 x 8 outputs a thread in registers, 16-byte loads                   an eighth of the reads from shared
//      (product_tile.cuh)                                                   memory
//   5  tensor cores, TF32 and bf16 (conv2d_forward_tensor_core.cu)          a warp multiplies 16 x 8 x 8 at once
//   6  tensor cores fed by a pipeline of three stages (the same file)       the next tiles arrive meanwhile
//
// conv_transpose2d's dx is this as well, of its dy.
//
// x        (N, in_channels, H, W)
// weight   (out_channels, in_channels, kernel_h, kernel_w)
// bias     (out_channels,) or null
// y        (N, out_channels, H_out, W_out)
// All contiguous float32, of at most 2^30 values.
// Launch: rungs 1 and 2 one thread an output; rungs 3 and 4 256 and 64 threads, x over tiles of the N H_out W_out
// places and y over tiles of out_channels, of 16 x 16 and of 64 x 64.
#include "convolution.cuh"
#include "product_tile.cuh"

// A window times a filter, summed over all input channels; (h, w) is where the window's first pixel lies in the
// image.
__device__ float filtered(const float* image, const float* filter, int in_channels, int H, int W, int kernel_h,
                          int kernel_w, int h, int w, int dilation_h, int dilation_w)
{
    float sum = 0.0f;
    for (int c = 0; c < in_channels; c++) {
        for (int p = 0; p < kernel_h; p++) {
            const int row = h + p * dilation_h;
            if (row < 0 || row >= H) continue;
            for (int q = 0; q < kernel_w; q++) {
                const int column = w + q * dilation_w;
                if (column < 0 || column >= W) continue;
                sum += image[(c * H + row) * W + column] * filter[(c * kernel_h + p) * kernel_w + q];
            }
        }
    }
    return sum;
}

extern "C" __global__ void conv2d_forward(
    const float* x, const float* weight, const float* bias /* or null */, float* y,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= N * out_channels * H_out * W_out) return;
    const int o = index % out_channels, place = index / out_channels;
    const int j = place % W_out, i = place / W_out % H_out, n = place / W_out / H_out;
    const float* image = x + n * in_channels * H * W;
    const float* filter = weight + o * in_channels * kernel_h * kernel_w;
    const float sum = filtered(image, filter, in_channels, H, W, kernel_h, kernel_w, i * stride_h - padding_h,
                               j * stride_w - padding_w, dilation_h, dilation_w);
    y[((n * out_channels + o) * H_out + i) * W_out + j] = bias ? sum + bias[o] : sum;
}

extern "C" __global__ void conv2d_forward_coalesced(
    const float* x, const float* weight, const float* bias /* or null */, float* y,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= N * out_channels * H_out * W_out) return;
    const int j = index % W_out, row = index / W_out;
    const int i = row % H_out, map = row / H_out;
    const int o = map % out_channels, n = map / out_channels;
    const float* image = x + n * in_channels * H * W;
    const float* filter = weight + o * in_channels * kernel_h * kernel_w;
    const float sum = filtered(image, filter, in_channels, H, W, kernel_h, kernel_w, i * stride_h - padding_h,
                               j * stride_w - padding_w, dilation_h, dilation_w);
    y[((n * out_channels + o) * H_out + i) * W_out + j] = bias ? sum + bias[o] : sum;
}

extern "C" __global__ void __launch_bounds__(256)
conv2d_forward_tile(
    const float* x, const float* weight, const float* bias /* or null */, float* y,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    __shared__ Tile a_tile, b_tile;
    const int K = in_channels * kernel_h * kernel_w;
    const Windows windows{x, N, in_channels, H, W, H_out, W_out, stride_h, stride_w, kernel_h, kernel_w,
                          dilation_h, dilation_w, -padding_h, -padding_w};
    const PlanesResult result(y, bias, N, out_channels, H_out, W_out, 0, 0, 1, 1, H_out, W_out);
    tile_product(a_tile, b_tile, Matrix<true>(weight, out_channels, K, K), WindowsByPlace(windows), result, 0, K);
}

extern "C" __global__ void __launch_bounds__(64)
conv2d_forward_registers(
    const float* x, const float* weight, const float* bias /* or null */, float* y,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    __shared__ __align__(16) RegisterTile<64> a_tile, b_tile;
    const int K = in_channels * kernel_h * kernel_w;
    const Windows windows{x, N, in_channels, H, W, H_out, W_out, stride_h, stride_w, kernel_h, kernel_w,
                          dilation_h, dilation_w, -padding_h, -padding_w};
    const PlanesResult result(y, bias, N, out_channels, H_out, W_out, 0, 0, 1, 1, H_out, W_out);
    register_product<64, 64>(a_tile, b_tile, Matrix<true>(weight, out_channels, K, K), WindowsByPlace(windows), result,
                             0, K);
}
