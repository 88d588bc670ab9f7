"""Train a small U-Net on made-up shapes for a minute, and compare it with thresholds on colour.

examples:
  minisegnet demo
  minisegnet demo --out runs/mine --steps 100
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisegnet.commands.options import add_threads, at_least, limited_threads

if TYPE_CHECKING:
    import numpy as np

    from minisegnet.trained import Recipe


@dataclass(frozen=True)
class Settings:
    """What the demo trains, so that mean IoU passes 0.9 within a minute or two on two cores."""

    difficulty: str = "medium"
    size: int = 64
    train_images: int = 4000
    test_images: int = 64
    width: int = 12
    depth: int = 3
    batch_size: int = 8
    steps: int = 600
    lr: float = 0.005
    warm_up: int = 20
    mean: float = 0.5
    std: float = 0.25
    shown: int = 5  # rows of the picture


SETTINGS = Settings()
PICTURE = "demo.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="folder (runs/demo)")
    parser.add_argument("--steps", type=at_least(1), default=SETTINGS.steps, metavar="N", help=f"({SETTINGS.steps})")
    add_threads(parser)


def run(arguments: argparse.Namespace) -> None:
    from minisegnet.data.baseline import threshold_baseline
    from minisegnet.data.loader import Loader
    from minisegnet.data.shapes import Shapes
    from minisegnet.data.transforms import Normalize
    from minisegnet.layers import CrossEntropyLoss
    from minisegnet.metrics import ConfusionMatrix
    from minisegnet.trained import Recipe
    from minisegnet.training import Adam, Cosine, Trainer, WarmUp
    from minisegnet.training.evaluation import count

    s = SETTINGS
    train = Shapes(s.size, s.train_images, difficulty=s.difficulty, split="train")
    test = Shapes(s.size, s.test_images, difficulty=s.difficulty, split="test")
    recipe = Recipe(
        model="unet",
        arguments={"num_classes": len(train.classes), "in_channels": 3, "width": s.width, "depth": s.depth},
        classes=list(train.classes),
        palette=train.palette.tolist(),
        ignore_index=train.ignore_index,
        channels=3,
        mean=[s.mean] * 3,
        std=[s.std] * 3,
    )
    graph = recipe.build()
    trainer = Trainer(
        graph,
        CrossEntropyLoss(),
        Loader(train, s.batch_size, Normalize(recipe.mean, recipe.std), shuffle=True),
        Adam(graph.parameters, s.lr),
        WarmUp(s.warm_up, Cosine(s.lr, arguments.steps)),
        arguments.out,
        steps=arguments.steps,
        metadata=recipe.metadata,
        resume_hint="minisegnet demo",
    )
    samples = [test[index] for index in range(len(test))]
    with limited_threads(arguments.threads):
        print(f"Thresholds on colour, shapes told by their outlines: the baseline, on {len(test)} held-out images")
        by_thresholds = threshold_baseline(train, test)
        print(f"U-Net of width {s.width} and depth {s.depth}: {arguments.steps} steps on {s.batch_size} images each")
        trainer.fit(overwrite=True)
        by_network = [recipe.probabilities(graph, sample.image).argmax(axis=0) for sample in samples]
    labellings = {"thresholds": by_thresholds, "U-Net": by_network}
    scores = {name: ConfusionMatrix(len(train.classes)) for name in labellings}
    for name, predictions in labellings.items():
        for sample, prediction in zip(samples, predictions, strict=True):
            count(scores[name], sample, prediction)
    print(comparison(recipe.classes, {name: confusion.iou for name, confusion in scores.items()}))
    picture = arguments.out / PICTURE
    shown = slice(s.shown)
    columns = {"truth": [sample.labels for sample in samples], **labellings}
    draw(
        [sample.image for sample in samples[shown]],
        {title: several[shown] for title, several in columns.items()},
        recipe,
        picture,
    )
    print(f"picture     {picture}")
    print(f"checkpoint  {trainer.folder.last}")


def comparison(classes: list[str], scores: dict[str, np.ndarray]) -> str:
    """The IoU of each class (num_classes,) side by side, and their means."""
    import numpy as np

    rows = [("IoU", *scores)]
    rows += [(name, *(f"{iou[i]:.3f}" for iou in scores.values())) for i, name in enumerate(classes)]
    rows.append(("mean", *(f"{np.nanmean(iou):.3f}" for iou in scores.values())))
    return "\n" + "\n".join(f"{row[0]:10}" + "".join(f"  {cell:>10}" for cell in row[1:]) for row in rows) + "\n"


def draw(images: list[np.ndarray], labellings: dict[str, list[Any]], recipe: Recipe, path: Path) -> None:
    """Save a row for each image (3, H, W): the image, and its labels (H, W) by each of the labellings."""
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    from minisegnet.data.palettes import as_rgb, colourise
    from minisegnet.training.pictures import save_picture

    palette = np.array(recipe.palette, np.uint8)
    columns = {"image": [as_rgb(image) for image in images]}
    columns |= {title: [colourise(labels, palette) for labels in several] for title, several in labellings.items()}
    rows = len(images)
    figure = Figure(figsize=(2 * len(columns), 2 * rows + 0.7), layout="constrained")
    grid = figure.subplots(rows, len(columns), squeeze=False)
    for column, (title, pictures) in enumerate(columns.items()):
        grid[0, column].set_title(title, fontsize=11)
        for row, picture in enumerate(pictures):
            grid[row, column].imshow(picture, interpolation="nearest")
            grid[row, column].set_axis_off()
    patches = [Patch(facecolor=colour / 255, label=name) for colour, name in zip(palette, recipe.classes, strict=True)]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False, fontsize=9)
    save_picture(figure, path)
