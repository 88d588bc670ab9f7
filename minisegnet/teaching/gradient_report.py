"""What a gradient check found, as a table that a student can read."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from minisegnet.errors import MinisegnetError

KINKS_SHOWN = 3


class GradientError(MinisegnetError, AssertionError):
    """A backward pass that is wrong; the message is the report."""


@dataclass(frozen=True)
class Slope:
    """The slope by one element of an array, or (index None) along a direction through all of it, as backward and as
    differences tell it.
    """

    array: str
    index: tuple[int, ...] | None
    analytic: float
    numeric: float
    error: float

    def __str__(self) -> str:
        where = "along a direction" if self.index is None else f"at {list(self.index)}"
        return f"{where} backward says {self.analytic:.6g}, differences say {self.numeric:.6g}"


@dataclass(frozen=True)
class Kink:
    """An element at a corner of the function, and the least and the greatest slope there."""

    array: str
    index: tuple[int, ...]
    analytic: float
    least: float
    greatest: float

    def __str__(self) -> str:
        return (
            f"{self.array}{list(self.index)} sits on a kink, with slopes from {self.least:.6g} to {self.greatest:.6g}; "
            f"backward says {self.analytic:.6g}"
        )


@dataclass
class ArrayReport:
    """The check of one array's gradient.

    checked   how many of its elements were moved one by one (directions move all of them)
    error     the largest relative error found
    worst     where that was
    kinks     the elements that sit on a kink, their gradient within its slopes
    fault     what is wrong with the gradient as an array, so that no element was looked at
    hints     what the mistake may be
    """

    name: str
    shape: tuple[int, ...]
    checked: int = 0
    error: float = 0.0
    worst: Slope | None = None
    kinks: list[Kink] = field(default_factory=list)
    fault: str = ""
    hints: list[str] = field(default_factory=list)
    wrong: bool = False

    def row(self) -> tuple[str, ...]:
        """Its line of the table."""
        error = "-" if self.fault else f"{self.error:.1e}"
        elements = f"{self.checked} of {prod(self.shape)}"
        return self.name, str(self.shape), elements, error, "WRONG" if self.wrong else "right"

    def explanation(self) -> list[str]:
        """What stands under that line."""
        if not self.wrong:
            return []
        return [self.fault] if self.fault else [str(self.worst), *self.hints]


@dataclass
class Report:
    """What a gradient check found; print it.

    subject         what was checked
    upstream_seed   seed of the upstream gradient dy
    bound           relative error allowed
    arrays          a report for each array
    faults          what is wrong with the passes as such
    hints           where to look
    """

    subject: str
    upstream_seed: int
    bound: float
    arrays: list[ArrayReport] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every gradient is right, and within the slopes on kinks."""
        return not self.faults and not self.wrong

    @property
    def wrong(self) -> list[str]:
        """Names of the arrays whose gradient is wrong."""
        return [array.name for array in self.arrays if array.wrong]

    @property
    def kinks(self) -> list[Kink]:
        """The elements that sit on a kink."""
        return [kink for array in self.arrays for kink in array.kinks]

    @property
    def worst(self) -> Slope | None:
        """The slope with the largest relative error, of the wrong arrays if there are any; None if none was taken."""
        among = [array for array in self.arrays if array.wrong] or self.arrays
        return max((array.worst for array in among if array.worst), key=lambda slope: slope.error, default=None)

    def raise_if_wrong(self) -> Report:
        """Return the report, or raise GradientError with it as the message."""
        if not self.ok:
            raise GradientError(str(self))
        return self

    def __str__(self) -> str:
        lines = [
            f"{self.subject}: {'every gradient is right' if self.ok else 'WRONG'} "
            f"(relative error allowed {self.bound:g}; dy drawn with seed {self.upstream_seed})"
        ]
        lines += [f"  {fault}" for fault in self.faults]
        rows = [("gradient of", "shape", "elements", "error", ""), *(array.row() for array in self.arrays)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        explanations = [[], *(array.explanation() for array in self.arrays)]
        for row, explanation in zip(rows, explanations, strict=True):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            lines.append(f"  {'  '.join(cells)}".rstrip())
            lines += [f"      {line}" for line in explanation]
        for array in self.arrays:
            lines += [f"  {kink}" for kink in array.kinks[:KINKS_SHOWN]]
            if len(array.kinks) > KINKS_SHOWN:
                lines.append(f"  and {len(array.kinks) - KINKS_SHOWN} more elements of {array.name} on kinks")
        return "\n".join([*lines, *(f"  {hint}" for hint in self.hints)])
