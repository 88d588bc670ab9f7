"""Wrong backward passes of operations, for the bank."""

import numpy as np
from wrong_answers import CONV, IMAGE, bent, normal, own, wrong

from minisegnet import functional as F
from minisegnet.teaching import check_operation

# ------------------------------------------------------------------------------ convolution and linear: bent gradients


def double_dx(gradients, dy):
    gradients[0] *= 2


def flip_sign(gradients, dy):
    gradients[1] *= -1


def keep_batch(gradients, dy):
    gradients[2] = dy.sum(axis=(2, 3))


def forget_bias(gradients, dy):
    gradients[2] = None


def forget_bias_entirely(gradients, dy):
    return gradients[:2]


def turn_filter(gradients, dy):
    gradients[1] = gradients[1][..., ::-1, ::-1]


def lose_first_column(gradients, dy):
    gradients[0][..., 0] = 0


def one_element(gradients, dy):
    gradients[1][2, 1, 0, 2] += 1e-4


def mean_over_batch(gradients, dy):
    gradients[1] /= len(dy)


def scale_by_batch(gradients, dy):
    gradients[0] *= len(dy)


def single_precision(gradients, dy):
    gradients[1] = gradients[1].astype(np.float32)


def not_a_number(gradients, dy):
    gradients[0][1, 2, 3, 4] = np.nan


def a_list(gradients, dy):
    gradients[2] = "later"


wrong("dx twice as large", "x", "2 times the right value")(bent("conv2d", double_dx, *CONV))
wrong("dweight with the sign flipped", "weight", "the sign is flipped")(bent("conv2d", flip_sign, *CONV))
wrong("dbias not summed over the batch", "bias", "sum over the batch")(bent("conv2d", keep_batch, *CONV))
wrong("dbias None", "bias", "None")(bent("conv2d", forget_bias, *CONV))
wrong("dbias left out", (), "must return 3 gradients, of x, weight, bias")(bent("conv2d", forget_bias_entirely, *CONV))
wrong("dbias of another type", "bias", "got str")(bent("conv2d", a_list, *CONV))
wrong("dweight turned by 180 degrees", "weight", "turned by 180 degrees")(bent("conv2d", turn_filter, *CONV))
wrong("dx zero in the first column", "x", "dimension 3 is 0")(bent("conv2d", lose_first_column, *CONV))
wrong("dweight off in one element", "weight", "at [2, 1, 0, 2]")(bent("conv2d", one_element, *CONV))
wrong("dweight averaged over the batch", "weight", "batch size 2 once too often")(
    bent("conv2d", mean_over_batch, *CONV)
)
wrong("dx that grows with the batch", "x", "division by the batch size 2 missing")(
    bent("conv_transpose2d", scale_by_batch, IMAGE, normal(3, 4, 2, 2), normal(4))
)
wrong("dweight in float32", "weight", "got float32")(bent("conv2d", single_precision, *CONV))
wrong("dx with a NaN", "x", "NaN or infinity, first at [1, 2, 3, 4]")(bent("conv2d", not_a_number, *CONV))


@wrong("one element of a large array", "x", "at [1, 30, 17]")
def large(rng, seed):
    def backward(dy, mask):
        dx = dy * mask
        dx[1, 30, 17] *= 1.001
        return dx

    x = np.abs(rng.standard_normal((3, 40, 50))) + 0.1
    return check_operation(lambda x: (np.maximum(x, 0), x > 0), backward, x, upstream_seed=seed)


@wrong("only the first image counts in dweight", "weight")
def first_image(rng, seed):
    def backward(dy, cache):
        first = np.zeros_like(dy)
        first[0] = dy[0]
        dx, _, dbias = F.conv2d_backward(dy, cache)
        return dx, F.conv2d_backward(first, cache)[1], dbias

    return check_operation(F.conv2d_forward, backward, *(draw(rng) for draw in CONV), upstream_seed=seed)


def swap(gradients, dy):
    gradients[0], gradients[1] = gradients[1], gradients[0]


def transpose(gradients, dy):
    gradients[1] = gradients[1].T


def zero(gradients, dy):
    gradients[0] = np.zeros_like(gradients[0])


LINEAR = (normal(4, 5), normal(3, 5), normal(3))
SQUARE = (normal(4, 4), normal(4, 4), normal(4))
wrong("gradients in another order", ("x", "weight"), "this is the gradient of weight")(bent("linear", swap, *SQUARE))
wrong("dweight transposed", "weight", "dimensions 0 and 1 are exchanged")(bent("linear", transpose, *SQUARE))
wrong("dweight of the transposed shape", "weight", "transpose it")(bent("linear", transpose, *LINEAR))
wrong("dx never computed", "x", "backward gives zeros")(bent("linear", zero, *LINEAR))


# ---------------------------------------------------------------------------------------------- activations: own pairs


def relu_forward(x):
    return np.maximum(x, 0), x


wrong("relu without its mask", "x")(own(relu_forward, lambda dy, x: dy.copy(), IMAGE))
wrong("relu by the sign of dy", "x")(own(relu_forward, lambda dy, x: dy * (dy > 0), IMAGE))
wrong("relu that ignores dy", "x", "the same for every dy")(own(relu_forward, lambda dy, x: 1.0 * (x > 0), IMAGE))
wrong("relu, twice dy at zero", "x", "sits on a kink")(
    own(relu_forward, lambda dy, x: dy * np.where(x == 0, 2, x > 0), lambda rng: rng.integers(-1, 2, (4, 5)) * 1.0)
)
wrong("relu, minus dy at the one zero of a large array", "x", "at [3, 7, 11]")(
    own(
        relu_forward,
        lambda dy, x: dy * np.where(x == 0, -1, x > 0),
        lambda rng: np.where(np.arange(6000).reshape(5, 30, 40) == 3 * 1200 + 7 * 40 + 11, 0.0, normal(5, 30, 40)(rng)),
    )
)


def sigmoid_forward(x):
    y = 1 / (1 + np.exp(-x))
    return y, y


wrong("sigmoid without its second factor", "x")(own(sigmoid_forward, lambda dy, y: dy * y, IMAGE))


def softmax_forward(x):
    y = np.exp(x - x.max(axis=1, keepdims=True))
    y /= y.sum(axis=1, keepdims=True)
    return y, y


wrong("softmax all zeros", "x", "backward gives zeros")(own(softmax_forward, lambda dy, y: 0 * y, IMAGE))
wrong("softmax without its coupling", "x")(own(softmax_forward, lambda dy, y: dy * y * (1 - y), IMAGE))
wrong("softmax right for all ones only", "x", "right only for a dy of all ones")(
    own(softmax_forward, lambda dy, y: 1e-3 * dy.std() + y * (dy - dy.mean(axis=1, keepdims=True)), IMAGE)
)


def dropout_forward(x, p=0.5, seed=7):
    mask = np.random.default_rng(seed).random(x.shape) >= p
    return x * mask / (1 - p), mask


wrong("dropout without its scale", "x", "0.5 times")(own(dropout_forward, lambda dy, mask: dy * mask, IMAGE))
wrong("dropout with another mask on the way back", "x")(
    own(dropout_forward, lambda dy, mask: dropout_forward(dy, seed=8)[0], IMAGE)
)
wrong("dropout with a fresh mask each time", (), "another answer for the same inputs")(
    own(dropout_forward, lambda dy, mask: 2 * dy * mask, IMAGE, seed=None)
)


# ---------------------------------------------------------------------------------------------------- normalisation


def batch_norm_forward(x, weight, bias, eps=1e-3):
    mean, var = x.mean(axis=(0, 2, 3), keepdims=True), x.var(axis=(0, 2, 3), keepdims=True)
    xhat = (x - mean) / np.sqrt(var + eps)
    return xhat * weight.reshape(1, -1, 1, 1) + bias.reshape(1, -1, 1, 1), (x, xhat, var, weight.reshape(1, -1, 1, 1))


def batch_norm_backward(dy, cache, eps=1e-3, through=1.0, count=None, of_x=False):
    x, xhat, var, weight = cache
    count = count or dy[:, 0].size
    dxhat = dy * weight
    mean = dxhat.sum(axis=(0, 2, 3), keepdims=True) / count
    slope = (dxhat * xhat).sum(axis=(0, 2, 3), keepdims=True) / count
    dx = (dxhat - through * (mean + xhat * slope)) / np.sqrt(var + eps)
    return dx, (dy * (x if of_x else xhat)).sum(axis=(0, 2, 3)), dy.sum(axis=(0, 2, 3))


BATCH_NORM = (IMAGE, normal(3), normal(3))
wrong("batch norm, statistics taken as constants", "x")(
    own(batch_norm_forward, lambda dy, cache: batch_norm_backward(dy, cache, through=0), *BATCH_NORM)
)
wrong("batch norm, dweight from x itself", "weight")(
    own(batch_norm_forward, lambda dy, cache: batch_norm_backward(dy, cache, of_x=True), *BATCH_NORM)
)
wrong("batch norm without eps on the way back", "x")(
    own(batch_norm_forward, lambda dy, cache: batch_norm_backward(dy, cache, eps=0), *BATCH_NORM)
)
wrong("batch norm, divided by N alone", "x")(
    own(batch_norm_forward, lambda dy, cache: batch_norm_backward(dy, cache, count=2), *BATCH_NORM)
)


# --------------------------------------------------------------------------------------------- pooling and the way up


def pool_forward(x):
    """2 x 2 windows at stride 1."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (2, 2), axis=(2, 3))
    return windows.max(axis=(4, 5)), (x, windows)


def pool_backward(dy, cache, winner="first", assign=False):
    x, windows = cache
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(*dy.shape):
        best = windows[n, c, i, j] == windows[n, c, i, j].max()
        if winner == "first":
            best = np.arange(4).reshape(2, 2) == np.argmax(windows[n, c, i, j])
        if winner == "corner":
            best = np.array([[True, False], [False, False]])
        part = dx[n, c, i : i + 2, j : j + 2]
        part[...] = np.where(best, dy[n, c, i, j], part) if assign else part + best * dy[n, c, i, j]
    return dx


def constant_image(rng):
    return np.full((2, 2, 4, 4), 0.5)


wrong("max pooling credits every tie", "x")(
    own(pool_forward, lambda dy, cache: pool_backward(dy, cache, winner="all"), constant_image)
)
wrong("max pooling credits every tie after a relu", "x")(
    own(
        pool_forward,
        lambda dy, cache: pool_backward(dy, cache, winner="all"),
        lambda rng: np.maximum(normal(2, 2, 5, 5)(rng) - 0.5, 0),
    )
)
wrong("max pooling credits no tie", "x")(
    own(pool_forward, lambda dy, cache: 0 * pool_backward(dy, cache), constant_image)
)
wrong("max pooling gives to the corner", "x")(
    own(pool_forward, lambda dy, cache: pool_backward(dy, cache, winner="corner"), IMAGE)
)
wrong("overlapping windows overwrite", "x")(
    own(pool_forward, lambda dy, cache: pool_backward(dy, cache, assign=True), IMAGE)
)


def quarter(gradients, dy):
    gradients[0] /= 4


def shift(gradients, dy):
    gradients[0] = np.roll(gradients[0], 1, axis=3)


wrong("average pooling divided twice", "x", "0.25 times")(bent("avg_pool2d", quarter, IMAGE, 2))
wrong("unpooling one column off", "x")(bent("bed_of_nails2d", shift, IMAGE, 2))
wrong("crop one column off", "x")(bent("crop", shift, IMAGE, 1, 1, 3, 4))
wrong("nearest unpooling averages", "x", "0.25 times")(bent("nearest_unpool2d", quarter, IMAGE, (10, 12)))
wrong("concat in another order", ("xs[0]", "xs[1]"), "this is the gradient of xs[1]")(
    bent("concat", swap, lambda rng: [normal(2, 3, 4)(rng), normal(2, 3, 4)(rng)])
)


def cut_off(gradients, dy):
    gradients[0] = dy[..., 2:-2, 2:-2]


wrong("reflection without the mirrored part", "x")(bent("reflection_pad2d", cut_off, IMAGE, 2))


@wrong("bilinear resizing, nearest on the way back", "x")
def nearest(rng, seed):
    def backward(dy, shape):
        return F.nearest_unpool2d_backward(dy, F.nearest_unpool2d_forward(np.zeros(shape, dy.dtype), dy.shape[2:])[1])

    def forward(x):
        return F.upsample_bilinear2d_forward(x, (10, 12))[0], x.shape

    return check_operation(forward, backward, IMAGE(rng), upstream_seed=seed)


# -------------------------------------------------------------------------------------------------- manners of a pair


def square_forward(x):
    return x * x, x


def shifts_dy(dy, x):
    dy *= 2 * x
    return dy


def shifts_x(dy, x):
    x *= 2
    return x * dy


def uses_up_cache(dy, cache):
    dx = 2 * cache["x"] * dy
    cache["x"] = np.zeros_like(dx)
    return dx


def shifting_forward(x):
    x -= x.mean()
    return x * x, x


def through_reshape(dy, x):
    dx = np.zeros_like(x)
    dx.reshape(-1)[:] = (2 * x * dy).reshape(-1)
    return dx


ONE = normal(3, 4)
wrong("backward works inside dy", (), "changes its argument dy")(own(square_forward, shifts_dy, ONE))
wrong("backward works inside x", (), "backward changes its argument x")(own(square_forward, shifts_x, ONE))
wrong("backward uses its cache up", (), "second backward pass")(own(lambda x: (x * x, {"x": x}), uses_up_cache, ONE))
wrong("forward works inside x", (), "forward changes its argument x")(own(shifting_forward, lambda dy, x: dy, ONE))
wrong("y in float32", (), "forward returns float32")(
    own(lambda x: ((x * x).astype(np.float32), x), lambda dy, x: 2 * x * dy, ONE)
)
wrong("a gradient lost in another memory order", (), "not C-contiguous")(own(square_forward, through_reshape, ONE))
wrong("forward forgets its cache", (), "two things, the output and a cache")(
    own(lambda x: x * x, lambda dy, x: 2 * x * dy, ONE)
)
wrong("a NaN in y", (), "forward returns NaN")(own(lambda x: (np.log(x), x), lambda dy, x: dy / x, ONE))
