"""Score a trained network on images with masks: IoU, dice and accuracy of each class, and their means.

examples:
  minisegnet evaluate runs/first/best.npz --data folder:photos
  minisegnet evaluate runs/first/best.npz --data folder:photos --split test --symmetries --json scores.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisegnet.commands.options import (
    DATA_HELP,
    add_data_options,
    add_device,
    add_engine,
    add_prediction_options,
    add_threads,
    engine_for,
    limited_threads,
)
from minisegnet.errors import DataError

if TYPE_CHECKING:
    from minisegnet.data.sample import Dataset
    from minisegnet.metrics import ConfusionMatrix
    from minisegnet.trained import Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="best.npz or last.npz of a run")
    parser.add_argument("--data", required=True, metavar="DATA", help=DATA_HELP)
    parser.add_argument("--split", default="val", help="which part of the data (val)")
    add_data_options(parser)
    add_prediction_options(parser)
    parser.add_argument("--csv", metavar="FILE", help="also write each class's scores as a table")
    parser.add_argument("--json", metavar="FILE", help="also write all scores and the confusion matrix")
    add_device(parser)
    add_engine(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from minisegnet import data
    from minisegnet.metrics import ConfusionMatrix
    from minisegnet.trained import load_trained
    from minisegnet.training.evaluation import count, predictions

    graph, recipe = load_trained(arguments.checkpoint)
    graph.to(arguments.device)
    dataset = data.open_dataset(arguments.data, split=arguments.split, **dict(arguments.data_option))
    check_classes(recipe, dataset, arguments.data)

    def predict(graph: Any, image: Any) -> Any:
        return recipe.probabilities(graph, image, arguments.tile, arguments.symmetries)

    confusion = ConfusionMatrix(len(recipe.classes), dataset.ignore_index)
    with limited_threads(arguments.threads), engine_for(graph, arguments):
        for sample, probabilities in tqdm(
            predictions(graph, dataset, predict), "evaluating", len(dataset), unit="image", leave=False, disable=None
        ):
            count(confusion, sample, probabilities.argmax(axis=0))
    print(f"{arguments.checkpoint} on {len(dataset)} images of {arguments.data}, {arguments.split}\n")
    print(confusion.table(recipe.classes))
    if arguments.csv:
        write(arguments.csv, as_csv(confusion, recipe))
    if arguments.json:
        write(arguments.json, as_json(confusion, recipe))


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


def _number(score: float) -> float | None:
    return float(score) if score == score else None  # nan is a score that does not exist, which JSON has no word for


def write(path: str, text: str) -> None:
    """Write a whole file or none."""
    from minisegnet.training.checkpoint import replacing

    with replacing(Path(path)) as file:
        file.write(text.encode())
