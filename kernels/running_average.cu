// A running average in place: running = keep running + share batch, as batch normalisation keeps its statistics.
//   1  one thread a value: there is one for each channel, too few for wider reads to matter
//
// running, batch   any shape, contiguous; count values. Launched with count threads.

extern "C" __global__ void running_average(float* running, const float* batch, float keep, float share, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    running[i] = keep * running[i] + share * batch[i];
}
