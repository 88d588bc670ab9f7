"""Faster R-CNN and Mask R-CNN at work: from images to five losses and their gradients, and to detections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np

from minisegnet import functional
from minisegnet.cuda import arrays
from minisegnet.detection.anchors import anchors
from minisegnet.detection.batch import ImageBatch, Targets, by_image, check_targets, padded, with_image_numbers
from minisegnet.detection.detections import Detections, detections_of
from minisegnet.detection.graphs import Graphs
from minisegnet.detection.heads import Head
from minisegnet.detection.losses import Loss, box_loss, class_loss, mask_loss, proposal_losses
from minisegnet.detection.proposals import Proposals, propose
from minisegnet.detection.roi_features import (
    pyramid_levels,
    pyramid_roi_align_backward,
    pyramid_roi_align_forward,
    summed,
)
from minisegnet.detection.settings import DetectionSettings
from minisegnet.detection.stages import Stages
from minisegnet.detection.staging import stages_of
from minisegnet.detection.targets import AnchorTargets, RoITargets, mask_targets, roi_targets, rpn_targets
from minisegnet.engine.engine import Engine
from minisegnet.errors import GraphError
from minisegnet.graph import Graph


class Seen(NamedTuple):
    """What the dense graph says of a batch, by level, the finest first.

    features    (N, C, h, w), of the levels that regions are read from; on a device they stay there
    objectness  (N, A, h, w), logits; deltas (N, 4 A, h, w); anchors (h w A, 4): of the levels that have anchors
    """

    features: list[Any]
    objectness: list[np.ndarray]
    deltas: list[np.ndarray]
    anchors: list[np.ndarray]


class Samples(NamedTuple):
    """What the losses are taken of, for each image."""

    anchors: list[AnchorTargets]
    regions: list[RoITargets]


class WayBack(NamedTuple):
    """The gradients of the losses by what each graph said, and how its regions were read."""

    dense: list[np.ndarray]
    heads: list[tuple[Head, Any, Any]]  # the head, the gradient by its output, and pyramid_roi_align's cache


class Detector(Graphs):
    """Faster R-CNN, or with a mask head Mask R-CNN, as `models.faster_rcnn` and `models.mask_rcnn` build them.

        losses = detector.losses(images, targets, rng)      # the five of them, by name
        detector.backward()                                 # adds to every parameter's .grad
        found = detector.detect(images)                     # Detections of each image

    dense       the graph from images (N, C, H, W) to the features, the objectness and the deltas of each level
    box_head    from regions (R, C, 7, 7) to class scores (R, K) and deltas (R, 4 K)
    mask_head   from regions (R, C, 14, 14) to logits (R, K, 28, 28), or None
    strides     of the levels that regions are read from, the finest first
    settings    every number of the method
    samples     what the last losses were taken of, None before

    Images are lists of arrays (C, h, w), each of its own size, of the parameters' float type, or one array. Training
    asks of it what it asks of a `Graph`; node names, and so the state's keys, are torchvision's.

    Source: Ren et al. 2015, Faster R-CNN; He et al. 2017, Mask R-CNN.
    """

    def __init__(
        self,
        name: str,
        dense: Graph,
        box_head: Graph,
        mask_head: Graph | None,
        strides: Sequence[int],
        settings: DetectionSettings,
    ) -> None:
        super().__init__(name, [dense, box_head] if mask_head is None else [dense, box_head, mask_head])
        self.dense, self.box_head, self.mask_head = dense, box_head, mask_head
        self.strides, self.settings = tuple(strides), settings
        self.num_classes = box_head.parameters["roi_heads.box_predictor.cls_score.weight"].data.shape[0]
        self.samples: Samples | None = None
        self._box = Head(box_head)
        self._mask = None if mask_head is None else Head(mask_head)
        self._engine: Engine | None = None  # of the dense graph
        self._way_back: WayBack | None = None

    # ------------------------------------------------------------------------------------------------- training

    def losses(
        self,
        images: Sequence[np.ndarray] | np.ndarray,
        targets: Sequence[Any],
        rng: np.random.Generator,
        sampled: Samples | None = None,
    ) -> dict[str, float]:
        """The losses of a batch by name, which are to be minimised in their sum; keeps what `backward` needs.

        targets   of each image: `Targets`, or anything with boxes (G, 4), labels (G,) and masks (G, H, W); G may be 0
        rng       draws the anchors and regions that count
        sampled   these, chosen elsewhere, in place of chance

        rpn_objectness  which of the sampled anchors are about an object
        rpn_box         where these objects are, told from the anchors
        classifier      of which class each sampled region is
        box             where the objects are, told from the regions
        mask            which part of its region each object covers; with a mask head

        A loss is 0 where nothing counts in it. Raises as `batch.padded` and `batch.check_targets` do.
        """
        self._way_back = None
        batch = self.batch_of(images)
        targets = check_targets(targets, batch.sizes, self.num_classes, self._mask is not None, self.dtype)
        run = self.dense if self._engine is None else self._engine
        seen = self.seen_from(run.forward(self.placed(batch.images)), batch)
        self.samples = self.sample(seen, batch, targets, rng) if sampled is None else sampled
        losses, by_dense = proposal_losses(
            seen.objectness, seen.deltas, self.samples.anchors, self.settings.smooth_l1_beta
        )
        head_losses, by_heads = self._head_losses(seen.features, self.samples.regions, targets)
        self._way_back = WayBack(by_dense, by_heads)
        return losses | head_losses

    def backward(self, scale: float = 1.0) -> None:
        """Add the gradient of `scale` times the sum of the last losses to every parameter's `.grad`.

        Raises GraphError without losses to go back from, which serve once.
        """
        if self._way_back is None:
            raise GraphError(f"{self.name}: backward needs losses(...) first, each time anew")
        way_back, self._way_back = self._way_back, None
        scale = float(scale)  # a NumPy number would make float64 of float32
        by_features = []
        for head, dy, read in way_back.heads:
            dx = head.backward(tuple(scale * one for one in dy) if isinstance(dy, tuple) else scale * dy)
            by_features.append(pyramid_roi_align_backward(dx, read))
        gradients = (*summed(by_features), *(self.placed(scale * one) for one in way_back.dense))
        if self._engine is None:
            self.dense.backward(gradients, to_inputs=False)
        else:
            self._engine.backward(gradients)

    def sample(self, seen: Seen, batch: ImageBatch, targets: Sequence[Targets], rng: np.random.Generator) -> Samples:
        """Anchors and regions of each image, drawn by chance; the regions from its proposals."""
        everywhere = np.concatenate(seen.anchors)
        proposals = self.proposals_of(seen, batch, training=True)
        return Samples(
            [rpn_targets(everywhere, target.boxes, self.settings, rng) for target in targets],
            [
                roi_targets(proposed.boxes, target.boxes, target.labels, self.settings, rng)
                for proposed, target in zip(proposals, targets, strict=True)
            ],
        )

    def _head_losses(
        self, features: list[np.ndarray], samples: Sequence[RoITargets], targets: Sequence[Targets]
    ) -> tuple[dict[str, float], list[tuple[Head, Any, Any]]]:
        """The losses of the heads, and the way back from them."""
        labels = np.concatenate([one.labels for one in samples])
        x, read = self.read_regions(features, [one.boxes for one in samples], self.settings.box_resolution)
        scores, deltas = self._box.forward(x)
        classifier = class_loss(scores, labels)
        found = np.flatnonzero(labels)
        wanted = np.concatenate([one.deltas for one in samples])[found]
        of_classes = deltas.reshape(-1, self.num_classes, 4)
        box = box_loss(of_classes, (found, labels[found]), wanted, len(labels), self.settings.smooth_l1_beta)
        losses = {"classifier": classifier.value, "box": box.value}
        way_back: list[tuple[Head, Any, Any]] = [
            (self._box, (classifier.gradient, box.gradient.reshape(deltas.shape)), read)
        ]
        if self._mask is not None:
            mask, read = self._mask_loss(self._mask, features, samples, targets)
            losses["mask"] = mask.value
            way_back.append((self._mask, mask.gradient, read))
        return losses, way_back

    def _mask_loss(
        self, head: Head, features: list[np.ndarray], samples: Sequence[RoITargets], targets: Sequence[Targets]
    ) -> tuple[Loss, Any]:
        """The loss of the mask head, which is asked about regions of objects alone; and how these were read."""
        found = [np.flatnonzero(one.labels) for one in samples]
        boxes = [one.boxes[chosen] for one, chosen in zip(samples, found, strict=True)]
        x, read = self.read_regions(features, boxes, self.settings.mask_resolution)
        logits = head.forward(x)
        labels = np.concatenate([one.labels[chosen] for one, chosen in zip(samples, found, strict=True)])
        wanted = [
            mask_targets(its, one.objects[chosen], target.masks, logits.shape[-1], self.settings.aligned)
            for its, one, chosen, target in zip(boxes, samples, found, targets, strict=True)
        ]
        return mask_loss(logits, labels, np.concatenate(wanted)), read

    # ------------------------------------------------------------------------------------------------ detecting

    def detect(self, images: Sequence[np.ndarray] | np.ndarray) -> list[Detections]:
        """The objects found in each image, in evaluation mode; see `Detections`."""
        batch = self.batch_of(images)
        seen = self.look(batch)
        return self.detections_from(seen, self.proposals_of(seen, batch, training=False), batch)

    def look(self, batch: ImageBatch) -> Seen:
        """What the dense graph says in evaluation mode."""
        run = self.dense if self._engine is None else self._engine
        return self.seen_from(run.predict(self.placed(batch.images)), batch)

    def detections_from(self, seen: Seen, proposals: Sequence[Proposals], batch: ImageBatch) -> list[Detections]:
        """Class and box of the proposals, then a mask for each box that is left."""
        proposed = [one.boxes for one in proposals]
        x, _ = self.read_regions(seen.features, proposed, self.settings.box_resolution)
        scores, deltas = (by_image(of_all, proposed) for of_all in self._box.predict(x))
        found = [
            detections_of(*of_image, self.settings)
            for of_image in zip(scores, deltas, proposed, batch.sizes, strict=True)
        ]
        if self._mask is None:
            return found
        boxes = [one.boxes for one in found]
        labels = np.concatenate([one.labels for one in found])
        x, _ = self.read_regions(seen.features, boxes, self.settings.mask_resolution)
        logits = self._mask.predict(x)[np.arange(len(labels)), labels]
        masks = by_image(functional.sigmoid_forward(logits)[0], boxes)
        return [Detections(one.boxes, one.scores, one.labels, its) for one, its in zip(found, masks, strict=True)]

    def stages(self, image: np.ndarray, target: Any = None, rng: np.random.Generator | None = None) -> Stages:
        """Everything on the way from an image (C, h, w) to its detections, for pictures; see `staging.stages_of`."""
        return stages_of(self, image, target, rng)

    def summary(self, input_shape: Any) -> str:
        """A table of each graph: for images (N, C, H, W), and the heads' for one region. See `Graph.summary`."""
        sizes = (self.settings.box_resolution, self.settings.mask_resolution)
        channels = self.box_head.inputs[0].channels
        tables = [self.dense.summary(input_shape)]
        heads = zip(self.graphs[1:], sizes, strict=False)
        tables += [head.summary((1, channels, size, size)) for head, size in heads]
        return "\n\n".join(f"{graph.name}\n{table}" for graph, table in zip(self.graphs, tables, strict=True))

    # ---------------------------------------------------------------------------------------------------- parts

    def batch_of(self, images: Sequence[np.ndarray] | np.ndarray) -> ImageBatch:
        """The images side by side, padded so that every level's stride divides the sides."""
        return padded(images, self.strides[-1], self.dense.inputs[0].channels, self.dtype)

    def seen_from(self, outputs: tuple[np.ndarray, ...], batch: ImageBatch) -> Seen:
        """The dense graph's outputs, by what they are, with the anchors that belong to them."""
        first, count = len(self.strides), len(self.settings.anchor_sizes)
        features, heads = outputs[:first], [arrays.to_host(output) for output in outputs[first:]]
        objectness, deltas = heads[:count], heads[count:]
        shapes = [level.shape[2:] for level in objectness]
        sizes, ratios = self.settings.anchor_sizes, self.settings.aspect_ratios
        of_levels = anchors(shapes, batch.images.shape[2:], sizes, ratios, self.dtype)
        return Seen(list(features), objectness, deltas, of_levels)

    def proposals_of(self, seen: Seen, batch: ImageBatch, training: bool) -> list[Proposals]:
        """What the region proposal network proposes for each image."""
        return propose(seen.objectness, seen.deltas, seen.anchors, batch.sizes, self.settings, training)

    def levels_of(self, boxes: np.ndarray) -> np.ndarray:
        """Which level each box is read from."""
        return pyramid_levels(boxes, self.strides, self.settings.canonical_size, self.settings.canonical_level)

    def read_regions(
        self, features: list[np.ndarray], boxes: Sequence[np.ndarray], size: int
    ) -> tuple[np.ndarray, Any]:
        """What RoIAlign reads for the boxes of each image, and its cache."""
        regions, levels = with_image_numbers(boxes), self.levels_of(np.concatenate(list(boxes)))
        return pyramid_roi_align_forward(
            features, regions, levels, self.strides, size, self.settings.sampling_ratio, self.settings.aligned
        )

    @contextmanager
    def accelerated(self, workers: int | None = None) -> Iterator[Detector]:
        """Run each graph through an engine inside the block: same numbers up to rounding; see `engine.Engine`.

        workers   processes that share the work of each graph; None takes as many as BLAS has threads
        """
        heads = [head for head in (self._box, self._mask) if head is not None]
        with ExitStack() as stack:
            dense = stack.enter_context(Engine(self.dense, workers=workers))
            engines = [stack.enter_context(Engine(head.graph, workers=workers, to_inputs=True)) for head in heads]
            self._engine = dense
            for head, engine in zip(heads, engines, strict=True):
                head.engine = engine
            try:
                yield self
            finally:
                self._engine = self._way_back = None
                for head in heads:
                    head.engine = None
