"""Arrays in shared memory: like any others, small ones packed, seen by forked processes, freed with the last."""

import copy
import gc
import mmap
import os
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from minisegnet.layers import BatchNorm2d, Conv2d, Parameter
from minisegnet.memory import PACK, reserve, shared, shared_zeros
from minisegnet.models import unet

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")


def in_child(work):
    """Run work() in a forked process, and wait for its end."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8])
@pytest.mark.parametrize("shape", [(), 0, 7, (0, 3), (5,), (3, 4, 5), (64, 32, 3, 3), (1, 4096)])
def test_like_zeros(shape, dtype):
    array, wanted = shared_zeros(shape, dtype), np.zeros(shape, dtype)
    assert array.shape == wanted.shape and array.dtype == wanted.dtype
    assert array.flags.writeable and array.flags.c_contiguous and array.ctypes.data % 64 == 0
    np.testing.assert_array_equal(array, wanted)
    array.fill(3)
    np.testing.assert_array_equal(array, wanted + 3)


def test_an_array_of_no_bytes_may_be_a_threads_first():
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(shared_zeros, (0, 3), np.float32).result().shape == (0, 3)


@pytest.mark.parametrize("shape", [-1, (-1,), (2, -3), (-2, -3)])
def test_negative_lengths(shape):
    with pytest.raises(ValueError, match="at least 0"):
        shared_zeros(shape, np.float32)


def test_more_memory_than_there_is():
    with pytest.raises(MemoryError, match="does not give"):
        shared_zeros((2**31, 2**31), np.float32)


def test_small_arrays_lie_together_and_apart():
    sizes = np.random.default_rng(3).integers(0, 300, 500)
    arrays = [shared_zeros(int(size), np.float64) for size in sizes]
    assert all((array == 0).all() for array in arrays)
    for number, array in enumerate(arrays):
        array.fill(number)
    assert all((array == number).all() for number, array in enumerate(arrays))
    assert len({id(array.base) for array in arrays}) <= 2 + sum(8 * size + 64 for size in sizes) / (PACK - 4096)


def test_memory_goes_with_its_last_array():
    arrays = [shared_zeros(100, np.float32) for _ in range(3 * PACK // 400)]
    maps = [weakref.ref(base) for base in {id(array.base): array.base for array in arrays}.values()]
    last = arrays[0][10:20]
    del arrays
    gc.collect()
    assert [found() is not None for found in maps] == [True, *[False] * (len(maps) - 2), True]  # the last is in use
    del last
    assert maps[0]() is None

    large = shared_zeros(mmap.PAGESIZE, np.uint8)
    mapping, view = weakref.ref(large.base), large[3:]
    del large
    assert mapping() is not None
    del view
    assert mapping() is None


@forks
@pytest.mark.parametrize("size", [1, 1000, 10**5])
def test_processes_see_what_the_other_writes(size):
    array = shared_zeros(size, np.float32)
    array.fill(1)

    def work():
        assert (array == 1).all()
        array.fill(2)

    in_child(work)
    assert (array == 2).all()


@forks
def test_what_a_child_makes_is_its_own():
    shared_zeros(3, np.float32)

    def work():
        for _ in range(10):
            shared_zeros(3, np.float32).fill(7)

    in_child(work)
    assert all((shared_zeros(3, np.float32) == 0).all() for _ in range(10))


@forks
def test_private_memory_is_not_shared():
    array = reserve(10000, shared=False)
    in_child(lambda: array.fill(7))
    assert (array == 0).all()


def test_shared_takes_a_copy_of_ordinary_memory_alone():
    array = shared_zeros((3, 4), np.float32)
    assert shared(array) is array
    view = array.T[1:]
    assert shared(view) is view
    for ordinary in (np.arange(6.0), np.arange(6.0)[::2], reserve(8, shared=False), np.array(5)):
        copied = shared(ordinary)
        assert copied is not ordinary and shared(copied) is copied and copied.dtype == ordinary.dtype
        np.testing.assert_array_equal(copied, ordinary)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_of_layers_are_independent(copied):
    for layer in (Conv2d(2, 3, 3), BatchNorm2d(4)):
        twin = copied(layer)
        state = layer.state_dict()
        assert twin.state_dict().keys() == state.keys()
        for array in twin.arrays().values():
            array += 1
        for parameter in twin.parameters.values():
            parameter.grad.fill(5)
        for name, array in layer.arrays().items():
            np.testing.assert_array_equal(array, state[name])
            np.testing.assert_array_equal(twin.arrays()[name], state[name] + 1)
        assert all((parameter.grad == 0).all() for parameter in layer.parameters.values())
        assert twin.weight is twin.parameters["weight"]


def test_a_copied_graph_is_independent():
    graph = unet(num_classes=2, in_channels=1, width=4, depth=1)
    twin = copy.deepcopy(graph)
    x = np.random.default_rng(0).standard_normal((1, 1, 16, 16)).astype(np.float32)
    before = graph.predict(x)
    np.testing.assert_array_equal(twin.predict(x), before)
    for parameter in twin.parameters.values():
        parameter.data.fill(0)
    np.testing.assert_array_equal(graph.predict(x), before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_astype_keeps_the_values_in_shared_memory(dtype):
    layer = BatchNorm2d(3)
    layer.weight.grad += np.arange(3)
    layer.buffers["running_var"] *= 2
    old = layer.weight.data
    assert layer.astype(dtype) is layer
    assert layer.weight.data is not old
    for array in (layer.weight.data, layer.weight.grad, layer.buffers["running_var"]):
        assert array.dtype == dtype and shared(array) is array
    assert layer.weight.grad.tolist() == [0, 1, 2] and layer.buffers["running_var"].tolist() == [2, 2, 2]
    assert layer.buffers["num_batches_tracked"].dtype == np.int64
    layer.weight.data += 1
    assert old.tolist() == [1, 1, 1]


def test_a_parameter_takes_no_memory_before_it_is_filled():
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE

    if not os.path.exists("/proc/self/statm"):
        pytest.skip("only Linux tells")
    before = resident()
    parameter = Parameter((2**26,))
    assert resident() - before < 2**24
    parameter.data[: 2**23] = 1
    assert 2**24 < resident() - before < 2**26
