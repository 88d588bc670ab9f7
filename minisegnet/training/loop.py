"""The training loop."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from minisegnet import checks, functional
from minisegnet.backends import backend_in_force
from minisegnet.cuda.arrays import to_host
from minisegnet.data.sample import Batch, Dataset
from minisegnet.engine.engine import Engine, can_fuse
from minisegnet.errors import CheckpointError, DataError, MinisegnetError, OptionError, ShapeError, WorkerError
from minisegnet.graph import Graph
from minisegnet.layers import CrossEntropyLoss
from minisegnet.layers.base import Layer
from minisegnet.metrics import ConfusionMatrix
from minisegnet.training.checkpoint import as_json, save_checkpoint
from minisegnet.training.evaluation import Predict, count, predictions
from minisegnet.training.interrupts import interrupts_held
from minisegnet.training.optimisers import Optimiser
from minisegnet.training.pictures import draw_curves, draw_panel
from minisegnet.training.progress import Progress
from minisegnet.training.run_folder import RunFolder
from minisegnet.training.schedules import Schedule

PANEL_IMAGES = 4


class Trainer:
    """Trains a graph, keeping everything that a run needs to be understood, and to go on, in one folder.

    graph             maps images (N, C, H, W) to scores (N, num_classes, h, w); where h < H (valid convolutions) the
                      labels are cropped to the centre; a classifier's (N, num_classes) learn the middle pixel's label
    loss              a layer: loss.forward(scores, labels), also given pixel_weight where batches have it
    loader            len(loader) batches an epoch; loader.epoch(number, start) gives them from batch `start` on
    optimiser         of graph.parameters, made after `graph.to`: loss and optimiser compute where the graph does
    schedule          step -> learning rate, see `training.schedules`
    folder            see `RunFolder` for the files in it
    epochs, steps     the length of the run: one of the two
    validation        a data set; after every `validate_every` epochs, and at the end, its mean IoU picks best.npz
    predict           how a validation image is predicted, see `training.evaluation.predictions`
    checkpoint_every  steps between checkpoints; there is one after every `validate_every` epochs besides
    panel_every       validations between panels (the first and the last always give one)
    metadata          stored in every checkpoint: what it takes to use the network (model and arguments, classes,
                      normalisation, ...), as JSON. It counts among the settings that must be equal to resume a run,
                      which the length does not. The names network, run and settings are taken
    seed              of the dropout masks
    resume_hint       the command to print when Ctrl-C stops the run
    progress          show the progress bar
    pictures          draw curves and panels
    engine            train and predict by `engine.Engine`, where the graph lies on the CPU; False: layer by layer
    workers           processes that the engine shares each batch among; None takes as many as BLAS has threads

    A run that was stopped or killed at any moment and is resumed makes the same losses and weights, bit for bit, as one
    that was not (on the same machine, with as many workers). For that, no random generator lives on from step to step:
    the loader's order and augmentation are functions of (its seed, epoch, sample), dropout's masks of (seed, step),
    the learning rate of the step. A checkpoint therefore holds the weights, buffers and optimiser state, and as
    position, which stands for all generators, the step and the seeds.

    Raises OptionError or DataError for arguments that allow no run.
    """

    def __init__(
        self,
        graph: Graph,
        loss: Layer,
        loader: Any,
        optimiser: Optimiser,
        schedule: Schedule,
        folder: str | Path,
        *,
        epochs: int | None = None,
        steps: int | None = None,
        validation: Dataset | None = None,
        predict: Predict | None = None,
        validate_every: int = 1,
        checkpoint_every: int = 200,
        panel_every: int = 5,
        metadata: Mapping[str, Any] | None = None,
        seed: int = 0,
        resume_hint: str = "",
        progress: bool = True,
        pictures: bool = True,
        engine: bool = True,
        workers: int | None = None,
    ) -> None:
        if (epochs is None) == (steps is None):
            raise OptionError("Trainer: give the length of the run as either epochs or steps")
        checks.positive("Trainer", **({"steps": steps} if epochs is None else {"epochs": epochs}))
        checks.positive(
            "Trainer", validate_every=validate_every, checkpoint_every=checkpoint_every, panel_every=panel_every
        )
        if len(loader) == 0:
            raise DataError("the loader has no batch: its data set is empty, or smaller than a batch with drop_last")
        if validation is not None and len(validation) == 0:
            raise DataError("the validation data set is empty; give one with images, or None to train without")
        self.graph, self.loss, self.loader, self.optimiser, self.schedule = graph, loss, loader, optimiser, schedule
        self.folder = RunFolder(folder)
        self.steps = steps if steps is not None else len(loader) * (epochs or 0)
        self.validation, self.predict, self.validate_every = validation, predict, validate_every
        self.checkpoint_every, self.panel_every = checkpoint_every, panel_every
        self.metadata, self.seed, self.resume_hint = dict(metadata or {}), seed, resume_hint
        if graph.device == "cuda":
            self.loss.rebind(graph.placed)  # its class weights
        self.progress, self.pictures = progress, pictures
        self.engine, self.workers = engine, workers

        self.step = 0  # steps done: the weights are those after so many updates
        self.validated = 0  # the step of the last validation
        self.best: float | None = None  # the best validation mean IoU so far
        self.confusion: ConfusionMatrix | None = None  # of the last validation in this process

    # -------------------------------------------------------------------------------------------- the loop itself

    def fit(self, resume: bool = False, overwrite: bool = False) -> float | None:
        """Train to the end of the run, and return the best validation mean IoU (None without validation).

        resume     go on from the folder's last checkpoint; from the beginning if there is none yet
        overwrite  discard the run that is in the folder

        Ctrl-C saves, prints how to go on, and raises KeyboardInterrupt.

        Raises CheckpointError for a folder that holds a run already (without resume or overwrite), one of other
        settings, or a disk that does not take a checkpoint; MinisegnetError for a loss that is NaN or infinite. The
        last checkpoint stays as it was.
        """
        self._begin(resume, overwrite)
        with self._engine_made() as self._engine, self.graph.accelerated(self._engine):
            return self._fit()

    def _fit(self) -> float | None:
        try:
            with Progress(self.steps, self.step, self.progress) as progress:
                while True:
                    if self._validation_is_due():
                        self._validate()
                    if self.step >= self.steps:
                        return self.best
                    epoch, batches_done = divmod(self.step, len(self.loader))
                    started = time.perf_counter()
                    for batch in self.loader.epoch(epoch, batches_done):
                        with interrupts_held():
                            with self.graph.computing():
                                lr, loss = self._update(batch)
                            seconds = time.perf_counter() - started
                            self.folder.log.append(self.step, epoch + 1, lr, loss, seconds)
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
            for name, buffer in self.graph.buffers.items():  # a step that was not finished may have moved them
                buffer[...] = self._buffers_before[name]
            self._save()
            print(f"\nA worker failed at step {self.step + 1}; {self.folder.last} holds everything before. Go on with:")
            print(f"  {self.resume_hint or 'trainer.fit(resume=True)'}")
            raise

    @contextmanager
    def _engine_made(self) -> Iterator[Engine | None]:
        """The engine to train with, as long as the run lasts; None where it is not wanted or cannot be."""
        if not self.engine or self.graph.device != "cpu" or backend_in_force() != "numpy":
            yield None
            return
        fused = self.loss if isinstance(self.loss, CrossEntropyLoss) and can_fuse(self.loss, self.graph) else None
        with Engine(self.graph, fused, self.workers) as engine:
            yield engine

    def _update(self, batch: Batch) -> tuple[float, float]:
        """One step: loss, gradients, update. Returns the learning rate and the loss."""
        lr = float(self.schedule(self.step))
        self.graph.train()
        self.graph.reseed(mixed(self.seed, self.step))
        self.graph.zero_grad()
        value = self._step_by_layers(batch) if self._engine is None else self._step_by_engine(self._engine, batch)
        self.optimiser.lr = lr
        self.optimiser.step()
        self.step += 1
        return lr, value

    def _step_by_layers(self, batch: Batch) -> float:
        """The loss of a batch, and the parameters' gradients, layer by layer."""
        scores = self.graph.forward(self.graph.placed(batch.images))
        targets = [self.graph.placed(target) for target in targets_of(batch, scores.shape)]
        loss, cache = self.loss.forward(scores, *targets)
        value = float(to_host(loss))  # all that a step copies back from a device
        if not np.isfinite(value):
            functional.check_labels(cache)
        self._check_loss(value, batch)
        self.graph.backward(self.loss.backward(1.0, cache), to_inputs=False)
        return value

    def _step_by_engine(self, engine: Engine, batch: Batch) -> float:
        """The same by the engine, in one go where it computes the loss as well."""
        self._buffers_before = {name: buffer.copy() for name, buffer in self.graph.buffers.items()}
        if engine.loss is not None:
            value = engine.step(batch.images, *targets_of(batch, self.graph.output_shape(batch.images.shape)))
            self._check_loss(value, batch)
            return value
        scores = engine.forward(batch.images)
        loss, cache = self.loss.forward(scores, *targets_of(batch, scores.shape))
        self._check_loss(float(loss), batch)
        engine.backward(self.loss.backward(1.0, cache))
        return float(loss)

    def _check_loss(self, value: float, batch: Batch) -> None:
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
        if self.validation is not None:
            self.confusion, shown = self._evaluate(self.validation)
            if self.pictures and (number == 1 or number % self.panel_every == 0 or self.step >= self.steps):
                samples, predicted = zip(*shown, strict=True)
                v = self.validation
                draw_panel(samples, predicted, v.palette, self.folder.panel, v.classes, v.ignore_index)
        with interrupts_held():
            if self.confusion is not None:
                scores = [getattr(self.confusion, name) for name in self.folder.validation.columns[2:]]
                self.folder.validation.append(self.step, -(-self.step // len(self.loader)), *scores)
                if self.best is None or np.isnan(self.best) or self.confusion.mean_iou > self.best:
                    self.best = self.confusion.mean_iou
                    save_checkpoint(self.folder.best, prefixed("model", self.graph.arrays()), self._told())
            self.validated = self.step
            self._save()
        if self.pictures:
            draw_curves(self.folder.log.read(), self.folder.validation.read(), self.folder.curves)

    def _evaluate(self, dataset: Dataset) -> tuple[ConfusionMatrix, list[tuple]]:
        """The confusion matrix, and a few samples spread over the data set with their predictions."""
        confusion, shown = ConfusionMatrix(len(dataset.classes), dataset.ignore_index), []
        chosen = set(np.linspace(0, len(dataset) - 1, PANEL_IMAGES).round().astype(int).tolist())
        for i, (sample, probabilities) in enumerate(predictions(self.graph, dataset, self.predict)):
            predicted = probabilities.argmax(axis=0)
            count(confusion, sample, predicted)
            if i in chosen:
                shown.append((sample, predicted))
        return confusion, shown

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
        arrays = prefixed("model", self.graph.arrays()) | prefixed("optimiser", self.optimiser.state)
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise MinisegnetError(
                    f"{name} holds NaN or infinity after step {self.step}, so it is not saved. {self._kept()}. "
                    "Try a lower learning rate or a warm-up"
                )
        self.folder.log.sync()
        self.folder.validation.sync()
        save_checkpoint(self.folder.last, arrays, self._told())

    def _restore(self, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
        load_model(self.graph, arrays, metadata, self.folder.last)
        try:
            self.optimiser.load_state_dict(without_prefix("optimiser", arrays))
            run = metadata["run"]
            self.step, self.validated, self.best = run["step"], run["validated"], run["best_mean_iou"]
        except (CheckpointError, KeyError) as problem:
            raise CheckpointError(f"{self.folder.last} cannot be resumed: {problem}") from problem

    def _settings(self) -> dict[str, Any]:
        """What must be equal for a run to be resumed, as JSON keeps it."""
        loader = {name: getattr(self.loader, name, None) for name in ("batch_size", "shuffle", "seed", "drop_last")}
        settings = {
            "network": self.graph.name,
            "loss": self.loss.describe(),
            "optimiser": repr(self.optimiser),
            "schedule": repr(self.schedule),
            "seed": self.seed,
            "loader": {**loader, "batches": len(self.loader)},
            "metadata": self.metadata,
        }
        # A function's address, which its repr tells, differs from run to run.
        return json.loads(re.sub(r" at 0x[0-9a-fA-F]+", "", as_json(settings)))

    def _told(self) -> dict[str, Any]:
        """A checkpoint's metadata."""
        position = {"step": self.step, "validated": self.validated, "best_mean_iou": self.best}
        return {"network": self.graph.name, **self.metadata, "run": position, "settings": self._settings()}

    def _kept(self) -> str:
        return f"{self.folder.last} keeps the last checkpoint" if self.folder.last.exists() else "Nothing was saved yet"


def load_model(
    graph: Graph, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any], path: str | Path
) -> None:
    """Fill a graph with the weights and buffers of a loaded checkpoint, last.npz or best.npz.

    Raises CheckpointError for one of another model, naming both and the arrays that do not fit.
    """
    try:
        graph.load_state_dict(without_prefix("model", arrays))
    except CheckpointError as problem:
        there = metadata.get("model", metadata.get("network", "a network without a name"))
        raise CheckpointError(
            f"{path} is a checkpoint of {there}, and this network is {graph.name}: {problem}"
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


def targets_of(batch: Batch, scores: tuple[int, ...]) -> list[np.ndarray]:
    """Labels, and pixel weights where the batch has them, of the scores' height and width."""
    targets = [batch.labels] if batch.pixel_weight is None else [batch.labels, batch.pixel_weight]
    return [centre(target, scores[2:]) for target in targets]


def centre(array: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The middle of (N, H, W), of `size`; an odd pixel more is left below and on the right.

    Size () is the middle pixel alone, (N,). Raises ShapeError if the array is smaller than the size.
    """
    if not size:
        return centre(array, (1, 1))[:, 0, 0]
    spare = [have - wanted for have, wanted in zip(array.shape[1:], size, strict=True)]
    if min(spare) < 0:
        raise ShapeError(
            f"the network's output is {size[0]} x {size[1]}, larger than the labels, {array.shape[1]} x "
            f"{array.shape[2]}: end it at the images' size or below"
        )
    top, left = (side // 2 for side in spare)
    return array[:, top : top + size[0], left : left + size[1]]
