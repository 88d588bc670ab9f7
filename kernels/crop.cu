// Crop: y = the rectangle of x with its upper left at (top, left); backward: dx = dy inside the rectangle, 0 outside.
//   1  one thread a value written, so that dx is written once, without being zeroed beforehand
//   2  (maps) one thread a pixel of the plane written, which walks through the maps: places are the same in all of
//      them, so the divisions, slow on a GPU, are done once a thread instead of once a value
//
// x, dx   (maps, H, W) contiguous, maps = N C;   y, dy   (maps, height, width) contiguous
// All rungs take the same arguments; count is how many values are written, of y forward, of dx backward.
// Rung 1 is launched with count threads; rung 2 with a thread a pixel of the plane written along x, and any number of
// blocks along y, which share out the maps.

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

// Rung 2.

extern "C" __global__ void crop_forward_maps(const float* x, float* y, int count, int H, int W,
                                             int top, int left, int height, int width)
{
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x, plane = height * width;
    if (pixel >= plane) return;
    const int place = (pixel / width + top) * W + pixel % width + left;
    for (int map = blockIdx.y; map < count / plane; map += gridDim.y) y[map * plane + pixel] = x[map * (H * W) + place];
}

extern "C" __global__ void crop_backward_maps(const float* dy, float* dx, int count, int H, int W,
                                              int top, int left, int height, int width)
{
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x, plane = H * W;
    if (pixel >= plane) return;
    const int row = pixel / W - top, column = pixel % W - left;
    const bool inside = row >= 0 && row < height && column >= 0 && column < width;
    const int place = row * width + column;
    for (int map = blockIdx.y; map < count / plane; map += gridDim.y)
        dx[map * plane + pixel] = inside ? dy[map * (height * width) + place] : 0.0f;
}
