"""Where the taps of a sliding window stand on the image."""

import numpy as np


def window(i, j, kernel, stride, padding, dilation, image):
    """Each tap (p, q) of the window at place (i, j), and the (row, column) under it; taps on the padding are left out.

    kernel, stride, padding, dilation, image are pairs (vertical, horizontal); yields p, q, row, column in row order.
    """
    for p, q in np.ndindex(*kernel):
        row = i * stride[0] + p * dilation[0] - padding[0]
        column = j * stride[1] + q * dilation[1] - padding[1]
        if 0 <= row < image[0] and 0 <= column < image[1]:
            yield p, q, row, column
