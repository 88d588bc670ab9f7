"""Which taps of a kernel join which pixels of two images, along one axis.

A convolution of stride s, padding p and dilation d joins position j of its input to position i of its output by tap k
where j = s i - p + d k. Each group of positions that meet the same taps then has its windows side by side:

    target position   step u + first             u = 0, 1, ...
    source positions  stride u + start + spread k   for the taps of the group, in their order

To the output there is one group; to the input (the gradient, or a transposed convolution) there are s.
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple


class Group(NamedTuple):
    """Target positions that meet the same `length` taps, which `taps` picks out of the kernel."""

    first: int
    step: int
    stride: int
    start: int
    spread: int
    taps: slice
    length: int

    def among(self, start: int, stop: int) -> range:
        """The u of target positions from start to stop."""
        return range(-(-(start - self.first) // self.step), -(-(stop - self.first) // self.step))

    def sources(self, windows: range) -> range:
        """From the first to the last source position of some windows, those between included."""
        last = self.stride * (windows.stop - 1) + self.start + self.spread * (self.length - 1)
        return range(self.stride * windows.start + self.start, last + 1)


def to_output(kernel: int, stride: int, padding: int, dilation: int) -> list[Group]:
    """The one group of a convolution's output."""
    return [Group(0, 1, stride, -padding, dilation, slice(None), kernel)]


def to_input(kernel: int, stride: int, padding: int, dilation: int) -> list[Group]:
    """The groups of a convolution's input; those that no tap meets are left out."""
    groups = []
    every = stride // gcd(stride, dilation)  # from one tap of a group to the next
    for first in range(stride):
        taps = [k for k in range(kernel) if (first + padding - dilation * k) % stride == 0]
        if taps:  # the last comes first: its source position is the lowest
            start = (first + padding - dilation * taps[-1]) // stride
            backwards = slice(taps[-1], taps[0] - 1 if taps[0] else None, -every)
            groups.append(Group(first, stride, 1, start, dilation * every // stride, backwards, len(taps)))
    return groups
