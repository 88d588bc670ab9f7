"""Full resolution against encoder-decoder: networks of equal size, trained side by side on the same images.

All networks take their steps in turn, so that at any moment they have seen the same images, and whatever else the
machine does slows them alike: the comparison may be stopped when one likes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from statistics import median
from typing import NamedTuple

import numpy as np

from minisegnet.data.loader import Loader
from minisegnet.data.sample import Batch
from minisegnet.data.shapes import Shapes
from minisegnet.data.transforms import Normalize
from minisegnet.graph import Graph
from minisegnet.layers import CrossEntropyLoss
from minisegnet.models.encoder_decoder import UPSAMPLINGS, encoder_decoder
from minisegnet.models.full_resolution import full_resolution
from minisegnet.prediction import predict_probabilities
from minisegnet.summary import node_costs
from minisegnet.training import Adam, Cosine, WarmUp, evaluate
from minisegnet.training.interrupts import interrupts_held

PARAMETERS = 97_000  # where the nearest widths of all networks come within half a percent of one another
BATCH_SIZE = 8
TRAIN_IMAGES, TEST_IMAGES = 4000, 200
LEARNING_RATE, WARM_UP = 0.005, 20
MEAN, STD = 0.5, 0.25
NOT_TIMED = 3  # a network's first steps, in which memory is asked for

# (classes, width=, seed=) -> a network, by the name under which it is compared
BUILDERS: dict[str, Callable[..., Graph]] = {
    "full resolution": full_resolution,
    **{
        f"encoder-decoder, {upsampling.replace('_', ' ')}": partial(encoder_decoder, upsampling=upsampling)
        for upsampling in UPSAMPLINGS
    },
}


class Result(NamedTuple):
    """One network's line.

    multiply_adds     of one image's forward pass, counted as `minisegnet.summary` does
    activation_bytes  of the values that its nodes return for one image, kept for the way back
    seconds           of a training step, the median; nan before the first
    mean_iou, pixel_accuracy  on images that were not trained on
    """

    name: str
    width: int
    parameters: int
    multiply_adds: int
    activation_bytes: int
    seconds: float
    mean_iou: float
    pixel_accuracy: float


class Comparison:
    """The networks, at their beginning; `rounds` trains them, `results` tells how they did.

    size        side of the images of the shapes set, in pixels
    steps       of each network, over which the learning rate falls
    parameters  that each network shall have, as nearly as its width allows
    seed        of the weights and the images
    """

    def __init__(self, size: int, steps: int, parameters: int = PARAMETERS, seed: int = 0) -> None:
        self.train_images = Shapes(size, TRAIN_IMAGES, seed=seed, split="train")
        self.test_images = Shapes(size, TEST_IMAGES, seed=seed, split="test")
        self.steps, self.steps_done = steps, 0
        self.schedule = WarmUp(WARM_UP, Cosine(LEARNING_RATE, steps))
        self.loader = Loader(self.train_images, BATCH_SIZE, Normalize(MEAN, STD), shuffle=True, seed=seed)
        self.loss = CrossEntropyLoss()
        self.widths: dict[str, int] = {}
        self.graphs: dict[str, Graph] = {}
        for name, build in BUILDERS.items():
            build = partial(build, len(self.train_images.classes), seed=seed)
            self.widths[name] = nearest_width(build, parameters)
            self.graphs[name] = build(width=self.widths[name])
        self.optimisers = {name: Adam(graph.parameters, LEARNING_RATE) for name, graph in self.graphs.items()}
        self.seconds: dict[str, list[float]] = {name: [] for name in self.graphs}

    def rounds(self) -> Iterator[int]:
        """Train: in each round every network takes a step on the same batch. Yields the steps done.

        Ctrl-C ends it between two rounds.
        """
        for epoch in count():
            for batch in self.loader.epoch(epoch):
                with interrupts_held():
                    for name in self.graphs:
                        self._step(name, batch)
                    self.steps_done += 1
                yield self.steps_done
                if self.steps_done == self.steps:
                    return

    def _step(self, name: str, batch: Batch) -> None:
        started = time.perf_counter()
        graph, optimiser = self.graphs[name].train(), self.optimisers[name]
        _, cache = self.loss.forward(graph.forward(batch.images), batch.labels)
        graph.zero_grad()
        graph.backward(self.loss.backward(1.0, cache))
        optimiser.lr = self.schedule(self.steps_done)
        optimiser.step()
        self.seconds[name].append(time.perf_counter() - started)

    def results(self) -> Iterator[Result]:
        """Each network's line, as it stands now; scoring takes a while."""
        for name, graph in self.graphs.items():
            shape = (1, self.train_images.channels, *self.train_images.size)
            costs = node_costs(graph, graph.shapes(shape)).values()
            timed = self.seconds[name][NOT_TIMED:] or self.seconds[name]
            scores = evaluate(graph, self.test_images, predict)
            yield Result(
                name,
                self.widths[name],
                sum(cost.parameters for cost in costs),
                sum(cost.multiply_adds for cost in costs),
                sum(cost.bytes for cost in costs),
                median(timed) if timed else float("nan"),
                scores.mean_iou,
                scores.pixel_accuracy,
            )


def nearest_width(build: Callable[..., Graph], parameters: int) -> int:
    """The width, from 1, at which `build(width=...)` has the number of parameters nearest to `parameters`."""
    width = before = here = 0
    while here < parameters:
        width, before = width + 1, here
        here = sum(parameter.data.size for parameter in build(width=width).parameters.values())
    return width if width == 1 or here - parameters <= parameters - before else width - 1


def predict(graph: Graph, image: np.ndarray) -> np.ndarray:
    """Class probabilities of an image that is not normalised yet."""
    return predict_probabilities(graph, (image - MEAN) / STD)


def table(results: list[Result]) -> str:
    """The results as text, a line a network."""
    titles = ("network", "width", "parameters", "mult-adds", "activations", "step", "mean IoU", "accuracy")
    rows = [
        (
            result.name,
            f"{result.width}",
            f"{result.parameters:,}",
            f"{result.multiply_adds / 1e6:,.0f} M",
            f"{result.activation_bytes / 1e6:,.2f} MB",
            f"{1000 * result.seconds:,.0f} ms",
            f"{result.mean_iou:.3f}",
            f"{result.pixel_accuracy:.3f}",
        )
        for result in results
    ]
    widths = [max(len(cell) for cell in column) for column in zip(titles, *rows, strict=True)]
    lines = [
        f"{name:<{widths[0]}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        for name, *cells in (titles, *rows)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
