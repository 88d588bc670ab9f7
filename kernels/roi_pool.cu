// RoI pooling: each box, rounded to whole pixels, is divided into h x w bins; y = the largest value of a bin's pixels,
// indices = where in the flat H*W plane it stood, the first of equals in row order, NaN before all; 0 and -1 for a bin
// without pixels. Backward: dx = the sum of dy over the bins that a pixel won.
//   1  one thread a value; backward adds to the winning pixel by atomics, since boxes overlap, in any order
//   2  (gather) backward only: one thread a pixel in 8 channels, which asks each bin that it lies in whether it won: no
//      two threads write to one place, so the sum always runs in the same order
//
// x, dx           (N, C, H, W) contiguous; dx of zeros for rung 1
// boxes           (R, 5) of image, x1, y1, x2, y2 in the images' pixels, inclusive; a pixel of the map is 1 / scale of
//                 theirs
// y, dy, indices  (R, C, h, w) contiguous; y NaN and indices -1 where a box is of an image that there is not
// Rung 1 is launched with a thread a value of y, rung 2 with threads for the H W pixels along x, C / 8 blocks, rounded
// up, along y, and N along z.

constexpr int CHANNELS = 8;                          // of a thread in rung 2

// How a box lies along one direction: where it starts, and how long it and its bins are, in pixels. Whole numbers in
// floats: a box may lie anywhere, further out than ints count.
struct Bins { float start, length, size; };

__device__ Bins bins_of(float low, float high, float scale, int count)
{
    const float start = roundf(low * scale), length = fmaxf(roundf(high * scale) - start + 1.0f, 1.0f);
    return {start, length, length / count};
}

// Whether a value takes over from the largest so far; only a larger one does, or the first NaN.
__device__ bool takes_over(float value, float largest)
{
    const bool value_is_nan = value != value, largest_is_nan = largest != largest;
    return value > largest || (value_is_nan && !largest_is_nan);
}

// From the first to before the last.
struct Range { int first, last; };

__device__ Range pixels_of(Bins bins, int bin, int size)
{
    const float first = bins.start + floorf(bin * bins.size), last = bins.start + ceilf((bin + 1) * bins.size);
    return {static_cast<int>(fminf(fmaxf(first, 0.0f), size)), static_cast<int>(fminf(fmaxf(last, 0.0f), size))};
}

extern "C" __global__ void roi_pool_forward(const float* x, const float* boxes, float* y, int* indices, int count,
                                            int N, int C, int H, int W, int h, int w, float scale)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const int r = i / (C * h * w), c = i / (h * w) % C, p = i / w % h, q = i % w;
    const float* box = boxes + 5 * r;
    const int n = static_cast<int>(box[0]);
    const bool there = n >= 0 && n < N;
    const Range rows = pixels_of(bins_of(box[2], box[4], scale, h), p, H);
    const Range columns = pixels_of(bins_of(box[1], box[3], scale, w), q, W);
    const float* map = x + ((there ? n : 0) * C + c) * (H * W);
    float largest = there ? 0.0f : __int_as_float(0x7fffffff);
    int winner = -1;                                 // none yet
    for (int row = rows.first; row < rows.last && there; row++)
        for (int column = columns.first; column < columns.last; column++) {
            const float value = map[row * W + column];
            if (winner < 0 || takes_over(value, largest)) {
                largest = value;
                winner = row * W + column;
            }
        }
    y[i] = largest;
    indices[i] = winner;
}

extern "C" __global__ void roi_pool_backward(const float* dy, const int* indices, const float* boxes, float* dx,
                                             int count, int C, int plane, int pooled)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count || indices[i] < 0) return;
    const int n = static_cast<int>(boxes[i / (C * pooled) * 5]), c = i / pooled % C;
    atomicAdd(dx + (n * C + c) * plane + indices[i], dy[i]);
}

// Rung 2.

// The bins that a row (or column) may lie in, and one more on either side, so that rounding loses none.
__device__ Range bins_near(int pixel, Bins bins, int count)
{
    const float place = pixel - bins.start;
    if (place < 0.0f || place > bins.length) return {0, 0};
    return {static_cast<int>(fmaxf(place / bins.size - 1.0f, 0.0f)),
            static_cast<int>(fminf((place + 1.0f) / bins.size + 2.0f, count))};
}

extern "C" __global__ void roi_pool_backward_gather(const float* dy, const int* indices, const float* boxes, float* dx,
                                                    int R, int C, int H, int W, int h, int w, float scale)
{
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= H * W) return;
    const int first = blockIdx.y * CHANNELS, n = blockIdx.z;
    float sums[CHANNELS] = {};
    for (int r = 0; r < R; r++) {
        const float* box = boxes + 5 * r;
        if (static_cast<int>(box[0]) != n) continue;
        const Range down = bins_near(pixel / W, bins_of(box[2], box[4], scale, h), h);
        const Range across = bins_near(pixel % W, bins_of(box[1], box[3], scale, w), w);
        for (int p = down.first; p < down.last; p++)
            for (int q = across.first; q < across.last; q++) {
                const int bin = ((r * C + first) * h + p) * w + q;
#pragma unroll
                for (int c = 0; c < CHANNELS; c++) {
                    const int i = bin + c * (h * w);
                    if (first + c < C && indices[i] == pixel) sums[c] += dy[i];
                }
            }
    }
#pragma unroll
    for (int c = 0; c < CHANNELS; c++)
        if (first + c < C) dx[(n * C + first + c) * (H * W) + pixel] = sums[c];
}
