"""Convolution and its transpose: three products, each a ladder of kernels.

    gather      conv2d_forward           conv2d forward,      conv_transpose2d's dx
    scatter     conv2d_backward_input    conv2d's dx,         conv_transpose2d forward
    correlate   conv2d_backward_weight   conv2d's dweight,    conv_transpose2d's dweight (with x and dy in turned roles)

Each takes `rung`, a name from `ladder.RUNGS`, for lessons and benchmarks; by default the fastest that the device and
`precision` allow. In float32, the default, results agree with the numpy backend's to rounding errors.
"""

from typing import NamedTuple

from minisegnet import shapes
from minisegnet.cuda import arrays, ladder
from minisegnet.cuda.grids import ceil_div, thread_each
from minisegnet.shapes import pair

CHANNELS = 16  # of a block of packed filters; FED_CHANNELS in convolution_feeders.cuh


class Sizes(NamedTuple):
    """The sizes of a conv2d, in the order in which its kernels take them."""

    N: int
    in_channels: int
    H: int
    W: int
    out_channels: int
    kernel_h: int
    kernel_w: int
    H_out: int
    W_out: int
    stride_h: int
    stride_w: int
    padding_h: int
    padding_w: int
    dilation_h: int
    dilation_w: int

    @classmethod
    def of(cls, image, places, weight, stride, padding, dilation):
        """Of a conv2d from images (N, in_channels, H, W) to `places` (H_out, W_out)."""
        out_channels, _, *kernel = weight.shape
        return cls(*image, out_channels, *kernel, *places, *pair(stride), *pair(padding), *pair(dilation))

    @property
    def image(self):
        return self.N, self.in_channels, self.H, self.W

    @property
    def output(self):
        return self.N, self.out_channels, self.H_out, self.W_out

    @property
    def weight(self):
        return self.out_channels, self.in_channels, self.kernel_h, self.kernel_w

    @property
    def taps(self):
        """How many values of an image one value of the output is made of."""
        return self.in_channels * self.kernel_h * self.kernel_w

    @property
    def places(self):
        """How many windows the batch has."""
        return self.N * self.H_out * self.W_out


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1):
    x, weight = arrays.contiguous(x), arrays.contiguous(weight)
    places = shapes.conv2d(x.shape, weight.shape, None, stride, padding, dilation)[2:]
    sizes = Sizes.of(x.shape, places, weight, stride, padding, dilation)
    return gather(x, weight, bias, sizes), (x, weight, bias is not None, sizes)


def conv2d_backward(dy, saved):
    x, weight, has_bias, sizes = saved
    dy = arrays.contiguous(dy)
    dbias = ladder.channel_sum(dy) if has_bias else None
    return scatter(dy, weight, None, sizes), correlate(dy, x, sizes), dbias


def conv_transpose2d_forward(x, weight, bias=None, stride=1, padding=0, output_padding=0, dilation=1):
    x, weight = arrays.contiguous(x), arrays.contiguous(weight)
    image = shapes.conv_transpose2d(x.shape, weight.shape, None, stride, padding, output_padding, dilation)
    sizes = Sizes.of(image, x.shape[2:], weight, stride, padding, dilation)
    return scatter(x, weight, bias, sizes), (x, weight, bias is not None, sizes)


def conv_transpose2d_backward(dy, saved):
    x, weight, has_bias, sizes = saved
    dy = arrays.contiguous(dy)
    dbias = ladder.channel_sum(dy) if has_bias else None
    return gather(dy, weight, None, sizes), correlate(x, dy, sizes), dbias


def gather(image, weight, bias, sizes, rung=None):
    """Each place's value in each output channel: the filter's product with the window there."""
    y = arrays.empty(sizes.output, image.dtype, like=image)
    rung = rung or ladder.fastest(sizes.out_channels, image, narrow="coalesced")
    filters = _filters(weight, sizes, rung, by_input=False)
    ladder.product(
        "conv2d_forward", rung, sizes.out_channels, sizes.places, 1, image, filters, _contiguous(bias), y, *sizes
    )
    return y


def scatter(y, weight, bias, sizes, rung=None):
    """The adjoint of `gather`: each value stamps its filter on the image, and overlaps are summed."""
    image = arrays.empty(sizes.image, y.dtype, like=y)
    classes = sizes.stride_h * sizes.stride_w
    rung = rung or ladder.fastest(sizes.in_channels, y, narrow="coalesced", z=classes)
    if ladder.rung_named(rung).tile:  # a product for each class of pixels that meet the same taps
        pixels = sizes.N * ceil_div(sizes.H, sizes.stride_h) * ceil_div(sizes.W, sizes.stride_w)
    else:
        pixels, classes = sizes.N * sizes.H * sizes.W, 1
    filters = _filters(weight, sizes, rung, by_input=True)
    ladder.product(
        "conv2d_backward_input", rung, sizes.in_channels, pixels, classes, y, filters, _contiguous(bias), image, *sizes
    )
    return image


def correlate(y, image, sizes, rung=None):
    """The gradient of the filters: for each tap, the product of y with what that tap met."""
    if sizes.places == 0:
        return arrays.zeros(sizes.weight, y.dtype, like=y)
    rung = rung or ladder.fastest(sizes.out_channels, y)
    count, each = ladder.split(rung, sizes.out_channels, sizes.taps, sizes.places)
    parts = arrays.empty((count, *sizes.weight), y.dtype, like=y)
    ladder.product("conv2d_backward_weight", rung, sizes.out_channels, sizes.taps, count, y, image, parts, *sizes, each)
    return ladder.add_parts(parts, sizes.weight)


def _filters(weight, sizes, rung, by_input):
    """The filters as a rung of `gather`, or of `scatter` (by_input), reads them."""
    chosen = ladder.rung_named(rung)
    if not chosen.pipelined:
        return weight
    rows, channels = (sizes.in_channels, sizes.out_channels)[:: 1 if by_input else -1]
    strides = (sizes.stride_h, sizes.stride_w) if by_input else (1, 1)
    count = rows * ceil_div(channels, CHANNELS) * CHANNELS * sizes.kernel_h * sizes.kernel_w
    packed = arrays.empty(count, weight.dtype, like=weight)
    thread_each(
        "conv2d_pack_filters.cu", "conv2d_pack_filters", count, weight, packed, *sizes.weight, *strides,
        sizes.padding_h, sizes.padding_w, sizes.dilation_h, sizes.dilation_w, by_input, chosen.precision == "tf32",
    )  # fmt: skip
    return packed


def _contiguous(bias):
    return None if bias is None else arrays.contiguous(bias)
