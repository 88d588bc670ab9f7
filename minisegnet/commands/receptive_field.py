"""Draw which pixels of the image one pixel of a network's output can see, and how strongly it does.

examples:
  minisegnet receptive-field fcn8s --option encoder=laptop
  minisegnet receptive-field encoder_decoder --option depth=2 --size 96 --at 10,48
  minisegnet receptive-field runs/fcn8s/best.npz --size 256 --out trained.png

A checkpoint is looked at with the weights that it was trained to, a model by name with those that it begins with. What
the layers allow is the theoretical receptive field; what the weights make of it is measured by gradient.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from minisegnet.commands.options import add_model_options, add_threads, at_least, graph_named, limited_threads
from minisegnet.errors import OptionError

if TYPE_CHECKING:
    from minisegnet.graph import Graph

PICTURE, PICTURE_KINDS = Path("receptive-field.png"), (".png", ".svg", ".pdf")
CHECKPOINT = ".npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="name of the network, as in fcn8s, or a checkpoint, as in runs/fcn8s/best.npz")
    parser.add_argument("--size", type=at_least(1), default=256, metavar="N", help="side of the image in pixels (256)")
    parser.add_argument("--at", type=_pixel, metavar="ROW,COLUMN", help="the output's pixel (the middle one)")
    parser.add_argument("--node", metavar="NAME", help="look from a node's value in place of the output")
    parser.add_argument("--classes", type=at_least(1), default=2, metavar="N", help="of a network by name (2)")
    add_model_options(parser)
    parser.add_argument(
        "--out", type=Path, default=PICTURE, metavar="FILE", help=f"the picture, PNG, SVG or PDF ({PICTURE})"
    )
    add_threads(parser)


def run(arguments: argparse.Namespace) -> None:
    from minisegnet.receptive_field import receptive_field
    from minisegnet.teaching.receptive_field_picture import draw

    if arguments.out.suffix.lower() not in PICTURE_KINDS:
        raise OptionError(f"the picture's name must end in one of {', '.join(PICTURE_KINDS)}; got {arguments.out}")
    graph = trained(arguments) if arguments.model.endswith(CHECKPOINT) else untrained(arguments)
    shape = (1, graph.inputs[0].channels or 1, arguments.size, arguments.size)
    node = arguments.node or graph.outputs[0].name
    graph.handle(node)  # raises, naming all, for one that there is not
    height, width = (*graph.shapes(shape)[node][2:], 1, 1)[:2]  # a value without height and width raises below
    row, column = arguments.at or (height // 2, width // 2)
    field = receptive_field(graph, shape, row, column, node)
    with limited_threads(arguments.threads):
        draw(graph, shape, row, column, arguments.out, node)
    spans = [f"{what} {first} to {last}" for what, (first, last) in zip(("rows", "columns"), field, strict=True)]
    told = arguments.node or "the output"
    print(f"{graph.name}: {told} at row {row}, column {column} can see {' and '.join(spans)} of the image")
    print(f"picture  {arguments.out}")


def trained(arguments: argparse.Namespace) -> Graph:
    """The network of a checkpoint. Raises OptionError for options, which it does not take."""
    from minisegnet.trained import load_trained

    if arguments.option:
        raise OptionError("a checkpoint knows its network's options; leave out --option, or name a model in its place")
    return load_trained(arguments.model)[0]


def untrained(arguments: argparse.Namespace) -> Graph:
    """A network by name, with its first weights; but scores that begin at zero, as FCN's, would see nothing."""
    from minisegnet.graph import generator
    from minisegnet.layers import Conv2d, ZeroConv2d

    graph = graph_named(arguments.model, **{"num_classes": arguments.classes, **dict(arguments.option)})
    for name, layer in graph.layers.items():
        if isinstance(layer, ZeroConv2d):
            Conv2d.initialise(layer, generator(0, name))
    return graph


def _pixel(text: str) -> tuple[int, int]:
    try:
        row, column = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"wanted ROW,COLUMN, as in 10,48; got {text!r}") from None
    return row, column
