"""Every operation on every backend: the definition's numbers, the contract's form, and gradients that are gradients."""

from contextlib import nullcontext
from functools import cache

import numpy as np
import pytest
from cases import TABLE, cases
from conftest import FLOAT32_BOUND, assert_close, computed_in

import minisegnet
from minisegnet import functional
from minisegnet.functional import OPERATIONS

BOUNDS = {"float32": 1e-5, "float64": 1e-13}  # of float32's 6e-8 and float64's 1e-16, after some tens of sums

# Linear in each differentiable argument, up to what does not depend on it.
LINEAR = {
    "conv2d", "conv_transpose2d", "linear", "avg_pool2d", "max_unpool2d", "nearest_unpool2d", "bed_of_nails2d",
    "upsample_bilinear2d", "reflection_pad2d", "concat", "crop", "add", "dropout", "roi_align",
}  # fmt: skip


def test_every_operation_has_cases():
    assert list(TABLE) == list(OPERATIONS)


@pytest.mark.parametrize("case", cases())
def test_operation(backend, case):
    """Outputs and gradients are the reference's in long double, and come as the contract says."""
    arrays, options = case.draw()
    given = [*arrays, *options.values()]
    before = copies(given)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        outputs, saved = case.forward(backend, arrays, options)
        dy = case.draw_upstream(outputs[0].shape)
        dy_before = dy.copy()
        gradients = case.backward(backend, dy, saved)
        again = case.backward(backend, dy, saved)

    assert_same(copies(given), before, "an argument was changed")
    assert_same([dy], [dy_before], "dy was changed")
    assert_same(again, gradients, "a second backward pass differs from the first")
    for result in [*outputs, *gradients]:
        assert_plain(result, [*given, dy])

    wanted_outputs, wanted_gradients = definition(case)
    assert len(outputs) == len(wanted_outputs) and len(gradients) == len(wanted_gradients)
    for i, (result, wanted) in enumerate(zip(outputs, wanted_outputs, strict=True)):
        assert_close(result, rounded(wanted, case.dtype), BOUNDS[case.dtype], f"output {i}")
    for i, (result, wanted) in enumerate(zip(gradients, wanted_gradients, strict=True)):
        if wanted is None:
            assert result is None
        else:
            assert_close(result, rounded(wanted, case.dtype), BOUNDS[case.dtype], f"gradient {i}")


@pytest.mark.parametrize("case", cases(dtypes=["float64"], layouts=False))
def test_gradient(backend, case):
    """<dy, J v> = <gradient, v> along a random v: exactly where linear, else J v is taken by central differences.

    Differences of kernels' losses would be float32's rounding errors: their gradients are held against NumPy's losses.
    """
    arrays, options = case.draw()
    outputs, saved = case.forward(backend, arrays, options)
    dy = case.draw_upstream(outputs[0].shape)
    gradients = case.backward(backend, dy, saved)
    rng = np.random.default_rng(case.seed + 2)
    in_float64 = computed_in("float64") == "float64"

    def loss(i, array):
        given = [*arrays[:i], np.asarray(array), *arrays[i + 1 :]]
        with nullcontext() if in_float64 else minisegnet.backend("numpy"):
            outputs, _ = case.forward(functional, given, options)
        return (dy * outputs[0]).sum()

    for i in case.differentiable:
        v = np.asarray(rng.standard_normal(arrays[i].shape))
        if case.operation in LINEAR:
            slope, bound = loss(i, v) - loss(i, np.zeros_like(v)), 1e-12
        else:
            h = 1e-6
            slope, bound = (loss(i, arrays[i] + h * v) - loss(i, arrays[i] - h * v)) / (2 * h), 1e-6
        terms = gradients[i] * v
        if not in_float64:  # relative to the terms, which may cancel
            slope, terms = slope / max(np.abs(terms).sum(), 1e-3), terms / max(np.abs(terms).sum(), 1e-3)
            assert abs(terms.sum() - slope) < FLOAT32_BOUND, f"slope along argument {i}"
        else:
            assert_close(np.float64(terms.sum()), np.float64(slope), bound, f"slope along argument {i}")


@cache
def definition(case):
    """What the reference gives in long double."""
    with minisegnet.backend("reference"):
        outputs, saved = case.forward(functional, *case.draw(np.longdouble))
        dy = case.draw_upstream(outputs[0].shape, np.longdouble)
        return outputs, case.backward(functional, dy, saved)


def rounded(array, dtype):
    return array.astype(dtype) if array.dtype.kind == "f" else array


def copies(values):
    return [value.copy() if isinstance(value, np.ndarray) else value for value in values]


def assert_same(actual, wanted, message):
    for one, other in zip(actual, wanted, strict=True):
        if isinstance(other, np.ndarray):
            assert one.dtype == other.dtype and one.tobytes() == other.tobytes(), message


def assert_plain(result, arguments):
    """A C-contiguous array that shares no memory with what was given."""
    if result is None:
        return
    assert type(result) is np.ndarray, f"got {type(result).__name__}"
    assert result.flags.c_contiguous, f"a result of shape {result.shape} has strides {result.strides}"
    views = [a.shape for a in arguments if isinstance(a, np.ndarray) and np.may_share_memory(result, a)]
    assert not views, f"a result is a view of an argument of shape {views[0]}"
