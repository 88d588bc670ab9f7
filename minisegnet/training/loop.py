"""The training loop: what every run does, whatever its network learns."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from minisegnet import checks
from minisegnet.cuda.arrays import to_host
from minisegnet.errors import CheckpointError, DataError, MinisegnetError, OptionError, WorkerError
from minisegnet.training.checkpoint import as_json, save_checkpoint
from minisegnet.training.interrupts import interrupts_held
from minisegnet.training.optimisers import Optimiser
from minisegnet.training.pictures import draw_curves
from minisegnet.training.progress import Progress
from minisegnet.training.run_folder import RunFolder
from minisegnet.training.schedules import Schedule


class TrainingLoop:
    """Steps, validations, checkpoints and pictures of a run, which can be interrupted, killed and resumed.

    What the network learns from a batch, and how it is scored, is a subclass's: see `Trainer` for classes of pixels,
    `DetectorTrainer` for instances. It says

    SCORE, SCORES         the score that picks best.npz, as (column, words), and the columns of validation.csv
    PARTS                 the columns that log.csv has behind its own: parts of the loss
    engaged()             a context in which the network computes as fast as it can, for the whole run
    losses_of(batch)      the loss and its parts; adds the gradients to the network's
    learn(batch)          only if it updates by a batch in another way: losses and update in one
    scores(draw)          the columns of a validation, the panel drawn if asked for; None without validation
    table()               the scores of the last validation as text; empty before the first
    told()                what else must be equal for a run to be resumed

    network           what is trained: a Graph, or what can be asked the same (a Detector)
    loader            len(loader) batches an epoch; loader.epoch(number, start) gives them from batch `start` on
    optimiser         of network.parameters, made after `network.to`
    schedule          step -> learning rate, see `training.schedules`
    folder            see `RunFolder` for the files in it
    epochs, steps     the length of the run: one of the two
    validate_every    epochs between validations; there is one at the end besides
    checkpoint_every  steps between checkpoints; there is one after every validation besides
    panel_every       validations between panels (the first and the last always give one)
    metadata          stored in every checkpoint: what it takes to use the network (model and arguments, classes,
                      normalisation, ...), as JSON. It counts among the settings that must be equal to resume a run,
                      which the length does not. The names network, run and settings are taken
    seed              of what a step draws: dropout's masks, a detector's samples
    resume_hint       the command to print when Ctrl-C stops the run
    progress          show the progress bar
    pictures          draw curves and panels

    A run that was stopped or killed at any moment and is resumed makes the same losses and weights, bit for bit, as one
    that was not (on the same machine, with as many workers). For that, no random generator lives on from step to step:
    the loader's order and augmentation are functions of (its seed, epoch, sample), what a step draws of (seed, step),
    the learning rate of the step. A checkpoint therefore holds the weights, buffers and optimiser state, and as
    position, which stands for all generators, the step and the seeds.

    Raises OptionError or DataError for arguments that allow no run.
    """

    SCORE = ("score", "score")
    SCORES: tuple[str, ...] = ()
    PARTS: tuple[str, ...] = ()

    def __init__(
        self,
        network: Any,
        loader: Any,
        optimiser: Optimiser,
        schedule: Schedule,
        folder: str | Path,
        *,
        epochs: int | None = None,
        steps: int | None = None,
        validate_every: int = 1,
        checkpoint_every: int = 200,
        panel_every: int = 5,
        metadata: Mapping[str, Any] | None = None,
        seed: int = 0,
        resume_hint: str = "",
        progress: bool = True,
        pictures: bool = True,
    ) -> None:
        name = type(self).__name__
        if (epochs is None) == (steps is None):
            raise OptionError(f"{name}: give the length of the run as either epochs or steps")
        checks.positive(name, **({"steps": steps} if epochs is None else {"epochs": epochs}))
        checks.positive(name, validate_every=validate_every, checkpoint_every=checkpoint_every, panel_every=panel_every)
        if len(loader) == 0:
            raise DataError("the loader has no batch: its data set is empty, or smaller than a batch with drop_last")
        self.network, self.loader, self.optimiser, self.schedule = network, loader, optimiser, schedule
        self.folder = RunFolder(folder, self.PARTS, self.SCORES)
        self.steps = steps if steps is not None else len(loader) * (epochs or 0)
        self.validate_every, self.checkpoint_every, self.panel_every = validate_every, checkpoint_every, panel_every
        self.metadata, self.seed, self.resume_hint = dict(metadata or {}), seed, resume_hint
        self.progress, self.pictures = progress, pictures

        self.step = 0  # steps done: the weights are those after so many updates
        self.validated = 0  # the step of the last validation
        self.best: float | None = None  # the best score so far

    # ----------------------------------------------------------------------------------------------- a subclass's

    def engaged(self) -> AbstractContextManager:
        raise NotImplementedError

    def losses_of(self, batch: Any) -> tuple[float, dict[str, float]]:
        raise NotImplementedError

    def scores(self, draw: bool) -> dict[str, float] | None:
        raise NotImplementedError

    def table(self) -> str:
        raise NotImplementedError

    def told(self) -> dict[str, Any]:
        raise NotImplementedError

    # -------------------------------------------------------------------------------------------- the loop itself

    def fit(self, resume: bool = False, overwrite: bool = False) -> float | None:
        """Train to the end of the run, and return the best score (None without validation).

        resume     go on from the folder's last checkpoint; from the beginning if there is none yet
        overwrite  discard the run that is in the folder

        Ctrl-C saves, prints how to go on, and raises KeyboardInterrupt.

        Raises CheckpointError for a folder that holds a run already (without resume or overwrite), one of other
        settings, or a disk that does not take a checkpoint; MinisegnetError for a loss that is NaN or infinite. The
        last checkpoint stays as it was.
        """
        self._begin(resume, overwrite)
        with self.engaged():
            return self._fit()

    def _fit(self) -> float | None:
        try:
            with Progress(self.steps, self.step, self.progress, self.SCORE[1]) as progress:
                while True:
                    if self._validation_is_due():
                        self._validate()
                    if self.step >= self.steps:
                        return self.best
                    epoch, batches_done = divmod(self.step, len(self.loader))
                    started = time.perf_counter()
                    for batch in self.loader.epoch(epoch, batches_done):
                        with interrupts_held():
                            with self.network.computing():
                                lr, loss, parts = self._update(batch)
                            seconds = time.perf_counter() - started
                            self.folder.log.append(
                                self.step, epoch + 1, lr, loss, seconds, *(parts[name] for name in self.PARTS)
                            )
                        progress.advance(loss, lr, len(batch.images), seconds, self.best)
                        if self.step % self.checkpoint_every == 0:
                            self._save()
                        if self.step >= self.steps:
                            break
                        started = time.perf_counter()
        except KeyboardInterrupt:
            self._save()
            print(f"\nStopped after step {self.step} of {self.steps}; {self.folder.last} holds everything. Go on with:")
            print(f"  {self.resume_hint or 'trainer.fit(resume=True)'}")
            raise
        except WorkerError:
            for name, buffer in self.network.buffers.items():  # a step that was not finished may have moved them
                buffer[...] = self._buffers_before[name]
            self._save()
            print(f"\nA worker failed at step {self.step + 1}; {self.folder.last} holds everything before. Go on with:")
            print(f"  {self.resume_hint or 'trainer.fit(resume=True)'}")
            raise

    def _update(self, batch: Any) -> tuple[float, float, dict[str, float]]:
        """One step: loss, gradients, update. Returns the learning rate, the loss and its parts."""
        lr = float(self.schedule(self.step))
        self.network.train()
        self.network.reseed(mixed(self.seed, self.step))
        self._buffers_before = {name: buffer.copy() for name, buffer in self.network.buffers.items()}
        self.optimiser.lr = lr
        loss, parts = self.learn(batch)
        self.step += 1
        return lr, loss, parts

    def learn(self, batch: Any) -> tuple[float, dict[str, float]]:
        """Update the network by a batch; returns its loss, and the loss's parts."""
        self.network.zero_grad()
        loss, parts = self.losses_of(batch)
        self.optimiser.step()
        return loss, parts

    def check_loss(self, value: float, batch: Any) -> None:
        """Raise MinisegnetError, with what may be the matter, for a loss that is NaN or infinite."""
        if not np.isfinite(value):
            lr = float(self.schedule(self.step))
            raise MinisegnetError(
                f"the loss is {value} at step {self.step + 1} (learning rate {lr:g}; images "
                f"{', '.join(batch.names)}). {self._kept()}. Try a lower learning rate or a warm-up; check that the "
                "images are normalised and no class or pixel weight is extreme"
            )

    # ----------------------------------------------------------------------------------------------- validation

    def _validation_is_due(self) -> bool:
        """After every `validate_every` epochs and at the end, once."""
        ends = self.step % (len(self.loader) * self.validate_every) == 0 or self.step >= self.steps
        return ends and self.step > self.validated

    def _validate(self) -> None:
        """Score the validation data, draw the pictures, save the best weights and the checkpoint."""
        number = -(-self.step // (len(self.loader) * self.validate_every))
        draw = self.pictures and (number == 1 or number % self.panel_every == 0 or self.step >= self.steps)
        scores = self.scores(draw)
        with interrupts_held():
            if scores is not None:
                row = [scores[name] for name in self.SCORES]
                self.folder.validation.append(self.step, -(-self.step // len(self.loader)), *row)
                score = scores[self.SCORE[0]]
                if self.best is None or np.isnan(self.best) or score > self.best:
                    self.best = score
                    save_checkpoint(self.folder.best, prefixed("model", self.network.arrays()), self._metadata())
            self.validated = self.step
            self._save()
        if self.pictures:
            draw_curves(self.folder.log.read(), self.folder.validation.read(), self.folder.curves, self.SCORE)

    # ------------------------------------------------------------------------------------ beginning, saving, resuming

    def _begin(self, resume: bool, overwrite: bool) -> None:
        """Begin in the folder, or go on with what is there."""
        checkpoint = self.folder.open(self._settings(), resume, overwrite)
        self.step, self.validated, self.best = 0, 0, None
        if checkpoint is not None:
            self._restore(*checkpoint)
            print(f"Going on after step {self.step} of {self.steps}, from {self.folder.last}")
        elif resume:
            print(f"{self.folder.path} has no checkpoint yet: starting from the beginning")
        self.folder.log.cut(self.step)
        self.folder.validation.cut(self.validated)

    def _save(self) -> None:
        """Write last.npz, after the tables' rows that belong to it."""
        arrays = prefixed("model", self.network.arrays()) | prefixed("optimiser", self.optimiser.state)
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise MinisegnetError(
                    f"{name} holds NaN or infinity after step {self.step}, so it is not saved. {self._kept()}. "
                    "Try a lower learning rate or a warm-up"
                )
        self.folder.log.sync()
        self.folder.validation.sync()
        save_checkpoint(self.folder.last, arrays, self._metadata())

    def _restore(self, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
        load_model(self.network, arrays, metadata, self.folder.last)
        try:
            self.optimiser.load_state_dict(without_prefix("optimiser", arrays))
            run = metadata["run"]
            self.step, self.validated, self.best = run["step"], run["validated"], run[f"best_{self.SCORE[0]}"]
        except (CheckpointError, KeyError) as problem:
            raise CheckpointError(f"{self.folder.last} cannot be resumed: {problem}") from problem

    def _settings(self) -> dict[str, Any]:
        """What must be equal for a run to be resumed, as JSON keeps it."""
        loader = {name: getattr(self.loader, name, None) for name in ("batch_size", "shuffle", "seed", "drop_last")}
        settings = {
            "network": self.network.name,
            **self.told(),
            "optimiser": repr(self.optimiser),
            "schedule": repr(self.schedule),
            "seed": self.seed,
            "loader": {**loader, "batches": len(self.loader)},
            "metadata": self.metadata,
        }
        # A function's address, which its repr tells, differs from run to run.
        return json.loads(re.sub(r" at 0x[0-9a-fA-F]+", "", as_json(settings)))

    def _metadata(self) -> dict[str, Any]:
        """A checkpoint's metadata."""
        position = {"step": self.step, "validated": self.validated, f"best_{self.SCORE[0]}": self.best}
        return {"network": self.network.name, **self.metadata, "run": position, "settings": self._settings()}

    def _kept(self) -> str:
        return f"{self.folder.last} keeps the last checkpoint" if self.folder.last.exists() else "Nothing was saved yet"


def load_model(network: Any, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any], path: str | Path) -> None:
    """Fill a network with the weights and buffers of a loaded checkpoint, last.npz or best.npz.

    Raises CheckpointError for one of another model, naming both and the arrays that do not fit.
    """
    try:
        network.load_state_dict(without_prefix("model", arrays))
    except CheckpointError as problem:
        there = metadata.get("model", metadata.get("network", "a network without a name"))
        raise CheckpointError(
            f"{path} is a checkpoint of {there}, and this network is {network.name}: {problem}"
        ) from None


def prefixed(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays, brought into the computer's memory, under the names "prefix/name"."""
    return {f"{prefix}/{name}": to_host(array) for name, array in arrays.items()}


def without_prefix(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays named "prefix/name", as name."""
    return {name[len(prefix) + 1 :]: array for name, array in arrays.items() if name.startswith(f"{prefix}/")}


def mixed(seed: int, step: int) -> int:
    """A seed of 64 bits from two numbers, such that neighbouring steps have nothing in common."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0])
