"""What the tests share: the backend that each runs on, how close is close, and the marker for PyTorch's."""

import importlib.util

import numpy as np
import pytest

import minisegnet
from minisegnet import functional

pytest_plugins = ["executed_cases"]

# Every test that takes the fixture `backend` runs once on each of these.
BACKENDS = ["reference", "numpy"]


@pytest.fixture(params=BACKENDS)
def backend(request):
    """`minisegnet.functional`, with one of the backends in force."""
    with minisegnet.backend(request.param):
        yield functional


def pytest_runtest_setup(item):
    if item.get_closest_marker("torch"):
        if importlib.util.find_spec("torch") is None:
            pytest.skip("PyTorch is not installed (pip install -e .[torch])")
        import torch

        torch.set_num_threads(1)  # the cases are small: more threads only wait for one another


def assert_close(actual, wanted, bound, what="result"):
    """Same shape, same type, and an error of at most `bound` relative to the largest value; NaN fails.

    The error is max|actual - wanted| / max(max|actual|, max|wanted|, 1e-3).
    """
    assert actual.shape == wanted.shape, f"{what}: shape {actual.shape}, wanted {wanted.shape}"
    assert actual.dtype == wanted.dtype, f"{what}: type {actual.dtype}, wanted {wanted.dtype}"
    if wanted.size == 0:
        return
    actual, wanted = np.asarray(actual, np.longdouble), np.asarray(wanted, np.longdouble)
    difference = np.abs(actual - wanted)
    error = difference.max() / max(np.abs(actual).max(), np.abs(wanted).max(), 1e-3)
    if not error <= bound:
        worst = np.unravel_index(np.argmax(difference), difference.shape)
        place = tuple(int(i) for i in worst)
        pytest.fail(
            f"{what}: relative error {float(error):.2e} is above {bound:.0e}; worst at {place}: "
            f"got {float(actual[worst])!r}, wanted {float(wanted[worst])!r}"
        )
