"""Matrix products cut so small that BLAS takes its shortest way.

OpenBLAS first copies a product's matrices into an order of its own, except where the product is small. The products of
transformed tiles lie in the cache as they are, so cut up they take up to a quarter less time; so do those of many
weights with a few pixels.
"""

from __future__ import annotations

import numpy as np

# OpenBLAS copies nothing up to this many multiplications (a hundred cubed, for processors with AVX-512).
SMALL = 1_000_000
# Matrices with longer rows are better not cut into columns.
LONGEST = 1024
# A large matrix is read in blocks of so many rows and columns where the other has no more columns than FEW.
ROWS, COLUMNS, FEW = 24, 512, 64


def multiply(A: np.ndarray, B: np.ndarray, out: np.ndarray) -> np.ndarray:
    """out = A B for stacks of matrices (S, M, K) and (S, K, N); A may be a transposed view, B had better not."""
    M, K, N = *A.shape[1:], B.shape[2]
    columns = N if N * K * 64 <= SMALL else next((n for n in (64, 48, 32) if N % n == 0), N)
    rows = min(64, SMALL // (columns * K)) if columns * K else 0
    if M * N * K <= SMALL or rows < 8 or N > LONGEST:
        return np.matmul(A, B, out=out)
    rows = next((r for r in range(rows, rows // 2, -1) if M % r == 0), rows)
    for start, stop, height in ((0, M - M % rows, rows), (M - M % rows, M, M % rows)):
        if start < stop:
            upper, there = A[:, start:stop], out[:, start:stop]
            np.matmul(_cut(upper, height, K), _cut(B, K, columns), out=_cut(there, height, columns))
    return out


def multiply_few(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """A B for a large matrix (M, K) and one of few columns (K, N), each laid out row by row."""
    (M, K), N = A.shape, B.shape[1]
    blocks = K // COLUMNS
    if N > FEW or blocks < 2:
        return A @ B
    cut = blocks * COLUMNS
    below = B[:cut].reshape(blocks, COLUMNS, N)
    out = np.empty((M, N), A.dtype)
    for first in range(0, M, ROWS):
        rows = A[first : first + ROWS, :cut].reshape(-1, blocks, COLUMNS).swapaxes(0, 1)
        np.add.reduce(rows @ below, axis=0, out=out[first : first + ROWS])
    if cut < K:
        out += A[:, cut:] @ B[cut:]
    return out


def _cut(matrices: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A stack of matrices as blocks (S, down, across, rows, columns), a view."""
    S, M, N = matrices.shape
    return matrices.reshape(S, M // rows, rows, N // columns, columns).swapaxes(2, 3)
