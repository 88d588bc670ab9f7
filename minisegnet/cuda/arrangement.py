"""Operations that frame and join images: mirrored padding, concatenation, cropping, adding."""

from math import prod

from minisegnet import shapes
from minisegnet.cuda import arrays
from minisegnet.cuda.grids import four_each, pixel_each, thread_each


def reflection_pad2d_forward(x, padding):
    x = arrays.contiguous(x)
    N, C, H, W = shapes.reflection_pad2d(x.shape, padding)
    left, _, top, _ = shapes.sides(padding)
    y = arrays.empty((N, C, H, W), x.dtype, like=x)
    sizes = N * C, *x.shape[2:], H, W, top, left
    pixel_each("reflection_pad2d.cu", "reflection_pad2d_forward", H * W, N * C, x, y, *sizes)
    return y, (x.shape, sizes)


def reflection_pad2d_backward(dy, saved):
    shape, sizes = saved
    dy = arrays.contiguous(dy)
    dx = arrays.empty(shape, dy.dtype, like=dy)
    maps, h, w = sizes[:3]
    pixel_each("reflection_pad2d.cu", "reflection_pad2d_backward", h * w, maps, dy, dx, *sizes)
    return dx


def concat_forward(xs, dim=1):
    given = [x.shape for x in xs]
    y = arrays.empty(shapes.concat(given, dim), xs[0].dtype, like=xs[0])
    for x, place in zip(xs, _places(given, dim), strict=True):
        _move("concat_put", arrays.contiguous(x), y, x.size, *place)
    return y, (given, dim)


def concat_backward(dy, saved):
    given, dim = saved
    dy = arrays.contiguous(dy)
    parts = [arrays.empty(shape, dy.dtype, like=dy) for shape in given]
    for part, place in zip(parts, _places(given, dim), strict=True):
        _move("concat_take", dy, part, part.size, *place)
    return parts


def _places(given, dim):
    """(length, stride, offset) of each part: the run of values that lies together, and where in the whole it lies."""
    dim %= len(given[0])
    lengths = [prod(shape[dim:]) for shape in given]
    return [(length, sum(lengths), sum(lengths[:i])) for i, length in enumerate(lengths)]


def _move(kernel, source, target, count, *place):
    go = thread_each if any(number % 4 for number in place) else four_each
    go("concat.cu", kernel, count, source, target, count, *place)


def crop_forward(x, top, left, height, width):
    x = arrays.contiguous(x)
    N, C, H, W = x.shape
    y = arrays.empty((N, C, height, width), x.dtype, like=x)
    place = H, W, top, left, height, width
    pixel_each("crop.cu", "crop_forward", height * width, N * C, x, y, y.size, *place)
    return y, (x.shape, place)


def crop_backward(dy, saved):
    shape, place = saved
    dy = arrays.contiguous(dy)
    dx = arrays.empty(shape, dy.dtype, like=dy)
    N, C, H, W = shape
    pixel_each("crop.cu", "crop_backward", H * W, N * C, dy, dx, dx.size, *place)
    return dx


def add_forward(a, b):
    a, b = arrays.contiguous(a), arrays.contiguous(b)
    y = arrays.empty(a.shape, a.dtype, like=a)
    four_each("add.cu", "add_forward", y.size, a, b, y, y.size)
    return y, None


def add_to(total, more):
    """total = total + more, in place."""
    four_each("add.cu", "add_forward", total.size, total, arrays.contiguous(more), total, total.size)


def add_backward(dy, saved):
    dy = arrays.contiguous(dy)
    da, db = (arrays.empty(dy.shape, dy.dtype, like=dy) for _ in range(2))
    four_each("add.cu", "add_backward", dy.size, dy, da, db, dy.size)
    return da, db
