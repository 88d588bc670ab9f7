// Max pooling: y = the largest value of each window, and indices = where in the flat H*W plane it stood, the first of
// equals in row order, NaN before all; backward: dx = the sum of dy over the windows that this pixel won.
//   1  one thread a window (backward: a pixel, which asks every window around it whether it won: it gathers, so that no
//      two threads write to one place and the sum always runs in the same order)
//   2  (2x2) for windows of 2 x 2 that tile the image: one thread two windows side by side, by 16-byte reads and 8-byte
//      writes (backward: the other way round)         every pixel is read (written) once, in half the width's requests
//
// x, dx             (maps, H, W) contiguous, maps = N C; on a 16-byte boundary for rung 2
// y, indices, dy    (maps, h, w) contiguous; count = maps h w, backward maps H W
// Padding is no value and never wins; rung 2 takes none, and H = 2 h, W = 2 w, w even.
// Rung 1 is launched with count threads, rung 2 with half as many as there are windows.

// Whether a value takes over from the largest so far; only a larger one does, or the first NaN.
__device__ bool takes_over(float value, float largest)
{
    const bool value_is_nan = value != value, largest_is_nan = largest != largest;
    return value > largest || (value_is_nan && !largest_is_nan);
}

extern "C" __global__ void max_pool2d_forward(const float* x, float* y, int* indices, int count,
                                              int H, int W, int h, int w, int kernel_h, int kernel_w,
                                              int stride_h, int stride_w, int padding_h, int padding_w,
                                              int dilation_h, int dilation_w)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const int top = i / w % h * stride_h - padding_h, left = i % w * stride_w - padding_w;
    const float* plane = x + i / (h * w) * (H * W);
    float largest = 0.0f;
    int winner = -1;                                 // none yet
    for (int p = 0; p < kernel_h; p++) {
        const int row = top + p * dilation_h;
        if (row < 0 || row >= H) continue;
        for (int q = 0; q < kernel_w; q++) {
            const int column = left + q * dilation_w;
            if (column < 0 || column >= W) continue;
            const float value = plane[row * W + column];
            if (winner < 0 || takes_over(value, largest)) {
                largest = value;
                winner = row * W + column;
            }
        }
    }
    y[i] = largest;
    indices[i] = winner;
}

// extent_h, extent_w: how many rows and columns a window spans, dilation (kernel - 1) + 1.
extern "C" __global__ void max_pool2d_backward(const float* dy, const int* indices, float* dx, int count,
                                               int H, int W, int h, int w, int extent_h, int extent_w,
                                               int stride_h, int stride_w, int padding_h, int padding_w)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const int row = i / W % H + padding_h, column = i % W + padding_w;         // counted from the first window's start
    const int first_row = row < extent_h ? 0 : (row - extent_h) / stride_h + 1, last_row = min(row / stride_h, h - 1);
    const int first_column = column < extent_w ? 0 : (column - extent_w) / stride_w + 1;
    const int last_column = min(column / stride_w, w - 1);
    const int pixel = i % (H * W), map = i / (H * W);
    float total = 0.0f;
    for (int r = first_row; r <= last_row; r++)
        for (int c = first_column; c <= last_column; c++) {
            const int window = (map * h + r) * w + c;
            if (indices[window] == pixel) total += dy[window];
        }
    dx[i] = total;
}

// Rung 2.

// needs: 16-byte arrays
extern "C" __global__ void max_pool2d_forward_2x2(const float* x, float* y, int* indices, int pairs, int h, int w)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;       // the two windows 2 i and 2 i + 1
    if (i >= pairs) return;
    const int W = 2 * w, pairs_in_row = w / 2;
    const int row = i / pairs_in_row, place = 2 * (row % h) * W + 4 * (i % pairs_in_row);
    const float* upper = x + row / h * (4 * h * w) + place;
    const float4 a = *reinterpret_cast<const float4*>(upper);
    const float4 b = *reinterpret_cast<const float4*>(upper + W);
    const float values[2][4] = {{a.x, a.y, b.x, b.y}, {a.z, a.w, b.z, b.w}};
    float largest[2];
    int winner[2];
    for (int window = 0; window < 2; window++) {
        int best = 0;
        largest[window] = values[window][0];
        for (int k = 1; k < 4; k++)
            if (takes_over(values[window][k], largest[window])) {
                largest[window] = values[window][k];
                best = k;
            }
        winner[window] = place + 2 * window + best / 2 * W + best % 2;
    }
    *reinterpret_cast<float2*>(y + 2 * i) = make_float2(largest[0], largest[1]);
    *reinterpret_cast<int2*>(indices + 2 * i) = make_int2(winner[0], winner[1]);
}

// needs: 16-byte arrays
extern "C" __global__ void max_pool2d_backward_2x2(const float* dy, const int* indices, float* dx,
                                                   int pairs, int h, int w)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pairs) return;
    const int W = 2 * w, pairs_in_row = w / 2;
    const int row = i / pairs_in_row, place = 2 * (row % h) * W + 4 * (i % pairs_in_row);
    const float2 upstream = *reinterpret_cast<const float2*>(dy + 2 * i);
    const int2 winner = *reinterpret_cast<const int2*>(indices + 2 * i);
    float* upper = dx + row / h * (4 * h * w) + place;
    for (int below = 0; below < 2; below++) {
        const int pixel = place + below * W;
        *reinterpret_cast<float4*>(upper + below * W) =
            make_float4(winner.x == pixel + 0 ? upstream.x : 0.0f, winner.x == pixel + 1 ? upstream.x : 0.0f,
                        winner.y == pixel + 2 ? upstream.y : 0.0f, winner.y == pixel + 3 ? upstream.y : 0.0f);
    }
}
