// Nearest-neighbour unpooling: y[i, j] = x[floor(i h / H), floor(j w / W)]; backward: dx = the sum of dy over a block.
//   1  one thread a value, which divides to find its own place and then its source (or block)
//   2  (maps) one thread a pixel of the plane, which walks through the maps: places are the same in all of them, so the
//      divisions, slow on a GPU, are done once a thread instead of once a value
//
// x, dx   (maps, h, w) contiguous, maps = N C;   y, dy   (maps, H, W) contiguous
// Products of two sizes are taken in 64 bits, or a long enough row would overflow them.
// Rung 1 is launched with a thread a value written; rung 2 with a thread a pixel of the plane written along x, and any
// number of blocks along y, which share out the maps.

// The first of `large` places whose value comes from place `small_place` of `small`, or from a later one.
__device__ int first_of(int small_place, int small, int large)
{
    return static_cast<int>((static_cast<long long>(small_place) * large + small - 1) / small);
}

// The place that `large_place` takes its value from.
__device__ int source_of(int large_place, int small, int large)
{
    return static_cast<int>(static_cast<long long>(large_place) * small / large);
}

extern "C" __global__ void nearest_unpool2d_forward(const float* x, float* y, int maps, int h, int w, int H, int W)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= maps * H * W) return;
    const int row = source_of(i / W % H, h, H), column = source_of(i % W, w, W);
    y[i] = x[(i / (H * W) * h + row) * w + column];
}

extern "C" __global__ void nearest_unpool2d_backward(const float* dy, float* dx, int maps, int h, int w, int H, int W)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= maps * h * w) return;
    const int row = i / w % h, column = i % w;
    const float* plane = dy + i / (h * w) * (H * W);
    float total = 0.0f;
    for (int r = first_of(row, h, H); r < first_of(row + 1, h, H); r++)
        for (int c = first_of(column, w, W); c < first_of(column + 1, w, W); c++) total += plane[r * W + c];
    dx[i] = total;
}

// Rung 2.

extern "C" __global__ void nearest_unpool2d_forward_maps(const float* x, float* y, int maps, int h, int w, int H, int W)
{
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= H * W) return;
    const int source = source_of(pixel / W, h, H) * w + source_of(pixel % W, w, W);
    for (int map = blockIdx.y; map < maps; map += gridDim.y) y[map * (H * W) + pixel] = x[map * (h * w) + source];
}

extern "C" __global__ void nearest_unpool2d_backward_maps(const float* dy, float* dx, int maps,
                                                          int h, int w, int H, int W)
{
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= h * w) return;
    const int top = first_of(pixel / w, h, H), bottom = first_of(pixel / w + 1, h, H);
    const int left = first_of(pixel % w, w, W), right = first_of(pixel % w + 1, w, W);
    for (int map = blockIdx.y; map < maps; map += gridDim.y) {
        const float* plane = dy + map * (H * W);
        float total = 0.0f;
        for (int r = top; r < bottom; r++)
            for (int c = left; c < right; c++) total += plane[r * W + c];
        dx[map * (h * w) + pixel] = total;
    }
}
