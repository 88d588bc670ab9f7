"""How the transforms check and keep their settings."""

from __future__ import annotations

from typing import Any

import numpy as np

from minisegnet.errors import OptionError


def keep(transform: Any, **settings: Any) -> None:
    """Settings in their checked form: the one time that a frozen dataclass is written to, as it is made."""
    for name, value in settings.items():
        object.__setattr__(transform, name, value)


def probability(transform: Any) -> None:
    """Raises OptionError for a transform whose p is none."""
    if not 0 <= transform.p <= 1:
        raise OptionError(f"{transform!r}: p is a probability, 0 to 1")


def interval(
    name: str, value: Any, around: float | None = None, least: float = -np.inf, most: float = np.inf
) -> tuple[float, float]:
    """A pair (low, high) as floats; a number d stands for (around - d, around + d), cut off at `least`.

    Raises OptionError for anything else, or outside `least` to `most`.
    """
    try:
        if around is not None and np.isscalar(value):
            distance = float(value)  # type: ignore[arg-type]
            low, high = max(least, around - distance), around + distance
        else:
            low, high = (float(end) for end in value)
        fits = least <= low <= high <= most and high - low < np.inf
    except (TypeError, ValueError):
        fits = False
    if not fits:
        number = "" if around is None else "a number from 0, or "
        raise OptionError(f"{name} must be {number}a pair (low, high), within {least:g} to {most:g}; got {value!r}")
    return low, high
