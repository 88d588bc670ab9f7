// Softmax along one dimension: y = exp(x) / sum of exp(x); backward: dx = y (dy - sum of dy y).
// The largest value is taken off first, so that no exponential overflows.
//   1  one thread a column: it looks for the largest value, sums, divides     neighbours read neighbouring addresses
//                                                                             where inner > 1
//   2  (online) largest value and sum in one pass: when a larger value turns up, the sum so far shrinks with it
//                                                                             two reads of x instead of three
//   3  (warp) one warp a column, for inner = 1, where the values of a column lie side by side: lanes read neighbouring
//      addresses, which the threads of rungs 1 and 2 would not, and add up by shuffles (reduction.cuh)
//
// x, y, dy, dx   (outer, length, inner) contiguous: `length` the dimension, `outer` and `inner` the product of those
//                before and behind it; a column is `length` values that differ in nothing else; columns = outer inner
// Rungs 1 and 2 are launched with a thread a column, rung 3 with a warp a column.

#include "reduction.cuh"

constexpr float LOWEST = -3.402823466e38f;           // the lowest float: minus infinity less itself would be NaN

// Where a column begins; its next values are `inner` apart.
__device__ int first_of(int column, int length, int inner) { return column / inner * length * inner + column % inner; }

extern "C" __global__ void softmax_forward(const float* x, float* y, int columns, int length, int inner)
{
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    const int first = first_of(column, length, inner);
    float largest = LOWEST, total = 0.0f;
    for (int k = 0; k < length; k++) largest = fmaxf(largest, x[first + k * inner]);
    for (int k = 0; k < length; k++) total += expf(x[first + k * inner] - largest);
    for (int k = 0; k < length; k++) y[first + k * inner] = expf(x[first + k * inner] - largest) / total;
}

extern "C" __global__ void softmax_backward(const float* y, const float* dy, float* dx,
                                            int columns, int length, int inner)
{
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    const int first = first_of(column, length, inner);
    float total = 0.0f;
    for (int k = 0; k < length; k++) total += dy[first + k * inner] * y[first + k * inner];
    for (int k = 0; k < length; k++) dx[first + k * inner] = y[first + k * inner] * (dy[first + k * inner] - total);
}

// Rung 2.

extern "C" __global__ void softmax_forward_online(const float* x, float* y, int columns, int length, int inner)
{
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    const int first = first_of(column, length, inner);
    float largest = LOWEST, total = 0.0f;
    for (int k = 0; k < length; k++) {
        const float value = x[first + k * inner], before = largest;
        largest = fmaxf(largest, value);
        total = total * expf(before - largest) + expf(value - largest);
    }
    for (int k = 0; k < length; k++) y[first + k * inner] = expf(x[first + k * inner] - largest) / total;
}

// Rung 3.

extern "C" __global__ void softmax_forward_warp(const float* x, float* y, int columns, int length)
{
    const int column = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (column >= columns) return;                   // a whole warp leaves, so the shuffles below are complete
    const int first = column * length;
    float largest = LOWEST, total = 0.0f;
    for (int k = lane; k < length; k += 32) largest = fmaxf(largest, x[first + k]);
    largest = warp_max(largest);
    for (int k = lane; k < length; k += 32) total += expf(x[first + k] - largest);
    total = warp_sum(total);
    for (int k = lane; k < length; k += 32) y[first + k] = expf(x[first + k] - largest) / total;
}

extern "C" __global__ void softmax_backward_warp(const float* y, const float* dy, float* dx, int columns, int length)
{
    const int column = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (column >= columns) return;
    const int first = column * length;
    float total = 0.0f;
    for (int k = lane; k < length; k += 32) total += dy[first + k] * y[first + k];
    total = warp_sum(total);
    for (int k = lane; k < length; k += 32) dx[first + k] = y[first + k] * (dy[first + k] - total);
}
