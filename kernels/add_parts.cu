// Sum of the parts that a split sum left: y[i] = parts[0, i] + parts[1, i] + ..., always in this order, so that the
// same input gives the same bits, which atomics would not.
//   1  one thread a value; neighbouring threads read neighbours in every part, and there are too few values for more
//
// parts   (part_count, count) contiguous, of at most 2^30 values
// y       (count,)
// Launched with count threads.

extern "C" __global__ void add_parts(const float* parts, float* y, int part_count, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    float sum = 0.0f;
    for (int part = 0; part < part_count; part++) sum += parts[part * count + i];
    y[i] = sum;
}
