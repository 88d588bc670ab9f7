"""Max and average pooling: one pass over the image for each pixel of the window."""

import numpy as np

from minisegnet import shapes
from minisegnet.numpy_ops.images import image_by_image
from minisegnet.numpy_ops.windows import Windows


def max_pool2d_forward(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    windows = _windows(x, kernel_size, stride, padding, dilation, ceil_mode)
    position = np.array([row * x.shape[3] + column for row, column in windows.offsets()], np.int32)
    start = (_starts(windows, 0)[:, None] * x.shape[3] + _starts(windows, 1)).astype(np.int32)
    y = np.full(x.shape[:2] + windows.places, -np.inf, x.dtype)
    winner = np.zeros(y.shape, np.min_scalar_type(len(position)))
    indices = np.empty(y.shape, np.int32)

    def pool(x, y, winner, indices):
        padded = windows.pad(x, -np.inf)
        for rows, columns in windows.taps():
            np.maximum(y, padded[:, :, rows, columns], out=y)
        _find_winner(y, padded, windows, winner)
        np.add(position[winner], start, out=indices)

    image_by_image(pool, x, y, winner, indices)
    return (y, indices), (winner, windows)


def _find_winner(y, padded, windows, winner):
    """Write which pixel of the kernel, counted in row order, first met the largest value at each place."""
    taps = list(windows.taps())
    for tap, (rows, columns) in reversed(list(enumerate(taps))):
        value = padded[:, :, rows, columns]
        won = (value == y) | (value != value)  # where y is NaN, its first NaN won
        if windows.padded != windows.image:
            won &= windows.meets_image(rows, columns)
        # winner = tap where won, written so that it runs without a branch (unsigned differences wrap, and wrap back)
        winner += (winner.dtype.type(tap) - winner) * won


def max_pool2d_backward(dy, saved):
    winner, windows = saved
    padded = np.zeros(dy.shape[:2] + windows.padded, dy.dtype)

    def credit(dy, winner, padded):
        for tap, (rows, columns) in enumerate(windows.taps()):
            padded[:, :, rows, columns] += dy * (winner == tap)

    image_by_image(credit, dy, winner, padded)
    return np.ascontiguousarray(windows.inside(padded))


def avg_pool2d_forward(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    windows = _windows(x, kernel_size, stride, padding, 1, ceil_mode)
    padded = windows.pad(x)
    total = np.zeros(x.shape[:2] + windows.places, x.dtype)
    for rows, columns in windows.taps():
        total += padded[:, :, rows, columns]
    margin = windows.padding if count_include_pad else (0, 0)
    count = _overlap(windows, 0, margin[0])[:, None] * _overlap(windows, 1, margin[1])
    count = count.astype(x.dtype)
    return total / count, (count, windows)


def avg_pool2d_backward(dy, saved):
    count, windows = saved
    share = dy / count
    padded = np.zeros(dy.shape[:2] + windows.padded, dy.dtype)
    for rows, columns in windows.taps():
        padded[:, :, rows, columns] += share
    return np.ascontiguousarray(windows.inside(padded))


def _windows(x, kernel_size, stride, padding, dilation, ceil_mode):
    places = shapes.pool2d(x.shape, kernel_size, stride, padding, dilation, ceil_mode)[2:]
    kernel = shapes.pair(kernel_size)
    return Windows.over(x.shape[2:], places, kernel, kernel if stride is None else stride, padding, dilation)


def _starts(windows, i):
    """Row (or column) of the image where each window starts; negative inside the padding."""
    return np.arange(windows.places[i]) * windows.stride[i] - windows.padding[i]


def _overlap(windows, i, margin):
    """How many rows (or columns) of each window lie on the image widened by `margin`."""
    start = _starts(windows, i)
    stop = np.minimum(start + windows.kernel[i], windows.image[i] + margin)
    return np.maximum(stop - np.maximum(start, -margin), 1)
