"""Operations that frame and join images: mirrored padding, concatenation, cropping, adding."""

import numpy as np

from minisegnet import shapes
from minisegnet.numpy_ops.selection import select, unselect


def reflection_pad2d_forward(x, padding):
    left, right, top, bottom = shapes.sides(padding)
    rows, columns = (
        np.pad(np.arange(size), before_and_after, mode="reflect")
        for size, before_and_after in zip(x.shape[2:], ((top, bottom), (left, right)), strict=True)
    )
    return select(x, rows, columns), (rows, columns, x.shape[2:])


def reflection_pad2d_backward(dy, saved):
    return unselect(dy, *saved)


def concat_forward(xs, dim=1):
    ends = np.cumsum([x.shape[dim] for x in xs])[:-1]
    y = np.empty(shapes.concat([x.shape for x in xs], dim), xs[0].dtype)  # or F-ordered parts would make it F-ordered
    return np.concatenate(xs, axis=dim, out=y), (ends, dim)


def concat_backward(dy, saved):
    ends, dim = saved
    return [part.copy() for part in np.split(dy, ends, axis=dim)]


def crop_forward(x, top, left, height, width):
    rectangle = ..., slice(top, top + height), slice(left, left + width)
    return x[rectangle].copy(), (rectangle, x.shape)


def crop_backward(dy, saved):
    rectangle, shape = saved
    dx = np.zeros(shape, dy.dtype)
    dx[rectangle] = dy
    return dx


def add_forward(a, b):
    return np.add(a, b, out=np.empty(a.shape, a.dtype)), None


def add_backward(dy, saved):
    return dy.copy(), dy.copy()
