"""Draw what several trained networks make of one image, side by side, with a boundary enlarged.

examples:
  minisegnet what-where photo.png runs/fcn32s/best.npz runs/fcn16s/best.npz runs/fcn8s/best.npz
  minisegnet what-where photo.png runs/*/best.npz --mask photo-mask.png --out compared.png
  minisegnet what-where photo.png runs/unet/best.npz runs/segnet/best.npz --zoom 120,200,48

The networks must have been trained on the same classes. With the mask, the truth comes first and its boundary is drawn
over every prediction. What is enlarged is where the networks differ most along a boundary, unless --zoom says where.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from minisegnet.commands.options import add_prediction_options, add_threads, limited_threads
from minisegnet.errors import DataError, OptionError

if TYPE_CHECKING:
    import numpy as np

    from minisegnet.graph import Graph
    from minisegnet.trained import Recipe

PICTURE = Path("what-where.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", type=Path, help="an image file")
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help="best.npz or last.npz of a run")
    parser.add_argument("--mask", type=Path, metavar="MASK", help="the true classes: class numbers, or their colours")
    parser.add_argument(
        "--zoom", type=_place, metavar="ROW,COLUMN,SIZE", help="enlarge the square of SIZE pixels about this pixel"
    )
    parser.add_argument("--out", type=Path, default=PICTURE, metavar="FILE", help=f"the picture, a PNG ({PICTURE})")
    add_prediction_options(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> None:
    import numpy as np
    from tqdm import tqdm

    from minisegnet.data.images import read_image
    from minisegnet.teaching.what_where_picture import draw_what_where, where_they_differ, window_around
    from minisegnet.trained import load_trained
    from minisegnet.training.pictures import save_picture

    check_target(arguments)
    trained = [load_trained(path) for path in arguments.checkpoints]
    recipe = shared_recipe([recipe for _, recipe in trained], arguments.checkpoints)
    image = read_image(arguments.image)
    truth = None if arguments.mask is None else read_truth(arguments.mask, recipe, image.shape[1:])
    window = None
    if arguments.zoom is not None:
        row, column, side = arguments.zoom
        window = window_around(row, column, side, image.shape[1:])
    predictions = {}
    named = list(zip(names([graph for graph, _ in trained], arguments.checkpoints), trained, strict=True))
    with limited_threads(arguments.threads):
        for name, (graph, its_recipe) in tqdm(named, "predicting", unit="network", leave=False, disable=None):
            probabilities = its_recipe.probabilities(graph, image, arguments.tile, arguments.symmetries)
            predictions[name] = probabilities.argmax(axis=0)
    window = window or where_they_differ(list(predictions.values()), truth, recipe.ignore_index)
    palette = np.array(recipe.palette, np.uint8)
    figure = draw_what_where(image, predictions, palette, recipe.classes, truth, recipe.ignore_index, window)
    save_picture(figure, arguments.out)
    row, column = window.top + window.height // 2, window.left + window.width // 2
    print(f"{', '.join(predictions)} on {arguments.image}, enlarged at --zoom {row},{column},{max(window[2:])}")
    print(f"picture  {arguments.out}")


def check_target(arguments: argparse.Namespace) -> None:
    """Raises OptionError for a picture that is no PNG, or that would replace one of the files read."""
    out = arguments.out
    if out.suffix.lower() != ".png":
        raise OptionError(f"the picture is a PNG; name it so: --out {out.with_suffix('.png')}")
    read = [arguments.image, *map(Path, arguments.checkpoints), *([arguments.mask] if arguments.mask else [])]
    if out.resolve() in {path.resolve() for path in read}:
        raise OptionError(f"{out} is itself one of the files read, and would be replaced; choose another --out")


def shared_recipe(recipes: list[Recipe], paths: list[str]) -> Recipe:
    """The first network's recipe, which the others share as to classes. Raises DataError if they do not."""
    first = recipes[0]
    for recipe, path in zip(recipes, paths, strict=True):
        if recipe.classes != first.classes:
            raise DataError(
                f"{paths[0]} tells the {len(first.classes)} classes {', '.join(first.classes)} apart, and {path} the "
                f"{len(recipe.classes)} classes {', '.join(recipe.classes)}; give networks trained on the same classes"
            )
    return first


def names(graphs: list[Graph], paths: list[str]) -> list[str]:
    """What each network is called: as its model, with its run's folder or at worst its path where that is not clear."""
    called = [graph.name for graph in graphs]
    for distinction in (lambda path: Path(path).resolve().parent.name, lambda path: path):
        count = Counter(called)
        called = [
            f"{graph.name}, {distinction(path)}" if count[name] > 1 else name
            for name, graph, path in zip(called, graphs, paths, strict=True)
        ]
    if max(Counter(called).values()) > 1:
        raise OptionError("a checkpoint is given twice; give each once")
    return called


def read_truth(path: Path, recipe: Recipe, size: tuple[int, int]) -> np.ndarray:
    """A mask's classes int32 (H, W): class numbers, the classes' colours, or black and white for two classes.

    Raises DataError for a file that is no such mask or of another size than the image, LabelError for a number that is
    no class.
    """
    import numpy as np

    from minisegnet.data.class_file import ClassFile
    from minisegnet.data.file_dataset import colour_of
    from minisegnet.data.folder import is_two_valued, read_class_numbers
    from minisegnet.data.palettes import VOID_COLOUR
    from minisegnet.data.sample_checks import check_labels

    labels = read_class_numbers(path, None, None)
    if labels.shape != size:
        raise DataError(
            f"{path} is {labels.shape[0]} x {labels.shape[1]}, and the image is {size[0]} x {size[1]}; give the mask "
            "of this image, unscaled"
        )
    if labels.min() < 0:
        colours = [(int(red), int(green), int(blue)) for red, green, blue in recipe.palette]
        void = [] if recipe.ignore_index is None else [VOID_COLOUR]
        named = ClassFile(recipe.classes, colours, recipe.ignore_index, void)
        labels = read_class_numbers(path, named, recipe.ignore_index)
        if labels.min() < 0:
            raise DataError(
                f"{path} has the colour {colour_of(labels[labels < 0][0])}, which is that of no class of the network; "
                "save the class numbers as a grey or palette PNG"
            )
    elif len(recipe.classes) == 2 and recipe.ignore_index != 255 and is_two_valued(np.unique(labels).tolist()):
        labels = np.where(labels == 255, 1, labels).astype(np.int32)
    check_labels(labels, len(recipe.classes), recipe.ignore_index, str(path))
    return labels


def _place(text: str) -> tuple[int, int, int]:
    try:
        row, column, side = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"wanted ROW,COLUMN,SIZE in pixels, as in 120,200,48; got {text!r}") from None
    return row, column, side
