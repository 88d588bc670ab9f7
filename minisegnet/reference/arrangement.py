"""Operations that frame and join images: mirrored padding, concatenation, cropping, adding."""

import numpy as np

from minisegnet import shapes


def reflection_pad2d_forward(x, padding):
    left, _, top, _ = shapes.sides(padding)
    y = np.zeros(shapes.reflection_pad2d(x.shape, padding), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        y[n, c, i, j] = x[n, c, _mirrored(i - top, x.shape[2]), _mirrored(j - left, x.shape[3])]
    return y, (x.shape, left, top)


def reflection_pad2d_backward(dy, saved):
    shape, left, top = saved
    dx = np.zeros(shape, dy.dtype)
    for n, c, i, j in np.ndindex(dy.shape):
        dx[n, c, _mirrored(i - top, shape[2]), _mirrored(j - left, shape[3])] += dy[n, c, i, j]
    return dx


def _mirrored(position, size):
    """The pixel seen at a position, perhaps outside 0 to size - 1, between two mirrors on the edge pixels."""
    if size == 1:
        return 0
    position %= 2 * (size - 1)  # there and back again
    return min(position, 2 * (size - 1) - position)


def concat_forward(xs, dim=1):
    dim %= xs[0].ndim
    y = np.zeros(shapes.concat([x.shape for x in xs], dim), xs[0].dtype)
    start = 0
    for x in xs:
        for place in np.ndindex(x.shape):
            y[_moved(place, dim, start)] = x[place]
        start += x.shape[dim]
    return y, ([x.shape for x in xs], dim)


def concat_backward(dy, saved):
    shapes_given, dim = saved
    dxs, start = [], 0
    for shape in shapes_given:
        dx = np.zeros(shape, dy.dtype)
        for place in np.ndindex(shape):
            dx[place] = dy[_moved(place, dim, start)]
        dxs.append(dx)
        start += shape[dim]
    return dxs


def _moved(place, dim, start):
    """A place in one array, as a place in the whole: `start` further along `dim`."""
    return *place[:dim], place[dim] + start, *place[dim + 1 :]


def crop_forward(x, top, left, height, width):
    N, C = x.shape[:2]
    y = np.zeros((N, C, height, width), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        y[n, c, i, j] = x[n, c, top + i, left + j]
    return y, (x.shape, top, left)


def crop_backward(dy, saved):
    shape, top, left = saved
    dx = np.zeros(shape, dy.dtype)
    for n, c, i, j in np.ndindex(dy.shape):
        dx[n, c, top + i, left + j] = dy[n, c, i, j]
    return dx


def add_forward(a, b):
    y = np.zeros(a.shape, a.dtype)
    for place in np.ndindex(a.shape):
        y[place] = a[place] + b[place]
    return y, None


def add_backward(dy, saved):
    da, db = np.zeros(dy.shape, dy.dtype), np.zeros(dy.shape, dy.dtype)
    for place in np.ndindex(dy.shape):
        da[place] = db[place] = dy[place]
    return da, db
