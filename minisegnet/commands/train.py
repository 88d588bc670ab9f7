"""Train a network on images and their masks; everything about the run goes into one folder.

examples:
  minisegnet train unet --data folder:photos --out runs/first
  minisegnet train unet --data shapes --out runs/shapes --width 16 --depth 3 --steps 500 --batch-size 8
  minisegnet train unet --data isbi:isbi2012 --out runs/cells --crop 256 --augment flips rotate90 elastic --steps 1000
  minisegnet train fcn32s --data camvid:camvid --out runs/coarse --init squeezenet1_1.pth --option encoder=squeezenet1_1
  minisegnet train mask_rcnn --data nuclei:nuclei --out runs/nuclei
  minisegnet train fcn16s --data camvid:camvid --out runs/finer --init runs/coarse/best.npz --freeze features

What is not given follows a recipe for the network and the data (minisegnet.training.recipes), which is printed. --init
takes every array whose name the network has, from another run or from weights of PyTorch (.pth), .safetensors or .npz.

Ctrl-C saves and tells how to go on; after a crash, the same command with --resume does. The folder gets best.npz and
last.npz (for evaluate and predict), log.csv, validation.csv, curves.png and panel.png.
"""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from minisegnet.commands.options import (
    DATA_HELP,
    LEARNING_RATES,
    add_data_options,
    add_device,
    add_engine,
    add_model_options,
    add_threads,
    at_least,
    limited_threads,
)
from minisegnet.errors import OptionError

if TYPE_CHECKING:
    from minisegnet.data.sample import Dataset

AUGMENTATIONS = ("mirror", "flips", "rotate90", "scale", "elastic", "colour")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="name of the network, as in unet")
    parser.add_argument("--data", required=True, metavar="DATA", help=DATA_HELP)
    parser.add_argument("--split", default="train", help="part to train on (train); train[:-40] is all but 40 of it")
    parser.add_argument("--val-split", default="val", help="part that picks the best weights, or none (val)")
    add_data_options(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the run")

    network = parser.add_argument_group("network")
    network.add_argument("--width", type=at_least(1), metavar="N", help="channels of the first level")
    network.add_argument("--depth", type=at_least(1), metavar="N", help="how often the image is halved")
    add_model_options(network)
    network.add_argument("--init", metavar="FILE", help="begin with these weights: a checkpoint's, PyTorch's, ...")
    network.add_argument(
        "--freeze", action="append", default=[], metavar="NAME", help="keep the layers whose names begin so as they are"
    )

    images = parser.add_argument_group("images")
    images.add_argument("--batch-size", type=at_least(1), metavar="N", help="images a step")
    images.add_argument(
        "--crop", type=at_least(0), metavar="N", help="train on random squares of N pixels a side; 0: whole images"
    )
    images.add_argument(
        "--smallest-side",
        type=at_least(0),
        metavar="N",
        help="enlarge images whose shorter side is below N, here and in prediction (detectors); 0: none",
    )
    images.add_argument(
        "--augment",
        nargs="+",
        choices=[*AUGMENTATIONS, "none"],
        metavar="HOW",
        help=f"{' '.join(AUGMENTATIONS)}, or none",
    )

    loss = parser.add_argument_group("loss")
    loss.add_argument(
        "--class-weights", choices=["median", "none"], help="weigh rare classes up, by median frequency, or not"
    )
    loss.add_argument(
        "--border-weight", metavar="CLASS", help="weigh the borders between objects of this class (U-Net paper)"
    )

    steps = parser.add_argument_group("steps")
    length = steps.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=at_least(1), metavar="N", help="times through the data")
    length.add_argument("--steps", type=at_least(1), metavar="N", help="or the number of steps")
    steps.add_argument("--optimiser", choices=LEARNING_RATES, help="sgd, adam or adamw")
    steps.add_argument("--lr", type=float, help="learning rate (sgd 0.01, others 0.001)")
    steps.add_argument("--momentum", type=float, help="of sgd")
    steps.add_argument("--weight-decay", type=float)
    steps.add_argument(
        "--schedule",
        choices=["constant", "poly", "cosine", "step"],
        help="of the learning rate, constant, poly, cosine or step",
    )
    steps.add_argument("--warm-up", type=at_least(0), metavar="N", help="steps over which the learning rate rises")

    run = parser.add_argument_group("run")
    run.add_argument(
        "--validate-every", type=at_least(1), default=1, metavar="N", help="epochs between validations (1)"
    )
    run.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="of weights, order and augmentation (0)")
    run.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    run.add_argument("--overwrite", action="store_true", help="discard the run in the folder")
    add_device(run)
    add_engine(run)
    add_threads(run)


def run(arguments: argparse.Namespace) -> None:
    from minisegnet import data
    from minisegnet.commands.trainers import detector_trainer, initialised, network_for, pixel_trainer
    from minisegnet.models import DETECTORS
    from minisegnet.training.recipes import complete, filled_in, recipe_for

    given = arguments
    arguments = complete(given, recipe_for(given.model, given.data))
    finds_objects = arguments.model in DETECTORS
    check_options(arguments, finds_objects)
    if recipe := filled_in(given, arguments):
        print(f"By the recipe: {recipe}")
    dataset = data.open_dataset(arguments.data, split=arguments.split, **dict(arguments.data_option))
    validation = open_validation(arguments)
    network = network_for(arguments, dataset)
    graph = network.build()
    if arguments.init is not None:
        network = initialised(graph, arguments.init, network)
    for name in arguments.freeze:
        graph.freeze(name)
    graph.to(arguments.device)
    trainer_for = detector_trainer if finds_objects else pixel_trainer
    trainer = trainer_for(arguments, graph, network, dataset, validation=validation)
    with limited_threads(arguments.threads):
        best = trainer.fit(arguments.resume, arguments.overwrite)
    checkpoint = trainer.folder.last if best is None else trainer.folder.best
    if told := trainer.table():
        print(told)
    words = "" if best is None else f"; best validation {trainer.SCORE[1]} {best:.4f}"
    print(f"Trained for {trainer.step} steps{words}")
    print(f"Now try: minisegnet predict {shlex.quote(str(checkpoint))} IMAGE --out DIR")


def check_options(arguments: argparse.Namespace, finds_objects: bool) -> None:
    """Raise OptionError for what only the other kind of network can be told."""
    if not finds_objects:
        if arguments.smallest_side is not None:
            raise OptionError("--smallest-side is for detectors; other networks take images of any size as they are")
    elif arguments.class_weights is not None or arguments.border_weight is not None:
        raise OptionError(
            f"--class-weights and --border-weight weigh pixels, and {arguments.model} learns objects: leave them out"
        )


def open_validation(arguments: argparse.Namespace) -> Dataset | None:
    """The data that picks the best weights, or None. Raises OptionError, with the way out, where there is none."""
    from minisegnet import data

    if arguments.val_split == "none":
        return None
    try:
        return data.open_dataset(arguments.data, split=arguments.val_split, **dict(arguments.data_option))
    except OptionError as problem:
        raise OptionError(f"{problem}; choose a --val-split, or train without any by --val-split none") from None
