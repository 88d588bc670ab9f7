"""Derive where in the image the pixels of each value of a network lie, and the crops that follow from it.

examples:
  minisegnet offsets fcn8s --option as_published=True
  minisegnet offsets fcn8s --option encoder=squeezenet1_1
  minisegnet offsets unet --option valid=True --size 572

The first prints how the FCN paper's crops of 5, 9 and 31 come about, which its code has as numbers.
"""

from __future__ import annotations

import argparse

from minisegnet.commands.options import add_model_options, at_least, graph_named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="name of the network, as in fcn8s")
    parser.add_argument("--classes", type=int, default=21, metavar="N", help="number of classes (21)")
    parser.add_argument(
        "--size", type=at_least(1), default=512, metavar="N", help="side of the image, where that matters (512)"
    )
    add_model_options(parser)


def run(arguments: argparse.Namespace) -> None:
    from minisegnet.models.alignment import derivation

    graph = graph_named(arguments.model, **{"num_classes": arguments.classes, **dict(arguments.option)})
    print(derivation(graph, (1, graph.inputs[0].channels, arguments.size, arguments.size)))
