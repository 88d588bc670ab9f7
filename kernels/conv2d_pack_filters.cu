// Filters in the order in which the pipelined convolutions read them: rung 6 of conv2d_forward and
// conv2d_backward_input.
//   1  one thread a value. There are few filters for many pixels, and each is read here once for all tiles that
//      will: a later rung would not be felt
//
// weight   (out_channels, in_channels, kernel_h, kernel_w) contiguous
// packed   for the forward product (by_input = 0, strides 1)
//              (out_channels, blocks of 16 in_channels, kernel_h, kernel_w, 16)
//          for the gradient by the input (by_input = 1): for each class of pixels in turn (see convolution.cuh), where
//          class (r, s) meets taps_r taps_s taps,
//              (in_channels, blocks of 16 out_channels, taps_r, taps_s, 16)
//          with zeros where the last block has fewer channels, and rounded to TF32 if to_tf32
// Launched with rows * 16 ceil(channels / 16) * kernel_h * kernel_w threads.
//
// needs: sm_80
#include "convolution_feeders.cuh"

extern "C" __global__ void conv2d_pack_filters(const float* weight, float* packed, int out_channels, int in_channels,
                                               int kernel_h, int kernel_w, int stride_h, int stride_w, int padding_h,
                                               int padding_w, int dilation_h, int dilation_w, int by_input, int to_tf32)
{
    const int rows = by_input ? in_channels : out_channels, channels = by_input ? out_channels : in_channels;
    const int blocks = channel_blocks(channels), padded = blocks * FED_CHANNELS;
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= rows * padded * kernel_h * kernel_w) return;
    const int q = index % kernel_w, p = index / kernel_w % kernel_h, filter = index / kernel_w / kernel_h;
    const int channel = filter % padded, row = filter / padded;

    const int o = by_input ? channel : row, c = by_input ? row : channel;
    float value = channel < channels ? weight[((o * in_channels + c) * kernel_h + p) * kernel_w + q] : 0.0f;
    if (to_tf32) value = __uint_as_float(float_to_tf32(value));

    const int r = Class::of_tap(p, stride_h, padding_h, dilation_h);
    const int s = Class::of_tap(q, stride_w, padding_w, dilation_w);
    const Class vertical(r, 0, kernel_h, stride_h, padding_h, dilation_h);
    const Class horizontal(s, 0, kernel_w, stride_w, padding_w, dilation_w);
    packed[rows * padded * taps_before(vertical, horizontal, kernel_w) +
           (((row * blocks + channel / FED_CHANNELS) * vertical.taps + vertical.position(p)) * horizontal.taps +
            horizontal.position(q)) * FED_CHANNELS + channel % FED_CHANNELS] = value;
}
