// Bed of nails: y[i stride, j stride] = x[i, j], zeros elsewhere; backward: dx[i, j] = dy[i stride, j stride].
//   1  one thread a nail, which puts its value into a y zeroed beforehand
//   2  (gather) one thread a pixel of y, which writes its value or 0      y is written once instead of twice, and side
//                                                                         by side instead of `stride` apart
//
// x, dx   (maps, h, w) contiguous, maps = N C;   y, dy   (maps, H, W) contiguous, large enough for the last nail
// Launched with a thread a value of x (rung 1, backward) or of y (rung 2); count is how many.

extern "C" __global__ void bed_of_nails2d_forward(const float* x, float* y, int count,
                                                  int h, int w, int H, int W, int stride_h, int stride_w)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    y[(i / (h * w) * H + i / w % h * stride_h) * W + i % w * stride_w] = x[i];
}

extern "C" __global__ void bed_of_nails2d_backward(const float* dy, float* dx, int count,
                                                   int h, int w, int H, int W, int stride_h, int stride_w)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    dx[i] = dy[(i / (h * w) * H + i / w % h * stride_h) * W + i % w * stride_w];
}

// Rung 2.

extern "C" __global__ void bed_of_nails2d_forward_gather(const float* x, float* y, int count,
                                                         int h, int w, int H, int W, int stride_h, int stride_w)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const int row = i / W % H, column = i % W;
    const bool nail = row % stride_h == 0 && column % stride_w == 0 && row / stride_h < h && column / stride_w < w;
    y[i] = nail ? x[(i / (H * W) * h + row / stride_h) * w + column / stride_w] : 0.0f;
}
