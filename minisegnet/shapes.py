"""What shape each operation returns, and whether its sizes fit: the arithmetic of the contract, without the arrays."""

from __future__ import annotations

from operator import index
from typing import Any

from minisegnet.errors import OptionError, ShapeError

Shape = tuple[int, ...]


def pair(value: Any, name: str = "size", minimum: int = 0) -> tuple[int, int]:
    """An option given once for both directions, or as (vertical, horizontal), as two ints.

    Raises OptionError for anything else, or below the minimum.
    """
    try:
        first, second = (value, value) if not isinstance(value, tuple | list) else value
        both = (index(first), index(second))
    except (TypeError, ValueError):
        raise OptionError(f"{name} must be an int or a pair of ints (vertical, horizontal); got {value!r}") from None
    if min(both) < minimum:
        raise OptionError(f"{name} must be at least {minimum}; got {value!r}")
    return both


def integer(value: Any, name: str) -> int:
    """An option that is one int. Raises OptionError for anything else."""
    try:
        return index(value)
    except TypeError:
        raise OptionError(f"{name} must be an int; got {value!r}") from None


def images(shape: Shape, name: str = "x") -> tuple[int, int, int, int]:
    """Check for four dimensions (N, C, H, W)."""
    if len(shape) != 4:
        raise ShapeError(f"{name} must have four dimensions (N, C, H, W); got shape {tuple(shape)}")
    return tuple(shape)  # type: ignore[return-value]


def window(size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    """Places of a window along one direction: floor((size + 2 padding - extent) / stride) + 1."""
    extent = dilation * (kernel - 1) + 1
    return (size + 2 * padding - extent) // stride + 1


def conv2d(x: Shape, weight: Shape, bias: Shape | None, stride: Any, padding: Any, dilation: Any) -> Shape:
    """(N, out_channels, H', W') of a convolution of (N, in_channels, H, W) by (out, in, kernel_h, kernel_w)."""
    N, C, H, W = images(x)
    out_channels, in_channels, kernel_h, kernel_w = _weight(weight)
    _channels(C, in_channels, weight, bias, out_channels)
    (stride_h, stride_w), (pad_h, pad_w) = pair(stride, "stride", 1), pair(padding, "padding")
    dilation_h, dilation_w = pair(dilation, "dilation", 1)
    height = window(H, kernel_h, stride_h, pad_h, dilation_h)
    width = window(W, kernel_w, stride_w, pad_w, dilation_w)
    _at_least_one(
        (height, width), f"a {kernel_h} x {kernel_w} kernel (dilation {dilation}, padding {padding})", (H, W)
    )
    return N, out_channels, height, width


def conv_transpose2d(
    x: Shape, weight: Shape, bias: Shape | None, stride: Any, padding: Any, output_padding: Any, dilation: Any
) -> Shape:
    """(N, out_channels, H', W') of a transposed convolution by a weight (in, out, kernel_h, kernel_w).

    H' = (H - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1.
    """
    N, C, H, W = images(x)
    in_channels, out_channels, *kernel = _weight(weight)
    _channels(C, in_channels, weight, bias, out_channels)
    stride, padding = pair(stride, "stride", 1), pair(padding, "padding")
    dilation, output_padding = pair(dilation, "dilation", 1), pair(output_padding, "output_padding")
    if any(o >= max(s, d) for o, s, d in zip(output_padding, stride, dilation, strict=True)):
        raise OptionError(
            f"output_padding must be smaller than stride or dilation; got {output_padding} for stride {stride}"
        )
    height, width = (
        (size - 1) * stride[i] - 2 * padding[i] + dilation[i] * (kernel[i] - 1) + output_padding[i] + 1
        for i, size in enumerate((H, W))
    )
    _at_least_one((height, width), f"a {kernel[0]} x {kernel[1]} kernel with padding {padding}", (H, W))
    return N, out_channels, height, width


def linear(x: Shape, weight: Shape, bias: Shape | None) -> Shape:
    """(N, out_features) of (N, in_features) by a weight (out_features, in_features)."""
    if len(x) != 2 or len(weight) != 2 or x[1] != weight[1]:
        raise ShapeError(
            f"linear takes x (N, in_features) and weight (out_features, in_features); got {tuple(x)} and "
            f"{tuple(weight)}; flatten x, or make the layer for {x[-1] if x else 0} features"
        )
    if bias is not None and tuple(bias) != (weight[0],):
        raise ShapeError(f"bias must have shape ({weight[0]},), one for each output; got {tuple(bias)}")
    return x[0], weight[0]


def pool2d(
    x: Shape, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Shape:
    """(N, C, H', W') of pooling; with ceil_mode a last window may hang over the edge if it starts inside."""
    N, C, H, W = images(x)
    kernel = pair(kernel_size, "kernel_size", 1)
    stride = kernel if stride is None else pair(stride, "stride", 1)
    padding, dilation = pair(padding, "padding"), pair(dilation, "dilation", 1)
    sizes = []
    for size, k, s, p, d in zip((H, W), kernel, stride, padding, dilation, strict=True):
        extent = d * (k - 1) + 1
        if 2 * p > extent:
            raise OptionError(f"padding must be at most half of the window; got padding {p} for a window of {extent}")
        span = size + 2 * p - extent
        count = (-(-span // s) if ceil_mode else span // s) + 1
        if ceil_mode and (count - 1) * s >= size + p:  # a window wholly in the padding is left out
            count -= 1
        sizes.append(count)
    _at_least_one(sizes, f"a {kernel[0]} x {kernel[1]} window (dilation {dilation}, padding {padding})", (H, W))
    return N, C, sizes[0], sizes[1]


def sized(x: Shape, output_size: Any, name: str = "output_size") -> Shape:
    """(N, C, H', W') where the caller gives (H', W')."""
    N, C, _, _ = images(x)
    return N, C, *pair(output_size, name, 1)


def bed_of_nails2d(x: Shape, stride: Any, output_size: Any = None) -> Shape:
    """(N, C, H s, W s), or the output size given, which must hold the last nail."""
    N, C, h, w = images(x)
    stride_h, stride_w = pair(stride, "stride", 1)
    if output_size is None:
        return N, C, h * stride_h, w * stride_w
    H, W = pair(output_size, "output_size", 1)
    if (h - 1) * stride_h >= H or (w - 1) * stride_w >= W:
        raise ShapeError(
            f"bed_of_nails2d with stride {(stride_h, stride_w)} puts {h} x {w} values on at least "
            f"{(h - 1) * stride_h + 1} x {(w - 1) * stride_w + 1}; output_size is {(H, W)}"
        )
    return N, C, H, W


def reflection_pad2d(x: Shape, padding: Any) -> Shape:
    """(N, C, H + top + bottom, W + left + right); padding is an int or PyTorch's (left, right, top, bottom)."""
    N, C, H, W = images(x)
    left, right, top, bottom = sides(padding)
    return N, C, H + top + bottom, W + left + right


def sides(padding: Any) -> tuple[int, int, int, int]:
    """(left, right, top, bottom) from one int or four."""
    try:
        four = (index(padding),) * 4 if not isinstance(padding, tuple | list) else tuple(index(p) for p in padding)
    except TypeError:
        four = ()
    if len(four) != 4 or min(four) < 0:
        raise OptionError(f"padding must be an int or (left, right, top, bottom), none negative; got {padding!r}")
    return four  # type: ignore[return-value]


def concat(shapes: list[Shape], dim: int) -> Shape:
    """The shape of arrays laid one after another along `dim`; their other sizes must agree."""
    first = tuple(shapes[0])
    if not -len(first) <= integer(dim, "dim") < len(first):
        raise OptionError(f"concat: dim {dim} is outside the {len(first)} dimensions of {first}")
    dim %= len(first)
    for shape in shapes:
        if len(shape) != len(first) or shape[:dim] + shape[dim + 1 :] != first[:dim] + first[dim + 1 :]:
            raise ShapeError(
                f"concat along dimension {dim} needs all other sizes equal: got "
                f"{', '.join(str(tuple(s)) for s in shapes)}; crop or resize the larger"
            )
    return *first[:dim], sum(shape[dim] for shape in shapes), *first[dim + 1 :]


def add(a: Shape, b: Shape) -> Shape:
    """The one shape of two arrays that are added."""
    if tuple(a) != tuple(b):
        raise ShapeError(f"add needs two arrays of one shape: got {tuple(a)} and {tuple(b)}; crop or resize the larger")
    return tuple(a)


def crop(x: Shape, top: int, left: int, height: int, width: int) -> Shape:
    """(N, C, height, width), a rectangle that must lie inside."""
    N, C, H, W = images(x)
    top, left = integer(top, "top"), integer(left, "left")
    height, width = integer(height, "height"), integer(width, "width")
    if min(top, left) < 0 or min(height, width) < 1 or top + height > H or left + width > W:
        raise ShapeError(
            f"a crop of {height} x {width} at row {top}, column {left} does not lie inside an image of {H} x {W}"
        )
    return N, C, height, width


def regions(features: Shape, boxes: Shape, output_size: Any) -> Shape:
    """(R, C, h, w) of one part of the images (N, C, H, W) for each row of boxes (R, 5)."""
    _, C, _, _ = images(features, "features")
    if len(boxes) != 2 or boxes[1] != 5:
        raise ShapeError(f"boxes must have shape (R, 5), rows (image number, x1, y1, x2, y2); got {tuple(boxes)}")
    return boxes[0], C, *pair(output_size, "output_size", 1)


def _weight(weight: Shape) -> Shape:
    if len(weight) != 4 or min(weight[2:]) < 1:
        raise ShapeError(f"weight must have four dimensions (channels, channels, kernel_h, kernel_w); got {weight}")
    return weight


def _channels(given: int, wanted: int, weight: Shape, bias: Shape | None, out_channels: int) -> None:
    if given != wanted:
        raise ShapeError(
            f"x has {given} channels and the weight {tuple(weight)} wants {wanted}; "
            "the layer before must give as many as this one takes"
        )
    if bias is not None and tuple(bias) != (out_channels,):
        raise ShapeError(f"bias must have shape ({out_channels},), one for each output channel; got {tuple(bias)}")


def _at_least_one(sizes: Any, what: str, given: tuple[int, int]) -> None:
    if min(sizes) < 1:
        raise ShapeError(
            f"{what} leaves nothing of an image of {given[0]} x {given[1]}; give a larger image or more padding"
        )
