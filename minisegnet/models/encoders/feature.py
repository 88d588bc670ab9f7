"""What an encoder hands to the decoder after it."""

from __future__ import annotations

from typing import NamedTuple

from minisegnet.nodes import Handle


class Feature(NamedTuple):
    """One value inside an encoder, and how many channels it has."""

    value: Handle
    channels: int


Features = dict[int, Feature]  # by stride: how many pixels of the image lie from one value to the next (2, 4, 8, ...)
