"""Tell what minisegnet finds on this machine: Python, NumPy, its BLAS, CuPy, a compiler.

examples:
  minisegnet doctor
  minisegnet doctor --json > machine.json
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print it as JSON, for programs")


def run(arguments: argparse.Namespace) -> None:
    import json

    from minisegnet import doctor

    found = doctor.examine()
    print(json.dumps(found, indent=2) if arguments.json else doctor.report(found))
