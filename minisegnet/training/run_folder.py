"""The folder of one run: what lies in it, and whether a run may begin or go on there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minisegnet.errors import CheckpointError, OptionError
from minisegnet.training.checkpoint import load_checkpoint, replacing, temporary_name
from minisegnet.training.records import Table

Checkpoint = tuple[dict[str, np.ndarray], dict[str, Any]]


class RunFolder:
    """The files of a run:

    run.json         its settings, written before the first step
    last.npz         the checkpoint to go on from
    best.npz         the weights with the best validation score, and the metadata
    log.csv          step, epoch, lr, loss, seconds, and the loss's parts: a row for each step (both counted from 1)
    validation.csv   step, epoch, and the scores of each validation
    curves.png       both tables as curves
    panel.png        image, truth, prediction and error of a few validation images
    """

    def __init__(self, path: str | Path, parts: Sequence[str] = (), scores: Sequence[str] = ()) -> None:
        self.path = Path(path)
        self.settings = self.path / "run.json"
        self.last = self.path / "last.npz"
        self.best = self.path / "best.npz"
        self.curves = self.path / "curves.png"
        self.panel = self.path / "panel.png"
        self.log = Table(self.path / "log.csv", ("step", "epoch", "lr", "loss", "seconds", *parts))
        self.validation = Table(self.path / "validation.csv", ("step", "epoch", *scores))

    def open(self, settings: dict[str, Any], resume: bool, overwrite: bool) -> Checkpoint | None:
        """Make the folder ready for a run of these settings; return the checkpoint to go on from, or None to begin.

        Raises CheckpointError if it holds a run and neither `resume` nor `overwrite` was asked for, or `resume` of a
        run of other settings; OptionError for both at once.
        """
        if resume and overwrite:
            raise OptionError("resume goes on with the run in the folder, overwrite discards it: choose one")
        checkpoint = None if overwrite else self._run_there(settings, resume)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise CheckpointError(f"the run's folder {self.path} cannot be made: {problem.strerror}") from problem
        for file in self.files():
            temporary_name(file).unlink(missing_ok=True)  # of a run that was killed while writing
        if checkpoint is None:
            # The old checkpoint goes before the new settings come: a run killed here leaves no pair that belies itself.
            for file in self.files():
                if file != self.settings:
                    file.unlink(missing_ok=True)
            with replacing(self.settings) as stream:
                stream.write(json.dumps(settings, indent=2).encode())
        return checkpoint

    def files(self) -> list[Path]:
        """Every file that a run writes."""
        pictures = [self.curves, self.panel]
        return [self.settings, self.last, self.best, self.log.path, self.validation.path, *pictures]

    def _run_there(self, settings: dict[str, Any], resume: bool) -> Checkpoint | None:
        """The checkpoint of the run that is in the folder, if any, and if a run of these settings may go on there."""
        present = [file.name for file in self.files() if file.exists()]
        if not present:
            return None
        checkpoint = load_checkpoint(self.last) if self.last.exists() else None
        try:
            there = json.loads(self.settings.read_text()) if checkpoint is None else checkpoint[1]["settings"]
        except (OSError, ValueError, KeyError):
            raise CheckpointError(
                f"{self.path} has {', '.join(present)} but no settings of a run; overwrite it, or choose another folder"
            ) from None
        differences = differing(there, settings)
        if differences:
            raise CheckpointError(
                f"{self.path} holds a run of other settings: {'; '.join(differences)}. Resume it with its own, "
                "overwrite it, or choose another folder"
            )
        if not resume:
            raise CheckpointError(f"{self.path} holds this run; resume it, overwrite it, or choose another folder")
        return checkpoint


def differing(there: dict[str, Any], here: dict[str, Any], where: str = "") -> list[str]:
    """What two tables of settings have different: "lr is 0.1 there and 0.01 here"."""
    found = []
    for key in [*there, *(key for key in here if key not in there)]:
        one, other = there.get(key), here.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found += differing(one, other, f"{where}{key} ")
        elif one != other:
            found.append(f"{where}{key} is {shortened(one)} there and {shortened(other)} here")
    return found


def shortened(value: Any) -> str:
    """A value as text of a length that an error message bears."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
