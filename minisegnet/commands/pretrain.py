"""Train an encoder on made-up shapes to tell which one an image shows, as a start for networks that segment.

examples:
  minisegnet pretrain
  minisegnet pretrain laptop --width 32 --size 96 --difficulty hard --out runs/wide
  minisegnet pretrain resnet18 --width 16 --steps 500 --out runs/resnet

Does for made-up shapes what ImageNet does for photographs: each image holds one shape or none, and the class is to be
told. The laptop encoder is right on over 99% of images it never saw after about three minutes on two cores.

Ctrl-C saves and tells how to go on; after a crash, the same command with --resume does. The folder gets best.npz and
last.npz (for train's --init), log.csv, validation.csv, curves.png and panel.png.
"""

from __future__ import annotations

import argparse
import inspect
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisegnet.commands.options import add_threads, at_least, limited_threads

if TYPE_CHECKING:
    import numpy as np

    from minisegnet.graph import Graph
    from minisegnet.metrics import ConfusionMatrix
    from minisegnet.training.evaluation import Predict

STEPS, SIZE, SMALLEST, BATCH_SIZE, LR, WARM_UP = 1000, 64, 16, 32, 0.005, 50
IMAGES = {"train": 8000, "val": 500, "test": 1000}  # made up when asked for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("encoder", nargs="?", default="laptop", help="name of the encoder, as in resnet18 (laptop)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/encoder"), metavar="DIR", help="folder of the run (runs/encoder)"
    )
    parser.add_argument("--width", type=at_least(1), metavar="N", help="channels of the first level")

    images = parser.add_argument_group("images")
    images.add_argument(
        "--size", type=at_least(SMALLEST), default=SIZE, metavar="N", help=f"side of the images in pixels ({SIZE})"
    )
    images.add_argument(
        "--difficulty", choices=["easy", "medium", "hard"], default="medium", help="easy, medium or hard (medium)"
    )

    steps = parser.add_argument_group("steps")
    steps.add_argument("--steps", type=at_least(1), default=STEPS, metavar="N", help=f"({STEPS})")
    steps.add_argument(
        "--batch-size", type=at_least(1), default=BATCH_SIZE, metavar="N", help=f"images a step ({BATCH_SIZE})"
    )
    steps.add_argument("--lr", type=float, default=LR, help=f"learning rate at its highest ({LR})")

    run = parser.add_argument_group("run")
    run.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="of weights, images and order (0)")
    run.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    run.add_argument("--overwrite", action="store_true", help="discard the run in the folder")
    add_threads(run)


def run(arguments: argparse.Namespace) -> None:
    from minisegnet.commands.trainers import channel_statistics, resume_hint
    from minisegnet.data.loader import Loader
    from minisegnet.data.shape_classes import ShapeClasses
    from minisegnet.data.transforms import Normalize
    from minisegnet.layers import CrossEntropyLoss
    from minisegnet.trained import Recipe
    from minisegnet.training import Adam, Cosine, Trainer, WarmUp, load_checkpoint, load_model
    from minisegnet.training.evaluation import evaluate

    train, val, test = (
        ShapeClasses(arguments.size, count, arguments.seed, arguments.difficulty, split)
        for split, count in IMAGES.items()
    )
    graph, given = classifier(arguments, len(train.classes))
    mean, std = channel_statistics(train)
    recipe = Recipe(
        model=f"{arguments.encoder}_classifier",
        arguments=given,
        classes=list(train.classes),
        palette=train.palette.tolist(),
        ignore_index=None,
        channels=train.channels,
        mean=mean,
        std=std,
    )
    predict = whole_image_predictor(mean, std)
    trainer = Trainer(
        graph,
        CrossEntropyLoss(),
        Loader(train, arguments.batch_size, Normalize(mean, std), shuffle=True, seed=arguments.seed),
        Adam(graph.parameters, arguments.lr),
        WarmUp(WARM_UP, Cosine(arguments.lr, arguments.steps)),
        arguments.out,
        steps=arguments.steps,
        validation=val,
        predict=predict,
        metadata={**recipe.metadata, "training": {"size": arguments.size, "difficulty": arguments.difficulty}},
        seed=arguments.seed,
        resume_hint=resume_hint(arguments.typed),
    )
    with limited_threads(arguments.threads):
        trainer.fit(arguments.resume, arguments.overwrite)
        best = trainer.folder.best
        load_model(graph, *load_checkpoint(best), best)
        print(told(evaluate(graph, test, predict), test.classes))
    print(f"Now try: {next_command(arguments, given, best)}")


def classifier(arguments: argparse.Namespace, num_classes: int) -> tuple[Graph, dict[str, Any]]:
    """The encoder asked for with scores for an image on top, and the arguments that build it.

    Raises OptionError for an encoder that there is not, or a width that it cannot have.
    """
    from minisegnet.errors import OptionError
    from minisegnet.models.classifiers import CLASSIFIERS

    if arguments.encoder not in CLASSIFIERS:
        raise OptionError(f"unknown encoder {arguments.encoder!r}: choose one of {', '.join(CLASSIFIERS)}")
    build = CLASSIFIERS[arguments.encoder]
    given = {"num_classes": num_classes, "in_channels": 3, "seed": arguments.seed}
    if arguments.width is not None:
        given["width"] = arguments.width
    if "size" in inspect.signature(build).parameters:  # fully connected layers fit images of one size
        given["size"] = arguments.size
    return build(**given), given


def whole_image_predictor(mean: list[float], std: list[float]) -> Predict:
    """A function (graph, image) that gives every pixel the probabilities of its image, (num_classes, H, W)."""
    import numpy as np

    from minisegnet import functional
    from minisegnet.trained import normalised

    def predict(graph: Graph, image: np.ndarray) -> np.ndarray:
        scores = graph.predict(normalised(image, mean, std)[None])
        probabilities = functional.softmax_forward(scores.reshape(1, -1))[0][0]
        return np.broadcast_to(probabilities[:, None, None], (len(probabilities), *image.shape[1:]))

    return predict


def told(confusion: ConfusionMatrix, classes: tuple[str, ...]) -> str:
    """The accuracy on the held-out images, all of them and by class."""
    each = ", ".join(f"{name} {share:.1%}" for name, share in zip(classes, confusion.accuracy, strict=True))
    return f"Right on {confusion.pixel_accuracy:.1%} of {IMAGES['test']} images never seen ({each})"


def next_command(arguments: argparse.Namespace, given: dict[str, Any], checkpoint: Path) -> str:
    """The command that trains a network which begins with the encoder; `given` are its classifier's arguments."""
    command = ["minisegnet", "train", "fcn8s", "--option", f"encoder={arguments.encoder}"]
    if "width" in given:
        command += ["--width", str(given["width"])]
    if "size" in given:  # its fully connected layers are of this size's windows, and not those that an FCN would have
        command += ["--option", "head=0"]
    return shlex.join([*command, "--init", str(checkpoint), "--data", "shapes", "--out", "runs/fcn8s"])
