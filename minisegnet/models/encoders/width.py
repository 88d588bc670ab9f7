"""How many channels a published layer has when its network is made narrower or wider."""

from __future__ import annotations

from math import gcd

from minisegnet.errors import OptionError
from minisegnet.layers.base import whole

PUBLISHED = 64  # channels of the first layer of VGG, ResNet and SqueezeNet 1.1 as published


def scaled(channels: int, width: int) -> int:
    """The channels of a layer that has `channels` in the published network, in one whose first layer has `width`.

    Raises OptionError for a width that is no whole number of at least 1, or that does not come out even here.
    """
    product = channels * whole("width", width)
    if product % PUBLISHED:
        raise OptionError(
            f"width {width} makes {product / PUBLISHED:g} channels of the published {channels}; "
            f"take a multiple of {PUBLISHED // gcd(channels, PUBLISHED)}"
        )
    return product // PUBLISHED
