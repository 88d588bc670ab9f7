"""Score a trained network on images with masks: IoU, dice and accuracy of each class, and their means.

A detector is scored by COCO's average precision of boxes and masks, and by the share of objects that are found right.

examples:
  minisegnet evaluate runs/first/best.npz --data folder:photos
  minisegnet evaluate runs/first/best.npz --data folder:photos --split test --symmetries --json scores.json
  minisegnet evaluate runs/nuclei/best.npz --data nuclei:nuclei --score 0.6
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from minisegnet.commands.options import (
    DATA_HELP,
    add_data_options,
    add_device,
    add_engine,
    add_prediction_options,
    add_score,
    add_threads,
    check_no_pixel_options,
    engine_for,
    limited_threads,
)
from minisegnet.errors import DataError

if TYPE_CHECKING:
    from minisegnet.data.sample import Dataset
    from minisegnet.detection.detector import Detector
    from minisegnet.graph import Graph
    from minisegnet.metrics import ConfusionMatrix
    from minisegnet.trained import Recipe
    from minisegnet.training.detection_evaluation import DetectionEvaluation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="best.npz or last.npz of a run")
    parser.add_argument("--data", required=True, metavar="DATA", help=DATA_HELP)
    parser.add_argument("--split", default="val", help="which part of the data (val)")
    add_data_options(parser)
    add_prediction_options(parser)
    add_score(parser)
    parser.add_argument("--csv", metavar="FILE", help="also write each class's scores as a table")
    parser.add_argument("--json", metavar="FILE", help="also write all scores and the confusion matrix")
    add_device(parser)
    add_engine(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> None:
    from minisegnet import data
    from minisegnet.detection.detector import Detector
    from minisegnet.trained import load_trained

    graph, recipe = load_trained(arguments.checkpoint)
    graph.to(arguments.device)
    dataset = data.open_dataset(arguments.data, split=arguments.split, **dict(arguments.data_option))
    check_classes(recipe, dataset, arguments.data)
    score = score_objects if isinstance(graph, Detector) else score_pixels
    with limited_threads(arguments.threads), engine_for(graph, arguments):
        table, files = score(graph, recipe, dataset, arguments)
    print(f"{arguments.checkpoint} on {len(dataset)} images of {arguments.data}, {arguments.split}\n")
    print(table)
    if arguments.csv:
        write(arguments.csv, files.csv())
    if arguments.json:
        write(arguments.json, files.json())


class Files(NamedTuple):
    """The text of the files that may be asked for, made when it is."""

    csv: Callable[[], str]
    json: Callable[[], str]


def score_pixels(graph: Graph, recipe: Recipe, dataset: Dataset, arguments: argparse.Namespace) -> tuple[str, Files]:
    """The table and the files of a network that gives every pixel a class."""
    from minisegnet.metrics import ConfusionMatrix
    from minisegnet.training.evaluation import count, predictions

    def predict(graph: Any, image: Any) -> Any:
        return recipe.probabilities(graph, image, arguments.tile, arguments.symmetries)

    confusion = ConfusionMatrix(len(recipe.classes), dataset.ignore_index)
    for sample, probabilities in evaluating(predictions(graph, dataset, predict), len(dataset)):
        count(confusion, sample, probabilities.argmax(axis=0))
    return confusion.table(recipe.classes), Files(
        lambda: as_csv(confusion, recipe), lambda: as_json(confusion, recipe)
    )


def score_objects(
    detector: Detector, recipe: Recipe, dataset: Dataset, arguments: argparse.Namespace
) -> tuple[str, Files]:
    """The table and the files of a network that finds objects."""
    from minisegnet.training.detection_evaluation import DetectionEvaluation

    check_no_pixel_options(arguments)
    evaluation = DetectionEvaluation(recipe.classes, detector.mask_head is not None, arguments.score)
    for index in evaluating(range(len(dataset)), len(dataset)):
        sample = dataset[index]
        evaluation.add(sample, recipe.detections(detector, sample.image))
    return evaluation.table(), Files(lambda: objects_as_csv(evaluation), lambda: objects_as_json(evaluation))


def evaluating(items: Iterable, count: int) -> Iterable:
    """The items, with a bar that tells how many are done."""
    from tqdm import tqdm

    return tqdm(items, "evaluating", count, unit="image", leave=False, disable=None)


def check_classes(recipe: Recipe, dataset: Dataset, name: str) -> None:
    """Raise DataError unless the data's classes are those of the network, in their order."""
    if list(dataset.classes) != list(recipe.classes):
        raise DataError(
            f"{name} has the {len(dataset.classes)} classes {', '.join(dataset.classes)}, and the network was trained "
            f"on the {len(recipe.classes)} classes {', '.join(recipe.classes)}; give data with those, in that order"
        )


def as_csv(confusion: ConfusionMatrix, recipe: Recipe) -> str:
    """A line for each class; a score that does not exist is left empty."""
    import csv
    import io

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["class", "iou", "dice", "accuracy", "pixels"])
    for name, *scores, pixels in zip(
        recipe.classes, confusion.iou, confusion.dice, confusion.accuracy, confusion.true, strict=True
    ):
        table.writerow([name, *map(_number, scores), pixels])
    return text.getvalue()


def as_json(confusion: ConfusionMatrix, recipe: Recipe) -> str:
    """Every score, and the matrix (true class by predicted class); a score that does not exist is null."""
    import json

    means = ("pixel_accuracy", "mean_accuracy", "mean_iou", "mean_dice", "frequency_weighted_iou")
    scores = {name: _number(getattr(confusion, name)) for name in means}
    classes = {
        name: {"iou": _number(iou), "dice": _number(dice), "accuracy": _number(accuracy), "pixels": int(pixels)}
        for name, iou, dice, accuracy, pixels in zip(
            recipe.classes, confusion.iou, confusion.dice, confusion.accuracy, confusion.true, strict=True
        )
    }
    return json.dumps({**scores, "classes": classes, "confusion": confusion.matrix.tolist()}, indent=2) + "\n"


def objects_as_csv(evaluation: DetectionEvaluation) -> str:
    """A line for each class, of boxes and of masks, with COCO's twelve numbers."""
    import csv
    import io

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    results = evaluation.results()
    names = list(results["boxes"].by_class)
    table.writerow(["kind", "class", *names, "objects"])
    for kind, result in results.items():
        columns = [result.by_class[name] for name in names]
        for row, name in enumerate(result.classes):
            scores = [_number(column[row]) for column in columns]
            table.writerow([kind, name, *scores, int(result.objects[row, 0])])
    return text.getvalue()


def objects_as_json(evaluation: DetectionEvaluation) -> str:
    """COCO's means of boxes and of masks, and the counts of the instance maps."""
    import json

    told: dict[str, Any] = {
        kind: {name: _number(score) for name, score in result.mean.items()}
        for kind, result in evaluation.results().items()
    }
    if evaluation.maps is not None:
        right, wrong, missed = evaluation.maps.counts.sum(axis=0)[0].tolist()
        told["maps"] = {
            "least score": evaluation.sure,
            "mean over images at IoU 0.5": _number(evaluation.maps.mean[0]),
            "all objects at IoU 0.5": _number(evaluation.maps.pooled[0]),
            "right": right, "wrong": wrong, "missed": missed,
        }  # fmt: skip
    return json.dumps(told, indent=2) + "\n"


def _number(score: float) -> float | None:
    return float(score) if score == score else None  # nan is a score that does not exist, which JSON has no word for


def write(path: str, text: str) -> None:
    """Write a whole file or none."""
    from minisegnet.training.checkpoint import replacing

    with replacing(Path(path)) as file:
        file.write(text.encode())
