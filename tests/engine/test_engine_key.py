"""What plans follow from: settings of every layer, as other processes take them over."""

import copy
import pickle

import numpy as np
import pytest

from minisegnet import layers as L
from minisegnet.engine.engine import Engine
from minisegnet.engine.key import OPTIONS, as_bytes, from_bytes, settings_of, take
from minisegnet.graph import Graph

ARGUMENTS = {
    "AvgPool2d": (2,), "BatchNorm2d": (3,), "BilinearConvTranspose2d": (2, 4, 2), "Conv2d": (2, 3, 1),
    "ConvTranspose2d": (2, 3, 2), "Linear": (3, 4), "MaxPool2d": (2,), "PadToMultiple": (2,), "ReflectionPad2d": (1,),
    "ZeroConv2d": (2, 3, 1),
}  # fmt: skip
KINDS = [getattr(L, name) for name in L.__all__ if name not in ("Layer", "Parameter")]


@pytest.mark.parametrize("kind", KINDS)
def test_settings_of_every_layer_are_taken_over(kind):
    layer = kind(*ARGUMENTS.get(kind.__name__, ()))
    other, before = copy.deepcopy(layer), settings_of(layer)
    assert before == settings_of(other)
    for name in OPTIONS[kind]:
        setattr(layer, name, (3, 5))
        assert settings_of(layer) != before, name
        before = settings_of(layer)
    layer.freeze().training = not layer.training
    take([other], [pickle.loads(pickle.dumps(settings_of(layer)))])
    assert settings_of(other) == settings_of(layer)
    assert hash(settings_of(layer)) == hash(settings_of(other))


def test_an_option_that_is_a_list():
    graph = Graph("lists")
    layer = L.Conv2d(2, 3, [3, 1], padding=[1, 0])
    graph.output("y", layer, graph.input("x", 2))
    x = np.random.default_rng(0).standard_normal((2, 2, 5, 6), np.float32)
    with Engine(graph, workers=2) as engine:
        np.testing.assert_allclose(engine.predict(x), graph.predict(x), atol=1e-5)


def test_keys_as_they_are_sent():
    graph = Graph("one")
    graph.output("y", L.Conv2d(2, 3, 3), graph.input("x", 2))
    with Engine(graph) as engine:
        key = engine._key_of([(1, 2, 5, 6)], True, False)
        assert from_bytes(as_bytes(key)) == key
        graph.eval()
        other = engine._key_of([(1, 2, 5, 6)], True, False)
        assert other != key and from_bytes(as_bytes(other)) == other
