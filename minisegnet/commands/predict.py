"""Predict the class of each pixel, or find the objects: writes a mask and an overlay for each image.

examples:
  minisegnet predict runs/first/best.npz photo.jpg other.png --out masks
  minisegnet predict runs/first/best.npz photos --out masks --no-overlay
  minisegnet predict runs/first/best.npz photos --out masks --symmetries --probabilities
  minisegnet predict runs/nuclei/best.npz images --out nuclei --score 0.6

For photo.jpg, DIR gets photo.png (the class of each pixel, with a palette), photo-overlay.png, and on request
photo-probabilities.npz, an array "probabilities" (classes, height, width) float32. Of a detector photo.png holds the
number of the object at each pixel (16 bit; 0: none), and photo.json each of them as COCO writes results: class, score,
box (x, y, width, height) and mask in run lengths. A file that cannot be read is told at the end, after all others are
done, and the exit code is then 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from minisegnet.commands.options import (
    add_device,
    add_engine,
    add_prediction_options,
    add_score,
    add_threads,
    check_no_pixel_options,
    engine_for,
    limited_threads,
)
from minisegnet.errors import DataError, MinisegnetError, OptionError

if TYPE_CHECKING:
    import numpy as np

    from minisegnet.detection.detector import Detector
    from minisegnet.graph import Graph
    from minisegnet.trained import Recipe

SOME_FAILED = 1
MOST_CLASSES = 256  # a PNG with a palette has one byte a pixel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="best.npz or last.npz of a run")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument(
        "--out", required=True, metavar="DIR", type=Path, help="folder for the results, made if need be"
    )
    parser.add_argument("--overlay", action=argparse.BooleanOptionalAction, default=True, help="write overlays (yes)")
    parser.add_argument(
        "--probabilities", action="store_true", help="write the probability of every class at every pixel"
    )
    add_prediction_options(parser)
    add_score(parser)
    add_device(parser)
    add_engine(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from minisegnet.data.images import read_image
    from minisegnet.detection.detector import Detector
    from minisegnet.trained import load_trained

    graph, recipe = load_trained(arguments.checkpoint)
    graph.to(arguments.device)
    finds_objects = isinstance(graph, Detector)
    if finds_objects:
        check_no_pixel_options(arguments)
    elif len(recipe.classes) > MOST_CLASSES:
        raise OptionError(f"a mask holds at most {MOST_CLASSES} classes; the network has {len(recipe.classes)}")
    jobs = plan(
        arguments.images, arguments.out, arguments.overlay, arguments.probabilities, arguments.checkpoint, finds_objects
    )
    predict = find_objects if finds_objects else label_pixels
    arguments.out.mkdir(parents=True, exist_ok=True)
    failures = []
    with limited_threads(arguments.threads), engine_for(graph, arguments):
        for job in tqdm(jobs, "predicting", unit="image", leave=False, disable=None):
            try:
                predict(job, read_image(job.image), graph, recipe, arguments)
            except (MinisegnetError, OSError) as problem:
                failures.append((job.image, " ".join(str(problem).split())))
    print(f"{len(jobs) - len(failures)} of {len(jobs)} images predicted, into {arguments.out}")
    if failures:
        print(f"minisegnet: {len(failures)} of {len(jobs)} images failed:", file=sys.stderr)
        for path, told in failures:
            print(f"  {told}" if str(path) in told else f"  {path}: {told}", file=sys.stderr)
    return SOME_FAILED if failures else 0


class Job(NamedTuple):
    """One image and the files made from it, None for those not asked for."""

    image: Path
    mask: Path
    overlay: Path | None
    probabilities: Path | None
    objects: Path | None

    def targets(self) -> list[Path]:
        """The files that will be written."""
        return [path for path in (self.mask, self.overlay, self.probabilities, self.objects) if path is not None]


def plan(
    given: list[str], out: Path, overlay: bool, probabilities: bool, checkpoint: str, objects: bool = False
) -> list[Job]:
    """The jobs for files and folders, once each.

    Raises DataError for a folder without images, and, before anything is written, where a result would replace one of
    the images or another image's result.
    """
    jobs = [
        Job(
            image,
            out / f"{image.stem}.png",
            out / f"{image.stem}-overlay.png" if overlay else None,
            out / f"{image.stem}-probabilities.npz" if probabilities else None,
            out / f"{image.stem}.json" if objects else None,
        )
        for image in dict.fromkeys(image for name in given for image in images_of(Path(name)))
    ]
    inputs = {path.resolve() for path in (*(job.image for job in jobs), Path(checkpoint))}
    makers: dict[Path, Path] = {}
    for job in jobs:
        for target in job.targets():
            if target.resolve() in inputs:
                raise DataError(
                    f"{target} is itself one of the files read, and would be replaced; choose another --out"
                )
            if target in makers:
                raise DataError(
                    f"{makers[target]} and {job.image} would both be written to {target}; predict them into two folders"
                )
            makers[target] = job.image
    return jobs


def images_of(path: Path) -> list[Path]:
    """The path itself, or the images in the folder that it is. Raises DataError for a folder without any."""
    from minisegnet.data.images import SUFFIXES

    if not path.is_dir():
        return [path]
    visible = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    images = [file for file in visible if file.suffix.lower() in SUFFIXES]
    if not images:
        raise DataError(f"no image in the folder {path}: nothing in it ends in {', '.join(sorted(SUFFIXES))}")
    return images


def label_pixels(job: Job, image: np.ndarray, graph: Graph, recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Predict the classes of an image's pixels, and write the job's results, each whole or not at all."""
    import numpy as np
    from PIL import Image

    from minisegnet.data.palettes import overlay
    from minisegnet.training.checkpoint import replacing

    probabilities = recipe.probabilities(graph, image, arguments.tile, arguments.symmetries)
    labels = probabilities.argmax(axis=0)
    palette = np.array(recipe.palette, np.uint8)
    if job.probabilities is not None:
        with replacing(job.probabilities) as file:
            np.savez_compressed(file, probabilities=probabilities, classes=np.array(recipe.classes))
    if job.overlay is not None:
        with replacing(job.overlay) as file:
            Image.fromarray(overlay(image, labels, palette)).save(file, "PNG")
    mask = Image.fromarray(labels.astype(np.uint8))
    mask.putpalette(palette.tobytes())
    with replacing(job.mask) as file:
        mask.save(file, "PNG")


def find_objects(
    job: Job, image: np.ndarray, detector: Detector, recipe: Recipe, arguments: argparse.Namespace
) -> None:
    """Find the objects in an image, and write the job's results, each whole or not at all."""
    import json

    import numpy as np
    from PIL import Image

    from minisegnet.data.run_length import encode
    from minisegnet.training.checkpoint import replacing
    from minisegnet.training.detection_evaluation import surest
    from minisegnet.training.instance_pictures import draw_instances

    found = surest(recipe.detections(detector, image), arguments.score)
    size = image.shape[1:]
    masks = None if found.masks is None else found.pasted(size)
    told = []
    for i in range(len(found)):
        x1, y1, x2, y2 = (round(float(side), 2) for side in found.boxes[i])
        one = {
            "category": recipe.classes[found.labels[i]],
            "category_id": int(found.labels[i]),
            "score": round(float(found.scores[i]), 5),
            "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
        }
        told.append(one if masks is None else {**one, "segmentation": encode(masks[i]).to_coco()})
    if job.overlay is not None:
        draw_instances(image, found.boxes, found.labels, found.scores, masks, recipe.classes, job.overlay)
    assert job.objects is not None
    with replacing(job.objects) as file:
        file.write((json.dumps(told, indent=1) + "\n").encode())
    if masks is not None:
        with replacing(job.mask) as file:
            Image.fromarray(found.as_instances(size).astype(np.uint16)).save(file, "PNG")
