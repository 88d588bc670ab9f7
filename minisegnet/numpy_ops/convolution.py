"""Convolution and its transpose: windows gathered as columns of a matrix, so that every pass is a matrix product.

With the columns of an image X (in_channels kernel_h kernel_w, places) and the filters as rows of W:

    gather      Y = W X              conv2d forward,      conv_transpose2d's dx
    scatter     X = W^T Y, folded    conv2d's dx,         conv_transpose2d forward (with stride 1: gather, W turned)
    correlate   dW = dY X^T          conv2d's dweight,    conv_transpose2d's dweight (with x and dy in turned roles)
"""

from itertools import product
from typing import NamedTuple

import numpy as np

from minisegnet import shapes
from minisegnet.numpy_ops.threads import side_by_side
from minisegnet.numpy_ops.windows import Windows

# Columns are made for a few rows of places at a time, so that they still lie in the cache when the product reads them;
# but no fewer bytes of them than of filters, or reading those again for each few would cost more than it saves. Half as
# many bytes are as good on one thread, but on four the threads then wait for the interpreter more than they compute.
COLUMN_BYTES = 2**21


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1):
    places = shapes.conv2d(x.shape, weight.shape, None, stride, padding, dilation)[2:]
    windows = Windows.over(x.shape[2:], places, weight.shape[2:], stride, padding, dilation)
    return gather(x, weight, windows, bias), (x, weight, bias is not None, windows)


def conv2d_backward(dy, saved):
    x, weight, has_bias, windows = saved
    dx = scatter(dy, weight, windows)
    dweight = correlate(dy, x, weight, windows)
    return dx, dweight, dy.sum((0, 2, 3)) if has_bias else None


def conv_transpose2d_forward(x, weight, bias=None, stride=1, padding=0, output_padding=0, dilation=1):
    image = shapes.conv_transpose2d(x.shape, weight.shape, None, stride, padding, output_padding, dilation)[2:]
    windows = Windows.over(image, x.shape[2:], weight.shape[2:], stride, padding, dilation)
    y = scatter(x, weight, windows)
    if bias is not None:
        y += bias[:, None, None]
    return y, (x, weight, bias is not None, windows)


def conv_transpose2d_backward(dy, saved):
    x, weight, has_bias, windows = saved
    dx = gather(dy, weight, windows)
    dweight = correlate(x, dy, weight, windows)
    return dx, dweight, dy.sum((0, 2, 3)) if has_bias else None


def gather(image, weight, windows, bias=None):
    """Each place's value in each output channel: the filter's product with the window there."""
    filters = weight.reshape(len(weight), -1)
    padded = windows.pad(image)
    y = np.empty((len(image), len(weight), windows.places[0] * windows.places[1]), image.dtype)

    def one_block(n, block):
        products = y[n, :, block.places]
        np.matmul(filters, block.columns(padded[n], windows), out=products)
        if bias is not None:
            products += bias[:, None]

    side_by_side(one_block, product(range(len(image)), blocks(weight, windows)))
    return y.reshape(*y.shape[:2], *windows.places)


def scatter(y, weight, windows):
    """The adjoint of `gather`: each value stamps its filter on the image, and overlaps are summed."""
    turned = windows.turned()
    if turned is not None:  # twice as fast: one product writes each value, where stamps are added tap by tap
        return gather(y, np.ascontiguousarray(weight[:, :, ::-1, ::-1].swapaxes(0, 1)), turned)
    filters = weight.reshape(len(weight), -1)
    values = flat(y)
    image = np.zeros((len(y), weight.shape[1], *windows.padded), y.dtype)

    def one_image(n):
        for block in blocks(weight, windows):
            stamps = filters.T @ values[n, :, block.places]
            stamps = stamps.reshape(weight.shape[1], -1, block.height, y.shape[3])
            band = image[n, :, block.rows.start * windows.stride[0] :]
            for tap, (rows, columns) in enumerate(windows.of_height(block.height).taps()):
                band[:, rows, columns] += stamps[:, tap]

    side_by_side(one_image, ((n,) for n in range(len(y))))
    return np.ascontiguousarray(windows.inside(image))


def correlate(y, image, weight, windows):
    """The gradient of the filters: for each pixel of the kernel, the product of y with what that pixel met."""
    values = flat(y)

    def one_image(n):
        padded = windows.pad(image[n])
        dweight = np.zeros((len(weight), weight[0].size), y.dtype)
        for block in blocks(weight, windows):
            dweight += values[n, :, block.places] @ block.columns(padded, windows).T
        return dweight.reshape(weight.shape)

    return sum(side_by_side(one_image, ((n,) for n in range(len(y)))), np.zeros(weight.shape, y.dtype))


def flat(y):
    """(N, C, H, W) as (N, C, H W)."""
    return y.reshape(*y.shape[:2], y.shape[2] * y.shape[3])


class Block(NamedTuple):
    """A few rows of places."""

    rows: slice
    places: slice  # the same, flat

    @property
    def height(self):
        return self.rows.stop - self.rows.start

    def columns(self, padded, windows):
        """The windows there of a padded image (C, H, W), as the columns of a matrix (C kernel_h kernel_w, places)."""
        return windows.view(padded)[:, :, :, self.rows].reshape(-1, self.places.stop - self.places.start)


def blocks(weight, windows):
    """All rows of places, in blocks whose columns take about COLUMN_BYTES."""
    places_h, places_w = windows.places
    row_bytes = max(1, weight[0].nbytes * places_w)
    height = max(1, max(COLUMN_BYTES, weight.nbytes) // row_bytes)
    for start in range(0, places_h, height):
        stop = min(start + height, places_h)
        yield Block(slice(start, stop), slice(start * places_w, stop * places_w))
