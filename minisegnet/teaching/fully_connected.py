"""What a fully connected layer is, what it loses and what it costs: three lessons measured on made-up shapes.

1. It is a convolution: a classifier of small windows slides over a large image (`slide`).
2. It loses where things are: what it learnt in the middle it does not know elsewhere (`accuracy_by_shift`), and it has
   no map that would tell where (`share_found`).
3. A small filter in its place costs far less (`costs`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from minisegnet.data.loader import Loader
from minisegnet.data.sample import Dataset, Sample
from minisegnet.data.shape_classes import OneShape, ShapeClasses
from minisegnet.data.shapes import CLASSES, GRADES, SPLITS, Picture
from minisegnet.data.transforms import Normalize
from minisegnet.graph import Graph
from minisegnet.layers import (
    BatchNorm2d,
    Conv2d,
    CrossEntropyLoss,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    ReLU,
)
from minisegnet.models.alignment import coordinates
from minisegnet.models.fully_convolutional import fully_convolutional
from minisegnet.nodes import Handle
from minisegnet.summary import node_costs
from minisegnet.trained import normalised
from minisegnet.training import Adam, Cosine, Trainer, WarmUp
from minisegnet.training.trainer import centre

SIZE = 32  # side of the images that are classified, in pixels
MEAN, STD = [0.5] * 3, [0.25] * 3
TRAIN_IMAGES, BATCH_SIZE, WARM_UP = 20000, 32, 20
BATCH = 64  # images predicted at once


def train(graph: Graph, dataset: Dataset, steps: int, lr: float, folder: str | Path, seed: int = 0) -> None:
    """Train a classifier, scores (N, num_classes) or (N, num_classes, 1, 1); the run's files go into the folder."""
    Trainer(
        graph,
        CrossEntropyLoss(),
        Loader(dataset, BATCH_SIZE, Normalize(MEAN, STD), shuffle=True, seed=seed),
        Adam(graph.parameters, lr),
        WarmUp(WARM_UP, Cosine(lr, steps)),
        folder,
        steps=steps,
        seed=seed,
        pictures=False,
    ).fit(overwrite=True)


def batches(dataset: Dataset) -> Iterator[tuple[np.ndarray, list[Sample]]]:
    """The whole data set, prepared images (N, 3, H, W) with their samples."""
    for first in range(0, len(dataset), BATCH):
        samples = [dataset[index] for index in range(first, min(first + BATCH, len(dataset)))]
        yield np.stack([prepared(sample) for sample in samples]), samples


def prepared(sample: Sample) -> np.ndarray:
    """The sample's image as the networks were trained on it, float32 (3, H, W)."""
    return normalised(sample.image, MEAN, STD)


def answers(graph: Graph, images: np.ndarray) -> np.ndarray:
    """The class that a classifier gives each of the images (N, 3, H, W), int (N,)."""
    return graph.predict(images).reshape(len(images), -1).argmax(axis=1)


def accuracy(graph: Graph, dataset: Dataset) -> float:
    """The share of images that a classifier gives the class of their middle pixel."""
    right = 0
    for images, samples in batches(dataset):
        right += int((answers(graph, images) == class_of(samples)).sum())
    return right / len(dataset)


def class_of(samples: Sequence[Sample]) -> np.ndarray:
    """The label of each sample's middle pixel, which is what a classifier learns, int (N,)."""
    return centre(np.array([sample.labels for sample in samples]), ())


# ---------------------------------------------------------------------------------- 1: it is a convolution

IN_MIDDLE, BESIDE = 3.0, (7.0, 30.0)  # how far, in pixels, a shape is from the middle of a window that has its class
GRADE = replace(GRADES["medium"], objects=(1, 1), radius=(0.22, 0.31))
SHARE_IN_MIDDLE = 0.6
SCENE, SCENE_OBJECTS = (128, 192), 12


class Windows(ShapeClasses):
    """Windows 32 pixels wide, of the class of the shape in their middle; background if that stands beside or is absent.

    What a window of a large image may show: so a classifier of them can slide over one.
    """

    def __getitem__(self, index: int) -> Sample:
        index = range(self.count)[index]
        rng = np.random.default_rng([self.seed, SPLITS[self.split], index, 3])  # ShapeClasses draws from [..., 2]
        in_middle = rng.random() < SHARE_IN_MIDDLE
        picture = OneShape(self.size, GRADE, rng, rng.uniform(0, IN_MIDDLE) if in_middle else rng.uniform(*BESIDE))
        labels = np.full(self.size, picture.labels.max() if in_middle else 0, np.int32)
        return Sample(picture.photograph(), labels, f"window_{self.split}_{index:05d}", picture.instances)


def scene(seed: int) -> Sample:
    """A large image with several shapes of the size that they have in `Windows`, apart from one another."""
    smallest, largest = (share * SIZE / min(SCENE) for share in GRADE.radius)
    objects = (SCENE_OBJECTS, SCENE_OBJECTS)
    grade = replace(GRADE, objects=objects, radius=(smallest, largest), crowding=0.0, hidden=0.0)
    picture = Picture(SCENE, grade, np.random.default_rng([seed, 4]))
    return Sample(picture.photograph(), picture.labels, f"scene_{seed}", picture.instances)


def window_classifier(width: int = 16, hidden: int = 64, seed: int = 0) -> Graph:
    """A classifier of windows (N, 3, 32, 32) in LeNet's manner, without padding; scores (N, num_classes).

    Source: LeCun et al. 1998, Gradient-based learning applied to document recognition, figure 2.
    """
    graph = Graph("window classifier")
    x = graph.input("window", channels=3)
    x = graph.chain(
        "features", x,
        Conv2d(3, width, 5), BatchNorm2d(width), ReLU(), MaxPool2d(2),
        Conv2d(width, 2 * width, 5), BatchNorm2d(2 * width), ReLU(), MaxPool2d(2),
    )  # fmt: skip
    side = graph.shapes((1, 3, SIZE, SIZE))[x.node.name][2]
    x = graph.chain("classifier", x, Flatten(), Linear(2 * width * side**2, hidden), ReLU())
    return graph.output("score", Linear(hidden, len(CLASSES)), x).initialise(seed)


class Slide(NamedTuple):
    """A classifier of windows on a large image: as a convolution at once, and window by window.

    scores          (num_classes, h, w)  a place for each position of the window
    by_window       (num_classes, h, w)  the classifier's own scores for each of those windows
    first, stride   the middle of window (i, j) is row first + stride i and column first + stride j of the image
    multiply_adds   of both ways, and the seconds that they took: at once, window by window
    """

    scores: np.ndarray
    by_window: np.ndarray
    first: float
    stride: int
    multiply_adds: tuple[int, int]
    seconds: tuple[float, float]

    @property
    def difference(self) -> float:
        """The largest between the two ways."""
        return float(np.abs(self.scores - self.by_window).max())

    @property
    def probabilities(self) -> np.ndarray:
        """Softmax of the scores, (num_classes, h, w)."""
        exponentials = np.exp(self.scores - self.scores.max(axis=0))
        return exponentials / exponentials.sum(axis=0)


def slide(classifier: Graph, size: int, image: np.ndarray) -> Slide:
    """Slide a classifier of windows (N, C, size, size) over an image (C, H, W), normalised, both ways.

    The two agree where the classifier does not pad: a window cut out knows nothing of what is around it.
    """
    sliding = fully_convolutional(classifier, size)
    down, _ = coordinates(sliding, (1, *image.shape))[sliding.outputs[0].name]
    stride = int(down.scale)
    started = time.perf_counter()
    scores = sliding.predict(image[None])[0]
    between = time.perf_counter()
    cut = sliding_window_view(image, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    windows = np.ascontiguousarray(cut.transpose(1, 2, 0, 3, 4)).reshape(-1, len(image), size, size)
    answers = [classifier.predict(windows[first : first + BATCH]) for first in range(0, len(windows), BATCH)]
    ended = time.perf_counter()
    by_window = np.concatenate(answers).reshape(*cut.shape[1:3], -1).transpose(2, 0, 1)
    return Slide(
        scores,
        by_window,
        float(down.offset),
        stride,
        (multiply_adds(sliding, (1, *image.shape)), multiply_adds(classifier, windows.shape)),
        (between - started, ended - between),
    )


def multiply_adds(graph: Graph, shape: tuple[int, ...]) -> int:
    """Of a forward pass on images of this shape, counted as `minisegnet.summary` does."""
    return sum(cost.multiply_adds for cost in node_costs(graph, graph.shapes(shape)).values())


# ------------------------------------------------------------------------------ 2: it loses where things are


def fully_connected_head(width: int = 12, hidden: int = 64, seed: int = 0) -> Graph:
    """Three convolutions, then two fully connected layers: images (N, 3, 32, 32) to scores (N, num_classes)."""
    graph = Graph("fully connected head")
    x = _features(graph, width)
    inputs = int(np.prod(graph.shapes((1, 3, SIZE, SIZE))[x.node.name]))
    x = graph.chain("head", x, Flatten(), Linear(inputs, hidden), ReLU())
    return graph.output("score", Linear(hidden, len(CLASSES)), x).initialise(seed)


def convolutional_head(width: int = 12, hidden: int = 64, seed: int = 0) -> Graph:
    """The same three convolutions, then a 3 x 3 and a 1 x 1 one and the mean of their scores: (N, num_classes, 1, 1).

    The node "score" is the map before the mean. Source: Lin et al. 2014, Network in network, section 3.2.
    """
    graph = Graph("convolutional head")
    x = _features(graph, width)
    x = graph.chain("head", x, Conv2d(4 * width, hidden, 3, padding=1), BatchNorm2d(hidden), ReLU())
    x = graph.add("score", Conv2d(hidden, len(CLASSES), 1), x)
    return graph.output("mean", GlobalAvgPool2d(), x).initialise(seed)


def _features(graph: Graph, width: int) -> Handle:
    return graph.chain(
        "features", graph.input("image", channels=3),
        Conv2d(3, width, 3, padding=1), BatchNorm2d(width), ReLU(), MaxPool2d(2),
        Conv2d(width, 2 * width, 3, padding=1), BatchNorm2d(2 * width), ReLU(), MaxPool2d(2),
        Conv2d(2 * width, 4 * width, 3, padding=1), BatchNorm2d(4 * width), ReLU(),
    )  # fmt: skip


def accuracy_by_shift(graphs: Mapping[str, Graph], shifts: Sequence[float], count: int) -> dict[str, list[float]]:
    """Each classifier's accuracy on `count` images, the shape so many pixels from the middle, for every shift."""
    found: dict[str, list[float]] = {name: [] for name in graphs}
    for shift in shifts:
        dataset = ShapeClasses(SIZE, count, split="test", shift=shift)
        for name, graph in graphs.items():
            found[name].append(accuracy(graph, dataset))
    return found


def score_maps(graph: Graph, images: np.ndarray) -> np.ndarray:
    """What a network's node "score" makes of the images, (N, num_classes, h, w); it is put into evaluation mode."""
    return next(step.output for step in graph.eval().steps(images) if step.node == "score")


def share_found(graph: Graph, dataset: Dataset) -> tuple[float, float]:
    """In how many images with a shape the highest score of its class, before the mean, lies on it; and by chance.

    Source: Zhang et al. 2016, Top-down neural attention by excitation backprop, section 4.1 (the pointing game).
    """
    found, covered = [], []
    for images, samples in batches(dataset):
        places = coordinates(graph, images.shape)["score"]
        for scores, sample, label in zip(score_maps(graph, images), samples, class_of(samples), strict=True):
            if label > 0 and sample.instances is not None:
                highest = np.unravel_index(scores[label].argmax(), scores[label].shape)
                pixel = (int(along.offset + along.scale * int(i)) for along, i in zip(places, highest, strict=True))
                found.append(sample.instances[tuple(pixel)] > 0)
                covered.append(np.mean(sample.instances > 0))
    return float(np.mean(found)), float(np.mean(covered))


def moved(shifts: Sequence[float]) -> list[Sample]:
    """One shape at each shift, in one direction on one ground."""
    datasets = [ShapeClasses(SIZE, shift=shift, split="test") for shift in shifts]
    index = next(i for i in range(len(datasets[0])) if class_of([datasets[0][i]]) > 0)
    return [dataset[index] for dataset in datasets]


# --------------------------------------------------------------------------- 3: a small filter costs far less

HEAD = (48, 8, 64)  # channels, side and outputs of the fully connected head's first layer
VGG16_FC6 = (512, 7, 4096)  # of VGG-16's: Simonyan and Zisserman 2015, table 1, column D


class Cost(NamedTuple):
    """What a layer on a map (channels, side, side) costs; biases, which hardly count, are left out.

    weights        each is multiplied once for an answer, of all outputs
    multiply_adds  of side x side answers: the fully connected layer slides to give them
    """

    name: str
    weights: int
    multiply_adds: int


def costs(channels: int, side: int, outputs: int, filters: Sequence[int] = (3, 1)) -> list[Cost]:
    """A fully connected layer on a map (channels, side, side), and convolutions with these filters in its place."""
    names = ("fully connected", *(f"{kernel} x {kernel} convolution" for kernel in filters))
    weights = [outputs * channels * kernel**2 for kernel in (side, *filters)]
    return [Cost(name, count, count * side**2) for name, count in zip(names, weights, strict=True)]
