// Bilinear resizing: row i of the output lies at row (i step + offset) / whole of the input, held inside the image; an
// input pixel counts with 1 less its distance from there, down and across, and from a distance of 1 on with nothing.
//   forward
//   1  one thread a value, which works out place and weights from fractions of whole numbers, so exactly
//   2  (maps) one thread a pixel of the plane, which walks through the maps: place and weights are worked out once a
//      thread instead of once a value
//   backward, by gathering: no two threads write to one place, so the sum always runs in the same order
//   1  one thread a pixel of dx, which sums over all of dy that its value went into: a rectangle of up to 2 s x 2 s
//      values when the image grew s-fold
//   2  (along) first down, then across, with a small array in between      2 s + 2 s reads a value instead of 2 s * 2 s
//
// x, dx   (maps, h, w) contiguous, maps = N C;   y, dy   (maps, H, W) contiguous
// row_..., column_...   the three numbers of each direction: step, offset and whole. With align_corners h - 1, 0, H - 1
//                       (0, 0, 1 for one row); without, from (i + 1/2) h / H - 1/2: 2 h, h - H, 2 H
// Rung 1 is launched with a thread a value written; rung 2 forward with a thread a pixel of the plane along x, and any
// number of blocks along y, which share out the maps; rung 2 backward, once for each direction, with a thread a value.

// Where output i lies, in `whole`ths of an input pixel, held between the centres of the first and the last.
__device__ long long position(int i, int small, int step, int offset, int whole)
{
    const long long wanted = static_cast<long long>(i) * step + offset;
    return min(max(wanted, 0ll), static_cast<long long>(small - 1) * whole);
}

// What input pixel `place` counts in an output that lies at `position`.
__device__ float weight_of(int place, long long position, int whole)
{
    const long long ahead = position - static_cast<long long>(place) * whole, distance = ahead < 0 ? -ahead : ahead;
    return distance < whole ? static_cast<float>(whole - distance) / static_cast<float>(whole) : 0.0f;
}

// The outputs in which input pixel `place` may count: from the first to before the last; the ones at the edge may not.
struct Range { int first, last; };

__device__ Range outputs_of(int place, int small, int large, int step, int offset, int whole)
{
    if (step == 0) return {0, large};
    const long long before = static_cast<long long>(place - 1) * whole - offset, behind = before + 2ll * whole;
    Range range = {0, large};
    if (place > 0) range.first = static_cast<int>(max(before / step, 0ll));
    if (place < small - 1) range.last = static_cast<int>(min(behind / step + 1, static_cast<long long>(large)));
    return range;
}

// The two rows (or columns) around a position, and what the second counts; the second is the first at the last pixel.
struct Between { int low, high; float share; };

__device__ Between between(int i, int small, int step, int offset, int whole)
{
    const long long place = position(i, small, step, offset, whole);
    const int low = static_cast<int>(place / whole);
    return {low, min(low + 1, small - 1), static_cast<float>(place - static_cast<long long>(low) * whole) / whole};
}

__device__ float interpolated(const float* plane, int w, Between row, Between column)
{
    const float* upper = plane + row.low * w;
    const float* lower = plane + row.high * w;
    const float above = (1.0f - column.share) * upper[column.low] + column.share * upper[column.high];
    const float below = (1.0f - column.share) * lower[column.low] + column.share * lower[column.high];
    return (1.0f - row.share) * above + row.share * below;
}

extern "C" __global__ void upsample_bilinear2d_forward(const float* x, float* y, int maps, int h, int w, int H, int W,
                                                       int row_step, int row_offset, int row_whole,
                                                       int column_step, int column_offset, int column_whole)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= maps * H * W) return;
    const Between row = between(i / W % H, h, row_step, row_offset, row_whole);
    const Between column = between(i % W, w, column_step, column_offset, column_whole);
    y[i] = interpolated(x + i / (H * W) * (h * w), w, row, column);
}

extern "C" __global__ void upsample_bilinear2d_backward(const float* dy, float* dx, int maps,
                                                        int h, int w, int H, int W,
                                                        int row_step, int row_offset, int row_whole,
                                                        int column_step, int column_offset, int column_whole)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= maps * h * w) return;
    const int row = i / w % h, column = i % w;
    const Range rows = outputs_of(row, h, H, row_step, row_offset, row_whole);
    const Range columns = outputs_of(column, w, W, column_step, column_offset, column_whole);
    const float* plane = dy + i / (h * w) * (H * W);
    float total = 0.0f;
    for (int r = rows.first; r < rows.last; r++) {
        float across = 0.0f;
        for (int c = columns.first; c < columns.last; c++)
            across += plane[r * W + c] *
                      weight_of(column, position(c, w, column_step, column_offset, column_whole), column_whole);
        total += across * weight_of(row, position(r, h, row_step, row_offset, row_whole), row_whole);
    }
    dx[i] = total;
}

// Rung 2.

extern "C" __global__ void upsample_bilinear2d_forward_maps(const float* x, float* y, int maps,
                                                            int h, int w, int H, int W,
                                                            int row_step, int row_offset, int row_whole,
                                                            int column_step, int column_offset, int column_whole)
{
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= H * W) return;
    const Between row = between(pixel / W, h, row_step, row_offset, row_whole);
    const Between column = between(pixel % W, w, column_step, column_offset, column_whole);
    for (int map = blockIdx.y; map < maps; map += gridDim.y)
        y[map * (H * W) + pixel] = interpolated(x + map * (h * w), w, row, column);
}

// dy (outer, large, inner) -> dx (outer, small, inner): down the rows with inner = W, across with inner = 1.
extern "C" __global__ void upsample_bilinear2d_backward_along(const float* dy, float* dx, int outer,
                                                              int small, int large, int inner,
                                                              int step, int offset, int whole)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= outer * small * inner) return;
    const int place = i / inner % small;
    const Range outputs = outputs_of(place, small, large, step, offset, whole);
    const float* line = dy + i / (inner * small) * (large * inner) + i % inner;
    float total = 0.0f;
    for (int k = outputs.first; k < outputs.last; k++)
        total += line[k * inner] * weight_of(place, position(k, small, step, offset, whole), whole);
    dx[i] = total;
}
