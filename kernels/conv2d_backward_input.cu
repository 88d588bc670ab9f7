// conv2d's gradient by its input: dx[n, c, h, w] = the sum over o, p, q of weight[o, c, p, q] dy[n, o, i, j], where
//                                 i stride = h + padding - p dilation and j stride = w + padding - q dilation, where
//                                 there are such i and j
//   1  one thread a pixel of dx; neighbouring threads take neighbouring     they write dx, and read weight, far
//      channels                                                             apart: 32 requests for a warp
//   2  the same; neighbouring threads take neighbouring pixels              they read and write side by side: one
//                                                                           request
//   3  a matrix product out of tiles in shared memory (product_tile.cuh),   a sixteenth of the reads from memory,
//      one for each class of pixels that meet the same taps                 and no step for an i or j that is not
//      (convolution.cuh)                                                    there
//   4  8 x 8 pixels a thread in registers (product_tile.cuh)                an eighth of the reads from shared
//                                                                           memory
//   5  tensor cores, TF32 and bf16 (conv2d_backward_input_tensor_core.cu)   a warp multiplies 16 x 8 x 8 at once
//   6  tensor cores fed by a pipeline of three stages (the same file)       the next tiles arrive meanwhile
//
// conv_transpose2d's forward is this as well, of its x, and takes a bias.
//
// dy       (N, out_channels, H_out, W_out)
// weight   (out_channels, in_channels, kernel_h, kernel_w)
// bias     (in_channels,) or null
// dx       (N, in_channels, H, W)
// All contiguous float32, of at most 2^30 values.
// Launch: rungs 1 and 2 one thread a pixel of dx; rungs 3 and 4 256 and 64 threads, x over tiles of the pixels of the
// largest class, N ceil(H / stride_h) ceil(W / stride_w), y over tiles of in_channels, of 16 x 16 and of 64 x 64, and
// z over the stride_h stride_w classes.
#include "convolution.cuh"
#include "product_tile.cuh"

// All that the filters of a channel stamped on pixel (h, w) of an image; `filters` are those of the channel, of which
// the next output channel's lie `filter_step` further on.
__device__ float stamped(const float* upstream, const float* filters, int filter_step, int out_channels, int H_out,
                         int W_out, int kernel_h, int kernel_w, int stride_h, int stride_w, int h, int w, int padding_h,
                         int padding_w, int dilation_h, int dilation_w)
{
    float sum = 0.0f;
    for (int o = 0; o < out_channels; o++) {
        for (int p = 0; p < kernel_h; p++) {
            const int row = h + padding_h - p * dilation_h;                  // i stride
            if (row < 0 || row % stride_h || row / stride_h >= H_out) continue;
            for (int q = 0; q < kernel_w; q++) {
                const int column = w + padding_w - q * dilation_w;
                if (column < 0 || column % stride_w || column / stride_w >= W_out) continue;
                sum += upstream[(o * H_out + row / stride_h) * W_out + column / stride_w] *
                       filters[o * filter_step + p * kernel_w + q];
            }
        }
    }
    return sum;
}

extern "C" __global__ void conv2d_backward_input(
    const float* dy, const float* weight, const float* bias /* or null */, float* dx,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= N * in_channels * H * W) return;
    const int c = index % in_channels, pixel = index / in_channels;
    const int w = pixel % W, h = pixel / W % H, n = pixel / W / H;
    const int taps = kernel_h * kernel_w;
    const float* upstream = dy + n * out_channels * H_out * W_out;
    const float sum = stamped(upstream, weight + c * taps, in_channels * taps, out_channels, H_out, W_out, kernel_h,
                              kernel_w, stride_h, stride_w, h, w, padding_h, padding_w, dilation_h, dilation_w);
    dx[((n * in_channels + c) * H + h) * W + w] = bias ? sum + bias[c] : sum;
}

extern "C" __global__ void conv2d_backward_input_coalesced(
    const float* dy, const float* weight, const float* bias /* or null */, float* dx,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= N * in_channels * H * W) return;
    const int w = index % W, row = index / W;
    const int h = row % H, map = row / H;
    const int c = map % in_channels, n = map / in_channels;
    const int taps = kernel_h * kernel_w;
    const float* upstream = dy + n * out_channels * H_out * W_out;
    const float sum = stamped(upstream, weight + c * taps, in_channels * taps, out_channels, H_out, W_out, kernel_h,
                              kernel_w, stride_h, stride_w, h, w, padding_h, padding_w, dilation_h, dilation_w);
    dx[((n * in_channels + c) * H + h) * W + w] = bias ? sum + bias[c] : sum;
}

extern "C" __global__ void __launch_bounds__(256)
conv2d_backward_input_tile(
    const float* dy, const float* weight, const float* bias /* or null */, float* dx,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    __shared__ Tile a_tile, b_tile;
    const Class vertical(blockIdx.z / stride_w, H, kernel_h, stride_h, padding_h, dilation_h);
    const Class horizontal(blockIdx.z % stride_w, W, kernel_w, stride_w, padding_w, dilation_w);
    const Windows windows = windows_of_class(dy, N, out_channels, H_out, W_out, vertical, horizontal);
    if (blockIdx.x * TILE >= windows.places()) return;               // this class has fewer pixels than the largest
    const FiltersOfClass filters{weight, out_channels, in_channels, kernel_h, kernel_w, vertical, horizontal};
    const PlanesResult result(dx, bias, N, in_channels, H, W, vertical.first_pixel, horizontal.first_pixel,
                              stride_h, stride_w, vertical.pixels, horizontal.pixels);
    tile_product(a_tile, b_tile, filters, WindowsByPlace(windows), result, 0, windows.taps());
}

extern "C" __global__ void __launch_bounds__(64)
conv2d_backward_input_registers(
    const float* dy, const float* weight, const float* bias /* or null */, float* dx,
    int N, int in_channels, int H, int W, int out_channels, int kernel_h, int kernel_w, int H_out, int W_out,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    __shared__ __align__(16) RegisterTile<64> a_tile, b_tile;
    const Class vertical(blockIdx.z / stride_w, H, kernel_h, stride_h, padding_h, dilation_h);
    const Class horizontal(blockIdx.z % stride_w, W, kernel_w, stride_w, padding_w, dilation_w);
    const Windows windows = windows_of_class(dy, N, out_channels, H_out, W_out, vertical, horizontal);
    if (blockIdx.x * 64 >= windows.places()) return;               // this class has fewer pixels than the largest
    const FiltersOfClass filters{weight, out_channels, in_channels, kernel_h, kernel_w, vertical, horizontal};
    const PlanesResult result(dx, bias, N, in_channels, H, W, vertical.first_pixel, horizontal.first_pixel,
                              stride_h, stride_w, vertical.pixels, horizontal.pixels);
    register_product<64, 64>(a_tile, b_tile, filters, WindowsByPlace(windows), result, 0, windows.taps());
}
