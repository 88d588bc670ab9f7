"""The tables of a run: a .csv file that grows by a row at a time and can be cut back to an earlier step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minisegnet.errors import DataError
from minisegnet.training.checkpoint import replacing


class Table:
    """Rows of numbers under named columns, the first being the step after which the row was written.

    Each row reaches the file in one write, so that a run killed at any moment leaves at most one broken row, the last.
    """

    def __init__(self, path: str | Path, columns: Sequence[str]) -> None:
        self.path = Path(path)
        self.columns = tuple(columns)

    def cut(self, step: int) -> None:
        """Keep the rows up to `step`, and no others; with no file yet, start one."""
        lines = self.path.read_text().splitlines(keepends=True)[1:] if self.path.exists() else []
        kept = [line for line in lines if line.endswith("\n") and int(line.split(",")[0]) <= step]
        with replacing(self.path) as file:
            file.write((",".join(self.columns) + "\n" + "".join(kept)).encode())

    def append(self, *values: float) -> None:
        """Add a row. Floats are written so that reading them gives the same number, bit for bit."""
        row = ",".join(repr(value) if isinstance(value, float) else str(value) for value in values) + "\n"
        try:
            with open(self.path, "a", newline="") as file:
                file.write(row)
        except OSError as problem:
            raise DataError(f"{self.path} could not be written: {problem.strerror}") from problem

    def sync(self) -> None:
        """Wait until the rows are on the disk."""
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())

    def read(self) -> dict[str, np.ndarray]:
        """The columns by name, float64."""
        rows = [line.split(",") for line in self.path.read_text().splitlines()[1:]]
        columns = np.array(rows, np.float64).reshape(-1, len(self.columns)).T
        return dict(zip(self.columns, columns, strict=True))
