"""The reference computes in any float type, and says so by the type of its results."""

import numpy as np
import pytest
from cases import cases
from conftest import assert_close

import minisegnet
from minisegnet import functional
from minisegnet.functional import OPERATIONS

# One case of each operation: float16 holds three digits, and sums of tens of them two.
FIRST = [cases(operation, dtypes=["float32"])[0] for operation in OPERATIONS]


@pytest.mark.parametrize("dtype, bound", [("float16", 1e-2), ("longdouble", 1e-6)])
@pytest.mark.parametrize("case", FIRST)
def test_reference_in_other_types(case, dtype, bound):
    results = {}
    for each in ("float32", dtype):
        with minisegnet.backend("reference"):
            outputs, cache = case.forward(functional, *case.draw(each))
            gradients = case.backward(functional, case.draw_upstream(outputs[0].shape, each), cache)
        results[each] = [*outputs, *gradients]
    for result, wanted in zip(results[dtype], results["float32"], strict=True):
        assert result.dtype == (dtype if wanted.dtype.kind == "f" else wanted.dtype)
        assert_close(result.astype(wanted.dtype), wanted, bound)


@pytest.mark.skipif(np.finfo(np.longdouble).eps == np.finfo(float).eps, reason="long double is float64 on this machine")
@pytest.mark.parametrize("operation", ["conv2d", "batch_norm2d", "sigmoid", "softmax", "softmax_cross_entropy", "dice"])
def test_reference_does_not_round_long_doubles_on_the_way(operation):
    """Its results carry digits that float64 has not."""
    case = cases(operation, dtypes=["float64"])[0].values[0]
    with minisegnet.backend("reference"):
        outputs, cache = case.forward(functional, *case.draw(np.longdouble))
        gradients = case.backward(functional, case.draw_upstream(outputs[0].shape, np.longdouble), cache)
    for result in [*outputs, gradients[0]]:
        assert (result.astype(float) != result).any()
