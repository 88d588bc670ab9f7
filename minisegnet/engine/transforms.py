"""Winograd's transforms: the matrices by which a convolution of a tile becomes a product of numbers.

For m outputs of a kernel of k taps, a = m + k - 1 inputs are multiplied by a numbers made from the kernel:

    y = A^T [ (G g) * (B^T x) ]                            one direction
    Y = A^T [ (G g G^T) * (B^T X B) ] A                    both: a a products for m m outputs, instead of m m k k

The rows of B^T are the polynomials that vanish at all points but one, A^T and G hold the points' powers (the point at
infinity last). Source: Lavin and Gray 2016, section 4; Toom 1963 for the polynomials.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import NamedTuple

import numpy as np

# Small numbers of both signs: their powers, and so the sums that cancel, stay small.
POINTS = [Fraction(0), *(Fraction(p) for p in (1, -1, 2, -2)), Fraction(1, 2), Fraction(-1, 2)]


class Transforms(NamedTuple):
    """The matrices for tiles of `outputs` x `outputs` under kernels of `kernel` x `kernel`.

    data          B^T (tile, tile), applied to the rows and to the columns of a tile of the image
    data_own      its columns for what is not a neighbour's, where a tile has one column of each neighbour
    output        A^T (outputs, tile), applied to the products
    output_back   A (tile, outputs), its transpose: what a tile of y's gradient becomes
    kernel_2d     G x G (tile tile, kernel kernel), applied to a kernel written as one row
    """

    outputs: int
    kernel: int
    data: np.ndarray
    data_own: np.ndarray
    output: np.ndarray
    output_back: np.ndarray
    kernel_2d: np.ndarray

    @property
    def tile(self) -> int:
        """Side of the tiles of the image, which overlap by kernel - 1."""
        return self.outputs + self.kernel - 1


@cache
def transforms(outputs: int, kernel: int, dtype: str) -> Transforms:
    """The matrices for F(outputs x outputs, kernel x kernel), exact but for the rounding to dtype."""
    points = POINTS[: outputs + kernel - 2]
    data = [[*polynomial([q for q in points if q != p]), Fraction(0)] for p in points] + [polynomial(points)]
    output = [[*(p**power for p in points), Fraction(int(power == outputs - 1))] for power in range(outputs)]
    taps = [[p**power / product(p - q for q in points if q != p) for power in range(kernel)] for p in points]
    taps.append([Fraction(int(power == kernel - 1)) for power in range(kernel)])
    first = data[0][0]  # point 0 shared out so that B^T begins with 1
    data[0] = [number / first for number in data[0]]
    taps[0] = [number * first for number in taps[0]]

    def rounded(rows: list[list[Fraction]]) -> np.ndarray:
        return np.array([[float(number) for number in row] for row in rows], dtype)

    kernel_1d = np.array(taps, object)
    kernel_2d = np.kron(kernel_1d, kernel_1d)
    B, A = rounded(data), rounded(output)
    own = np.ascontiguousarray(B[:, 1 : 1 + outputs])
    return Transforms(outputs, kernel, B, own, A, np.ascontiguousarray(A.T), rounded(kernel_2d.tolist()))


def polynomial(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of the product of (x - root), lowest power first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [s - root * c for s, c in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return coefficients


def product(factors) -> Fraction:
    result = Fraction(1)
    for factor in factors:
        result *= factor
    return result
