// RoIAlign: each box is divided into h x w bins, and y of a bin is the mean of the map at a grid of points inside it,
// each interpolated between the four pixels around; nothing is rounded to pixels. Backward: dx = the sum of dy over the
// points that a pixel counted in, times what it counted.
//   forward
//   1  one thread a value, which works out its bin's points and their weights
//   2  (channels) one thread a bin in 8 channels: points and weights are worked out once for all of them
//   backward
//   1  one thread a value of dy, which adds to the four pixels around each of its points by atomics; boxes overlap, so
//      the order of the sums, and with it their last bits, is another each time
//   2  (gather) one thread a pixel in 8 channels, which asks every box of its image for what it counted in each bin: as
//      a row, times as a column. No two threads write to one place, so the sum always runs in the same order; a box
//      that lies elsewhere costs a comparison
//
// x, dx   (N, C, H, W) contiguous; dx of zeros for rung 1
// boxes   (R, 5) of image, x1, y1, x2, y2 in the images' pixels; a pixel of the map is 1 / scale of theirs
// y, dy   (R, C, h, w) contiguous; NaN where a box is of an image that there is not
// points  along each side of a bin, or 0 for as many as it has pixels, rounded up
// aligned whether pixel i reaches from i to i + 1, so that its value stands at i + 1/2; else it stands at i, and boxes are
//         at least a pixel large, as in Mask R-CNN's first code
// Rung 1 is launched with a thread a value of y. Rung 2 has C / 8 blocks, rounded up, along y; forward threads for the
// R h w bins along x; backward threads for the H W pixels along x, and N blocks along z.

constexpr int CHANNELS = 8;                          // of a thread in rung 2: so many sums fit its registers

// How a box lies along one direction: bin k starts at start + k size, and is sampled at so many points, spacing apart.
struct Bins { float start, size, spacing; int points; };

__device__ Bins bins_of(float low, float high, float scale, int count, int points, bool aligned)
{
    const float shift = aligned ? 0.5f : 0.0f;       // __fmul_rn: not joined with the difference, to round as others do
    const float start = __fmul_rn(low, scale) - shift;
    float length = __fmul_rn(high, scale) - shift - start;
    if (!aligned) length = fmaxf(length, 1.0f);
    const float size = length / count;
    if (points == 0) points = static_cast<int>(fminf(fmaxf(ceilf(size), 0.0f), 1 << 30));
    return {start, size, size / max(points, 1), points};
}

__device__ float point_of(Bins bins, int bin, int k)
{
    return bins.start + __fmul_rn(bin, bins.size) + __fmul_rn(k + 0.5f, bins.size) / bins.points;
}

// Of `count` places, the first at `first` and each `spacing` further, those that lie from `low` to `high`, and one more
// on either side, so that rounding loses none; all of a box without extent, or turned round, which are rare.
struct Range { int first, last; };                   // from the first to before the last

__device__ Range places_within(float low, float high, float first, float spacing, int count)
{
    if (spacing <= 0.0f) return {0, count};
    if (high < first - spacing || low > first + count * spacing) return {0, 0};
    return {static_cast<int>(fminf(fmaxf((low - first) / spacing - 1.0f, 0.0f), count)),
            static_cast<int>(fminf(fmaxf((high - first) / spacing + 2.0f, 0.0f), count))};
}

// The points of a bin from `low` to `high`: a box may be larger than the map by any factor, with as many more points.
__device__ Range points_within(float low, float high, Bins bins, int bin)
{
    return places_within(low, high, bins.start + bin * bins.size + 0.5f * bins.spacing, bins.spacing, bins.points);
}

// The two rows (or columns) around a point and what each counts: nothing more than a pixel beyond the outermost.
struct Between { int low, high; float low_share, high_share; };

__device__ Between between(float point, int size)
{
    if (!(point >= -1.0f && point <= size)) return {0, 0, 0.0f, 0.0f};
    const float inside = fmaxf(point, 0.0f);
    const int low = min(static_cast<int>(inside), size - 1), high = min(low + 1, size - 1);
    const float share = low < high ? inside - low : 0.0f;
    return {low, high, 1.0f - share, share};
}

__device__ bool is_inside(Between place) { return place.low_share + place.high_share > 0.0f; }

__device__ float interpolated(const float* map, int W, Between row, Between column)
{
    const float* upper = map + row.low * W;
    const float* lower = map + row.high * W;
    const float above = column.low_share * upper[column.low] + column.high_share * upper[column.high];
    const float below = column.low_share * lower[column.low] + column.high_share * lower[column.high];
    return row.low_share * above + row.high_share * below;
}

// How many points a bin has, those off the map included; in floats, since an int might not hold the product.
__device__ float count_of(Bins rows, Bins columns)
{
    return fmaxf(static_cast<float>(rows.points) * columns.points, 1.0f);
}

__device__ float not_a_number() { return __int_as_float(0x7fffffff); }

extern "C" __global__ void roi_align_forward(const float* x, const float* boxes, float* y, int count,
                                             int N, int C, int H, int W, int h, int w,
                                             float scale, int points, bool aligned)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const int r = i / (C * h * w), c = i / (h * w) % C, p = i / w % h, q = i % w;
    const float* box = boxes + 5 * r;
    const int n = static_cast<int>(box[0]);
    if (n < 0 || n >= N) {
        y[i] = not_a_number();
        return;
    }
    const Bins rows = bins_of(box[2], box[4], scale, h, points, aligned);
    const Bins columns = bins_of(box[1], box[3], scale, w, points, aligned);
    const Range down = points_within(-1.0f, H, rows, p), across = points_within(-1.0f, W, columns, q);
    const float* map = x + (n * C + c) * (H * W);
    float sum = 0.0f;
    for (int k = down.first; k < down.last; k++) {
        const Between row = between(point_of(rows, p, k), H);
        if (!is_inside(row)) continue;
        for (int l = across.first; l < across.last; l++) {
            const Between column = between(point_of(columns, q, l), W);
            if (is_inside(column)) sum += interpolated(map, W, row, column);
        }
    }
    y[i] = sum / count_of(rows, columns);
}

extern "C" __global__ void roi_align_backward(const float* dy, const float* boxes, float* dx, int count,
                                              int N, int C, int H, int W, int h, int w,
                                              float scale, int points, bool aligned)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const int r = i / (C * h * w), c = i / (h * w) % C, p = i / w % h, q = i % w;
    const float* box = boxes + 5 * r;
    const int n = static_cast<int>(box[0]);
    if (n < 0 || n >= N) return;
    const Bins rows = bins_of(box[2], box[4], scale, h, points, aligned);
    const Bins columns = bins_of(box[1], box[3], scale, w, points, aligned);
    const Range down = points_within(-1.0f, H, rows, p), across = points_within(-1.0f, W, columns, q);
    const float upstream = dy[i] / count_of(rows, columns);
    float* map = dx + (n * C + c) * (H * W);
    for (int k = down.first; k < down.last; k++) {
        const Between row = between(point_of(rows, p, k), H);
        if (!is_inside(row)) continue;
        for (int l = across.first; l < across.last; l++) {
            const Between column = between(point_of(columns, q, l), W);
            if (!is_inside(column)) continue;
            atomicAdd(map + row.low * W + column.low, upstream * row.low_share * column.low_share);
            atomicAdd(map + row.low * W + column.high, upstream * row.low_share * column.high_share);
            atomicAdd(map + row.high * W + column.low, upstream * row.high_share * column.low_share);
            atomicAdd(map + row.high * W + column.high, upstream * row.high_share * column.high_share);
        }
    }
}

// Rung 2.

extern "C" __global__ void roi_align_forward_channels(const float* x, const float* boxes, float* y, int bins,
                                                      int N, int C, int H, int W, int h, int w,
                                                      float scale, int points, bool aligned)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= bins) return;
    const int r = i / (h * w), p = i / w % h, q = i % w, first = blockIdx.y * CHANNELS;
    const float* box = boxes + 5 * r;
    const int n = static_cast<int>(box[0]);
    const bool there = n >= 0 && n < N;
    const Bins rows = bins_of(box[2], box[4], scale, h, points, aligned);
    const Bins columns = bins_of(box[1], box[3], scale, w, points, aligned);
    const Range down = points_within(-1.0f, H, rows, p), across = points_within(-1.0f, W, columns, q);
    const float* map = x + ((there ? n : 0) * C + first) * (H * W);
    float sums[CHANNELS] = {};
    for (int k = down.first; k < down.last && there; k++) {
        const Between row = between(point_of(rows, p, k), H);
        if (!is_inside(row)) continue;
        for (int l = across.first; l < across.last; l++) {
            const Between column = between(point_of(columns, q, l), W);
            if (!is_inside(column)) continue;
#pragma unroll
            for (int c = 0; c < CHANNELS; c++)
                if (first + c < C) sums[c] += interpolated(map + c * (H * W), W, row, column);
        }
    }
    const float count = count_of(rows, columns);
#pragma unroll
    for (int c = 0; c < CHANNELS; c++)
        if (first + c < C) y[((r * C + first + c) * h + p) * w + q] = there ? sums[c] / count : not_a_number();
}

// The bins that a row (or column) may count in: those with points less than a pixel away from it.
__device__ Range bins_near(int pixel, Bins bins, int count)
{
    return places_within(pixel - 1.0f - bins.size, pixel + 1.0f, bins.start, bins.size, count);
}

// What a row (or column) counts in the mean of a bin.
__device__ float weight_of(int pixel, Bins bins, int bin, int size)
{
    const Range near = points_within(pixel - 1.0f, pixel + 1.0f, bins, bin);
    float sum = 0.0f;
    for (int k = near.first; k < near.last; k++) {
        const Between place = between(point_of(bins, bin, k), size);
        if (place.low == pixel) sum += place.low_share;
        if (place.high == pixel) sum += place.high_share;
    }
    return sum / max(bins.points, 1);
}

extern "C" __global__ void roi_align_backward_gather(const float* dy, const float* boxes, float* dx, int R,
                                                     int C, int H, int W, int h, int w,
                                                     float scale, int points, bool aligned)
{
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= H * W) return;
    const int row = pixel / W, column = pixel % W, first = blockIdx.y * CHANNELS, n = blockIdx.z;
    float sums[CHANNELS] = {};
    for (int r = 0; r < R; r++) {
        const float* box = boxes + 5 * r;
        if (static_cast<int>(box[0]) != n) continue;
        const Bins rows = bins_of(box[2], box[4], scale, h, points, aligned);
        const Bins columns = bins_of(box[1], box[3], scale, w, points, aligned);
        const Range down = bins_near(row, rows, h), across = bins_near(column, columns, w);
        for (int p = down.first; p < down.last; p++) {
            const float row_weight = weight_of(row, rows, p, H);
            if (row_weight == 0.0f) continue;
            for (int q = across.first; q < across.last; q++) {
                const float weight = row_weight * weight_of(column, columns, q, W);
                if (weight == 0.0f) continue;
                const float* upstream = dy + ((r * C + first) * h + p) * w + q;
#pragma unroll
                for (int c = 0; c < CHANNELS; c++)
                    if (first + c < C) sums[c] += weight * upstream[c * (h * w)];
            }
        }
    }
#pragma unroll
    for (int c = 0; c < CHANNELS; c++)
        if (first + c < C) dx[(n * C + first + c) * (H * W) + pixel] = sums[c];
}
