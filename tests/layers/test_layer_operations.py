"""Each layer equals its operation, forward and backward, and tells its output's shape beforehand."""

import numpy as np
import pytest
from conftest import BACKENDS, assert_close, skip_without_compiler
from layer_table import TABLE, draw, parameters

import minisegnet
from minisegnet import layers
from minisegnet.cuda import arrays
from minisegnet.layers import Layer, Parameter

rows = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)


@pytest.fixture(params=[("numpy", "float32"), ("numpy", "float64"), ("emulator", "float32")], ids="-".join)
def dtype(request):
    """A float type, with a backend in force that computes in it."""
    name, dtype = request.param
    skip_without_compiler(name)
    with minisegnet.backend(name):
        yield dtype


def several(value):
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def test_the_table_holds_every_layer():
    named = {getattr(layers, name) for name in layers.__all__} - {Layer, Parameter}
    assert {type(row.layer()) for row in TABLE} == named


@rows
def test_a_layer_equals_its_operation(row, dtype):
    layer, inputs, rng = draw(row, 1, dtype)
    before = [array.copy() for array in inputs]
    output, cache = layer.forward(*inputs, **row.options)
    wanted, wanted_cache = row.operation(*inputs, *parameters(layer))
    outputs, wanted = several(output), several(wanted)[: layer.outputs]  # batch norm's layer keeps its statistics
    assert len(outputs) == layer.outputs
    for array, other in zip(outputs, wanted, strict=True):
        np.testing.assert_array_equal(array, other)
    assert outputs[0].dtype == dtype
    dy = np.asarray(rng.standard_normal(outputs[0].shape), dtype)
    gradients, all_wanted = several(layer.backward(dy, cache)), several(row.backward(dy, wanted_cache))
    held = [*gradients, *(parameter.grad for parameter in layer.parameters.values())]
    all_wanted = [gradient for gradient in all_wanted if gradient is not None]
    assert len(held) == len(all_wanted)
    for gradient, other in zip(held, all_wanted, strict=True):
        np.testing.assert_array_equal(gradient, other)
        assert gradient.dtype == dtype and np.abs(gradient).max() > 0
    for array, other in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(array, other, "an input was changed")


@rows
def test_a_layer_tells_its_output_shape(row):
    layer, inputs, _ = draw(row, 2, "float32")
    output, _ = layer.forward(*inputs, **row.options)
    shape = layer.output_shape(*(array.shape for array in inputs), **row.options)
    assert isinstance(shape, tuple) and shape == several(output)[0].shape


@rows
def test_gradients_add_up_until_they_are_zeroed(row, dtype):
    layer, inputs, rng = draw(row, 3, dtype)
    if not layer.parameters:
        assert layer.zero_grad() is None
        return
    arrays = {name: parameter.grad for name, parameter in layer.parameters.items()}
    output, cache = layer.forward(*inputs, **row.options)
    dy = np.asarray(rng.standard_normal(output.shape), dtype)
    layer.backward(dy, cache)
    once = {name: array.copy() for name, array in arrays.items()}
    layer.backward(dy, cache)
    for name, parameter in layer.parameters.items():
        assert parameter.grad is arrays[name], "the gradient was rebound"
        np.testing.assert_array_equal(parameter.grad, 2 * once[name])
    layer.zero_grad()
    assert all(not array.any() for array in arrays.values())


@rows
def test_a_frozen_parameter_gets_no_gradient(row):
    layer, inputs, rng = draw(row, 4, "float32")
    for parameter in layer.parameters.values():
        parameter.trainable = False
    output, cache = layer.forward(*inputs, **row.options)
    layer.backward(np.asarray(rng.standard_normal(several(output)[0].shape), "float32"), cache)
    assert all(not parameter.grad.any() for parameter in layer.parameters.values())


@rows
@pytest.mark.parametrize("name", [name for name in BACKENDS if name not in ("reference", "numpy")])
def test_a_layer_by_kernels_gives_what_numpy_gives_in_float64(row, name):
    """Outputs, gradients of inputs and parameters, and running statistics."""
    skip_without_compiler(name)

    def computed(dtype, place):
        layer, inputs, rng = draw(row, 5, dtype)
        layer.rebind(place)
        output, cache = layer.forward(*map(place, inputs), **row.options)
        dy = np.asarray(rng.standard_normal(several(output)[0].shape), dtype)
        gradients = several(layer.backward(place(dy), cache))
        held = [parameter.grad for parameter in layer.parameters.values()]
        found = [*several(output), *gradients, *held, *layer.buffers.values()]
        return [arrays.to_host(np.asarray(array) if isinstance(array, np.generic) else array) for array in found]

    wanted = computed("float64", arrays.to_host)
    if name == "emulator":
        with minisegnet.backend(name):
            found = computed("float32", arrays.to_host)
    else:
        found = computed("float32", arrays.to_device)
    for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
        assert_close(one, other.astype(one.dtype), 1e-5, f"array {number}")
