"""A graph's parameters and buffers filled from weights trained elsewhere, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minisegnet.cuda.arrays import fill
from minisegnet.errors import CheckpointError
from minisegnet.graph import Graph
from minisegnet.interop.published import Normalisation, recognised
from minisegnet.interop.weights import read_file, without_wrapping

if TYPE_CHECKING:
    from minisegnet.detection.detector import Detector


@dataclass(frozen=True)
class Pretrained:
    """What `load_pretrained` did.

    loaded         names that the graph took
    missing        names of the graph that the weights lack: they stay as they were
    unexpected     names of the weights that the graph lacks
    normalisation  what the weights want of images of 0..1; None where it is not known
    """

    loaded: list[str]
    missing: list[str]
    unexpected: list[str]
    normalisation: Normalisation | None

    def __str__(self) -> str:
        """One line for people: what was loaded, and what was not."""
        told = f"loaded {len(self.loaded)} arrays"
        for what, names in (("missing", self.missing), ("unexpected", self.unexpected)):
            told += f"; {len(names)} {what}: {_listed(names)}" if names else ""
        return told


def load_pretrained(
    graph: Graph | Detector, weights: str | Path | Mapping[str, Any], partial: bool = False
) -> Pretrained:
    """Fill a graph from weights of the same names: torchvision's, another graph's, or a file of them.

    weights   a file that `read_weights` reads, or arrays by name
    partial   False: the names are exactly the graph's. True: what both have is loaded, so that an encoder goes into
              an FCN, or a trained FCN-32s into an FCN-16s; see the answer's `missing` and `unexpected`

    The weight of a `Linear`, (out, in), fills a convolution (out, channels, kernel_h, kernel_w) with as many numbers,
    in that order: the fully connected layer as a convolution (Long et al. 2015, section 3.1). SqueezeNet 1.1 as
    converted from Caffe, and torchvision's detectors of before 2022, are renamed (see `published.recognised`); an
    encoder's weights go into that of a detector. Where running statistics come without their num_batches_tracked, as in
    files from before 2018 and from frozen normalisations, that is 0.

    The normalisation is the checkpoint's own for one of minisegnet, ImageNet's for torchvision's names.

    Raises CheckpointError, having changed nothing, for a file that cannot be read; for a name that both have whose
    arrays differ in shape or kind of number; for names that only one has, unless `partial`; and if nothing fits at all.
    All of these are listed in the one error.

    A first convolution of three channels does not go into one of a single channel by itself: its sum over the colours
    is right for no grey image once each channel has a normalisation of its own. Give grey images three times instead.
    """
    if isinstance(weights, Mapping):
        source, metadata = "this state", None
        weights = without_wrapping({str(name): np.asarray(array) for name, array in weights.items()})
    else:
        source = str(weights)
        weights, metadata = read_file(weights)
    normalisation = None
    if metadata is not None:
        normalisation = _own(metadata, source)
    else:
        weights, normalisation = recognised(weights)
    wanted = graph.arrays()
    if not wanted.keys() & weights.keys():
        weights = _in_a_detector(wanted, weights)
    weights = _untracked(wanted, weights) | weights
    fitting = {name: _fitted(weights[name], array.shape) for name, array in wanted.items() if name in weights}
    missing = [name for name in wanted if name not in weights]
    unexpected = [name for name in weights if name not in wanted]
    misfits = [_misfit(name, given, wanted[name]) for name, given in fitting.items()]
    _raise_for(graph, source, partial, missing, unexpected, [misfit for misfit in misfits if misfit])
    if not fitting:
        raise CheckpointError(
            f"nothing in {source} has a name of {graph.name}, so nothing was loaded: it has {_listed(unexpected)}; "
            f"wanted {_listed(missing)}. Rename its arrays with read_weights, or load it into the network it is of"
        )
    for name, given in fitting.items():
        fill(wanted[name], given)
    return Pretrained(list(fitting), missing, unexpected, normalisation)


def _own(metadata: Mapping[str, Any], source: str) -> Normalisation | None:
    """The normalisation in a checkpoint's metadata; None where it has none."""
    if "mean" not in metadata or "std" not in metadata:
        return None
    try:
        mean, std = ([float(value) for value in metadata[name]] for name in ("mean", "std"))
    except (TypeError, ValueError, OverflowError):
        mean, std = [], []
    if not (mean and len(mean) == len(std) and np.isfinite(mean + std).all() and min(std) > 0):
        raise CheckpointError(f"{source} is damaged: its metadata has no means and deviations that go together")
    return Normalisation(mean, std)


def _untracked(wanted: Iterable[str], weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A count of 0 for running statistics that come without one."""
    nodes = [name.removesuffix(".num_batches_tracked") for name in wanted if name.endswith(".num_batches_tracked")]
    tracked = [node for node in nodes if f"{node}.running_var" in weights]
    return {f"{node}.num_batches_tracked": np.zeros((), np.int64) for node in tracked}


def _in_a_detector(wanted: Iterable[str], weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights under the names that an encoder's have in a detector; as they are, if it has none of them."""
    renamed = {f"backbone.body.{name}": array for name, array in weights.items()}
    return renamed if renamed.keys() & set(wanted) else weights


def _fitted(given: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A `Linear`'s weight as the convolution that computes the same, anything else as it is."""
    if given.ndim == 2 and len(shape) == 4 and len(given) == shape[0] and given.size == np.prod(shape):
        return given.reshape(shape)
    return given


def _misfit(name: str, given: np.ndarray, wanted: np.ndarray) -> str:
    """What keeps an array from its place; empty where nothing does."""
    if given.shape != wanted.shape:
        told = f"{name} is {given.shape}, wanted {wanted.shape}"
        if given.shape[:2] == (len(wanted), 3) and wanted.shape[1:2] == (1,):
            told += " (weights for colours: build the network with in_channels=3 and give it grey images three times)"
        return told
    if not np.can_cast(given.dtype, wanted.dtype, "same_kind"):
        return f"{name} holds {given.dtype}, wanted {wanted.dtype}"
    return ""


def _raise_for(
    graph: Graph | Detector, source: str, partial: bool, missing: list[str], unexpected: list[str], misfits: list[str]
) -> None:
    """One error for all that does not fit, if anything that matters does not."""
    faults = {"of another shape or type": misfits}
    if not partial:
        faults = {"missing": missing, "unexpected": unexpected, **faults}
    told = "; ".join(f"{len(names)} {what}: {_listed(names, None)}" for what, names in faults.items() if names)
    if not told:
        return
    ways = []
    if not partial and (missing or unexpected):
        ways.append("pass partial=True to load the names that both have")
    if misfits:
        ways.append("build the network that the weights are of, or leave those arrays out of read_weights' answer")
    raise CheckpointError(f"{source} does not fit {graph.name}, so nothing was loaded ({told}); {', and '.join(ways)}")


def _listed(names: list[str], most: int | None = 5) -> str:
    """Names in a line, "..." in place of those beyond `most`; a file may hold names that would upset a terminal."""
    shown = [name if name.isprintable() else repr(name) for name in names[:most]]
    return ", ".join(shown + ["..."] * (len(shown) < len(names)))
