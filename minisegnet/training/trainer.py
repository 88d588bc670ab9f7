"""Training a network that gives every pixel a class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from minisegnet import functional
from minisegnet.backends import backend_in_force
from minisegnet.cuda.arrays import to_host
from minisegnet.data.sample import Batch, Dataset
from minisegnet.engine.engine import Engine, can_fuse
from minisegnet.errors import DataError, ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import CrossEntropyLoss
from minisegnet.layers.base import Layer
from minisegnet.metrics import ConfusionMatrix
from minisegnet.training.evaluation import Predict, count, predictions
from minisegnet.training.loop import TrainingLoop
from minisegnet.training.optimisers import Optimiser
from minisegnet.training.pictures import draw_panel
from minisegnet.training.schedules import Schedule

PANEL_IMAGES = 4


class Trainer(TrainingLoop):
    """Trains a graph, keeping everything that a run needs to be understood, and to go on, in one folder.

    graph       maps images (N, C, H, W) to scores (N, num_classes, h, w); where h < H (valid convolutions) the labels
                are cropped to the centre; a classifier's (N, num_classes) learn the middle pixel's label
    loss        a layer: loss.forward(scores, labels), also given pixel_weight where batches have it
    validation  a data set; after every `validate_every` epochs, and at the end, its mean IoU picks best.npz
    predict     how a validation image is predicted, see `training.evaluation.predictions`
    engine      train and predict by `engine.Engine`, where the graph lies on the CPU; False: layer by layer
    workers     processes that the engine shares each batch among; None takes as many as BLAS has threads
    others      as `TrainingLoop` takes them

    Loss and optimiser compute where the graph does. Raises OptionError or DataError for arguments that allow no run.
    """

    SCORE = ("mean_iou", "mean IoU")
    SCORES = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou", "mean_dice")

    def __init__(
        self,
        graph: Graph,
        loss: Layer,
        loader: Any,
        optimiser: Optimiser,
        schedule: Schedule,
        folder: str | Path,
        *,
        validation: Dataset | None = None,
        predict: Predict | None = None,
        engine: bool = True,
        workers: int | None = None,
        **others: Any,
    ) -> None:
        super().__init__(graph, loader, optimiser, schedule, folder, **others)
        if validation is not None and len(validation) == 0:
            raise DataError("the validation data set is empty; give one with images, or None to train without")
        self.graph, self.loss = graph, loss
        self.validation, self.predict = validation, predict
        if graph.device == "cuda":
            self.loss.rebind(graph.placed)  # its class weights
        self.engine, self.workers = engine, workers
        self.confusion: ConfusionMatrix | None = None  # of the last validation in this process

    def told(self) -> dict[str, Any]:
        return {"loss": self.loss.describe()}

    @contextmanager
    def engaged(self) -> Iterator[None]:
        """With the engine, unless it is not wanted or cannot be."""
        self._engine: Engine | None = None
        if not self.engine or self.graph.device != "cpu" or backend_in_force() != "numpy":
            yield
            return
        fused = self.loss if isinstance(self.loss, CrossEntropyLoss) and can_fuse(self.loss, self.graph) else None
        with Engine(self.graph, fused, self.workers) as self._engine, self.graph.accelerated(self._engine):
            yield

    def learn(self, batch: Batch) -> tuple[float, dict[str, float]]:
        engine = self._engine
        if engine is None or engine.loss is None:
            return super().learn(batch)
        targets = targets_of(batch, self.graph.output_shape(batch.images.shape))
        loss = engine.step(batch.images, *targets, optimiser=self.optimiser)
        self.check_loss(loss, batch)
        return loss, {}

    def losses_of(self, batch: Batch) -> tuple[float, dict[str, float]]:
        return (self._by_layers(batch) if self._engine is None else self._by_engine(self._engine, batch)), {}

    def _by_layers(self, batch: Batch) -> float:
        """The loss of a batch, and the parameters' gradients, layer by layer."""
        scores = self.graph.forward(self.graph.placed(batch.images))
        targets = [self.graph.placed(target) for target in targets_of(batch, scores.shape)]
        loss, cache = self.loss.forward(scores, *targets)
        value = float(to_host(loss))  # all that a step copies back from a device
        if not np.isfinite(value):
            functional.check_labels(cache)
        self.check_loss(value, batch)
        self.graph.backward(self.loss.backward(1.0, cache), to_inputs=False)
        return value

    def _by_engine(self, engine: Engine, batch: Batch) -> float:
        """The same by the engine, which does not compute this loss."""
        scores = engine.forward(batch.images)
        loss, cache = self.loss.forward(scores, *targets_of(batch, scores.shape))
        self.check_loss(float(loss), batch)
        engine.backward(self.loss.backward(1.0, cache))
        return float(loss)

    def table(self) -> str:
        if self.confusion is None or self.validation is None:
            return ""
        return self.confusion.table(self.validation.classes)

    def scores(self, draw: bool) -> dict[str, float] | None:
        """The validation data's scores; its panel, if asked for."""
        if self.validation is None:
            return None
        self.confusion, shown = self._evaluate(self.validation)
        if draw:
            samples, predicted = zip(*shown, strict=True)
            v = self.validation
            draw_panel(samples, predicted, v.palette, self.folder.panel, v.classes, v.ignore_index)
        return {name: getattr(self.confusion, name) for name in self.SCORES}

    def _evaluate(self, dataset: Dataset) -> tuple[ConfusionMatrix, list[tuple]]:
        """The confusion matrix, and a few samples spread over the data set with their predictions."""
        confusion, shown = ConfusionMatrix(len(dataset.classes), dataset.ignore_index), []
        chosen = spread(len(dataset), PANEL_IMAGES)
        for i, (sample, probabilities) in enumerate(predictions(self.graph, dataset, self.predict)):
            predicted = probabilities.argmax(axis=0)
            count(confusion, sample, predicted)
            if i in chosen:
                shown.append((sample, predicted))
        return confusion, shown


def spread(count: int, few: int) -> set[int]:
    """A few of so many numbers, evenly spread."""
    return set(np.linspace(0, count - 1, few).round().astype(int).tolist())


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
