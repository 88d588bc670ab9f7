"""Every operation on arrays that lie on a device: the same launches as in the emulator, nothing computed by NumPy.

A stand-in takes CuPy's place. It launches as CuPy does and lets the emulator compute; whatever treats one of its arrays
as NumPy's fails. So the same bits must come out as from NumPy arrays, and no value may be copied back on the way.
"""

import sys

import numpy as np
import pytest
from cases import cases
from stand_in_cupy import CuPy, ndarray

import minisegnet.cuda
from minisegnet import emulator
from minisegnet.cuda import modules
from minisegnet.cuda.signature import kernels


@pytest.fixture
def cupy(monkeypatch):
    if emulator.compiler_found() is None:
        pytest.skip("no C++ compiler was found, which the emulator needs")
    files = {name: path for path in modules.kernel_folder().glob("*.cu") for name in kernels(modules.text_of(path))}

    def run(kernel, grid, block, arguments, shared_bytes):
        parameters = kernels(modules.text_of(files[kernel]))[kernel].parameters
        values = [
            value.values if isinstance(value, ndarray) else None if parameter.pointer else value
            for parameter, value in zip(parameters, arguments, strict=True)
        ]
        emulator.run(files[kernel], kernel, grid, block, values, shared_bytes)

    def asnumpy(array):
        pytest.fail("an array was copied back from the device")

    module = CuPy(run)
    module.asnumpy = asnumpy
    monkeypatch.setitem(sys.modules, "cupy", module)
    modules._function.cache_clear()
    yield module
    modules._function.cache_clear()


def placed(values, place):
    """Arrays, in lists too, put somewhere; all else as it is."""
    if isinstance(values, list):
        return [placed(value, place) for value in values]
    return place(values) if isinstance(values, np.ndarray) else values


@pytest.mark.parametrize("case", cases(dtypes=["float32"]))
def test_the_device_gives_what_the_emulator_gives(cupy, case):
    arrays, options = case.draw()
    outputs, saved = case.forward(minisegnet.cuda, arrays, options)
    dy = case.draw_upstream(outputs[0].shape)
    wanted = [*outputs, *case.backward(minisegnet.cuda, dy, saved)]

    options = {name: placed(value, ndarray) for name, value in options.items()}
    outputs, saved = case.forward(minisegnet.cuda, placed(arrays, ndarray), options)
    found = [*outputs, *case.backward(minisegnet.cuda, ndarray(dy), saved)]

    assert len(found) == len(wanted)
    for array, other in zip(found, wanted, strict=True):
        if other is None:
            assert array is None
        else:
            assert type(array) is ndarray and array.dtype == other.dtype and array.shape == other.shape
            assert array.values.tobytes() == other.tobytes()
