"""A user's own functions in the place of ours: who is called, what is checked, and what is put back afterwards."""

from inspect import signature

import numpy as np
import pytest
from cases import cases

import minisegnet
from minisegnet import functional, reference
from minisegnet.errors import BackendError, DtypeError, ShapeError

X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(1, 2, 3, 4)
WEIGHT, BIAS = np.ones((3, 2, 2, 2), np.float32), np.zeros(3, np.float32)


def twice(x):
    return x * 2, x


def twice_back(dy, cache):
    return dy * 2


def test_own_functions_are_called_inside_the_block_and_ours_after_it(backend):
    before, _ = backend.relu_forward(X)
    with minisegnet.replace(relu_forward=twice, relu_backward=twice_back):
        y, cache = backend.relu_forward(X)
        dx = backend.relu_backward(X, cache)
    after, _ = backend.relu_forward(X)
    assert (y == 2 * X).all() and (dx == 2 * X).all()
    assert (after == before).all()


def test_the_cache_remembers_its_maker(backend):
    """Backward goes to whoever made the cache, wherever it is called."""
    with minisegnet.replace(relu_forward=twice, relu_backward=twice_back):
        _, theirs = backend.relu_forward(X)
    _, ours = backend.relu_forward(X)
    assert (backend.relu_backward(X, theirs) == 2 * X).all()
    with minisegnet.replace(relu_forward=twice, relu_backward=twice_back):
        assert (backend.relu_backward(X, ours) == np.maximum(X, 0)).all()


@pytest.mark.parametrize("makes, calls", [("reference", "numpy"), ("numpy", "reference")])
def test_a_backend_s_cache_works_under_another(makes, calls):
    with minisegnet.backend(makes):
        y, cache = functional.conv2d_forward(X, WEIGHT, BIAS)
        wanted = functional.conv2d_backward(y, cache)
    assert cache.maker.name == makes
    with minisegnet.backend(calls):
        gradients = functional.conv2d_backward(y, cache)
    assert all((one == other).all() for one, other in zip(gradients, wanted, strict=True))


def test_nested_blocks_restore_what_was_there():
    def thrice(x):
        return x * 3, x

    with minisegnet.replace(relu_forward=twice, relu_backward=twice_back):
        with minisegnet.replace(relu_forward=thrice, relu_backward=twice_back):
            assert (functional.relu_forward(X)[0] == 3 * X).all()
            with minisegnet.replace(sigmoid_forward=twice, sigmoid_backward=twice_back):  # joins, and replaces no other
                assert (functional.relu_forward(X)[0] == 3 * X).all()
                assert (functional.sigmoid_forward(X)[0] == 2 * X).all()
        assert (functional.relu_forward(X)[0] == 2 * X).all()
        assert (functional.sigmoid_forward(X)[0] != 2 * X).any()
    assert (functional.relu_forward(X)[0] == np.maximum(X, 0)).all()


def test_blocks_restore_after_an_error():
    with pytest.raises(ZeroDivisionError), minisegnet.replace(relu_forward=twice, relu_backward=twice_back):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), minisegnet.backend("reference"):
        raise ZeroDivisionError
    assert functional.relu_forward(X)[1].maker.name == "numpy"


def test_nested_backends_restore_what_was_there():
    with minisegnet.backend("reference"):
        with minisegnet.backend("numpy"):
            assert functional.relu_forward(X)[1].maker.name == "numpy"
        assert functional.relu_forward(X)[1].maker.name == "reference"


def test_a_replacement_beats_the_backend_in_force():
    with minisegnet.replace(relu_forward=twice, relu_backward=twice_back), minisegnet.backend("reference"):
        assert (functional.relu_forward(X)[0] == 2 * X).all()


def test_it_gets_arrays_by_position_and_every_option_by_name_as_the_caller_wrote_it():
    seen = {}

    def forward(*arrays, **options):
        seen.update(arrays=arrays, options=options)
        return np.zeros((1, 3, 2, 5), np.float32), None

    def backward(dy, cache):
        return np.zeros_like(X), np.zeros_like(WEIGHT), np.zeros_like(BIAS)

    with minisegnet.replace(conv2d_forward=forward, conv2d_backward=backward):
        functional.conv2d_forward(X, WEIGHT, bias=BIAS, stride=[1, 1], padding=(0, 1), dilation=1)
        assert all(one is other for one, other in zip(seen["arrays"], (X, WEIGHT, BIAS), strict=True))
        assert seen["options"] == {"stride": [1, 1], "padding": (0, 1), "dilation": 1}
        functional.conv2d_forward(np.zeros((1, 2, 3, 6), np.float32), WEIGHT)
        assert seen["arrays"][2] is None and seen["options"] == {"stride": 1, "padding": 0, "dilation": 1}


@pytest.mark.parametrize("operation, count", functional.OPERATIONS.items())
def test_as_many_arrays_come_by_position_as_the_contract_counts(operation, count):
    seen = {}

    def forward(*arrays, **options):
        seen.update(count=len(arrays), options=list(options))
        return getattr(reference, f"{operation}_forward")(*arrays, **options)

    halves = {f"{operation}_forward": forward, f"{operation}_backward": twice_back}
    case = cases(operation, dtypes=["float32"])[0].values[0]
    with minisegnet.replace(**halves):
        case.forward(functional, *case.draw())
    names = list(signature(getattr(functional, f"{operation}_forward")).parameters)
    assert seen == {"count": count, "options": names[count:]}


@pytest.mark.parametrize("operation", functional.OPERATIONS)
def test_the_reference_s_functions_can_replace_any_operation(operation):
    """A copy of the reference is the start that a student is given, so it must pass every check."""
    halves = {f"{operation}_{half}": getattr(reference, f"{operation}_{half}") for half in ("forward", "backward")}
    for case in (parameter.values[0] for parameter in cases(operation, dtypes=["float32"], layouts=False)):
        with minisegnet.replace(**halves):
            arrays, options = case.draw()
            outputs, cache = case.forward(functional, arrays, options)
            gradients = case.backward(functional, case.draw_upstream(outputs[0].shape), cache)
        assert cache.maker.name == f"your {operation}"
        with minisegnet.backend("reference"):
            wanted, cache = case.forward(functional, arrays, options)
            wanted_gradients = case.backward(functional, case.draw_upstream(outputs[0].shape), cache)
        for one, other in zip([*outputs, *gradients], [*wanted, *wanted_gradients], strict=True):
            assert (one is None and other is None) or np.array_equal(one, other), str(case)


# ------------------------------------------------------------------------- what replace() itself refuses


def refuses(message, **functions):
    with pytest.raises(BackendError) as raised, minisegnet.replace(**functions):
        pass
    assert message in str(raised.value)


def test_unknown_names():
    refuses("replace: there is no conv3d_forward; the operations are conv2d, conv_transpose2d", conv3d_forward=twice)
    refuses("replace: there is no relu", relu=twice)
    refuses("replace: there is no relu_sideways", relu_sideways=twice)


def test_a_missing_half():
    refuses("replace: relu_backward is missing; the two halves share a cache, so replace both", relu_forward=twice)
    refuses("replace: relu_forward is missing", relu_backward=twice_back)


def test_wrong_signatures():
    def no_options(x, weight, bias):
        return x, None

    def other_names(x, weight, bias, step=1, padding=0, dilation=1):
        return x, None

    def too_few(dy):
        return dy

    named = {"conv2d_backward": twice_back}
    refuses(
        "conv2d_forward is called as conv2d_forward(x, weight, bias=None, stride=1,", conv2d_forward=no_options, **named
    )
    refuses("yours takes (x, weight, bias)", conv2d_forward=no_options, **named)
    refuses("unexpected keyword argument 'stride'", conv2d_forward=other_names, **named)
    refuses(
        "relu_backward is called as relu_backward(dy, cache); yours takes (dy)",
        relu_forward=twice,
        relu_backward=too_few,
    )
    refuses("replace: relu_forward must be a function; got int", relu_forward=3, relu_backward=twice_back)


# --------------------------------------------------------------- what is refused of the results, with whose they are


def relu_by(forward=twice, backward=twice_back):
    with minisegnet.replace(relu_forward=forward, relu_backward=backward):
        _, cache = functional.relu_forward(X)
        return functional.relu_backward(X, cache)


@pytest.mark.parametrize(
    "forward, error, message",
    [
        (lambda x: x, BackendError, "your relu_forward must return two things, the output and a cache; got ndarray"),
        (lambda x: (x, x, x), BackendError, "got tuple of 3"),
        (lambda x: None, BackendError, "got NoneType"),
        (
            lambda x: (x[0], x),
            ShapeError,
            "the output of your relu_forward must have shape (1, 2, 3, 4); got (2, 3, 4)",
        ),
        (lambda x: (x.astype(float), x), DtypeError, "must be float32, as the input is; got float64"),
        (lambda x: (x.tolist(), x), DtypeError, "must be a NumPy array of shape (1, 2, 3, 4); got list"),
    ],
)
def test_wrong_outputs(forward, error, message):
    with pytest.raises(error) as raised:
        relu_by(forward=forward)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "backward, error, message",
    [
        (lambda dy, cache: (dy, dy), BackendError, "your relu_backward must return 1 gradients"),
        (lambda dy, cache: None, DtypeError, "gradient 0 of your relu_backward must be a NumPy array"),
        (lambda dy, cache: dy[:, :1], ShapeError, "gradient 0 of your relu_backward must have shape (1, 2, 3, 4)"),
        (lambda dy, cache: dy * np.ones(4), DtypeError, "must be float32, as the input is; got float64"),
    ],
)
def test_wrong_gradients(backward, error, message):
    with pytest.raises(error) as raised:
        relu_by(backward=backward)
    assert message in str(raised.value)


@pytest.mark.parametrize("indices", [X, None, np.zeros((1, 2, 3, 4), np.int64), np.zeros((1, 2, 1, 2), np.int64)])
def test_indices_of_max_pooling_must_be_integers_of_the_right_shape(indices):
    def forward(x, kernel_size, stride, padding, dilation, ceil_mode):
        return (x[:, :, ::2, ::2][:, :, :1], indices), None

    with minisegnet.replace(max_pool2d_forward=forward, max_pool2d_backward=twice_back):
        if isinstance(indices, np.ndarray) and indices.dtype == np.int64 and indices.shape == (1, 2, 1, 2):
            assert functional.max_pool2d_forward(X, 2)[0][1].dtype == np.int64
        else:
            with pytest.raises((DtypeError, ShapeError), match="output 1 of your max_pool2d_forward must"):
                functional.max_pool2d_forward(X, 2)


def test_an_operation_of_several_outputs_must_return_them_all():
    with (
        minisegnet.replace(max_pool2d_forward=lambda x, **options: (x, None), max_pool2d_backward=twice_back),
        pytest.raises(BackendError, match="the output of your max_pool2d_forward must be 2 arrays; got ndarray"),
    ):
        functional.max_pool2d_forward(X, 2)


@pytest.mark.parametrize("count", [0, 2, 4])
def test_wrong_count_of_gradients(count):
    forward = functional.linear_forward
    x, weight = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
    with minisegnet.replace(
        linear_forward=lambda x, weight, bias: (x @ weight.T, None), linear_backward=lambda dy, cache: (x,) * count
    ):
        y, cache = forward(x, weight)
        with pytest.raises(BackendError, match=f"must return 3 gradients, one for each .* input; got {count}"):
            functional.linear_backward(y, cache)


def test_gradients_come_as_the_contract_says_however_they_were_returned():
    """One bare, several as a tuple, concat's as a list; None where the input was None; all C-contiguous."""
    x, weight = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
    dx = relu_by(backward=lambda dy, cache: (np.asfortranarray(dy),))
    assert type(dx) is np.ndarray and dx.flags.c_contiguous
    with minisegnet.replace(
        linear_forward=lambda x, weight, bias: (np.asfortranarray(x @ weight.T), None),
        linear_backward=lambda dy, cache: [x, weight, "whatever"],
    ):
        y, cache = functional.linear_forward(x, weight)
        gradients = functional.linear_backward(y, cache)
    assert y.flags.c_contiguous
    assert type(gradients) is tuple and gradients[2] is None
    for backward in (lambda dy, cache: dy, lambda dy, cache: (dy,), lambda dy, cache: [dy]):
        with minisegnet.replace(concat_forward=lambda xs, dim: (xs[0], None), concat_backward=backward):
            y, cache = functional.concat_forward([X])
            gradients = functional.concat_backward(y, cache)
        assert type(gradients) is list and (gradients[0] == X).all()


def test_a_loss_may_be_a_numpy_number():
    def forward(x, target, beta, reduction):
        return np.abs(x - target).sum(), None

    with minisegnet.replace(smooth_l1_forward=forward, smooth_l1_backward=lambda dy, cache: X * dy):
        loss, cache = functional.smooth_l1_forward(X, X + 1)
        assert type(loss) is np.ndarray and loss.shape == () and loss == 24
        assert (functional.smooth_l1_backward(2.0, cache) == 2 * X).all()


def test_arguments_are_checked_before_a_replacement_sees_them():
    def forward(x, weight, bias, stride, padding, dilation):
        raise AssertionError("called")

    with (
        minisegnet.replace(conv2d_forward=forward, conv2d_backward=twice_back),
        pytest.raises(ShapeError, match="x has 1 channels"),
    ):
        functional.conv2d_forward(X[:, :1], WEIGHT)
