"""Every error of the contract: its type, and a message that says what was given, what was wanted and what to do."""

import importlib
from inspect import signature

import numpy as np
import pytest
from conftest import BACKENDS

import minisegnet
from minisegnet import functional
from minisegnet.errors import (
    BackendError,
    BoxError,
    DtypeError,
    IndicesError,
    LabelError,
    MinisegnetError,
    OptionError,
    ShapeError,
)
from minisegnet.functional import (
    add_forward,
    avg_pool2d_forward,
    batch_norm2d_forward,
    bed_of_nails2d_forward,
    binary_cross_entropy_with_logits_forward,
    concat_forward,
    conv2d_backward,
    conv2d_forward,
    conv_transpose2d_forward,
    crop_forward,
    dice_forward,
    dropout_forward,
    linear_forward,
    max_pool2d_forward,
    max_unpool2d_forward,
    nearest_unpool2d_forward,
    reflection_pad2d_forward,
    relu_backward,
    relu_forward,
    smooth_l1_forward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
    softmax_forward,
    upsample_bilinear2d_forward,
)


def zeros(*shape, dtype="float32"):
    return np.zeros(shape, dtype)


def indices(*values):
    return np.array(values, np.int64).reshape(1, 1, 1, -1)


X = zeros(2, 3, 5, 6)
WEIGHT = zeros(4, 3, 3, 3)
LOGITS = zeros(2, 3, 4, 4)
LABELS = zeros(2, 4, 4, dtype="int32")
STRAY = np.array([[[0, 1], [255, 255]]])

# What is called, the error, and what its message must say.
ERRORS = [
    # types
    (lambda: relu_forward([1.0]), DtypeError, "x must be a NumPy array; got list"),
    (lambda: relu_forward(None), DtypeError, "x must be a NumPy array; got NoneType"),
    (lambda: conv2d_forward(X, None), DtypeError, "weight must be a NumPy array; got NoneType"),
    (lambda: batch_norm2d_forward(X, None, None), DtypeError, "weight must be a NumPy array; got NoneType"),
    (
        lambda: relu_forward(zeros(2, dtype="int64")),
        DtypeError,
        "x must be float32 or float64; got int64; use x.astype",
    ),
    (lambda: relu_forward(zeros(2, dtype=">f4")), DtypeError, "got >f4"),
    (lambda: relu_forward(zeros(2, dtype="complex64")), DtypeError, "got complex64"),
    (lambda: conv2d_forward(X, zeros(4, 3, 3, 3, dtype="float64")), DtypeError, "weight is float64 and x is float32"),
    (
        lambda: concat_forward([X, zeros(2, 3, 5, 6, dtype="float64")]),
        DtypeError,
        r"xs[1] is float64 and xs[0] is float32",
    ),
    (
        lambda: softmax_cross_entropy_forward(LOGITS, zeros(2, 4, 4)),
        DtypeError,
        "labels must be a NumPy array of integers",
    ),
    (lambda: dice_forward(LOGITS, None), DtypeError, "labels must be a NumPy array of integers; got NoneType"),
    (lambda: max_unpool2d_forward(X, X, 9), DtypeError, "indices must be a NumPy array of integers; got float32"),
    # convolutions
    (lambda: conv2d_forward(X[0], WEIGHT), ShapeError, "x must have four dimensions (N, C, H, W); got shape (3, 5, 6)"),
    (lambda: conv2d_forward(X, WEIGHT[0]), ShapeError, "weight must have four dimensions"),
    (lambda: conv2d_forward(X[:, :2], WEIGHT), ShapeError, "x has 2 channels and the weight (4, 3, 3, 3) wants 3"),
    (lambda: conv2d_forward(X, WEIGHT, zeros(3)), ShapeError, "bias must have shape (4,), one for each output channel"),
    (lambda: conv2d_forward(X[:, :, :2], WEIGHT), ShapeError, "a 3 x 3 kernel (dilation 1, padding 0) leaves nothing"),
    (lambda: conv2d_forward(X, WEIGHT, stride=0), OptionError, "stride must be at least 1; got 0"),
    (lambda: conv2d_forward(X, WEIGHT, padding=(1, -1)), OptionError, "padding must be at least 0; got (1, -1)"),
    (lambda: conv2d_forward(X, WEIGHT, padding="same"), OptionError, "an int or a pair of ints (vertical, horizontal)"),
    (lambda: conv2d_forward(X, WEIGHT, dilation=1.5), OptionError, "dilation must be an int or a pair of ints"),
    (lambda: conv2d_forward(X, WEIGHT, stride=(1, 2, 3)), OptionError, "got (1, 2, 3)"),
    (lambda: conv_transpose2d_forward(X, WEIGHT), ShapeError, "x has 3 channels and the weight (4, 3, 3, 3) wants 4"),
    (
        lambda: conv_transpose2d_forward(X, zeros(3, 4, 3, 3), zeros(3)),
        ShapeError,
        "bias must have shape (4,), one for each output channel; got (3,)",
    ),
    (
        lambda: conv_transpose2d_forward(X, zeros(3, 4, 3, 3), stride=2, output_padding=2),
        OptionError,
        "output_padding must be smaller than stride or dilation; got (2, 2) for stride (2, 2)",
    ),
    (
        lambda: conv_transpose2d_forward(X, zeros(3, 4, 3, 3), padding=4),
        ShapeError,
        "leaves nothing of an image of 5 x 6",
    ),
    (lambda: linear_forward(X, zeros(2, 6)), ShapeError, "linear takes x (N, in_features)"),
    (
        lambda: linear_forward(zeros(2, 5), zeros(3, 4)),
        ShapeError,
        "got (2, 5) and (3, 4); flatten x, or make the layer",
    ),
    (lambda: linear_forward(zeros(2, 4), zeros(3, 4), zeros(4)), ShapeError, "bias must have shape (3,)"),
    # down, and up again
    (lambda: max_pool2d_forward(X, 0), OptionError, "kernel_size must be at least 1; got 0"),
    (lambda: max_pool2d_forward(X, 7), ShapeError, "a 7 x 7 window (dilation (1, 1), padding (0, 0)) leaves nothing"),
    (lambda: avg_pool2d_forward(X, 3, padding=2), OptionError, "padding must be at most half of the window"),
    (
        lambda: max_pool2d_forward(zeros(1, 1, 1, 1), 2, padding=1, dilation=2),
        ShapeError,
        "a window of 2 (dilation 2, padding 1) sees only padding on a size of 1",
    ),
    (
        lambda: max_unpool2d_forward(zeros(1, 1, 1, 2), indices(0), 3),
        ShapeError,
        "x has shape (1, 1, 1, 2) and indices (1, 1, 1, 1)",
    ),
    (
        lambda: max_unpool2d_forward(zeros(1, 1, 1, 3), indices(0, 9, 2), (3, 3)),
        IndicesError,
        "index 9 at (0, 0, 0, 1) lies outside a plane of 3 x 3 = 9; is output_size the size before the pooling?",
    ),
    (
        lambda: max_unpool2d_forward(zeros(1, 1, 1, 2), indices(3, -1), 3),
        IndicesError,
        "index -1 at (0, 0, 0, 1) lies outside",
    ),
    (
        lambda: max_unpool2d_forward(zeros(1, 1, 1, 4), indices(5, 3, 5, 3), 3),
        IndicesError,
        "index 5 at (0, 0, 0, 2) stands twice in its plane; pooling windows that overlap have no inverse",
    ),
    (
        lambda: max_unpool2d_forward(zeros(1, 1, 1, 1), indices(0), None),
        OptionError,
        "output_size must be an int or a pair",
    ),
    (lambda: nearest_unpool2d_forward(X, 0), OptionError, "output_size must be at least 1; got 0"),
    (
        lambda: nearest_unpool2d_forward(X[:, :, :0], 4),
        ShapeError,
        "nearest_unpool2d needs at least one row and column",
    ),
    (
        lambda: upsample_bilinear2d_forward(X[..., :0], 4),
        ShapeError,
        "upsample_bilinear2d needs at least one row and column",
    ),
    (lambda: upsample_bilinear2d_forward(X, (4.0, 4)), OptionError, "output_size must be an int or a pair of ints"),
    (
        lambda: bed_of_nails2d_forward(X, 2, output_size=(8, 11)),
        ShapeError,
        "bed_of_nails2d with stride (2, 2) puts 5 x 6 values on at least 9 x 11; output_size is (8, 11)",
    ),
    (lambda: bed_of_nails2d_forward(X, 2, output_size=(9, 10)), ShapeError, "output_size is (9, 10)"),
    (lambda: reflection_pad2d_forward(X, (1, 2)), OptionError, "padding must be an int or (left, right, top, bottom)"),
    (lambda: reflection_pad2d_forward(X, -1), OptionError, "none negative; got -1"),
    (
        lambda: reflection_pad2d_forward(X[:, :, :0], 1),
        ShapeError,
        "reflection_pad2d needs at least one row and column",
    ),
    (lambda: concat_forward(X), ShapeError, "concat takes a list of at least one array; got ndarray"),
    (lambda: concat_forward([]), ShapeError, "concat takes a list of at least one array"),
    (
        lambda: concat_forward([X, X[:, :, 1:]]),
        ShapeError,
        "concat along dimension 1 needs all other sizes equal: got (2, 3, 5, 6), (2, 3, 4, 6); "
        "crop or resize the larger",
    ),
    (lambda: concat_forward([X, X[0]]), ShapeError, "needs all other sizes equal"),
    (lambda: concat_forward([X], dim=4), OptionError, "dim 4 is outside the 4 dimensions of (2, 3, 5, 6)"),
    (lambda: concat_forward([X], dim=None), OptionError, "dim must be an int; got None"),
    (
        lambda: crop_forward(X, 3, 0, 3, 6),
        ShapeError,
        "a crop of 3 x 6 at row 3, column 0 does not lie inside an image of 5 x 6",
    ),
    (lambda: crop_forward(X, 0, 4, 5, 3), ShapeError, "a crop of 5 x 3 at row 0, column 4"),
    (lambda: crop_forward(X, -1, 0, 3, 3), ShapeError, "at row -1, column 0"),
    (lambda: crop_forward(X, 0, 0, 0, 3), ShapeError, "a crop of 0 x 3"),
    (lambda: crop_forward(X, 0.5, 0, 2, 3), OptionError, "top must be an int; got 0.5"),
    (
        lambda: add_forward(X, X[:, :, 1:]),
        ShapeError,
        "add needs two arrays of one shape: got (2, 3, 5, 6) and (2, 3, 4, 6); crop or resize the larger",
    ),
    (lambda: add_forward(X, X[:1]), ShapeError, "got (2, 3, 5, 6) and (1, 3, 5, 6)"),
    (lambda: add_forward(X, X.astype("float64")), DtypeError, "float64"),
    # normalisation and activations
    (
        lambda: batch_norm2d_forward(X, zeros(2), zeros(3)),
        ShapeError,
        "weight must have shape (3,), one value a channel; got (2,)",
    ),
    (
        lambda: batch_norm2d_forward(X, zeros(3), zeros(3), mean=zeros(3)),
        ShapeError,
        "mean and var together, or neither",
    ),
    (lambda: batch_norm2d_forward(X[:0], zeros(3), zeros(3)), ShapeError, "cannot take the statistics of no values"),
    (lambda: batch_norm2d_forward(X, zeros(3), zeros(3), eps=-1), OptionError, "eps must be at least 0; got -1"),
    (lambda: softmax_forward(X, dim=-5), OptionError, "dim -5 is outside the 4 dimensions"),
    (lambda: softmax_forward(X, dim=1.0), OptionError, "dim must be an int; got 1.0"),
    (lambda: dropout_forward(X, p=1.5), OptionError, "p is the probability of a zero, 0 to 1; got 1.5"),
    (lambda: dropout_forward(X, p=float("nan")), OptionError, "got nan"),
    (lambda: dropout_forward(X, seed=-1), OptionError, "seed must be an int from 0 to 2**64 - 1; got -1"),
    (lambda: dropout_forward(X, seed=2**64), OptionError, "seed must be an int"),
    (lambda: dropout_forward(X, seed=1.0), OptionError, "got 1.0"),
    # losses
    (
        lambda: softmax_cross_entropy_forward(LOGITS, LABELS[:, 1:]),
        ShapeError,
        "softmax_cross_entropy takes logits (N, C, ...) and labels (N, ...); got (2, 3, 4, 4) and (2, 3, 4)",
    ),
    (
        lambda: softmax_cross_entropy_forward(zeros(1, 2, 2, 2), STRAY),
        LabelError,
        "label 255 at (0, 1, 0) is outside the classes 0 to 1 (2 of 4 labels are); "
        "if they mean 'no label', pass that value as ignore_index",
    ),
    (
        lambda: softmax_cross_entropy_forward(zeros(1, 2, 2, 2), STRAY.astype("uint8"), ignore_index=254),
        LabelError,
        "(2 of 4 labels are); ignore_index is 254",
    ),
    (
        lambda: dice_forward(zeros(1, 2, 2, 2), STRAY - 1),
        LabelError,
        "dice: label -1 at (0, 0, 0) is outside the classes 0 to 1",
    ),
    (
        lambda: softmax_cross_entropy_forward(LOGITS, LABELS, class_weight=zeros(4)),
        ShapeError,
        "class_weight must have shape (3,)",
    ),
    (
        lambda: softmax_cross_entropy_forward(LOGITS, LABELS, pixel_weight=zeros(4, 4)),
        ShapeError,
        "pixel_weight must have the shape of labels, (2, 4, 4); got (4, 4)",
    ),
    (
        lambda: softmax_cross_entropy_forward(LOGITS, LABELS, class_weight=zeros(3, dtype="float64")),
        DtypeError,
        "class_weight is float64 and logits is float32; give both the same type",
    ),
    (
        lambda: softmax_cross_entropy_forward(LOGITS, LABELS, reduction="average"),
        OptionError,
        "reduction must be 'sum', 'mean' or 'none'; got 'average'",
    ),
    (
        lambda: binary_cross_entropy_with_logits_forward(X, X[1:]),
        ShapeError,
        "targets must have the shape of logits, (2, 3, 5, 6); got (1, 3, 5, 6)",
    ),
    (lambda: binary_cross_entropy_with_logits_forward(X, None), DtypeError, "targets must be a NumPy array"),
    (lambda: binary_cross_entropy_with_logits_forward(X, X, reduction=None), OptionError, "reduction must be"),
    (lambda: smooth_l1_forward(X, X[1:]), ShapeError, "target must have the shape of x"),
    (lambda: smooth_l1_forward(X, X, beta=0), OptionError, "smooth_l1: beta must be above 0; got 0"),
    (lambda: smooth_l1_forward(X, X, reduction="max"), OptionError, "reduction must be"),
    (lambda: dice_forward(LOGITS, LABELS, smooth=-1), OptionError, "dice: smooth must be at least 0; got -1"),
    # backward
    (
        lambda: conv2d_backward(zeros(2, 4, 3, 3), conv2d_forward(X, WEIGHT)[1]),
        ShapeError,
        "conv2d_backward: dy must have the output's shape (2, 4, 3, 4); got (2, 4, 3, 3)",
    ),
    (
        lambda: conv2d_backward(zeros(2, 4, 3, 4, dtype="float64"), conv2d_forward(X, WEIGHT)[1]),
        DtypeError,
        "conv2d_backward: dy must be float32, as the output is; got float64",
    ),
    (lambda: relu_backward(1.0, relu_forward(X)[1]), DtypeError, "relu_backward: dy must be a NumPy array; got float"),
    (
        lambda: softmax_cross_entropy_backward(zeros(1), softmax_cross_entropy_forward(LOGITS, LABELS)[1]),
        ShapeError,
        "dy must have the output's shape (); got (1,)",
    ),
    (
        lambda: softmax_cross_entropy_backward("1", softmax_cross_entropy_forward(LOGITS, LABELS)[1]),
        DtypeError,
        "dy must be a NumPy array; got str",
    ),
    (
        lambda: conv2d_backward(X, relu_forward(X)[1]),
        BackendError,
        "conv2d_backward needs the cache that conv2d_forward returned; got one of relu",
    ),
    (lambda: relu_backward(X, X), BackendError, "needs the cache that relu_forward returned; got ndarray"),
    (lambda: relu_backward(X, relu_forward(X)), BackendError, "got tuple"),
]


@pytest.mark.parametrize("call, error, message", ERRORS, ids=[message[:60] for _, _, message in ERRORS])
def test_error(backend, call, error, message):
    with pytest.raises(error) as raised:
        call()
    assert message in str(raised.value)


def test_errors_are_of_python_s_kinds_too():
    """So that a caller who knows only Python's own catches the right thing."""
    kinds = {
        ShapeError: ValueError, OptionError: ValueError, LabelError: ValueError, BoxError: ValueError,
        DtypeError: TypeError, IndicesError: IndexError, BackendError: RuntimeError,
    }  # fmt: skip
    for error, kind in kinds.items():
        assert issubclass(error, kind) and issubclass(error, MinisegnetError)


@pytest.mark.parametrize("dtype", ["float16", "longdouble"])
def test_numpy_says_which_types_it_takes(dtype):
    with pytest.raises(DtypeError, match="x must be float32 or float64; got float"):
        functional.relu_forward(zeros(2, dtype=dtype))


def test_cuda_is_no_backend_for_numpy_arrays():
    with (
        pytest.raises(BackendError, match=r"arrays that lie on a device.*graph\.to\('cuda'\).*backend\('emulator'\)"),
        minisegnet.backend("cuda"),
    ):
        pass


def test_unknown_backend():
    with (
        pytest.raises(BackendError, match="unknown backend 'torch': choose one of numpy, reference, emulator"),
        minisegnet.backend("torch"),
    ):
        pass


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("operation", functional.OPERATIONS)
def test_a_backend_s_functions_have_the_contract_s_signature(name, operation):
    """Names, order and defaults, so that a copy of any of them can stand in for it."""
    backends = minisegnet.backends.BACKENDS | minisegnet.backends.ON_DEVICE
    module = importlib.import_module(backends[name])
    assert signature(getattr(module, f"{operation}_forward")) == signature(getattr(functional, f"{operation}_forward"))
    assert len(signature(getattr(module, f"{operation}_backward")).parameters) == 2


def test_every_operation_has_both_halves_and_tells_what_it_does():
    for operation in functional.OPERATIONS:
        for half in ("forward", "backward"):
            function = getattr(functional, f"{operation}_{half}")
            assert function.__doc__, f"{operation}_{half} has no docstring"
    for operation in functional.WITHOUT_BACKWARD:
        assert getattr(functional, operation).__doc__, f"{operation} has no docstring"
