"""From what was asked of `minisegnet train` to a network and its trainer."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from minisegnet.commands.options import LEARNING_RATES
from minisegnet.errors import OptionError

if TYPE_CHECKING:
    from minisegnet.data.loader import Loader
    from minisegnet.data.sample import Dataset
    from minisegnet.detection.detector import Detector
    from minisegnet.graph import Graph
    from minisegnet.trained import Recipe
    from minisegnet.training.loop import TrainingLoop
    from minisegnet.training.optimisers import Optimiser
    from minisegnet.training.schedules import Schedule

NORMALISE_BY = 200  # images that mean and standard deviation are taken of
SCALES = (0.7, 1.5)  # how large "scale" makes an image, the least and the most
ELASTIC_MARGIN = 32  # pixels cropped too many and cut away again, so that what an edge pulls in is real


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
        smallest_side=arguments.smallest_side,
    )


def initialised(graph: Graph | Detector, path: str, network: Recipe) -> Recipe:
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
    """Enlarge, scale, crop, augment, normalise, in this order; then the weights of borders, as they are seen."""
    from minisegnet.data import transforms
    from minisegnet.data.weight_map import BorderWeight

    augment, crop = arguments.augment, arguments.crop
    chain: list[Callable] = []
    if arguments.smallest_side:
        chain.append(transforms.Enlarge(arguments.smallest_side))
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


def pixel_trainer(
    arguments: argparse.Namespace, graph: Graph, network: Recipe, dataset: Dataset, **others: Any
) -> TrainingLoop:
    """The trainer of a network that gives every pixel a class."""
    from minisegnet.data.class_weights import median_frequency
    from minisegnet.data.loader import Loader
    from minisegnet.layers import CrossEntropyLoss
    from minisegnet.training import Trainer

    weight = median_frequency(dataset) if arguments.class_weights else None
    loader = Loader(dataset, arguments.batch_size, transform_for(arguments, network), shuffle=True, seed=arguments.seed)
    return Trainer(
        graph,
        CrossEntropyLoss(weight, dataset.ignore_index),
        loader,
        predict=network.probabilities,
        **others,
        **common(arguments, graph, network, loader),
    )


def detector_trainer(
    arguments: argparse.Namespace, detector: Detector, network: Recipe, dataset: Dataset, **others: Any
) -> TrainingLoop:
    """The trainer of a network that finds objects."""
    from minisegnet.data.collate import detection_batch
    from minisegnet.data.loader import Loader
    from minisegnet.training import DetectorTrainer
    from minisegnet.training.detection_evaluation import check_instances

    check_instances(dataset[0])
    transform = transform_for(arguments, network)
    loader = Loader(
        dataset, arguments.batch_size, transform, shuffle=True, seed=arguments.seed, collate=detection_batch
    )
    return DetectorTrainer(
        detector,
        loader,
        detect=lambda detector, image: network.detections(detector, image),
        **others,
        **common(arguments, detector, network, loader),
    )


def common(arguments: argparse.Namespace, network: Graph | Detector, recipe: Recipe, loader: Loader) -> dict[str, Any]:
    """What every trainer is told besides its data and its loss."""
    steps = arguments.steps or len(loader) * arguments.epochs
    return {
        "optimiser": optimiser_for(arguments, network.parameters),
        "schedule": schedule_for(arguments, steps),
        "folder": arguments.out,
        "steps": steps,
        "validate_every": arguments.validate_every,
        "metadata": {**recipe.metadata, "training": told(arguments)},
        "seed": arguments.seed,
        "resume_hint": resume_hint(arguments.typed),
        "engine": arguments.engine == "on",
    }


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
