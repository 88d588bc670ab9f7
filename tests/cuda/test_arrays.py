"""Arrays in the computer's memory and on a device, and the package that computes on both."""

import sys

import numpy as np
import pytest
from stand_in_cupy import CUDARuntimeError, CuPy, Device, OutOfMemoryError, ndarray

import minisegnet.cuda
from minisegnet.cuda import arrays
from minisegnet.errors import BackendError, DtypeError, KernelError
from minisegnet.functional import OPERATIONS, WITHOUT_BACKWARD


@pytest.fixture
def cupy(monkeypatch):
    module = CuPy()
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # as where it is not installed


def test_new_arrays_lie_where_another_does(cupy):
    here, there = np.zeros(3, np.float32), ndarray(np.zeros(3, np.float32))
    for make in (arrays.empty, arrays.zeros):
        made = make((2, 5), np.int32, here)
        assert type(made) is np.ndarray and made.shape == (2, 5) and made.dtype == np.int32
        assert made.flags.c_contiguous
        made = make((2, 5), np.int32, there)
        assert type(made) is ndarray and made.shape == (2, 5) and made.dtype == np.int32
    assert not arrays.zeros(4, "f4", here).any() and not arrays.zeros(4, "f4", there).values.any()


def test_new_arrays_lie_on_the_same_device(cupy):
    entered = []
    cupy.empty = lambda shape, dtype: entered.extend(Device.entered)
    arrays.empty(3, "f4", ndarray(np.zeros(3), Device(2)))
    assert entered == [2]


def test_is_device(cupy):
    assert arrays.is_device(ndarray(np.zeros(3)))
    assert not any(arrays.is_device(value) for value in (np.zeros(3), 3.0, None, [1], np.float32(1)))


def test_without_cupy_nothing_is_on_a_device(no_cupy):
    assert not arrays.is_device(np.zeros(3))
    with pytest.raises(BackendError, match=r"needs CuPy .*pip install 'minisegnet\[cuda12\]'.*use the emulator"):
        arrays.to_device(np.zeros(3))


def test_there_and_back(cupy):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    there = arrays.to_device(x)
    assert arrays.is_device(there) and arrays.to_device(there) is there
    back = arrays.to_host(there)
    assert type(back) is np.ndarray and np.array_equal(back, x)
    assert arrays.to_host(back) is back


@pytest.mark.parametrize("place", [lambda x: x, ndarray], ids=["host", "device"])
def test_contiguous(cupy, place):
    def values(array):
        return array.values if arrays.is_device(array) else array

    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert arrays.contiguous(kept := place(x)) is kept
    for view in (x.T, x[:, ::2], x[..., 1:], x.reshape(-1)[1:], np.broadcast_to(x[0], (5, 3, 4)), x[:, :, ::-1]):
        copy = arrays.contiguous(place(view))
        assert arrays.is_device(copy) == arrays.is_device(kept)
        assert copy.flags.c_contiguous and arrays.address(copy) % 16 == 0
        assert np.array_equal(values(copy), view) and not np.shares_memory(values(copy), x)
    assert arrays.contiguous(place(np.float32(3) + np.zeros(()))).shape == ()
    assert arrays.contiguous(place(x[:0].T)).shape == (4, 3, 0)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (OutOfMemoryError("out of 8 bytes"), r"float32 does not fit into the device's memory \(out of 8 bytes\)"),
        (CUDARuntimeError("cudaErrorInsufficientDriver"), "float32 failed on the device: cudaErrorInsufficientDriver"),
    ],
)
def test_what_the_driver_says(cupy, problem, words):
    def fail(*_):
        raise problem

    cupy.asarray = cupy.empty = fail
    with pytest.raises(KernelError, match=words):
        arrays.to_device(np.zeros(3, np.float32))
    with pytest.raises(KernelError, match=words):
        arrays.empty(3, np.float32, ndarray(np.zeros(3)))


def test_an_error_of_an_earlier_kernel_is_told_when_its_result_is_read(cupy):
    def fail(_):
        raise CUDARuntimeError("cudaErrorIllegalAddress")

    cupy.asnumpy = fail
    with pytest.raises(KernelError, match=r"a kernel launched earlier.* failed on the device: cudaErrorIllegalAddress"):
        arrays.to_host(ndarray(np.zeros(3)))


def test_floats_are_float32():
    x = np.zeros(3, np.float32)
    arrays.float32_arrays(
        "relu", x=x, bias=None, labels=np.zeros(3, np.int64), xs=[x, x], eps=np.float64(2), mode="sum"
    )
    for wrong in (np.float64, np.float16, ">f4"):
        with pytest.raises(DtypeError, match=r"relu: the kernels compute in float32, and dy is .*dy\.astype"):
            arrays.float32_arrays("relu", x=x, dy=np.zeros(3, wrong))
    with pytest.raises(DtypeError, match=r"concat: .* xs is float64"):
        arrays.float32_arrays("concat", xs=[x, np.zeros(3)])


# --------------------------------------------------------------------------------------- the package of the operations


def test_every_operation_has_a_module():
    assert list(minisegnet.cuda.MODULES) == [*OPERATIONS, *WITHOUT_BACKWARD]
    for operation in WITHOUT_BACKWARD:
        assert callable(getattr(minisegnet.cuda, operation)), operation
    for operation in OPERATIONS:
        for half in ("forward", "backward"):
            assert callable(getattr(minisegnet.cuda, f"{operation}_{half}")), operation


@pytest.mark.parametrize("name", ["relu", "relu_sideways", "gelu_forward", "forward", "_forward", "__path_to__"])
def test_what_is_no_operation_is_no_attribute(name):
    with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
        getattr(minisegnet.cuda, name)


def test_operations_refuse_float64():
    x = np.zeros((1, 2, 3, 4), np.float32)
    with pytest.raises(DtypeError, match=r"relu: the kernels compute in float32, and x is float64; give x\.astype"):
        minisegnet.cuda.relu_forward(x.astype(np.float64))
    with pytest.raises(DtypeError, match="concat: the kernels compute in float32, and xs is float64"):
        minisegnet.cuda.concat_forward([x, x.astype(np.float64)], dim=1)
