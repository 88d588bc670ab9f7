"""Check the masks of a data set: the classes found, stray values, sizes that differ, files that cannot be read.

examples:
  minisegnet labels folder:photos
  minisegnet labels folder:photos --split train --data-option ignore_index=255

The exit code is 1 if something is wrong.
"""

from __future__ import annotations

import argparse

from minisegnet.commands.options import DATA_HELP, add_data_options

PROBLEMS_FOUND = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help=DATA_HELP)
    parser.add_argument("--split", help="one part of the data (default: all)")
    add_data_options(parser)


def run(arguments: argparse.Namespace) -> int:
    from functools import partial

    from tqdm import tqdm

    from minisegnet.data.label_check import check_labels

    progress = partial(tqdm, desc="reading", unit="image", leave=False, disable=None)
    report = check_labels(arguments.data, arguments.split, progress, **dict(arguments.data_option))
    print(report)
    return 0 if report.ok else PROBLEMS_FOUND
