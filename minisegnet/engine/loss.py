"""The pixelwise softmax cross-entropy as the last step: loss and gradient in one pass over the scores."""

from __future__ import annotations

import numpy as np

from minisegnet import checks
from minisegnet.engine.layout import clear_margin, store
from minisegnet.engine.sharing import Band, pieces, share
from minisegnet.engine.step import Step
from minisegnet.engine.value import Planes, Reader, Value
from minisegnet.engine.worker import Worker
from minisegnet.layers import CrossEntropyLoss

BLOCK = 2**17


class CrossEntropy(Step):
    """-log softmax(scores)[label] at every pixel, weighted and reduced; see `functional.softmax_cross_entropy_forward`.

    labels, pixel_weight   (N, 1, H, W), filled by the caller; pixel weights count where `by_pixel` is set
    value                  the loss, known once the way back begins, when its gradient is written too
    """

    algorithm = "softmax, loss and gradient in one pass"
    gives_in_turn = True

    def __init__(self, worker: Worker, readers: list[Reader], layer: CrossEntropyLoss, classes: int) -> None:
        super().__init__(worker, "loss", readers)
        self.input, self.layer, self.classes = readers[0].value, layer, classes
        N, _, H, W = self.input.shape
        self.labels = Planes("labels", (N, 1, H, W), np.int32)
        self.pixel_weight = Planes("pixel weights", (N, 1, H, W))
        self.by_pixel = False
        self.value = 0.0
        _, _, m, tiles, _ = self.input.stored
        rows_at_once = max(1, BLOCK // (m * m * tiles * self.classes))
        bands = share(N, self.input.tile_rows, worker.rank, worker.count)
        self.blocks = list(pieces(bands, rows_at_once))

    @property
    def outputs(self) -> list[Value]:
        return []

    def take(self, labels: np.ndarray, pixel_weight: np.ndarray | None) -> None:
        """Labels, and weights or None, for the next pass. Raises LabelError, ShapeError or DtypeError, as the layer."""
        N, _, H, W = self.labels.whole.shape
        logits = np.broadcast_to(np.zeros((), self.worker.dtype), (N, self.classes, *self.input.given[2:]))
        checks.cross_entropy(logits, labels, self.layer.weight, self.layer.ignore_index, pixel_weight)
        self.labels.whole[:, 0] = labels.reshape(N, H, W)
        self.by_pixel = pixel_weight is not None
        if pixel_weight is not None:
            self.pixel_weight.whole[:, 0] = pixel_weight.reshape(N, H, W)

    def forward(self) -> None:
        """Nothing: loss and gradient are made of the same probabilities, on the way back."""

    def backward(self) -> None:
        scale = 1.0
        if self.layer.reduction == "mean":
            own = sum(float(self._pixels(band)[1].sum(dtype=np.float64)) for band in self.blocks)
            total = float(self.worker.sum(np.array([own]))[0])
            scale = 1 / total if total else 0.0
        loss = sum(self._block(band, scale) for band in self.blocks)
        self.value = float(self.worker.sum(np.array([loss]))[0]) * scale

    def _pixels(self, band: Band) -> tuple[np.ndarray, np.ndarray]:
        """Labels and weights (pixels,) of a band in the order of its scores; both 0 where none counts."""
        m, (_, _, H, W) = self.input.m, self.input.shape
        shape = (band.height * m, m, self.input.tiles, 1)

        def stored(planes: Planes, name: str) -> np.ndarray:
            rows = self.worker.scratch.array(name, shape, planes.data.dtype)
            store(planes.data[band.image], rows, band.first * m)
            return rows.reshape(-1)

        labels = stored(self.labels, "labels")
        inside = self.worker.scratch.array("weights", shape, self.worker.dtype)
        inside.fill(1)
        clear_margin(inside, band.first * m, H, W)
        weights = inside.reshape(-1)
        if self.layer.ignore_index is not None:
            ignored = labels == self.layer.ignore_index
            weights[ignored] = 0
            labels[ignored] = 0
        if self.by_pixel:
            weights *= stored(self.pixel_weight, "pixel weights")
        if self.layer.weight is not None:
            weights *= np.asarray(self.layer.weight, weights.dtype)[labels]
        return labels, weights

    def _block(self, band: Band, scale: float) -> float:
        """The loss of a band, and its gradient."""
        labels, weights = self._pixels(band)
        pixels = len(labels)
        z = self._scores(band)
        if self.layer.ignore_index is not None:
            z[:, weights == 0] = 0  # these may hold NaN
        z -= z.max(0)
        place = labels * pixels + np.arange(pixels)
        flat = z.reshape(-1)
        at_label = flat[place]
        np.exp(z, out=z)
        total = z.sum(0)
        loss = float(((np.log(total) - at_label) * weights).sum(dtype=np.float64))
        weights *= self.worker.dtype.type(scale)
        np.divide(weights, total, out=total)
        z *= total
        flat[place] -= weights
        self._give(band, z)
        return loss

    def _scores(self, band: Band) -> np.ndarray:
        """The scores of a band, to be written over: (classes, pixels), so that each step goes along all pixels."""
        scores = self.input.data[band.image, band.first * self.input.m : band.stop * self.input.m]
        z = self.worker.scratch.array("scores, classes first", (self.classes, scores[..., 0].size), scores.dtype)
        np.copyto(z, scores.reshape(-1, self.classes).T)
        return z

    def _give(self, band: Band, dz: np.ndarray) -> None:
        """Go back with the gradient by what `_scores` returned."""
        m, (reader,) = self.input.m, self.readers
        with reader.filling(band.image, band.first * m, band.stop * m, self.worker.scratch) as rows:
            np.copyto(rows.reshape(-1, self.classes), dz.T)
