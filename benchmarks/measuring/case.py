"""What is timed: a network of ours, an input shape, and whether it trains or predicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minisegnet import models

CLASSES = 21


@dataclass(frozen=True)
class Case:
    """One thing that every side does, told in words that JSON can carry to its process.

    model       a name in `minisegnet.models.MODELS`, built with `arguments`
    shape       of the images, (N, C, H, W)
    training    True: a step of training; False: a prediction
    """

    model: str
    arguments: dict
    shape: tuple[int, int, int, int]
    training: bool

    def __str__(self):
        N, C, H, W = self.shape
        what = "a training step" if self.training else "inference"
        return f"{what} on {N} image{'s' if N > 1 else ''} of {C} x {H} x {W}"

    def build(self, dropout=True):
        """The graph, images and labels, the same in every process; dropout False: its layers drop nothing.

        Convolutions that start at zero are drawn too: zeros would hide a wrong layer from the comparison, and from
        the timing a processor's ease with them.
        """
        graph = models.create(self.model, num_classes=CLASSES, in_channels=self.shape[1], **self.arguments)
        rng = np.random.default_rng(0)
        for layer in graph.layers.values():
            weight = layer.parameters.get("weight")
            if weight is not None and not weight.data.any():
                weight.data[...] = rng.standard_normal(weight.data.shape) / np.sqrt(weight.data[0].size)
            if not dropout and hasattr(layer, "p"):
                layer.p = 0.0
        images = rng.standard_normal(self.shape, np.float32)
        N, _, H, W = graph.output_shape(self.shape)
        return graph, images, rng.integers(0, CLASSES, (N, H, W))
