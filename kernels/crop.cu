// Crop: y = the rectangle of x with its upper left at (top, left); backward: dx = dy inside the rectangle, 0 outside.
//   1  one thread a value written, so that dx is written once, without being zeroed beforehand
//
// x, dx   (maps, H, W) contiguous, maps = N C;   y, dy   (maps, height, width) contiguous
// Launched with a thread a value of y forward, of dx backward; count is how many.

extern "C" __global__ void crop_forward(const float* x, float* y, int count, int H, int W,
                                        int top, int left, int height, int width)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const int row = i / width % height + top, column = i % width + left;
    y[i] = x[(i / (height * width) * H + row) * W + column];
}

extern "C" __global__ void crop_backward(const float* dy, float* dx, int count, int H, int W,
                                         int top, int left, int height, int width)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const int row = i / W % H - top, column = i % W - left;
    const bool inside = row >= 0 && row < height && column >= 0 && column < width;
    dx[i] = inside ? dy[(i / (H * W) * height + row) * width + column] : 0.0f;
}
