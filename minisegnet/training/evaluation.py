"""Evaluation: a network's predictions for every image of a data set, and their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from minisegnet.data.sample import Dataset, Sample
from minisegnet.errors import DataError, LabelError, ShapeError
from minisegnet.graph import Graph
from minisegnet.metrics import ConfusionMatrix

# predict(graph, image (C, H, W) float32) -> probabilities (num_classes, H, W)
Predict = Callable[[Graph, np.ndarray], np.ndarray]


def predictions(graph: Graph, dataset: Dataset, predict: Predict | None = None) -> Iterator[tuple[Sample, np.ndarray]]:
    """Each sample of the data set with the network's probabilities for it, (num_classes, H, W).

    predict  how a whole image is predicted; by default `minisegnet.prediction.predict_probabilities`. Give one of your
             own (or a partial of that one) to normalise the images, or to predict in tiles
    """
    from minisegnet.prediction import predict_probabilities

    predict = predict or predict_probabilities
    for i in range(len(dataset)):
        sample = dataset[i]
        yield sample, predict(graph, sample.image)


def evaluate(graph: Graph, dataset: Dataset, predict: Predict | None = None) -> ConfusionMatrix:
    """The confusion matrix of the most probable classes over a data set.

    Raises DataError for a sample without labels; LabelError or ShapeError, naming the sample, for labels or a
    prediction that do not fit.
    """
    confusion = ConfusionMatrix(len(dataset.classes), dataset.ignore_index)
    for sample, probabilities in predictions(graph, dataset, predict):
        count(confusion, sample, probabilities.argmax(axis=0))
    return confusion


def count(confusion: ConfusionMatrix, sample: Sample, prediction: np.ndarray) -> None:
    """`confusion.update` with one sample, whose name goes into every error."""
    if sample.labels is None:
        raise DataError(f"{sample.name} has no labels, so its prediction has no score")
    try:
        confusion.update(prediction, sample.labels)
    except (LabelError, ShapeError) as problem:
        raise type(problem)(f"{sample.name}: {problem}") from None
