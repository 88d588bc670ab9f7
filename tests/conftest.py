"""What the tests share: the backend that each runs on, how close is close, and the marker for PyTorch's."""

import gc
import importlib.util
import signal
from contextlib import nullcontext, suppress

import numpy as np
import pytest

import minisegnet
from minisegnet import emulator, functional
from minisegnet.cuda import arrays
from minisegnet.errors import MinisegnetError
from minisegnet.memory import keep_freed_memory

pytest_plugins = ["executed_cases"]

# Every test that takes the fixture `backend` runs once on each of these; on cuda only where CuPy finds a device.
BACKENDS = ["reference", "numpy", "emulator"]
with suppress(MinisegnetError):
    arrays.check_device()
    BACKENDS.append("cuda")

# Of float32's 6e-8, after some tens of sums: what is asked at least of kernels, which compute in float32.
FLOAT32_BOUND = 1e-5

_kernels_compute = False


def pytest_collection_finish(session):
    """Take a seventh off the tests' time: keep what arrays leave free, and never look through the tests for garbage."""
    keep_freed_memory()
    gc.collect()
    gc.freeze()


@pytest.fixture(params=BACKENDS)
def backend(request):
    """`minisegnet.functional`, with one of the backends in force; on kernels in the form of `InFloat32`."""
    yield from backend_named(request.param)


@pytest.fixture(params=["reference", "numpy"])
def float64_backend(request):
    """The same, on the backends that compute in float64: for differences of losses, as the gradient check takes."""
    yield from backend_named(request.param)


def backend_named(name):
    """What the fixture `backend` yields for one of the backends; skips the test where it cannot compute."""
    global _kernels_compute
    if name in ("reference", "numpy"):
        with minisegnet.backend(name):
            yield functional
        return
    skip_without_compiler(name)
    _kernels_compute = True
    with minisegnet.backend("emulator") if name == "emulator" else nullcontext():
        yield InFloat32(on_device=name == "cuda")
    _kernels_compute = False


def skip_without_compiler(name):
    """Skip the test, saying why, where the emulator cannot compile kernels."""
    if name == "emulator" and emulator.compiler_found() is None:
        pytest.skip("the emulator needs a C++ compiler, and none was found (apt install g++)")


class InFloat32:
    """`minisegnet.functional` on kernels: float64 is rounded to float32 on the way in, and widened on the way out.

    So the same tests run on them, with float32's bounds (see `assert_close`). On a device, arrays are brought there and
    back.
    """

    def __init__(self, on_device):
        self.on_device = on_device

    def __getattr__(self, name):
        function = getattr(functional, name)

        def called(*arguments, **options):
            types = [array.dtype for array in arrays_in([*arguments, *options.values()]) if array.dtype.kind == "f"]
            given = [self.placed(value) for value in arguments]
            answer = function(*given, **{key: self.placed(value) for key, value in options.items()})
            if name.endswith("_forward"):
                output, cache = answer
                return widened(output, types[0]), Made(cache, types[0])
            return widened(answer, arguments[1].dtype)

        return called

    def placed(self, value):
        """Arguments as kernels take them."""
        if isinstance(value, list | tuple):
            return type(value)(self.placed(one) for one in value)
        if isinstance(value, Made):
            return value.cache
        if isinstance(value, np.ndarray):
            value = value.astype(np.float32) if value.dtype == np.float64 else value
            return arrays.to_device(value) if self.on_device else value
        return value


class Made:
    """A cache, with the float type of the arguments that it was made for."""

    def __init__(self, cache, dtype):
        self.cache, self.dtype = cache, dtype


def arrays_in(values):
    """The arrays among values and in lists of them."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from arrays_in(value)
        elif isinstance(value, np.ndarray):
            yield value


def widened(result, dtype):
    """Results in the computer's memory, floats as `dtype`."""
    if isinstance(result, list | tuple):
        return type(result)(widened(one, dtype) for one in result)
    if result is None:
        return None
    result = arrays.to_host(result)
    return result.astype(dtype, copy=False) if result.dtype.kind == "f" else result


def computed_in(dtype):
    """The float type that arrays of `dtype` are computed in by the backend of this test."""
    return "float32" if _kernels_compute else dtype


def pytest_configure(config):
    # A shell that runs the tests in the background lets them ignore Ctrl-C, which some of them send.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item):
    if item.get_closest_marker("torch"):
        if importlib.util.find_spec("torch") is None:
            pytest.skip("PyTorch is not installed (pip install -e .[torch])")
        import torch

        torch.set_num_threads(1)  # the cases are small: more threads only wait for one another


def assert_close(actual, wanted, bound, what="result"):
    """Same shape, same type, and an error of at most `bound` relative to the largest value; NaN fails.

    The error is max|actual - wanted| / max(max|actual|, max|wanted|, 1e-3). Kernels are asked for float32's bound.
    """
    assert actual.shape == wanted.shape, f"{what}: shape {actual.shape}, wanted {wanted.shape}"
    assert actual.dtype == wanted.dtype, f"{what}: type {actual.dtype}, wanted {wanted.dtype}"
    if wanted.size == 0:
        return
    if _kernels_compute:
        bound = max(bound, FLOAT32_BOUND)
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
