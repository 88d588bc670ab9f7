"""The networks of the lecture, each built by a function that returns a `Graph`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from minisegnet.errors import OptionError
from minisegnet.graph import Graph
from minisegnet.models.unet import unet, unet_2015

MODELS: dict[str, Callable[..., Graph]] = {"unet": unet, "unet_2015": unet_2015}


def create(name: str, **arguments: Any) -> Graph:
    """Build a network by name, as the command line and checkpoints do; raises OptionError for what it does not know."""
    if name not in MODELS:
        raise OptionError(f"unknown model {name!r}: choose one of {', '.join(MODELS)}")
    build = MODELS[name]
    try:
        inspect.signature(build).bind(**arguments)
    except TypeError as problem:
        raise OptionError(f"{name}{inspect.signature(build)}: {problem}") from None
    return build(**arguments)


__all__ = ["MODELS", "create", "unet", "unet_2015"]
