"""Draw each stage on a detector's way from an image to its objects.

examples:
  minisegnet stages runs/nuclei/best.npz cells.png --out stages
  minisegnet stages runs/shapes/best.npz --data shapes --index 3 --out stages --score 0.5
  minisegnet stages runs/shapes/best.npz --data shapes --out stages --semantic runs/unet/best.npz

DIR gets a picture a stage: the anchors, how likely each is about an object, the proposals before and after suppression,
where RoIAlign reads, the masks as the head draws them, and the result. With --data an image of a data set is taken,
whose objects are known: then also the regions that training would sample. With --semantic the image's pixels as another
network labels them stand beside its objects.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from minisegnet.commands.options import DATA_HELP, add_data_options, add_score, add_threads, at_least, limited_threads
from minisegnet.errors import DataError, OptionError

if TYPE_CHECKING:
    from minisegnet.data.sample import Sample
    from minisegnet.detection.detector import Detector
    from minisegnet.detection.stages import Stages
    from minisegnet.trained import Recipe

COMPARISON = "classes and instances.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="best.npz or last.npz of a detector's run")
    parser.add_argument("image", nargs="?", type=Path, metavar="IMAGE", help="an image file")
    parser.add_argument("--data", metavar="DATA", help=f"or an image of a data set: {DATA_HELP}")
    parser.add_argument("--split", default="val", help="part of the data (val)")
    parser.add_argument("--index", type=at_least(0), default=0, metavar="N", help="its number there (0)")
    add_data_options(parser)
    parser.add_argument("--semantic", metavar="CHECKPOINT", help="a network of the same classes that labels each pixel")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the pictures")
    add_score(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> None:
    from minisegnet.detection.detector import Detector
    from minisegnet.teaching.detection_pictures import draw_stages
    from minisegnet.trained import load_trained

    detector, recipe = load_trained(arguments.checkpoint)
    if not isinstance(detector, Detector):
        raise OptionError(f"{arguments.checkpoint} is of {detector.name}, which has no such stages; give a detector's")
    sample = sample_asked_for(arguments)
    with limited_threads(arguments.threads):
        stages = stages_of(detector, recipe, sample, arguments.score)
        pictures = list(draw_stages(stages, recipe.classes, arguments.out))
        if arguments.semantic:
            compare(arguments, detector, recipe, sample)
            pictures.append(COMPARISON)
    print(f"{sample.name}: {len(stages.detections.boxes)} objects of a score from {arguments.score:g}")
    print(f"{len(pictures)} pictures in {arguments.out}")


def sample_asked_for(arguments: argparse.Namespace) -> Sample:
    """The image of a file, or of a data set. Raises OptionError unless one of the two was given."""
    from minisegnet import data
    from minisegnet.data.images import read_image
    from minisegnet.data.sample import Sample

    if (arguments.image is None) == (arguments.data is None):
        raise OptionError("give one image: IMAGE, or --data with --index")
    if arguments.image is not None:
        return Sample(read_image(arguments.image), None, arguments.image.name)
    dataset = data.open_dataset(arguments.data, split=arguments.split, **dict(arguments.data_option))
    if arguments.index >= len(dataset):
        raise OptionError(f"--index {arguments.index}: {arguments.data}, {arguments.split}, has {len(dataset)} images")
    return dataset[arguments.index]


def stages_of(detector: Detector, recipe: Recipe, sample: Sample, least: float) -> Stages:
    """The stages of a sample's image, as large as the detector sees it; detections of lower scores are left out."""
    from dataclasses import replace

    import numpy as np

    from minisegnet.data.images import with_channels
    from minisegnet.data.objects import targets_of
    from minisegnet.data.transforms import Enlarge
    from minisegnet.trained import normalised

    sample = replace(sample, image=with_channels(sample.image, recipe.channels))
    if recipe.smallest_side:
        sample = Enlarge(recipe.smallest_side)(sample, np.random.default_rng(0))
    target = None if sample.instances is None else targets_of(sample)
    seen = detector.stages(normalised(sample.image, recipe.mean, recipe.std), target, np.random.default_rng(0))
    assert seen.detections.scores is not None
    keep = np.flatnonzero(seen.detections.scores >= least)
    found = replace(
        seen.detections,
        boxes=seen.detections.boxes[keep],
        labels=seen.detections.labels[keep],
        scores=seen.detections.scores[keep],
        masks=None if seen.detections.masks is None else seen.detections.masks[keep],
    )
    masks = None if seen.mask_probabilities is None else seen.mask_probabilities[keep]
    region = replace(seen.region, levels=seen.region.levels[keep])
    return replace(seen, image=sample.image, detections=found, mask_probabilities=masks, region=region)


def compare(arguments: argparse.Namespace, detector: Detector, recipe: Recipe, sample: Sample) -> None:
    """Draw what another network calls each pixel beside the objects. Raises DataError if it knows other classes."""
    import numpy as np

    from minisegnet.detection.detector import Detector
    from minisegnet.detection.stages import Instances
    from minisegnet.teaching.classes_and_instances import draw_classes_and_instances
    from minisegnet.trained import load_trained
    from minisegnet.training.detection_evaluation import surest
    from minisegnet.training.pictures import save_picture

    graph, semantic = load_trained(arguments.semantic)
    if isinstance(graph, Detector) or list(semantic.classes) != list(recipe.classes):
        raise DataError(
            f"{arguments.semantic} must label pixels with the detector's classes, {', '.join(recipe.classes)}; "
            f"got {graph.name} with {', '.join(semantic.classes)}"
        )
    found = surest(recipe.detections(detector, sample.image), arguments.score)  # of the image as large as it is
    masks = None if found.masks is None else found.pasted(sample.image.shape[1:])
    instances = Instances(found.boxes, found.labels, masks, found.scores)
    labels = semantic.probabilities(graph, sample.image).argmax(axis=0)
    palette = np.array(recipe.palette, np.uint8)
    names = (graph.name, detector.name)
    figure = draw_classes_and_instances(sample.image, labels, instances, palette, recipe.classes, names)
    save_picture(figure, arguments.out / COMPARISON)
