"""Print a network as a table: each layer's output shape, parameters, multiply-adds and memory.

examples:
  minisegnet summary unet --input 3x256x256
  minisegnet summary unet --input 1x572x572 --classes 2 --option valid=True --option width=32
"""

from __future__ import annotations

import argparse

from minisegnet.commands.options import add_model_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="name of the network, as in unet")
    parser.add_argument(
        "--input", type=_size, default=(3, 256, 256), metavar="CxHxW", help="channels, height, width (3x256x256)"
    )
    parser.add_argument("--classes", type=int, default=2, metavar="N", help="number of classes (2)")
    add_model_options(parser)


def run(arguments: argparse.Namespace) -> None:
    from minisegnet import models

    options = {"num_classes": arguments.classes, "in_channels": arguments.input[0], **dict(arguments.option)}
    print(models.create(arguments.model, **options).summary((1, *arguments.input)))


def _size(text: str) -> tuple[int, int, int]:
    try:
        channels, height, width = (int(part) for part in text.lower().split("x"))
    except ValueError:
        channels = height = width = 0
    if min(channels, height, width) < 1:
        raise argparse.ArgumentTypeError(f"wanted channels x height x width, as in 3x256x256; got {text!r}")
    return channels, height, width
