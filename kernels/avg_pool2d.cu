// Average pooling: y = the mean of each window; backward: dx = the sum, over the windows that hold the pixel, of
// dy / count.
//   1  one thread a window (backward: a pixel, which gathers from the windows around it)
//   2  (warp) for large windows, as in global pooling: one warp a window, its lanes reading neighbouring pixels, their
//      sums added by shuffles (reduction.cuh)           many reads under way for each window instead of one at a time
//
//   2  (maps) backward: one thread a pixel of the plane, which walks through the maps: the windows that hold it are the
//      same in all of them, so the divisions, slow on a GPU, are done once a thread instead of once a value
//
// x, dx   (maps, H, W) contiguous, maps = N C;   y, dy   (maps, h, w) contiguous; count = maps h w, backward maps H W
// margin_h, margin_w   how far beyond the image pixels still count in the mean: the padding, or 0 to leave it out
// All rungs take the same arguments. Rung 1 is launched with count threads, rung 2 with a warp a window; backward with
// a thread a pixel of the plane along x, and any number of blocks along y, which share out the maps.

#include "reduction.cuh"

// How many rows (or columns) of the window at `start` lie on the image widened by `margin`.
__device__ int counted(int start, int kernel, int size, int margin)
{
    return max(min(start + kernel, size + margin) - max(start, -margin), 1);
}

extern "C" __global__ void avg_pool2d_forward(const float* x, float* y, int count, int H, int W, int h, int w,
                                              int kernel_h, int kernel_w, int stride_h, int stride_w,
                                              int padding_h, int padding_w, int margin_h, int margin_w)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const int top = i / w % h * stride_h - padding_h, left = i % w * stride_w - padding_w;
    const float* plane = x + i / (h * w) * (H * W);
    float total = 0.0f;
    for (int row = max(top, 0); row < min(top + kernel_h, H); row++)
        for (int column = max(left, 0); column < min(left + kernel_w, W); column++) total += plane[row * W + column];
    y[i] = total / (counted(top, kernel_h, H, margin_h) * counted(left, kernel_w, W, margin_w));
}

extern "C" __global__ void avg_pool2d_backward(const float* dy, float* dx, int count, int H, int W, int h, int w,
                                               int kernel_h, int kernel_w, int stride_h, int stride_w,
                                               int padding_h, int padding_w, int margin_h, int margin_w)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const int row = i / W % H + padding_h, column = i % W + padding_w;         // counted from the first window's start
    const int first_row = row < kernel_h ? 0 : (row - kernel_h) / stride_h + 1, last_row = min(row / stride_h, h - 1);
    const int first_column = column < kernel_w ? 0 : (column - kernel_w) / stride_w + 1;
    const int last_column = min(column / stride_w, w - 1);
    const float* windows = dy + i / (H * W) * (h * w);
    float total = 0.0f;
    for (int r = first_row; r <= last_row; r++)
        for (int c = first_column; c <= last_column; c++)
            total += windows[r * w + c] / (counted(r * stride_h - padding_h, kernel_h, H, margin_h) *
                                           counted(c * stride_w - padding_w, kernel_w, W, margin_w));
    dx[i] = total;
}

// Rung 2.

extern "C" __global__ void avg_pool2d_forward_warp(const float* x, float* y, int count, int H, int W, int h, int w,
                                                   int kernel_h, int kernel_w, int stride_h, int stride_w,
                                                   int padding_h, int padding_w, int margin_h, int margin_w)
{
    const int i = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (i >= count) return;                          // a whole warp leaves, so the shuffles below are complete
    const int top = i / w % h * stride_h - padding_h, left = i % w * stride_w - padding_w;
    const int first_row = max(top, 0), first_column = max(left, 0);
    const int rows = min(top + kernel_h, H) - first_row, columns = min(left + kernel_w, W) - first_column;
    const float* corner = x + (i / (h * w) * H + first_row) * W + first_column;
    float total = 0.0f;
    for (int pixel = lane; pixel < rows * columns; pixel += 32)
        total += corner[pixel / columns * W + pixel % columns];
    total = warp_sum(total);
    if (lane == 0) y[i] = total / (counted(top, kernel_h, H, margin_h) * counted(left, kernel_w, W, margin_w));
}

extern "C" __global__ void avg_pool2d_backward_maps(const float* dy, float* dx, int count, int H, int W, int h, int w,
                                                    int kernel_h, int kernel_w, int stride_h, int stride_w,
                                                    int padding_h, int padding_w, int margin_h, int margin_w)
{
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x, plane = H * W;
    if (pixel >= plane) return;
    const int row = pixel / W + padding_h, column = pixel % W + padding_w;     // counted from the first window's start
    const int first_row = row < kernel_h ? 0 : (row - kernel_h) / stride_h + 1, last_row = min(row / stride_h, h - 1);
    const int first_column = column < kernel_w ? 0 : (column - kernel_w) / stride_w + 1;
    const int last_column = min(column / stride_w, w - 1);
    for (int map = blockIdx.y; map < count / plane; map += gridDim.y) {
        const float* windows = dy + map * (h * w);
        float total = 0.0f;
        for (int r = first_row; r <= last_row; r++)
            for (int c = first_column; c <= last_column; c++)
                total += windows[r * w + c] / (counted(r * stride_h - padding_h, kernel_h, H, margin_h) *
                                               counted(c * stride_w - padding_w, kernel_w, W, margin_w));
        dx[map * plane + pixel] = total;
    }
}
