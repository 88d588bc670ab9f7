"""Matrix products cut so small that BLAS takes its shortest way, where it has one.

OpenBLAS first copies a product's matrices into an order of its own, except where the product is small and the processor
has AVX-512. The products of transformed tiles lie in the cache as they are, so cut up they take up to a quarter less
time there; long sums for few columns, as of many weights with a few pixels or of many pixels' gradients, up to half;
short sums for many columns, as many weights' gradients are of a few pixels, a third. Elsewhere every piece is copied
again, and a product cut up takes 5 to 80 % more: it is left whole.
"""

from __future__ import annotations

import numpy as np

from minisegnet.engine.blas import has_small_products

# OpenBLAS copies nothing up to this many multiplications (a hundred cubed, for processors with AVX-512).
SMALL = 1_000_000
# Blocks have up to so many rows, or as many as make FEWEST multiplications.
ROWS, FEWEST = 64, 2**18
# Matrices with longer rows are better not cut into columns.
LONGEST = 1024
# Where a product has so few columns, long sums are made of parts of this length, a few rows at a time if they are many.
FEW_COLUMNS, PART, FEW_ROWS = 64, 512, 24
# Where it has few rows and many columns, short sums are made for so many columns at a time.
WIDE = 256


def is_small(M: int, K: int, N: int) -> bool:
    """Whether BLAS copies nothing in a product of matrices (M, K) and (K, N), where it has a way for such."""
    return M * K * N <= SMALL


def multiply(A: np.ndarray, B: np.ndarray, out: np.ndarray) -> np.ndarray:
    """out = A B of matrices (M, K) and (K, N), or of stacks of them; A may be a transposed view, B had better not."""
    if A.ndim == 2:
        A, B, out = A[None], B[None], out[None]
    M, K, N = *A.shape[1:], B.shape[2]
    if is_small(M, K, N) or not has_small_products():
        return np.matmul(A, B, out=out)
    columns = N if N * K * 64 <= SMALL else next((n for n in (64, 48, 32) if N % n == 0), N)
    block = columns * K  # multiplications a row
    rows = min(max(ROWS, FEWEST // block), SMALL // block) if block else 0
    if rows < 8 or N > LONGEST:
        return np.matmul(A, B, out=out)
    rows = next((r for r in range(rows, rows // 2, -1) if M % r == 0), rows)
    for start, stop, height in ((0, M - M % rows, rows), (M - M % rows, M, M % rows)):
        if start < stop:
            upper, there = A[:, start:stop], out[:, start:stop]
            np.matmul(_cut(upper, height, K), _cut(B, K, columns), out=_cut(there, height, columns))
    return out


def multiply_long(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """A B for matrices (M, K), laid out row by row, and (K, N), where K is large and N is not."""
    (M, K), N = A.shape, B.shape[1]
    parts = K // PART
    if N > FEW_COLUMNS or parts < 2 or not has_small_products():
        return A @ B
    cut = parts * PART
    below = np.ascontiguousarray(B[:cut]).reshape(parts, PART, N)
    out = np.empty((M, N), A.dtype)
    at_once = M if is_small(M, PART, N) else FEW_ROWS
    for first in range(0, M, at_once):
        rows = A[first : first + at_once, :cut].reshape(-1, parts, PART).swapaxes(0, 1)
        np.add.reduce(rows @ below, axis=0, out=out[first : first + at_once])
    if cut < K:
        out += A[:, cut:] @ B[cut:]
    return out


def multiply_wide(A: np.ndarray, B: np.ndarray, out: np.ndarray) -> np.ndarray:
    """out = A B for matrices (M, K) and (K, N), where N is large and the others are not."""
    (M, K), N = A.shape, B.shape[1]
    columns = min(WIDE, SMALL // (M * K)) // 64 * 64 if A.size else 0
    if not 0 < columns <= N or not has_small_products():
        return np.matmul(A, B, out=out)
    A, cut = np.ascontiguousarray(A), N - N % columns
    np.matmul(A, _cut(B[None, :, :cut], K, columns)[0, 0], out=_cut(out[None, :, :cut], M, columns)[0, 0])
    if cut < N:
        np.matmul(A, B[:, cut:], out=out[:, cut:])
    return out


def _cut(matrices: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A stack of matrices as blocks (S, down, across, rows, columns), a view."""
    S, M, N = matrices.shape
    return matrices.reshape(S, M // rows, rows, N // columns, columns).swapaxes(2, 3)
