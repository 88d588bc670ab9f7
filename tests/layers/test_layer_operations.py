"""Each layer equals its operation, forward and backward, and tells its output's shape beforehand."""

import numpy as np
import pytest
from layer_table import TABLE, draw, parameters

from minisegnet import layers
from minisegnet.layers import Layer, Parameter

rows = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)


def several(value):
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def test_the_table_holds_every_layer():
    named = {getattr(layers, name) for name in layers.__all__} - {Layer, Parameter}
    assert {type(row.layer()) for row in TABLE} == named


@rows
@pytest.mark.parametrize("dtype", ["float32", "float64"])
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
def test_gradients_add_up_until_they_are_zeroed(row):
    layer, inputs, rng = draw(row, 3, "float64")
    if not layer.parameters:
        assert layer.zero_grad() is None
        return
    arrays = {name: parameter.grad for name, parameter in layer.parameters.items()}
    output, cache = layer.forward(*inputs, **row.options)
    dy = rng.standard_normal(output.shape)
    layer.backward(dy, cache)
    once = {name: array.copy() for name, array in arrays.items()}
    layer.backward(dy, cache)
    for name, parameter in layer.parameters.items():
        assert parameter.grad is arrays[name], "the gradient was rebound"
        np.testing.assert_allclose(parameter.grad, 2 * once[name], rtol=1e-12)
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
