// Mirrored padding: y shows x with both its sides mirrored, again and again where the padding is larger than the image;
// the edge pixel itself is not repeated. Backward: dx = the sum of dy over all places that show the pixel.
//   1  one thread a value, which looks its source up (backward: gathers from its mirror images, one after another, so
//      that no two threads write to one place and the sum always runs in the same order)
//   2  (maps) one thread a pixel of the plane, which walks through the maps: sources and mirror images are the same in
//      all of them, so the divisions, slow on a GPU, are done once a thread instead of once a value
//
// x, dx   (maps, h, w) contiguous, maps = N C;   y, dy   (maps, H, W) contiguous, with x at row `top`, column `left`
// Rung 1 is launched with a thread a value written; rung 2 with a thread a pixel of the plane written along x, and any
// number of blocks along y, which share out the maps.

// The mirrored line repeats after so many places: 0 1 2 3 2 1 | 0 1 2 3 2 1 | ...
__device__ int period_of(int size) { return size > 1 ? 2 * (size - 1) : 1; }

// place modulo period, from 0 on for negative places too
__device__ int wrapped(int place, int period) { return (place % period + period) % period; }

// The place of the image that is shown `place` places behind its first; negative before it.
__device__ int source_of(int place, int size)
{
    const int period = period_of(size), forth = wrapped(place, period);
    return min(forth, period - forth) % size;        // forth, or on the way back; of one pixel always 0
}

// The places that show place `i` of the image: every period from `first`, and from `mirrored` (which is `none`, behind
// the last place, for the two ends, since they are not repeated).
struct Images { int first, mirrored, period; };

__device__ Images images_of(int i, int size, int before, int none)
{
    const int period = period_of(size);
    const bool end = i == 0 || i == size - 1;
    return {wrapped(before + i, period), end ? none : wrapped(before - i, period), period};
}

__device__ float row_sum(const float* row, int W, Images columns)
{
    float total = 0.0f;
    for (int c = columns.first; c < W; c += columns.period) total += row[c];
    for (int c = columns.mirrored; c < W; c += columns.period) total += row[c];
    return total;
}

__device__ float plane_sum(const float* plane, int H, int W, Images rows, Images columns)
{
    float total = 0.0f;
    for (int r = rows.first; r < H; r += rows.period) total += row_sum(plane + r * W, W, columns);
    for (int r = rows.mirrored; r < H; r += rows.period) total += row_sum(plane + r * W, W, columns);
    return total;
}

extern "C" __global__ void reflection_pad2d_forward(const float* x, float* y, int maps, int h, int w, int H, int W,
                                                    int top, int left)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= maps * H * W) return;
    const int row = source_of(i / W % H - top, h), column = source_of(i % W - left, w);
    y[i] = x[(i / (H * W) * h + row) * w + column];
}

extern "C" __global__ void reflection_pad2d_backward(const float* dy, float* dx, int maps,
                                                     int h, int w, int H, int W, int top, int left)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= maps * h * w) return;
    const Images rows = images_of(i / w % h, h, top, H), columns = images_of(i % w, w, left, W);
    dx[i] = plane_sum(dy + i / (h * w) * (H * W), H, W, rows, columns);
}

// Rung 2.

extern "C" __global__ void reflection_pad2d_forward_maps(const float* x, float* y, int maps,
                                                         int h, int w, int H, int W, int top, int left)
{
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= H * W) return;
    const int source = source_of(pixel / W - top, h) * w + source_of(pixel % W - left, w);
    for (int map = blockIdx.y; map < maps; map += gridDim.y) y[map * (H * W) + pixel] = x[map * (h * w) + source];
}

extern "C" __global__ void reflection_pad2d_backward_maps(const float* dy, float* dx, int maps,
                                                          int h, int w, int H, int W, int top, int left)
{
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= h * w) return;
    const Images rows = images_of(pixel / w, h, top, H), columns = images_of(pixel % w, w, left, W);
    for (int map = blockIdx.y; map < maps; map += gridDim.y)
        dx[map * (h * w) + pixel] = plane_sum(dy + map * (H * W), H, W, rows, columns);
}
