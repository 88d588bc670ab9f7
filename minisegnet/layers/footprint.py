"""Where in its input a layer looks: what receptive fields, and the crops that line up two paths, follow from."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple


class Footprint(NamedTuple):
    """Along one direction: row i of the output is computed from rows scale i + first to scale i + last of the input.

    The numbers are exact fractions, since a transposed convolution has a scale of 1 / stride; rows that are not whole
    numbers, or that lie outside the input (in its padding), are not there to be read.
    """

    scale: Fraction
    first: Fraction
    last: Fraction

    @classmethod
    def of(cls, scale: int | Fraction, first: int | Fraction, last: int | Fraction) -> Footprint:
        """A footprint of any numbers, made fractions."""
        return cls(Fraction(scale), Fraction(first), Fraction(last))

    @property
    def offset(self) -> Fraction:
        """Where the middle of what output row 0 reads lies; row i's is at scale i + offset."""
        return (self.first + self.last) / 2

    def after(self, before: Footprint) -> Footprint:
        """The footprint of both layers in turn, `before` being the one that the input passes first."""
        return Footprint(
            before.scale * self.scale,
            before.scale * self.first + before.first,
            before.scale * self.last + before.last,
        )


Footprints = tuple[Footprint, Footprint]  # vertical, horizontal

POINT = Footprint.of(1, 0, 0)  # each value from the value at its own place


def sliding(kernel: int, stride: int, padding: int, dilation: int = 1) -> Footprint:
    """A window that slides over the input: convolution, pooling."""
    return Footprint.of(stride, -padding, dilation * (kernel - 1) - padding)


def stamping(kernel: int, stride: int, padding: int, dilation: int = 1) -> Footprint:
    """A window stamped on the output for each input value, `stride` apart: transposed convolution.

    Input row j is stamped on the output's rows stride j - padding to stride j - padding + dilation (kernel - 1), so
    output row i comes from the j between (i + padding - dilation (kernel - 1)) / stride and (i + padding) / stride.
    """
    return Footprint.of(
        Fraction(1, stride), Fraction(padding - dilation * (kernel - 1), stride), Fraction(padding, stride)
    )
