"""The command `minisegnet`: reads its arguments, runs one of `minisegnet.commands`, and tells errors in one line."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from minisegnet import __version__
from minisegnet.errors import MinisegnetError
from minisegnet.memory import keep_freed_memory

# Each is a module of minisegnet.commands (with _ for -): its docstring is the help; it has add_arguments(parser) and
# run(arguments).
COMMANDS = (
    "demo", "demo-instances", "train", "evaluate", "predict", "labels", "pretrain",
    "summary", "offsets", "receptive-field", "compare", "what-where", "fully-connected", "stages", "doctor",
)  # fmt: skip

DESCRIPTION = """Semantic segmentation from scratch: train a network on images and masks, and see what it sees.

examples:
  minisegnet demo                                                a minute of training on made-up shapes
  minisegnet labels folder:photos                                are the masks what they should be?
  minisegnet train unet --data folder:photos --out runs/first
  minisegnet evaluate runs/first/best.npz --data folder:photos --split val
  minisegnet predict runs/first/best.npz more-photos --out masks
"""

FAILED = 2  # what was asked for cannot be done
INTERRUPTED = 130  # as a shell tells a command that Ctrl-C ended


def parser() -> argparse.ArgumentParser:
    """All commands with their arguments; each command's modules for the work itself are imported when it runs."""
    top = argparse.ArgumentParser("minisegnet", description=DESCRIPTION, formatter_class=_Formatter)
    top.add_argument("--version", action="version", version=f"minisegnet {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"minisegnet.commands.{name.replace('-', '_')}")
        told = module.__doc__ or ""
        command = commands.add_parser(
            name, help=told.partition("\n")[0], description=told, formatter_class=_Formatter, allow_abbrev=False
        )
        module.add_arguments(command)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        command.set_defaults(run=module.run)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command (of the process by default) and return its exit code: 0, 1, 2 or 130."""
    typed = list(sys.argv[1:] if arguments is None else arguments)
    given = parser().parse_args(typed)
    given.typed = typed  # for messages that say what to type next
    keep_freed_memory()
    try:
        code = given.run(given) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MinisegnetError, OSError) as error:
        if given.debug:
            raise
        print(f"minisegnet: {_one_line(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        if given.debug:
            raise
        print("minisegnet: interrupted", file=sys.stderr)
        return INTERRUPTED


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the examples' lines, and leaves room for the arguments' names."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)
