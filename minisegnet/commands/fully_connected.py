"""Show on made-up shapes what fully connected layers are, what they lose and what they cost.

examples:
  minisegnet fully-connected
  minisegnet fully-connected --out runs/lesson --seed 1

1. A fully connected layer is a convolution: a classifier of small windows slides over a large image.
2. A fully connected head loses where things are: it is tested on shapes that were moved.
3. A small filter in its place costs far less.

Trains four small networks, in little more than a minute on one core. DIR gets slide.png, shift.png and the four runs.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from minisegnet.commands.options import add_threads, at_least, limited_threads

if TYPE_CHECKING:
    from minisegnet.graph import Graph
    from minisegnet.teaching.fully_connected import Slide

STEPS, LR = 300, 0.01
TEST_IMAGES = 400
SHIFTS = (0, 2, 4, 6, 8)
SLIDE, SHIFT = "slide.png", "shift.png"
WIDTH = 100  # of a line of text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("runs/fully-connected"), metavar="DIR", help="folder (runs/fully-connected)"
    )
    parser.add_argument("--steps", type=at_least(1), default=STEPS, metavar="N", help=f"of each network ({STEPS})")
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="of weights and images (0)")
    add_threads(parser)


def run(arguments: argparse.Namespace) -> None:
    out, steps, seed = arguments.out, arguments.steps, arguments.seed
    with limited_threads(arguments.threads):
        print("1. A fully connected layer is a convolution", flush=True)
        is_a_convolution(out, steps, seed)
        print("\n2. A fully connected head loses where things are", flush=True)
        loses_where_things_are(out, steps, seed)
    print("\n3. A small filter in its place costs far less")
    costs_more()


def is_a_convolution(out: Path, steps: int, seed: int) -> None:
    """Train a classifier of windows, slide it over a scene, and show that both are the same."""
    from minisegnet.data.shapes import CLASSES
    from minisegnet.models.fully_convolutional import fully_convolutional
    from minisegnet.teaching import fully_connected as lesson
    from minisegnet.teaching.fully_connected_pictures import draw_slide
    from minisegnet.training.pictures import save_picture

    size = lesson.SIZE
    classifier = lesson.window_classifier(seed=seed)
    images = lesson.Windows(size, lesson.TRAIN_IMAGES, seed)
    lesson.train(classifier, images, steps, LR, out / "runs" / "window", seed)
    test = lesson.Windows(size, TEST_IMAGES, split="test")
    right = lesson.accuracy(classifier, test)
    scene = lesson.scene(seed)
    alone, slide = (lesson.slide(classifier, size, lesson.prepared(sample)) for sample in (test[0], scene))
    (height, width), (rows, columns) = scene.image.shape[1:], slide.scores.shape[1:]
    say(
        f"A classifier of {size} x {size} windows, right on {right:.1%} of {TEST_IMAGES} it never saw, and the "
        "convolutions that its fully connected layers become:"
    )
    print(told_layers(classifier, fully_convolutional(classifier, size)))
    say(
        f"On one window it gives the same answer (largest difference {alone.difference:.1g}). On an image of {height} "
        f"x {width} it gives {rows} x {columns} answers at once, those of the classifier on each of the "
        f"{rows * columns} windows (largest difference {slide.difference:.1g}, of scores up to "
        f"{abs(slide.scores).max():.0f}); what windows share is computed once:"
    )
    print(told_slide(slide))
    save_picture(draw_slide(scene, slide, CLASSES), out / SLIDE)
    print(f"\npicture  {out / SLIDE}")


def loses_where_things_are(out: Path, steps: int, seed: int) -> None:
    """Train both heads on shapes in the middle, and one on shapes anywhere; test them on shapes that are moved."""
    from minisegnet.data.shape_classes import ShapeClasses
    from minisegnet.data.shapes import CLASSES
    from minisegnet.teaching import fully_connected as lesson
    from minisegnet.teaching.fully_connected_pictures import draw_shift
    from minisegnet.training.pictures import save_picture

    convolutional = lesson.convolutional_head(seed=seed)
    graphs = {
        "fully connected, shapes in the middle": lesson.fully_connected_head(seed=seed),
        "fully connected, shapes anywhere": lesson.fully_connected_head(seed=seed),
        "convolutional, shapes in the middle": convolutional,
    }
    for name, graph in graphs.items():
        shift = None if name.endswith("anywhere") else 0
        images = ShapeClasses(lesson.SIZE, lesson.TRAIN_IMAGES, seed, shift=shift)
        lesson.train(graph, images, steps, LR, out / "runs" / name.replace(",", "").replace(" ", "-"), seed)
    accuracies = lesson.accuracy_by_shift(graphs, SHIFTS, TEST_IMAGES)
    anywhere = ShapeClasses(lesson.SIZE, TEST_IMAGES, split="test")
    rows = [("head, and what it was trained on", *(f"{shift} px" for shift in SHIFTS), "anywhere")]
    for name, graph in graphs.items():
        rows.append((name, *(f"{share:.3f}" for share in (*accuracies[name], lesson.accuracy(graph, anywhere)))))
    found, covered = lesson.share_found(convolutional, anywhere)
    say(f"Accuracy on {TEST_IMAGES} images of {len(CLASSES)} classes, by how far the shape is from the middle:")
    print(aligned(rows))
    say(
        "A fully connected layer has weights of its own for each place: what it learns at one it does not know at "
        "another, and each place takes images of its own. A convolution has the same weights everywhere, and its "
        f"scores before their mean are a map of where: the highest of the right class lies on the shape in {found:.1%} "
        f"of the images, of which shapes cover {covered:.1%}. The fully connected head has no map."
    )
    save_picture(draw_shift(SHIFTS, accuracies, lesson.moved(SHIFTS), graphs, convolutional), out / SHIFT)
    print(f"picture  {out / SHIFT}")


def costs_more() -> None:
    """Print what fully connected layers cost, ours and VGG-16's, and convolutions in their place."""
    from minisegnet.teaching.fully_connected import HEAD, VGG16_FC6, costs

    for name, (channels, side, outputs) in {"the head above": HEAD, "VGG-16's fc6": VGG16_FC6}.items():
        layers = costs(channels, side, outputs)
        rows = [(name, "weights", "times less", f"multiply-adds of {side} x {side} answers")]
        for layer in layers:
            less = layers[0].weights / layer.weights
            rows.append((layer.name, f"{layer.weights:,}", f"{less:,.1f}", f"{layer.multiply_adds:,}"))
        say(f"{channels} channels of {side} x {side} in, {outputs} out:")
        print(aligned(rows))
    say(
        "Each weight is multiplied once for an answer. A fully connected layer gives one for the whole image, the "
        "convolutions one for each place; for dense prediction the fully connected layer must slide to do the same."
    )


def told_layers(classifier: Graph, sliding: Graph) -> str:
    """The classifier's fully connected layers beside what they became."""
    from minisegnet.layers import Linear

    rows = [("node", "of a window", "sliding")]
    for name, layer in classifier.layers.items():
        if isinstance(layer, Linear):
            outputs, channels, height, width = sliding.parameters[f"{name}.weight"].data.shape
            filters = f"{outputs} filters of {height} x {width} on {channels} channels"
            rows.append((name, f"{layer.out_features} outputs of {layer.in_features} inputs", filters))
    return aligned(rows)


def told_slide(slide: Slide) -> str:
    """The cost of both ways."""
    at_once, by_window = slide.multiply_adds
    seconds, seconds_by_window = slide.seconds
    rows = [
        ("", "multiply-adds", "seconds"),
        ("window by window", f"{by_window:,}", f"{seconds_by_window:.3f}"),
        ("sliding", f"{at_once:,}", f"{seconds:.3f}"),
        ("times less", f"{by_window / at_once:.1f}", f"{seconds_by_window / seconds:.1f}"),
    ]
    return aligned(rows)


def say(text: str) -> None:
    """Print a paragraph, after and before an empty line."""
    print(f"\n{textwrap.fill(text, WIDTH)}\n")


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of words as columns, the first to the left and the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append("  " + "   ".join(cells).rstrip())
    return "\n".join(lines)
