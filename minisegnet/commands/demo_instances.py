"""Train a small Mask R-CNN on made-up shapes in minutes, and draw the objects that it finds.

examples:
  minisegnet demo-instances
  minisegnet demo-instances --out runs/mine --steps 500

What can be seen on the way to the objects is drawn afterwards by `minisegnet stages`, which is told at the end.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from minisegnet.commands.options import add_engine, add_threads, at_least, limited_threads


@dataclass(frozen=True)
class Settings:
    """What the demo trains by the recipe for shapes, so that the masks' AP50 passes 0.9 in minutes."""

    size: int = 64
    train_images: int = 4000
    test_images: int = 100
    steps: int = 1500
    shown: int = 5  # rows of the picture


SETTINGS = Settings()
PICTURE = "demo-instances.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo-instances"), metavar="DIR", help="folder (runs/demo-instances)"
    )
    parser.add_argument("--steps", type=at_least(1), default=SETTINGS.steps, metavar="N", help=f"({SETTINGS.steps})")
    add_engine(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> None:
    from minisegnet.data.collate import detection_batch
    from minisegnet.data.loader import Loader
    from minisegnet.data.shapes import Shapes
    from minisegnet.data.transforms import Compose, Enlarge, Normalize
    from minisegnet.trained import Recipe
    from minisegnet.training import Adam, Cosine, DetectorTrainer, WarmUp
    from minisegnet.training.detection_evaluation import SURE, DetectionEvaluation, surest
    from minisegnet.training.detector_trainer import draw_detections
    from minisegnet.training.recipes import RECIPES

    s, by = SETTINGS, RECIPES["mask_rcnn", "shapes"]
    assert by.lr and by.smallest_side
    train, test = Shapes(s.size, s.train_images, split="train"), Shapes(s.size, s.test_images, split="test")
    recipe = Recipe(
        model="mask_rcnn",
        arguments={"num_classes": len(train.classes), **by.options},
        classes=list(train.classes),
        palette=train.palette.tolist(),
        ignore_index=train.ignore_index,
        channels=3,
        mean=[0.5] * 3,
        std=[0.25] * 3,
        smallest_side=by.smallest_side,
    )
    transform = Compose([Enlarge(by.smallest_side), Normalize(recipe.mean, recipe.std)])
    detector = recipe.build()
    trainer = DetectorTrainer(
        detector,
        Loader(train, by.batch_size, transform, shuffle=True, collate=detection_batch),
        Adam(detector.parameters, by.lr),
        WarmUp(by.warm_up, Cosine(by.lr, arguments.steps)),
        arguments.out,
        steps=arguments.steps,
        metadata=recipe.metadata,
        resume_hint="minisegnet demo-instances",
        engine=arguments.engine == "on",
    )
    print(f"{detector.name}, {arguments.steps} steps of {by.batch_size} images of {s.size} x {s.size}")
    evaluation, shown = DetectionEvaluation(train.classes, with_masks=True), []
    with limited_threads(arguments.threads):
        trainer.fit(overwrite=True)
        with trainer.engaged():
            for index in range(len(test)):
                sample = test[index]
                found = recipe.detections(detector, sample.image)
                evaluation.add(sample, found)
                shown.append((sample, surest(found, SURE)))
    print(f"\nOn {len(test)} held-out images\n\n{evaluation.table()}\n")
    picture = arguments.out / PICTURE
    draw_detections(shown[: s.shown], train.classes, picture)
    print(f"mask AP50   {evaluation.scores()['mask_ap50']:.4f}")
    print(f"picture     {picture}")
    print(f"checkpoint  {trainer.folder.last}")
    print(f"Now try: minisegnet stages {trainer.folder.last} --data shapes --out {arguments.out / 'stages'}")
