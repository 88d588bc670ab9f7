"""Train a network on images and their masks; everything about the run goes into one folder.

examples:
  minisegnet train unet --data folder:photos --out runs/first
  minisegnet train unet --data shapes --out runs/shapes --width 16 --depth 3 --steps 500 --batch-size 8
  minisegnet train unet --data isbi:isbi2012 --out runs/cells --crop 256 --augment flips rotate90 elastic --steps 1000
  minisegnet train fcn32s --data camvid:camvid --out runs/coarse --init squeezenet1_1.pth --option encoder=squeezenet1_1
  minisegnet train fcn16s --data camvid:camvid --out runs/finer --init runs/coarse/best.npz --freeze features

What is not given follows a recipe for the network and the data (minisegnet.training.recipes), which is printed. --init
takes every array whose name the network has, from another run or from weights of PyTorch (.pth), .safetensors or .npz.

Ctrl-C saves and tells how to go on; after a crash, the same command with --resume does. The folder gets best.npz and
last.npz (for evaluate and predict), log.csv, validation.csv, curves.png and panel.png.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from minisegnet.commands.options import (
    DATA_HELP,
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
    from minisegnet.graph import Graph
    from minisegnet.trained import Recipe
    from minisegnet.training.optimisers import Optimiser
    from minisegnet.training.schedules import Schedule

AUGMENTATIONS = ("mirror", "flips", "rotate90", "scale", "elastic", "colour")
NORMALISE_BY = 200  # images that mean and standard deviation are taken of
SCALES = (0.7, 1.5)  # how large "scale" makes an image, the least and the most
ELASTIC_MARGIN = 32  # pixels cropped too many and cut away again, so that what an edge pulls in is real
LEARNING_RATES = {"sgd": 0.01, "adam": 0.001, "adamw": 0.001}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="name of the network, as in unet")
    parser.add_argument("--data", required=True, metavar="DATA", help=DATA_HELP)
    parser.add_argument("--split", default="train", help="part of the data to train on (train)")
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
    steps.add_argument(
        "--warm-up", type=at_least(0), metavar="N", help="steps over which the learning rate rises"
    )

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
    from minisegnet.data.class_weights import median_frequency
    from minisegnet.data.loader import Loader
    from minisegnet.layers import CrossEntropyLoss
    from minisegnet.training import Trainer
    from minisegnet.training.recipes import complete, filled_in, recipe_for

    given = arguments
    arguments = complete(given, recipe_for(given.model, given.data))
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
    weight = median_frequency(dataset) if arguments.class_weights else None
    loader = Loader(dataset, arguments.batch_size, transform_for(arguments, network), shuffle=True, seed=arguments.seed)
    steps = arguments.steps or len(loader) * arguments.epochs
    trainer = Trainer(
        graph,
        CrossEntropyLoss(weight, dataset.ignore_index),
        loader,
        optimiser_for(arguments, graph.parameters),
        schedule_for(arguments, steps),
        arguments.out,
        steps=steps,
        validation=validation,
        predict=network.probabilities,
        validate_every=arguments.validate_every,
        metadata={**network.metadata, "training": told(arguments)},
        seed=arguments.seed,
        resume_hint=resume_hint(arguments.typed),
        engine=arguments.engine == "on",
    )
    with limited_threads(arguments.threads):
        best = trainer.fit(arguments.resume, arguments.overwrite)
    checkpoint = trainer.folder.last if best is None else trainer.folder.best
    if trainer.confusion is not None:
        print(trainer.confusion.table(network.classes))
    print(f"Trained for {trainer.step} steps" + ("" if best is None else f"; best validation mean IoU {best:.4f}"))
    print(f"Now try: minisegnet predict {shlex.quote(str(checkpoint))} IMAGE --out DIR")


def open_validation(arguments: argparse.Namespace) -> Dataset | None:
    """The data that picks the best weights, or None. Raises OptionError, with the way out, where there is none."""
    from minisegnet import data

    if arguments.val_split == "none":
        return None
    try:
        return data.open_dataset(arguments.data, split=arguments.val_split, **dict(arguments.data_option))
    except OptionError as problem:
        raise OptionError(f"{problem}; choose a --val-split, or train without any by --val-split none") from None


def network_for(arguments: argparse.Namespace, dataset: Dataset) -> Recipe:
    """The network asked for, as large as the data needs, and how the data is normalised."""
    import numpy as np

    from minisegnet.trained import Recipe

    chosen = {name: getattr(arguments, name) for name in ("width", "depth") if getattr(arguments, name) is not None}
    mean, std = channel_statistics(dataset)
    return Recipe(
        model=arguments.model,
        arguments={
            "num_classes": len(dataset.classes),
            "in_channels": dataset.channels,
            "seed": arguments.seed,
            **chosen,
            **dict(arguments.option),
        },
        classes=list(dataset.classes),
        palette=np.asarray(dataset.palette).tolist(),
        ignore_index=dataset.ignore_index,
        channels=dataset.channels,
        mean=mean,
        std=std,
    )


def initialised(graph: Graph, path: str, network: Recipe) -> Recipe:
    """Fill the graph with the weights of a file, tell what fitted, and normalise images as those weights want them."""
    from minisegnet.interop import load_pretrained

    pretrained = load_pretrained(graph, path, partial=True)
    print(f"{path}: {pretrained}")
    if pretrained.normalisation is None or len(pretrained.normalisation.mean) != network.channels:
        return network
    return replace(network, mean=pretrained.normalisation.mean, std=pretrained.normalisation.std)


def channel_statistics(dataset: Dataset, most: int = NORMALISE_BY) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel over the images, or over `most` of them, evenly spread."""
    import numpy as np

    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), most)).round().astype(int))
    pixels, total, squares = 0, np.zeros(dataset.channels), np.zeros(dataset.channels)
    for index in chosen:
        image = dataset[int(index)].image.astype(np.float64)
        pixels += image[0].size
        total += image.sum(axis=(1, 2))
        squares += np.square(image).sum(axis=(1, 2))
    mean = total / pixels
    std = np.sqrt(np.maximum(squares / pixels - mean**2, 0))
    return [round(float(m), 6) for m in mean], [round(max(float(s), 1e-3), 6) for s in std]  # a channel may be constant


def transform_for(arguments: argparse.Namespace, recipe: Recipe) -> Callable:
    """Scale, crop, augment, normalise, in this order; then the weights of borders, as they are seen."""
    from minisegnet.data import transforms
    from minisegnet.data.weight_map import BorderWeight

    augment, crop = arguments.augment, arguments.crop
    chain: list[Callable] = []
    if "scale" in augment:
        if not crop:
            raise OptionError("--augment scale makes images of many sizes; give --crop N, one size for all of them")
        chain.append(transforms.RandomScale(SCALES))
    if crop:
        chain.append(transforms.RandomCrop(crop + 2 * ELASTIC_MARGIN if "elastic" in augment else crop))
    if "elastic" in augment:
        chain.append(transforms.ElasticDeformation())
        if crop:
            chain.append(transforms.CenterCrop(crop))
    if "mirror" in augment:
        chain.append(transforms.RandomHorizontalFlip())
    if "flips" in augment:
        chain += [transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip()]
    if "rotate90" in augment:
        chain.append(transforms.RandomRotate90())
    if "colour" in augment:
        chain.append(transforms.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.05))
    chain.append(transforms.Normalize(recipe.mean, recipe.std))
    if arguments.border_weight is not None:
        chain.append(BorderWeight(foreground=class_number(arguments.border_weight, recipe.classes)))
    return transforms.Compose(chain)


def class_number(given: str, classes: list[str]) -> int:
    """A class by its name or number. Raises OptionError for one that there is not."""
    if given in classes:
        return classes.index(given)
    if given.isdecimal() and int(given) < len(classes):
        return int(given)
    raise OptionError(f"there is no class {given!r}; the classes are {', '.join(classes)}")


def optimiser_for(arguments: argparse.Namespace, parameters: Any) -> Optimiser:
    """The optimiser asked for."""
    from minisegnet.training import SGD, Adam, AdamW

    lr, decay = learning_rate(arguments), arguments.weight_decay
    if arguments.optimiser == "sgd":
        return SGD(parameters, lr, momentum=arguments.momentum, weight_decay=decay)
    return (Adam if arguments.optimiser == "adam" else AdamW)(parameters, lr, weight_decay=decay)


def learning_rate(arguments: argparse.Namespace) -> float:
    """The learning rate asked for, or the optimiser's usual one."""
    return LEARNING_RATES[arguments.optimiser] if arguments.lr is None else arguments.lr


def schedule_for(arguments: argparse.Namespace, steps: int) -> Schedule:
    """The learning rate's schedule over so many steps; "step" drops it tenfold after each third."""
    from minisegnet.training import Constant, Cosine, Poly, Step, WarmUp

    lr = learning_rate(arguments)
    schedules: dict[str, Schedule] = {
        "constant": Constant(lr),
        "poly": Poly(lr, steps),
        "cosine": Cosine(lr, steps),
        "step": Step(lr, every=-(-steps // 3)),
    }
    schedule = schedules[arguments.schedule]
    return WarmUp(arguments.warm_up, schedule) if arguments.warm_up else schedule


def resume_hint(typed: list[str]) -> str:
    """The command that goes on with the run which this one began."""
    return shlex.join(["minisegnet", *(word for word in typed if word not in ("--overwrite", "--resume")), "--resume"])


def told(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that no other part of the checkpoint tells, and that a resumed run must share."""
    names = ("data", "split", "data_option", "init", "freeze", "crop", "augment", "class_weights", "border_weight")
    return {name: getattr(arguments, name) for name in names}
