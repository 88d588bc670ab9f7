"""What a plan follows from, besides the graph's nodes; each worker is told at each call."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from minisegnet import layers as L
from minisegnet.layers.base import Layer
from minisegnet.shapes import Shape

# Arguments of layers' constructors that are no options: arrays, and what those are drawn from.
NO_OPTIONS = {"bias", "rng", "seed", "weight"}
# The options of each layer of ours, by name. Others run in the first worker, which sees theirs.
OPTIONS = {
    kind: tuple(name for name in inspect.signature(kind).parameters if name not in NO_OPTIONS)
    for kind in (getattr(L, name) for name in L.__all__)
    if issubclass(kind, Layer)
}


class Settings(NamedTuple):
    """What may be changed of a layer at any time."""

    training: bool
    trainable: tuple[bool, ...]  # by parameter
    options: tuple[Any, ...]  # as named in OPTIONS


class Key(NamedTuple):
    """What a plan follows from."""

    shapes: tuple[Shape, ...]
    backward: bool
    with_loss: bool
    settings: tuple[Settings, ...]  # of each layer, and of the loss
    replaced: tuple[str, ...]


def settings_of(layer: Layer) -> Settings:
    """As the layer is set now."""
    given = vars(layer)
    options = [given[name] for name in OPTIONS.get(type(layer), ())]
    trainable = tuple([parameter.trainable for parameter in layer.parameters.values()])
    return Settings(layer.training, trainable, tuple([tuple(o) if type(o) is list else o for o in options]))


def take(layers: Iterable[Layer], settings: Iterable[Settings]) -> None:
    """Set layers as their originals in another process are."""
    for layer, (training, trainable, options) in zip(layers, settings, strict=True):
        layer.training = training
        for parameter, yes in zip(layer.parameters.values(), trainable, strict=True):
            parameter.trainable = yes
        for name, option in zip(OPTIONS.get(type(layer), ()), options, strict=True):
            setattr(layer, name, option)


# Keys are some kilobytes long and always the same few: to pickle one takes 50 us, and to send it once more nothing.
@lru_cache(maxsize=16)
def as_bytes(key: Key) -> bytes:
    """A key to be sent."""
    return pickle.dumps(key)


@lru_cache(maxsize=16)
def from_bytes(data: bytes) -> Key:
    """A key that was sent."""
    return pickle.loads(data)
