"""The contract of every operation: its arguments, shapes, gradients, errors and source; a backend computes it.

An operation is a pair of pure functions, the same on every backend:

    y, cache           = conv2d_forward(x, weight, bias, stride=1, padding=0, dilation=1)
    dx, dweight, dbias = conv2d_backward(dy, cache)

`dy` is the gradient of the loss by `y` (of an output that is several arrays: by the first). Gradients come back in the
order in which the docstring names the differentiable inputs; an input given as None has the gradient None. Arrays are
(N, C, H, W) unless said otherwise, float32 or float64 (the reference takes any float type, kernels float32 alone), of
any strides; results are C-contiguous. Arguments are never changed, but a cache may hold them: change none before its
backward pass.

NumPy arrays are computed on by the backend in force, CuPy arrays by kernels on the device on which all of them lie.
What would have to be copied back to be checked is not checked there: see `check_labels`.

Every operation raises ShapeError, DtypeError or OptionError for arguments that do not fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minisegnet import checks, shapes
from minisegnet.backends import Cache, maker_of
from minisegnet.cuda import arrays as places
from minisegnet.errors import BackendError, ShapeError

# Every operation, and how many of its arguments are arrays (a replacement gets those by position, options by name).
OPERATIONS = {
    "conv2d": 3, "conv_transpose2d": 3, "linear": 3,
    "max_pool2d": 1, "avg_pool2d": 1, "max_unpool2d": 2, "nearest_unpool2d": 1, "bed_of_nails2d": 1,
    "upsample_bilinear2d": 1, "reflection_pad2d": 1, "concat": 1, "crop": 1, "add": 2,
    "batch_norm2d": 3, "relu": 1, "sigmoid": 1, "softmax": 1, "dropout": 1,
    "softmax_cross_entropy": 2, "binary_cross_entropy_with_logits": 2, "smooth_l1": 2, "dice": 2,
    "roi_align": 2, "roi_pool": 2,
}  # fmt: skip

# What is chosen has no gradient: one function, of the operation's own name, in place of the pair.
WITHOUT_BACKWARD = {"nms": 2}


def run_forward(
    operation: str, arrays: tuple, options: dict, outputs: tuple, differentiable: int = 1, integers: tuple = ()
) -> tuple:
    """Let the backend in force compute `operation`; return its output and the cache for `run_backward`.

    outputs         the shape of each output array; the first is the one that dy is the gradient by
    differentiable  how many of the arrays, from the first, have gradients
    integers        the positions of outputs that are integers, of any type
    """
    first = arrays[0][0] if isinstance(arrays[0], list) else arrays[0]
    device = places.device_of(first)
    maker = maker_of(operation, on_device=device is not None)
    answer = maker.forward(*arrays, **options)
    if maker.replaces:
        answer = _checked_forward(maker.name, answer, outputs, integers, first)
    output, saved = answer
    inputs = arrays[0] if isinstance(arrays[0], list) else arrays[:differentiable]
    inputs = tuple(None if array is None else array.shape for array in inputs)
    return output, Cache(operation, maker, saved, tuple(outputs[0]), first.dtype, inputs, device)


def run_backward(operation: str, dy: Any, cache: Cache) -> Any:
    """Let whoever made the cache compute the gradients, wherever this is called."""
    if not isinstance(cache, Cache) or cache.operation != operation:
        given = f"one of {cache.operation}" if isinstance(cache, Cache) else type(cache).__name__
        raise BackendError(f"{operation}_backward needs the cache that {operation}_forward returned; got {given}")
    dy = checks.gradient(operation, dy, cache.output, cache.dtype, cache.device)
    gradients = cache.maker.backward(dy, cache.saved)  # type: ignore[misc]
    if cache.maker.replaces:
        gradients = _checked_backward(cache.maker.name, gradients, cache)
    return gradients


def _checked_forward(who: str, answer: Any, outputs: tuple, integers: tuple, like: Any) -> tuple:
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise BackendError(f"{who}_forward must return two things, the output and a cache; got {_told(answer)}")
    output, saved = answer
    device = places.device_of(like)
    if len(outputs) == 1:
        return checks.result(f"the output of {who}_forward", output, outputs[0], like.dtype, device), saved
    if not isinstance(output, tuple) or len(output) != len(outputs):
        raise BackendError(f"the output of {who}_forward must be {len(outputs)} arrays; got {_told(output)}")
    checked = []
    for i, (array, shape) in enumerate(zip(output, outputs, strict=True)):
        wanted = like.dtype
        if i in integers:
            given = getattr(array, "dtype", None)
            wanted = given if given is not None and given.kind in "iu" else np.dtype(np.int32)
        checked.append(checks.result(f"output {i} of {who}_forward", array, shape, wanted, device))
    return tuple(checked), saved


def _checked_backward(who: str, gradients: Any, cache: Cache) -> Any:
    several = gradients if isinstance(gradients, tuple | list) else (gradients,)
    if len(several) != len(cache.inputs):
        raise BackendError(
            f"{who}_backward must return {len(cache.inputs)} gradients, one for each differentiable input; "
            f"got {len(several)}"
        )
    checked = [
        None
        if shape is None
        else checks.result(f"gradient {i} of {who}_backward", gradient, shape, cache.dtype, cache.device)
        for i, (gradient, shape) in enumerate(zip(several, cache.inputs, strict=True))
    ]
    if cache.operation == "concat":
        return checked
    return tuple(checked) if len(checked) > 1 else checked[0]


def _told(answer: Any) -> str:
    return f"{type(answer).__name__} of {len(answer)}" if isinstance(answer, tuple | list) else type(answer).__name__


# ------------------------------------------------------------------------------------------ linear maps of the image


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1):
    """Convolution (cross-correlation): slide each filter over the zero-padded image.

    y[n, o, i, j] = bias[o] + sum over c, p, q of weight[o, c, p, q] x[n, c, i stride + p dilation - padding, ...]

    x        (N, in_channels, H, W)
    weight   (out_channels, in_channels, kernel_h, kernel_w)
    bias     (out_channels,) or None
    stride, padding, dilation   an int, or a pair (vertical, horizontal)

    Returns y (N, out_channels, H', W'), H' = floor((H + 2 padding - dilation (kernel_h - 1) - 1) / stride) + 1,
    and the cache. Differentiable: x, weight, bias.
    Source: LeCun et al. 1989; dilation: Yu and Koltun 2016, equation 2.
    """
    checks.floats(("bias",), x=x, weight=weight, bias=bias)
    output = shapes.conv2d(x.shape, weight.shape, checks.shape(bias), stride, padding, dilation)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    return run_forward("conv2d", (x, weight, bias), options, (output,), 3)


def conv2d_backward(dy, cache):
    """Gradients (dx, dweight, dbias) of `conv2d_forward`; dbias is None where bias was."""
    return run_backward("conv2d", dy, cache)


def conv_transpose2d_forward(x, weight, bias=None, stride=1, padding=0, output_padding=0, dilation=1):
    """Transposed convolution: stamp the filter onto the output, scaled by each value of x; overlaps are summed.

    It is the gradient of `conv2d` by its input, hence the name, and a way to learn an upsampling by `stride`.

    x               (N, in_channels, H, W)
    weight          (in_channels, out_channels, kernel_h, kernel_w)
    bias            (out_channels,) or None
    padding         rows and columns cut from each edge of the output
    output_padding  rows and columns added at the bottom and right, to tell apart the sizes that one stride maps to H

    Returns y (N, out_channels, H', W'),
    H' = (H - 1) stride - 2 padding + dilation (kernel_h - 1) + output_padding + 1, and the cache.
    Differentiable: x, weight, bias.
    Source: Zeiler et al. 2010; Long et al. 2015, section 3.3.
    """
    checks.floats(("bias",), x=x, weight=weight, bias=bias)
    output = shapes.conv_transpose2d(
        x.shape, weight.shape, checks.shape(bias), stride, padding, output_padding, dilation
    )
    options = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    return run_forward("conv_transpose2d", (x, weight, bias), options, (output,), 3)


def conv_transpose2d_backward(dy, cache):
    """Gradients (dx, dweight, dbias) of `conv_transpose2d_forward`; dbias is None where bias was."""
    return run_backward("conv_transpose2d", dy, cache)


def linear_forward(x, weight, bias=None):
    """Fully connected: y = x weight^T + bias.

    x       (N, in_features)
    weight  (out_features, in_features)
    bias    (out_features,) or None

    Returns y (N, out_features) and the cache. Differentiable: x, weight, bias.
    """
    checks.floats(("bias",), x=x, weight=weight, bias=bias)
    output = shapes.linear(x.shape, weight.shape, checks.shape(bias))
    return run_forward("linear", (x, weight, bias), {}, (output,), 3)


def linear_backward(dy, cache):
    """Gradients (dx, dweight, dbias) of `linear_forward`; dbias is None where bias was."""
    return run_backward("linear", dy, cache)


# ------------------------------------------------------------------------------------------- down, and up again


def max_pool2d_forward(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The largest value of each window, and where it stood.

    x            (N, C, H, W); its padding counts as minus infinity and never wins; NaN wins over all
    kernel_size, stride (default: kernel_size), padding, dilation   an int, or a pair (vertical, horizontal)
    ceil_mode    keep a last window that hangs over the edge, if it starts inside

    Returns (y, indices) and the cache: y (N, C, H', W'), and indices int32 (N, C, H', W'), flat over the H*W plane of
    x, of the first largest value in row order. Differentiable: x.
    Source: Badrinarayanan et al. 2017, SegNet, section 3 (the indices).
    """
    checks.floats(x=x)
    output = shapes.pool2d(x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    checks.windows_hold_values(x.shape, output, kernel_size, stride, padding, dilation)
    options = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": ceil_mode,
    }
    return run_forward("max_pool2d", (x,), options, (output, output), integers=(1,))


def max_pool2d_backward(dy, cache):
    """Gradient dx of `max_pool2d_forward`: each dy goes to the value that won its window."""
    return run_backward("max_pool2d", dy, cache)


def avg_pool2d_forward(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """The mean of each window.

    x                  (N, C, H, W)
    count_include_pad  padding counts as zeros in the mean; False leaves it out of sum and count alike
    ceil_mode          keep a last window that hangs over the edge; what hangs over is never counted

    Returns y (N, C, H', W') and the cache. Differentiable: x.
    """
    checks.floats(x=x)
    output = shapes.pool2d(x.shape, kernel_size, stride, padding, 1, ceil_mode)
    options = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "ceil_mode": ceil_mode,
        "count_include_pad": count_include_pad,
    }
    return run_forward("avg_pool2d", (x,), options, (output,))


def avg_pool2d_backward(dy, cache):
    """Gradient dx of `avg_pool2d_forward`: each dy is shared out evenly over its window."""
    return run_backward("avg_pool2d", dy, cache)


def max_unpool2d_forward(x, indices, output_size):
    """Put each value back where max pooling found it, zeros elsewhere.

    x            (N, C, h, w)  values
    indices      (N, C, h, w)  int, where in the flat H*W plane each value came from (see `max_pool2d_forward`)
    output_size  (H, W)        required: pooling forgets odd sizes, so nothing can be guessed

    Returns y (N, C, H, W) and the cache. Differentiable: x.
    Raises ShapeError (x and indices differ), IndicesError, an IndexError (an index outside the plane, or twice in it,
    with its position: windows that overlap have no inverse). On a device indices are trusted: they are a pooling's.
    Source: Badrinarayanan et al. 2017, SegNet, section 3.
    """
    checks.floats(x=x)
    output = shapes.sized(x.shape, output_size)
    checks.indices(x, indices, output)
    return run_forward("max_unpool2d", (x, indices), {"output_size": output_size}, (output,))


def max_unpool2d_backward(dy, cache):
    """Gradient dx of `max_unpool2d_forward`: read dy where the values were put."""
    return run_backward("max_unpool2d", dy, cache)


def nearest_unpool2d_forward(x, output_size):
    """Spread each value over its own block: y[i, j] = x[floor(i h / H), floor(j w / W)].

    x            (N, C, h, w)
    output_size  (H, W), or an int for both; at twice h and w, the inverse of 2 x 2 average pooling

    Returns y (N, C, H, W) and the cache. Differentiable: x.
    """
    checks.floats(x=x)
    output = shapes.sized(x.shape, output_size)
    checks.not_empty_image("nearest_unpool2d", x.shape)
    return run_forward("nearest_unpool2d", (x,), {"output_size": output_size}, (output,))


def nearest_unpool2d_backward(dy, cache):
    """Gradient dx of `nearest_unpool2d_forward`: the sum of dy over each block."""
    return run_backward("nearest_unpool2d", dy, cache)


def bed_of_nails2d_forward(x, stride=2, output_size=None):
    """Put each value at the upper left of its block, zeros elsewhere: y[i stride, j stride] = x[i, j].

    x            (N, C, h, w)
    stride       an int, or a pair (vertical, horizontal)
    output_size  (H, W), default (h stride, w stride); it must hold the last nail

    Returns y (N, C, H, W) and the cache. Differentiable: x.
    """
    checks.floats(x=x)
    output = shapes.bed_of_nails2d(x.shape, stride, output_size)
    return run_forward("bed_of_nails2d", (x,), {"stride": stride, "output_size": output_size}, (output,))


def bed_of_nails2d_backward(dy, cache):
    """Gradient dx of `bed_of_nails2d_forward`: read dy at the nails."""
    return run_backward("bed_of_nails2d", dy, cache)


def upsample_bilinear2d_forward(x, output_size, align_corners=False):
    """Resize by bilinear interpolation, each output pixel from the four around it.

    x              (N, C, h, w)
    output_size    (H, W), or an int for both; may also be smaller (no antialiasing)
    align_corners  False: pixels are squares, the row of output i is (i + 1/2) h / H - 1/2, held inside the image.
                   True: the centres of the corner pixels coincide, the row is i (h - 1) / (H - 1)

    Returns y (N, C, H, W) and the cache. Differentiable: x.
    """
    checks.floats(x=x)
    output = shapes.sized(x.shape, output_size)
    checks.not_empty_image("upsample_bilinear2d", x.shape)
    options = {"output_size": output_size, "align_corners": align_corners}
    return run_forward("upsample_bilinear2d", (x,), options, (output,))


def upsample_bilinear2d_backward(dy, cache):
    """Gradient dx of `upsample_bilinear2d_forward`: each dy goes back by the four weights that made its pixel."""
    return run_backward("upsample_bilinear2d", dy, cache)


def reflection_pad2d_forward(x, padding):
    """Mirror the image at its edges; the edge pixel itself is not repeated.

    x        (N, C, H, W)
    padding  an int, or (left, right, top, bottom); more than the image holds is mirrored again

    Returns y (N, C, H + top + bottom, W + left + right) and the cache. Differentiable: x.
    Source: Ronneberger et al. 2015, figure 2 (the missing context at the border).
    """
    checks.floats(x=x)
    output = shapes.reflection_pad2d(x.shape, padding)
    checks.not_empty_image("reflection_pad2d", x.shape)
    return run_forward("reflection_pad2d", (x,), {"padding": padding}, (output,))


def reflection_pad2d_backward(dy, cache):
    """Gradient dx of `reflection_pad2d_forward`: each mirror image adds its dy to the pixel it shows."""
    return run_backward("reflection_pad2d", dy, cache)


def concat_forward(xs, dim=1):
    """Lay arrays one after another along a dimension (by default: channels).

    xs   a list of arrays that agree in every other dimension

    Returns y and the cache. Differentiable: every array of xs; the backward pass returns a list in their order.
    Source: Ronneberger et al. 2015, U-Net, section 2.
    """
    xs = list(checks.array_list("concat", xs))
    checks.floats(**{f"xs[{i}]": x for i, x in enumerate(xs)})
    output = shapes.concat([x.shape for x in xs], dim)
    return run_forward("concat", (xs,), {"dim": dim}, (output,))


def concat_backward(dy, cache):
    """Gradients, a list with one for each array given to `concat_forward`."""
    return run_backward("concat", dy, cache)


def crop_forward(x, top, left, height, width):
    """The rectangle of `height` x `width` pixels whose upper left is at (top, left).

    x   (N, C, H, W)

    Returns y (N, C, height, width) and the cache. Differentiable: x.
    """
    checks.floats(x=x)
    output = shapes.crop(x.shape, top, left, height, width)
    options = {"top": top, "left": left, "height": height, "width": width}
    return run_forward("crop", (x,), options, (output,))


def crop_backward(dy, cache):
    """Gradient dx of `crop_forward`: dy inside the rectangle, zeros outside."""
    return run_backward("crop", dy, cache)


def add_forward(a, b):
    """The sum of two arrays, value by value: how a residual or a skip joins the main path.

    a, b   two arrays of one shape; nothing is broadcast

    Returns y of that shape and the cache. Differentiable: a, b. Raises ShapeError where the shapes differ.
    Source: Long et al. 2015, FCN, section 4.2; He et al. 2016, Deep residual learning, equation 1.
    """
    checks.floats(a=a, b=b)
    return run_forward("add", (a, b), {}, (shapes.add(a.shape, b.shape),), differentiable=2)


def add_backward(dy, cache):
    """Gradients da, db of `add_forward`: dy, twice."""
    return run_backward("add", dy, cache)


# ------------------------------------------------------------------------------- normalisation and activations


def batch_norm2d_forward(x, weight, bias, mean=None, var=None, eps=1e-5):
    """Normalise each channel, then scale and shift it: y = weight (x - mean) / sqrt(var + eps) + bias.

    x             (N, C, H, W)
    weight, bias  (C,)
    mean, var     (C,) each, fixed statistics (evaluation); both None: those of this batch (training)

    Returns (y, mean, var) and the cache; var is the biased variance (divided by N H W).
    Differentiable: x, weight, bias. Through the batch's own statistics too where those were used.
    Raises ShapeError for the batch's own statistics of no values.
    Source: Ioffe and Szegedy 2015, algorithm 1.
    """
    checks.floats(("mean", "var"), x=x, weight=weight, bias=bias, mean=mean, var=var)
    checks.not_negative("batch_norm2d", eps=eps)
    N, C, H, W = shapes.images(x.shape)
    checks.per_channel(C, weight=weight, bias=bias, mean=mean, var=var)
    if (mean is None) != (var is None):
        raise ShapeError("batch_norm2d takes mean and var together, or neither; got one of them")
    if mean is None and N * H * W == 0:
        raise ShapeError(f"batch_norm2d cannot take the statistics of no values; got x of shape {x.shape}")
    options = {"mean": mean, "var": var, "eps": eps}
    return run_forward("batch_norm2d", (x, weight, bias), options, ((N, C, H, W), (C,), (C,)), 3)


def batch_norm2d_backward(dy, cache):
    """Gradients (dx, dweight, dbias) of `batch_norm2d_forward`."""
    return run_backward("batch_norm2d", dy, cache)


def relu_forward(x):
    """y = max(x, 0), any shape. NaN stays NaN. Differentiable: x, with gradient 0 at 0."""
    checks.floats(x=x)
    return run_forward("relu", (x,), {}, (x.shape,))


def relu_backward(dy, cache):
    """Gradient dx of `relu_forward`: dy where x was positive."""
    return run_backward("relu", dy, cache)


def sigmoid_forward(x):
    """y = 1 / (1 + exp(-x)), any shape, without overflow at either end. Differentiable: x."""
    checks.floats(x=x)
    return run_forward("sigmoid", (x,), {}, (x.shape,))


def sigmoid_backward(dy, cache):
    """Gradient dx of `sigmoid_forward`: dy y (1 - y)."""
    return run_backward("sigmoid", dy, cache)


def softmax_forward(x, dim=1):
    """y = exp(x) / sum of exp(x) along a dimension (by default: channels), without overflow. Differentiable: x."""
    checks.floats(x=x)
    checks.dimension("softmax", x.shape, dim)
    return run_forward("softmax", (x,), {"dim": dim}, (x.shape,))


def softmax_backward(dy, cache):
    """Gradient dx of `softmax_forward`: y (dy - sum of dy y along the dimension)."""
    return run_backward("softmax", dy, cache)


def dropout_forward(x, p=0.5, seed=0):
    """Set each value to zero with probability p, and scale the others by 1 / (1 - p).

    x     any shape; element number i is that of its C order, whatever its strides
    p     0 <= p <= 1
    seed  0 <= seed < 2**64; the same seed draws the same mask on every backend

    Element i takes word i % 4 of Philox4x32-10 with counter (i // 4, 0, 0) and key `seed`, each as two 32-bit words,
    low first; it is kept where the word is at least p 2^32.

    Returns y and the cache. Differentiable: x.
    Source: Srivastava et al. 2014; Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    checks.floats(x=x)
    checks.dropout(p, seed)
    return run_forward("dropout", (x,), {"p": p, "seed": seed}, (x.shape,))


def dropout_backward(dy, cache):
    """Gradient dx of `dropout_forward`: dy under the same mask and scale."""
    return run_backward("dropout", dy, cache)


# ---------------------------------------------------------------------------------------------------- losses


def softmax_cross_entropy_forward(
    logits, labels, class_weight=None, ignore_index=None, pixel_weight=None, reduction="mean"
):
    """-log softmax(logits)[label] at each pixel, weighted and reduced.

    logits        (N, C, ...)  scores, C classes; usually (N, C, H, W)
    labels        (N, ...)     int, 0 to C - 1, or ignore_index
    class_weight  (C,) or None, one factor for each class
    ignore_index  label that counts for nothing, or None
    pixel_weight  like labels, or None: one factor for each pixel (U-Net's weight map)
    reduction     "sum"; "mean", the weighted mean: the sum divided by the sum of the weights that were used (0 where
                  that sum is 0, as when every pixel is ignored); "none", the loss of each pixel

    Returns the loss, of shape () or like labels, and the cache. Differentiable: logits.
    Raises LabelError for a label outside the classes, with the first one's position and how many there are (on a device
    the loss is then NaN, and `check_labels` tells).
    Source: Long et al. 2015, section 3; weights: Ronneberger et al. 2015, equation 1.
    """
    checks.cross_entropy(logits, labels, class_weight, ignore_index, pixel_weight)
    output = labels.shape if checks.reduction(reduction) == "none" else ()
    options = {
        "class_weight": class_weight,
        "ignore_index": ignore_index,
        "pixel_weight": pixel_weight,
        "reduction": reduction,
    }
    return run_forward("softmax_cross_entropy", (logits, labels), options, (output,))


def softmax_cross_entropy_backward(dy, cache):
    """Gradient dlogits of `softmax_cross_entropy_forward`: weight (softmax - one hot) dy, over the weights' sum."""
    return run_backward("softmax_cross_entropy", dy, cache)


def binary_cross_entropy_with_logits_forward(logits, targets, weight=None, reduction="mean"):
    """-(t log sigmoid(x) + (1 - t) log(1 - sigmoid(x))) for each element, without overflow.

    logits     any shape
    targets    like logits, float, usually in [0, 1]
    weight     like logits, or None: one factor for each element
    reduction  "sum"; "mean", over the number of elements, as in PyTorch (0 of no elements); "none"

    Returns the loss, of shape () or like logits, and the cache. Differentiable: logits.
    """
    checks.floats(("weight",), logits=logits, targets=targets, weight=weight)
    checks.same_shape("logits", logits, targets=targets, weight=weight)
    output = logits.shape if checks.reduction(reduction) == "none" else ()
    options = {"weight": weight, "reduction": reduction}
    return run_forward("binary_cross_entropy_with_logits", (logits, targets), options, (output,))


def binary_cross_entropy_with_logits_backward(dy, cache):
    """Gradient dlogits of `binary_cross_entropy_with_logits_forward`: weight (sigmoid - targets) dy."""
    return run_backward("binary_cross_entropy_with_logits", dy, cache)


def smooth_l1_forward(x, target, beta=1.0, reduction="mean"):
    """d^2 / (2 beta) where d = |x - target| is below beta, else d - beta / 2.

    x, target  any shape, the same
    beta       > 0, where the parabola meets the lines
    reduction  "sum"; "mean", over the number of elements (0 of none); "none"

    Returns the loss, of shape () or like x, and the cache. Differentiable: x.
    Source: Girshick 2015, Fast R-CNN, equation 3.
    """
    checks.floats(x=x, target=target)
    checks.same_shape("x", x, target=target)
    checks.positive("smooth_l1", beta=beta)
    output = x.shape if checks.reduction(reduction) == "none" else ()
    return run_forward("smooth_l1", (x, target), {"beta": beta, "reduction": reduction}, (output,))


def smooth_l1_backward(dy, cache):
    """Gradient dx of `smooth_l1_forward`: dy times d / beta, held to [-1, 1]."""
    return run_backward("smooth_l1", dy, cache)


def dice_forward(logits, labels, ignore_index=None, smooth=1.0):
    """Soft dice loss: 1 - mean over classes of (2 sum p t + smooth) / (sum p + sum t + smooth), p = softmax(logits).

    The sums run over all pixels of the batch that are not ignored; t is 1 where the label is the class, else 0.

    logits   (N, C, ...)  scores
    labels   (N, ...)     int, 0 to C - 1, or ignore_index
    smooth   >= 0; keeps a class that occurs nowhere at a loss near 0 instead of 0 / 0 (which, at smooth 0, counts 0)

    Returns the loss, of shape (), and the cache. Differentiable: logits.
    Raises LabelError for a label outside the classes (on a device see `check_labels`).
    Source: Milletari et al. 2016, V-Net, section 3 (here without squares in the denominator, as in Sudre et al. 2017).
    """
    checks.floats(logits=logits)
    checks.labels("dice", logits, labels, ignore_index)
    checks.not_negative("dice", smooth=smooth)
    return run_forward("dice", (logits, labels), {"ignore_index": ignore_index, "smooth": smooth}, ((),))


def dice_backward(dy, cache):
    """Gradient dlogits of `dice_forward`."""
    return run_backward("dice", dy, cache)


def check_labels(cache):
    """Raise LabelError if the loss that made this cache met a label outside the classes.

    In the computer's memory labels are looked at beforehand. On a device the kernel flags them, and makes the loss NaN:
    ask when the loss is read and is no number. This waits for the device.
    """
    if isinstance(cache, Cache) and cache.maker.name == "cuda" and cache.operation in ("softmax_cross_entropy", "dice"):
        from minisegnet.cuda import loss

        loss.check_labels(cache.operation, cache.saved)


# ------------------------------------------------------------------------------------------ regions of an image


def roi_align_forward(features, boxes, output_size, spatial_scale=1.0, sampling_ratio=0, aligned=True):
    """The part of a feature map under each box, resampled to one size without rounding the box to whole pixels.

    A box is cut into h x w bins, and each bin's value is the mean of bilinear samples at a grid of points inside it:

    y[r, c, i, j] = mean over the points (p, q) of bin (i, j) of features[n, c, p, q] interpolated

    features        (N, C, H, W)
    boxes           (R, 5), rows (image number n, x1, y1, x2, y2) of features' type, corners in pixels of the image,
                    inside it or not
    output_size     (h, w), or an int for both
    spatial_scale   > 0, pixels of the feature map in one of the image: 1 / stride
    sampling_ratio  points along each side of a bin; 0 (or less, as PyTorch's default): ceil(bin size), box by box
    aligned         True: pixel i covers [i, i + 1], so its value stands at i + 1/2 (Detectron2; ONNX's half_pixel).
                    False: its value stands at i, and a box is at least one pixel of the feature map wide and high
                    (PyTorch's default; ONNX's output_half_pixel)

    Points are counted so that values stand at whole numbers: one in [-1, 0] or [H - 1, H] takes the value at the edge,
    one further out is zero. A box without points (adaptive, of no area or its corners the wrong way round) gives zeros.

    Returns y (R, C, h, w) and the cache. Differentiable: features (boxes have no gradient).
    Raises BoxError for a box that is not finite, further than 1e9 pixels off, or of an image that is not there, with
    its row (on a device boxes are trusted).
    Source: He et al. 2017, Mask R-CNN, section 3 (RoIAlign); aligned: Wu et al. 2019, Detectron2.
    """
    checks.floats(features=features, boxes=boxes)
    output = shapes.regions(features.shape, boxes.shape, output_size)
    checks.not_empty_image("roi_align", features.shape)
    checks.positive("roi_align", spatial_scale=spatial_scale)
    shapes.integer(sampling_ratio, "sampling_ratio")
    checks.regions("roi_align", features, boxes, spatial_scale)
    options = {
        "output_size": output_size,
        "spatial_scale": spatial_scale,
        "sampling_ratio": sampling_ratio,
        "aligned": aligned,
    }
    return run_forward("roi_align", (features, boxes), options, (output,))


def roi_align_backward(dy, cache):
    """Gradient dfeatures of `roi_align_forward`: each dy goes back by the weights that made its bin."""
    return run_backward("roi_align", dy, cache)


def roi_pool_forward(features, boxes, output_size, spatial_scale=1.0):
    """The part of a feature map under each box, max-pooled to one size over bins of whole pixels.

    A box's corners times spatial_scale are rounded (halves away from zero) to its first and last pixel, L >= 1 pixels
    apiece in each direction; bin i of h takes the rows floor(i L / h) to ceil((i + 1) L / h) - 1 of them, computed in
    the type of features. What the rounding moves is what `roi_align_forward` mends.

    features       (N, C, H, W); NaN wins over all
    boxes          (R, 5), rows (image number, x1, y1, x2, y2), as for `roi_align_forward`
    output_size    (h, w), or an int for both
    spatial_scale  > 0, pixels of the feature map in one of the image: 1 / stride

    Returns y (R, C, h, w), 0 for a bin that lies outside the feature map, and the cache. Differentiable: features.
    Raises BoxError as `roi_align_forward`.
    Source: Girshick 2015, Fast R-CNN, section 2.1.
    """
    checks.floats(features=features, boxes=boxes)
    output = shapes.regions(features.shape, boxes.shape, output_size)
    checks.not_empty_image("roi_pool", features.shape)
    checks.positive("roi_pool", spatial_scale=spatial_scale)
    checks.regions("roi_pool", features, boxes, spatial_scale)
    options = {"output_size": output_size, "spatial_scale": spatial_scale}
    return run_forward("roi_pool", (features, boxes), options, (output,))


def roi_pool_backward(dy, cache):
    """Gradient dfeatures of `roi_pool_forward`: each dy goes to the value that won its bin, the first of equals."""
    return run_backward("roi_pool", dy, cache)


def nms(boxes, scores, iou_threshold):
    """Non-maximum suppression: go through the boxes by falling score, and keep each that overlaps none kept before.

    boxes          (R, 4), rows (x1, y1, x2, y2); one of no area, or its corners the wrong way round, overlaps none
    scores         (R,), of equals the first comes first
    iou_threshold  0 to 1; boxes overlap where intersection / union, computed in their type, is above it

    Returns the kept boxes' indices, int32 (kept,), by falling score. What is chosen has no gradient.
    Raises BoxError for a box that is not finite, or further than 1e18 pixels off, and for a score that is NaN, with its
    row (on a device they are trusted).
    Source: Girshick et al. 2014, R-CNN, section 2.2.
    """
    checks.floats(boxes=boxes, scores=scores)
    checks.scored_boxes(boxes, scores)
    checks.share("nms", iou_threshold=iou_threshold)
    maker = maker_of("nms", on_device=places.is_device(boxes), pair=False)
    keep = maker.forward(boxes, scores, iou_threshold=iou_threshold)
    return checks.kept(f"the result of {maker.name}", keep, boxes) if maker.replaces else keep
