"""Batch normalisation, and the running averages that its layer keeps."""

from minisegnet.cuda import arrays
from minisegnet.cuda.grids import WARP, blocks, four_each, parts_of, thread_each

SOURCE = "batch_norm2d.cu"
MOST_PARTS = 128  # of a channel, however large: with tens of channels the device is busy


def batch_norm2d_forward(x, weight, bias, mean=None, var=None, eps=1e-5):
    x, weight, bias = map(arrays.contiguous, (x, weight, bias))
    batch = mean is None
    mean, var = _statistics(x) if batch else (mean.copy(order="C"), var.copy(order="C"))
    y = arrays.empty(x.shape, x.dtype, like=x)
    _go(x)(SOURCE, "batch_norm2d_forward", x.size, x, mean, var, weight, bias, y, eps, x.size, *_sizes(x)[1:])
    return (y, mean, var), (x, mean, var, weight, eps, batch)


def batch_norm2d_backward(dy, saved):
    x, mean, var, weight, eps, batch = saved
    dy = arrays.contiguous(dy)
    dx = arrays.empty(x.shape, x.dtype, like=x)
    dweight, dbias = _sums(dy, x, mean, var, eps)
    share = len(weight) / x.size if batch else 0.0
    given = dy, x, mean, var, weight, dweight, dbias, dx, eps, share, x.size, *_sizes(x)[1:]
    _go(x)(SOURCE, "batch_norm2d_backward", x.size, *given)
    return dx, dweight, dbias


def average_in(running, batch, weight, scale=1.0):
    """running = (1 - weight) running + weight scale batch, in place."""
    given = running, arrays.contiguous(batch), 1 - weight, weight * scale, running.size
    thread_each("running_average.cu", "running_average", running.size, *given)


def _statistics(x):
    """Mean and variance of each channel."""
    N, C, plane = _sizes(x)
    mean, var = (arrays.empty(C, x.dtype, like=x) for _ in range(2))
    parts = parts_of(N * plane, MOST_PARTS)
    if parts == 1:
        blocks(SOURCE, "batch_norm2d_statistics_block", C, x, mean, var, N, C, plane)
    else:
        found = arrays.empty((C, parts, 3), x.dtype, like=x)
        blocks(SOURCE, "batch_norm2d_statistics_parts", (parts, C), x, found, N, C, plane)
        blocks(SOURCE, "batch_norm2d_statistics_merge", C, found, mean, var, parts, block=WARP)
    return mean, var


def _sums(dy, x, mean, var, eps):
    """(dweight, dbias): the sums over each channel of dy times the normalised x, and of dy."""
    N, C, plane = _sizes(x)
    if x.size == 0:
        return arrays.zeros(C, x.dtype, like=x), arrays.zeros(C, x.dtype, like=x)
    dweight, dbias = (arrays.empty(C, x.dtype, like=x) for _ in range(2))
    parts = parts_of(N * plane, MOST_PARTS)
    found = (dweight, dbias) if parts == 1 else tuple(arrays.empty((C, parts), x.dtype, like=x) for _ in range(2))
    blocks(SOURCE, "batch_norm2d_sums_parts", (parts, C), dy, x, mean, var, *found, eps, N, C, plane)
    if parts > 1:
        blocks(SOURCE, "batch_norm2d_sums_merge", C, *found, dweight, dbias, parts, block=WARP)
    return dweight, dbias


def _go(x):
    """Four values a thread where they lie in one channel."""
    return thread_each if _sizes(x)[2] % 4 else four_each


def _sizes(x):
    N, C, H, W = x.shape
    return N, C, H * W
