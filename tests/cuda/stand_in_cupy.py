"""A stand-in for the module CuPy: arrays that only kernels can read, compiled and launched by the emulator.

It knows what minisegnet.cuda uses of CuPy and nothing else, so that whatever treats a device's array as NumPy's fails.
"""

import sys
from types import SimpleNamespace
from typing import ClassVar

import numpy as np

from minisegnet import emulator
from minisegnet.cuda import modules
from minisegnet.cuda.signature import kernels


class CUDARuntimeError(RuntimeError):
    """As cupy.cuda.runtime's."""


class CUDADriverError(RuntimeError):
    """As cupy.cuda.driver's."""


class CompileException(Exception):
    """As cupy.cuda.compiler's."""


class OutOfMemoryError(MemoryError):
    """As cupy.cuda.memory's."""


class Device:
    """A device of compute capability `capability`; `entered` lists the devices that a block is in."""

    entered: ClassVar[list[int]] = []

    def __init__(self, id=0, capability="90", shared=232448):
        self.id, self.compute_capability = id, capability
        self.attributes = {"MaxSharedMemoryPerBlockOptin": shared}

    def __enter__(self):
        self.entered.append(self.id)

    def __exit__(self, *_):
        self.entered.pop()

    def __str__(self):
        return f"<CUDA Device {self.id}>"


class ndarray:  # as CuPy calls it
    """Values on a device. NumPy refuses to compute with it."""

    __array_ufunc__ = None

    def __init__(self, values, device=None):
        self.values, self.device = values, device or HERE

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    shape = property(lambda self: self.values.shape)
    dtype = property(lambda self: self.values.dtype)
    size = property(lambda self: self.values.size)
    ndim = property(lambda self: self.values.ndim)
    nbytes = property(lambda self: self.values.nbytes)
    strides = property(lambda self: self.values.strides)
    flags = property(lambda self: SimpleNamespace(c_contiguous=self.values.flags.c_contiguous))
    data = property(lambda self: Memory(self.values))

    def __len__(self):
        return len(self.values)

    def __getitem__(self, where):
        return ndarray(self.values[_values(where)], self.device)

    def __setitem__(self, where, values):
        self.values[_values(where)] = _values(values)

    def __eq__(self, number):
        return ndarray(self.values == number, self.device)

    __hash__ = None

    def copy(self, order="C"):
        return ndarray(self.values.copy(order), self.device)

    def astype(self, dtype, copy=True):
        return ndarray(self.values.astype(dtype, copy=copy), self.device)

    def set(self, values):
        assert values.dtype == self.dtype and values.shape == self.shape and values.flags.c_contiguous
        self.values[...] = values

    def view(self, dtype):
        return ndarray(self.values.view(dtype), self.device)

    def reshape(self, *shape):
        return ndarray(self.values.reshape(*shape), self.device)


def _values(thing):
    return thing.values if isinstance(thing, ndarray) else thing


class Memory:
    """What an array begins at."""

    def __init__(self, values):
        self.values, self.ptr = values, values.__array_interface__["data"][0]

    def memset_async(self, value, size):
        assert value == 0 and size == self.values.nbytes and self.values.flags.c_contiguous
        self.values.fill(0)


class Function:
    """A kernel of a module: launches are kept in `launches`, and handed to `run` where one is given."""

    def __init__(self, name, static, run):
        self.name, self.shared_size_bytes, self.run = name, static, run
        self.max_dynamic_shared_size_bytes = 48 * 1024
        self.launches = []

    def __call__(self, grid, block, args, *, shared_mem=0):
        self.launches.append((grid, block, args, shared_mem, Device.entered[-1]))
        if self.run:
            self.run(self.name, grid, block, args, shared_mem)


class CuPy:
    """The module: put it into sys.modules as "cupy"."""

    def __init__(self, run=None, static=0):
        self.modules = []  # (code, options) of each that was made
        self.functions = {}
        self.ndarray = ndarray
        self.cuda = SimpleNamespace(
            runtime=SimpleNamespace(CUDARuntimeError=CUDARuntimeError, getDeviceCount=lambda: self.devices),
            driver=SimpleNamespace(CUDADriverError=CUDADriverError),
            compiler=SimpleNamespace(CompileException=CompileException),
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        )
        self.run, self.static = run, static
        self.devices = 1
        self.copied_back = []  # the shape of every array that was

    def RawModule(self, *, code, options):
        self.modules.append((code, options))

        def get_function(name):
            return self.functions.setdefault(name, Function(name, self.static, self.run))

        return SimpleNamespace(get_function=get_function)

    def empty(self, shape, dtype):
        return ndarray(np.empty(shape, dtype))

    def zeros(self, shape, dtype):
        return ndarray(np.zeros(shape, dtype))

    def asarray(self, values):
        return ndarray(np.array(values))

    def asnumpy(self, array):
        self.copied_back.append(array.shape)
        return array.values.copy()


HERE = Device()


def installed(monkeypatch):
    """The stand-in as the module CuPy of a test, its kernels computed by the emulator."""
    files = {name: path for path in modules.kernel_folder().glob("*.cu") for name in kernels(modules.text_of(path))}

    def run(kernel, grid, block, arguments, shared_bytes):
        parameters = kernels(modules.text_of(files[kernel]))[kernel].parameters
        values = [
            value.values if isinstance(value, ndarray) else None if parameter.pointer else value
            for parameter, value in zip(parameters, arguments, strict=True)
        ]
        emulator.run(files[kernel], kernel, grid, block, values, shared_bytes)

    module = CuPy(run)
    monkeypatch.setitem(sys.modules, "cupy", module)
    modules._function.cache_clear()
    return module
