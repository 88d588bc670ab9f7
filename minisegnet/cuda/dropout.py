"""Dropout, its mask drawn in the kernel from Philox4x32-10, forward and backward alike, and stored nowhere."""

from math import ceil

from minisegnet.cuda import arrays
from minisegnet.cuda.grids import four_each


def dropout_forward(x, p=0.5, seed=0):
    saved = 1 / (1 - p) if p < 1 else 0.0, ceil(p * 2**32), int(seed)
    return dropout_backward(x, saved), saved


def dropout_backward(dy, saved):
    dy = arrays.contiguous(dy)
    dx = arrays.empty(dy.shape, dy.dtype, like=dy)
    four_each("dropout.cu", "dropout", dy.size, dy, dx, *saved, dy.size)
    return dx
