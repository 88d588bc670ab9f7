"""Convolution and its transpose: windows gathered as columns of a matrix, so that every pass is a matrix product.

With the columns of an image X (in_channels kernel_h kernel_w, places) and the filters as rows of W:

    gather      Y = W X              conv2d forward,      conv_transpose2d's dx
    scatter     X = W^T Y, folded    conv2d's dx,         conv_transpose2d forward
    correlate   dW = dY X^T          conv2d's dweight,    conv_transpose2d's dweight (with x and dy in turned roles)
"""

import numpy as np

from minisegnet import shapes
from minisegnet.numpy_ops.threads import over_images
from minisegnet.numpy_ops.windows import Windows

# Columns are made for a few rows of places at a time, so that they still lie in the cache when the product reads them;
# but no fewer bytes of them than of filters, or reading those again for each few would cost more than it saves.
COLUMN_BYTES = 2**20


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
    N, (places_h, places_w) = len(image), windows.places
    y = np.empty((N, len(weight), places_h * places_w), image.dtype)

    def one_image(n):
        for places, columns in blocks_of_columns(image[n], weight, windows):
            block = y[n, :, places]
            np.matmul(filters, columns, out=block)
            if bias is not None:
                block += bias[:, None]

    over_images(one_image, N)
    return y.reshape(N, len(weight), places_h, places_w)


def scatter(y, weight, windows):
    """The adjoint of `gather`: each value stamps its filter on the image, and overlaps are summed."""
    filters = weight.reshape(len(weight), -1)
    values = flat(y)
    image = np.zeros((len(y), weight.shape[1], *windows.padded), y.dtype)

    def one_image(n):
        for rows, places in blocks_of_rows(weight, windows):
            stamps = filters.T @ values[n, :, places]
            stamps = stamps.reshape(weight.shape[1], -1, rows.stop - rows.start, y.shape[3])
            band = image[n, :, rows.start * windows.stride[0] :]
            for tap, (met_rows, met_columns) in enumerate(windows.of_height(rows.stop - rows.start).taps()):
                band[:, met_rows, met_columns] += stamps[:, tap]

    over_images(one_image, len(y))
    return np.ascontiguousarray(windows.inside(image))


def correlate(y, image, weight, windows):
    """The gradient of the filters: for each pixel of the kernel, the product of y with what that pixel met."""
    values = flat(y)

    def one_image(n):
        dweight = np.zeros((len(weight), weight[0].size), y.dtype)
        for places, columns in blocks_of_columns(image[n], weight, windows):
            dweight += values[n, :, places] @ columns.T
        return dweight.reshape(weight.shape)

    return sum(over_images(one_image, len(y)), np.zeros(weight.shape, y.dtype))


def flat(y):
    """(N, C, H, W) as (N, C, H W)."""
    return y.reshape(*y.shape[:2], y.shape[2] * y.shape[3])


def blocks_of_columns(image, weight, windows):
    """The windows of an image (C, H, W) as columns (C kernel_h kernel_w, some places), block by block."""
    view = windows.view(windows.pad(image))
    for rows, places in blocks_of_rows(weight, windows):
        block = view[:, :, :, rows]
        yield places, block.reshape(-1, block.shape[3] * block.shape[4])


def blocks_of_rows(weight, windows):
    """Slices of rows of places, and of the flat places, whose columns take about COLUMN_BYTES."""
    places_h, places_w = windows.places
    row_bytes = max(1, weight[0].nbytes * places_w)
    count = max(1, max(COLUMN_BYTES, weight.nbytes) // row_bytes)
    for start in range(0, places_h, count):
        stop = min(start + count, places_h)
        yield slice(start, stop), slice(start * places_w, stop * places_w)
