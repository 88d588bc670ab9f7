"""Operations of several passes over an image: one image after another, so that each still lies in the cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def image_by_image(function: Callable[..., Any], *arrays: np.ndarray) -> None:
    """function(*parts) for the parts (1, ...) of the arrays that belong to each image; it writes what it finds.

    (On several threads this takes longer: one is enough to use all of the memory's bandwidth.)
    """
    for n in range(len(arrays[0])):
        function(*(array[n : n + 1] for array in arrays))
