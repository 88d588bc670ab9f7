"""Bilinear resizing, with the place of each output pixel in the input as a fraction of whole numbers."""

from minisegnet import shapes
from minisegnet.cuda import arrays
from minisegnet.cuda.grids import pixel_each, thread_each

SOURCE = "upsample_bilinear2d.cu"


def upsample_bilinear2d_forward(x, output_size, align_corners=False):
    x = arrays.contiguous(x)
    N, C, H, W = shapes.sized(x.shape, output_size)
    rows, columns = (_positions(small, large, align_corners) for small, large in zip(x.shape[2:], (H, W), strict=True))
    y = arrays.empty((N, C, H, W), x.dtype, like=x)
    sizes = N * C, *x.shape[2:], H, W
    pixel_each(SOURCE, "upsample_bilinear2d_forward", H * W, N * C, x, y, *sizes, *rows, *columns)
    return y, (x.shape, rows, columns)


def upsample_bilinear2d_backward(dy, saved):
    (N, C, h, w), rows, columns = saved
    dy = arrays.contiguous(dy)
    H, W = dy.shape[2:]
    down = arrays.empty((N, C, h, W), dy.dtype, like=dy)
    dx = arrays.empty((N, C, h, w), dy.dtype, like=dy)
    kernel = "upsample_bilinear2d_backward_along"
    thread_each(SOURCE, kernel, down.size, dy, down, N * C, h, H, W, *rows)
    thread_each(SOURCE, kernel, dx.size, down, dx, N * C * h, w, W, 1, *columns)
    return dx


def _positions(small, large, align_corners):
    """(step, offset, whole): output i lies at (i step + offset) / whole of the input."""
    if not align_corners:
        return 2 * small, small - large, 2 * large
    return (small - 1, 0, large - 1) if large > 1 else (0, 0, 1)
