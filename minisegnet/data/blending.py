"""A coarse grid of numbers made fine: hills for the shapes' textures, displacements for elastic deformation."""

import numpy as np


def blended(by_row: np.ndarray, grid: np.ndarray, by_column: np.ndarray) -> np.ndarray:
    """(..., height, width): a grid (..., points, points) between whose numbers there are others.

    by_row, by_column   (height, points), (width, points)   how much each of the grid's lines counts at each place

    Without BLAS: how that rounds depends on how many threads it has just then, and a sample must not.
    """
    return np.einsum("...hq, wq -> ...hw", np.einsum("hp, ...pq -> ...hq", by_row, grid), by_column)
