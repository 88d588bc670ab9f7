"""Training a network that finds objects: Faster R-CNN and Mask R-CNN."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from minisegnet.backends import backend_in_force
from minisegnet.data.objects import DetectionBatch, objects_of
from minisegnet.data.sample import Dataset, Sample
from minisegnet.detection.detections import Detections
from minisegnet.detection.detector import Detector
from minisegnet.detection.stages import Instances
from minisegnet.errors import DataError
from minisegnet.training.detection_evaluation import SURE, Detect, DetectionEvaluation, surest
from minisegnet.training.instance_pictures import draw_instance_panel
from minisegnet.training.loop import TrainingLoop
from minisegnet.training.optimisers import Optimiser
from minisegnet.training.schedules import Schedule
from minisegnet.training.trainer import PANEL_IMAGES, spread


class DetectorTrainer(TrainingLoop):
    """Trains a detector, keeping everything that a run needs in one folder, as `Trainer` does a graph.

    detector    its losses are added up; each of them is a column of log.csv
    loader      gives a `DetectionBatch`: Loader(..., collate=detection_batch)
    validation  a data set whose samples have instances; AP50 of masks (without a mask head, of boxes) picks best.npz
    detect      how a validation image of 0..1 is looked at: detect(detector, image) -> Detections; by default as it is
    engine      train and detect by `engine.Engine`; False: layer by layer
    workers     processes that the engine shares the work among; None takes as many as BLAS has threads
    others      as `TrainingLoop` takes them

    Which anchors and regions count is drawn anew in each step, from (seed, step).
    Raises OptionError or DataError for arguments that allow no run.
    """

    def __init__(
        self,
        detector: Detector,
        loader: Any,
        optimiser: Optimiser,
        schedule: Schedule,
        folder: str | Path,
        *,
        validation: Dataset | None = None,
        detect: Detect | None = None,
        engine: bool = True,
        workers: int | None = None,
        **others: Any,
    ) -> None:
        self.with_masks = detector.mask_head is not None
        kind = "mask" if self.with_masks else "box"
        self.SCORE = (f"{kind}_ap50", f"{kind} AP50")
        self.SCORES = ("box_ap", "box_ap50", *(("mask_ap", "mask_ap50", "matched_50") if self.with_masks else ()))
        self.PARTS = ("rpn_objectness", "rpn_box", "classifier", "box", *(("mask",) if self.with_masks else ()))
        super().__init__(detector, loader, optimiser, schedule, folder, **others)
        if validation is not None and len(validation) == 0:
            raise DataError("the validation data set is empty; give one with images, or None to train without")
        self.detector, self.validation = detector, validation
        self.detect: Detect = detect or (lambda detector, image: detector.detect([image])[0])
        self.engine, self.workers = engine, workers
        self.evaluation: DetectionEvaluation | None = None  # of the last validation in this process

    def told(self) -> dict[str, Any]:
        return {"loss": "the sum of " + ", ".join(self.PARTS)}

    @contextmanager
    def engaged(self) -> Iterator[None]:
        if not self.engine or self.detector.device != "cpu" or backend_in_force() != "numpy":
            yield
            return
        with self.detector.accelerated(self.workers):
            yield

    def losses_of(self, batch: DetectionBatch) -> tuple[float, dict[str, float]]:
        rng = np.random.default_rng((self.seed, self.step))
        parts = {name: float(loss) for name, loss in self.detector.losses(batch.images, batch.targets, rng).items()}
        loss = sum(parts.values())
        self.check_loss(loss, batch)
        self.detector.backward()
        return loss, parts

    def table(self) -> str:
        return "" if self.evaluation is None else self.evaluation.table()

    def scores(self, draw: bool) -> dict[str, float] | None:
        """The validation data's scores; its panel, if asked for."""
        if self.validation is None:
            return None
        dataset = self.validation
        self.evaluation = DetectionEvaluation(dataset.classes, self.with_masks)
        chosen, shown = spread(len(dataset), PANEL_IMAGES), []
        for index in range(len(dataset)):
            sample = dataset[index]
            found = self.detect(self.detector, sample.image)
            self.evaluation.add(sample, found)
            if index in chosen:
                shown.append((sample, surest(found, SURE)))
        if draw:
            draw_detections(shown, dataset.classes, self.folder.panel)
        return self.evaluation.scores()


def draw_detections(shown: list[tuple[Sample, Detections]], classes: tuple[str, ...], path: str | Path) -> None:
    """A row for each sample: the image, its true objects, and those that were found."""
    truths, found = [], []
    for sample, detections in shown:
        objects = objects_of(sample)
        truths.append(Instances(objects.boxes, objects.labels, np.asarray(objects.masks)))
        masks = None if detections.masks is None else detections.pasted(sample.image.shape[1:])
        found.append(Instances(detections.boxes, detections.labels, masks, detections.scores))
    images, names = [sample.image for sample, _ in shown], [sample.name for sample, _ in shown]
    draw_instance_panel(images, truths, found, classes, path, names)
