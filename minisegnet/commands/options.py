"""What several commands read from their arguments in the same way."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from minisegnet.errors import OptionError

if TYPE_CHECKING:
    from minisegnet.detection.detector import Detector
    from minisegnet.graph import Graph

DATA_HELP = (
    "shapes, shapes:easy, shapes:hard, or format and folder: folder:PATH, isbi:PATH, camvid:PATH, voc:PATH, "
    "nuclei:PATH, coco:PATH, via:PATH"
)

LEARNING_RATES = {"sgd": 0.01, "adam": 0.001, "adamw": 0.001}  # the usual one of each optimiser


def assignment(text: str) -> tuple[str, Any]:
    """`key=value` as (key, value); the value is read as Python does where it is a literal, else it is the text.

    true, false and none may be written small.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"wanted key=value, as in width=32; got {text!r}")
    try:
        return key, ast.literal_eval({"true": "True", "false": "False", "none": "None"}.get(value, value))
    except (ValueError, SyntaxError):
        return key, value


def at_least(smallest: int) -> Any:
    """A reader of whole numbers that are no smaller."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = smallest - 1
        if number < smallest:
            raise argparse.ArgumentTypeError(f"wanted a whole number of at least {smallest}; got {text!r}")
        return number

    return read


def add_data_options(parser: argparse._ActionsContainer) -> None:
    """--data-option, for the options of `data.open_dataset`."""
    parser.add_argument(
        "--data-option",
        action="append",
        type=assignment,
        default=[],
        metavar="KEY=VALUE",
        help="an option of the data's format, as in ignore_index=255, instances=True or size=64; may be given again",
    )


def add_model_options(parser: argparse._ActionsContainer) -> None:
    """--option, for the arguments of `models.create`."""
    parser.add_argument(
        "--option",
        action="append",
        type=assignment,
        default=[],
        metavar="KEY=VALUE",
        help="an argument of the model, as in width=32 or upsampling=bilinear; may be given again",
    )


def graph_named(model: str, **arguments: Any) -> Graph:
    """`models.create`, of a network that is one graph. Raises OptionError for a detector, which is several."""
    from minisegnet import models

    if model in models.DETECTORS:
        raise OptionError(f"{model} is several graphs with choices in between; give one of {', '.join(models.MODELS)}")
    return models.create(model, **arguments)


def add_threads(parser: argparse._ActionsContainer) -> None:
    """--threads, see `limited_threads`."""
    parser.add_argument(
        "--threads", type=at_least(1), metavar="N", help="threads of the BLAS (default: as it chooses, often all cores)"
    )


def limited_threads(threads: int | None) -> AbstractContextManager:
    """Hold the BLAS to so many threads inside the block; None leaves it alone."""
    if threads is None:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(threads, user_api="blas")


def add_engine(parser: argparse._ActionsContainer) -> None:
    """--engine, see `engine_for`."""
    parser.add_argument(
        "--engine",
        choices=["on", "off"],
        default="on",
        help="on: by a plan of fused steps, one process a core; off: layer by layer, as the layers read (on)",
    )


@contextmanager
def engine_for(graph: Graph | Detector, arguments: argparse.Namespace) -> Iterator[None]:
    """Let the graph predict by the engine inside the block, unless --engine off or another --device was asked for."""
    if arguments.engine == "off" or graph.device != "cpu":
        yield
        return
    from minisegnet.detection.detector import Detector
    from minisegnet.engine.engine import Engine

    if isinstance(graph, Detector):
        with graph.accelerated():
            yield
        return
    with Engine(graph, workers=None) as engine, graph.accelerated(engine):
        yield


def add_device(parser: argparse._ActionsContainer) -> None:
    """--device, as `Graph.to` takes it."""
    parser.add_argument(
        "--device",
        choices=["cpu", "emulator", "cuda"],
        default="cpu",
        help="compute by NumPy (cpu), by our CUDA kernels on a GPU (cuda), or by those in the emulator (cpu)",
    )


def add_prediction_options(parser: argparse.ArgumentParser) -> None:
    """--tile and --symmetries, as `prediction.predict_probabilities` takes them."""
    parser.add_argument(
        "--tile", type=at_least(1), metavar="N", help="predict in tiles of about N pixels a side, where memory is short"
    )
    parser.add_argument(
        "--symmetries", action="store_true", help="average over the eight turns and mirror images: better, and slower"
    )


def check_no_pixel_options(arguments: argparse.Namespace) -> None:
    """Raise OptionError for what a detector knows nothing of."""
    given = [f"--{name}" for name in ("tile", "symmetries", "probabilities") if getattr(arguments, name, None)]
    if given:
        raise OptionError(f"{' and '.join(given)}: the network finds objects, each in the whole image; leave it out")


def add_score(parser: argparse.ArgumentParser) -> None:
    """--score, from which on a detector is believed."""
    parser.add_argument(
        "--score", type=_probability, default=0.5, metavar="P", help="least score of an object in the map (0.5)"
    )


def _probability(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"wanted a number from 0 to 1; got {text!r}")
    return number
