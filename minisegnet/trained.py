"""A trained network with all that it takes to use it, as a checkpoint holds it: classes, colours, normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from minisegnet import models
from minisegnet.data.images import with_channels
from minisegnet.data.transforms import Enlarge
from minisegnet.detection.detections import Detections
from minisegnet.detection.detector import Detector
from minisegnet.errors import CheckpointError, MinisegnetError
from minisegnet.graph import Graph
from minisegnet.prediction import predict_probabilities
from minisegnet.training import load_checkpoint, load_model


@dataclass(frozen=True)
class Recipe:
    """What a checkpoint says besides its weights, all of it JSON.

    model, arguments  the network is `models.create(model, **arguments)`
    classes, palette  the name and the colour (red, green, blue) of each class
    ignore_index      the label that stood for no class in training, or None
    channels          of the images: 1 (grey) or 3 (red, green, blue)
    mean, std         of each channel; images 0..1 are normalised to (image - mean) / std before the network
    smallest_side     images whose shorter side is below it are enlarged to it before a detector; None: none is
    """

    model: str
    arguments: dict[str, Any]
    classes: list[str]
    palette: list[list[int]]
    ignore_index: int | None
    channels: int
    mean: list[float]
    std: list[float]
    smallest_side: int | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """The recipe as a checkpoint's metadata."""
        return asdict(self)

    @classmethod
    def of(cls, metadata: Mapping[str, Any], path: str | Path) -> Recipe:
        """The recipe in a checkpoint's metadata. Raises CheckpointError if it lacks something or contradicts itself."""
        known = [field.name for field in fields(cls) if field.name in metadata]
        missing = [field.name for field in fields(cls) if field.name not in known and field.default is MISSING]
        if missing:
            raise CheckpointError(
                f"{path} does not say how to use its weights: {', '.join(missing)} missing from its metadata; "
                "load it with minisegnet.training.load_model into a network that you build"
            )
        recipe = cls(**{name: metadata[name] for name in known})
        try:
            fits = (
                np.shape(recipe.palette) == (len(recipe.classes), 3)
                and len(recipe.mean) == len(recipe.std) == recipe.channels
                and recipe.channels in (1, 3)
                and min(recipe.std) > 0
                and isinstance(recipe.model, str)
                and isinstance(recipe.arguments, dict)
                and (recipe.smallest_side is None or int(recipe.smallest_side) >= 1)
            )
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise CheckpointError(f"{path} is damaged: its metadata contradicts itself; go back to another checkpoint")
        return recipe

    def build(self) -> Any:
        """The network, a `Graph` or a `Detector`, freshly initialised.

        Raises OptionError for a model or arguments that there are not.
        """
        return models.create(self.model, **self.arguments)

    def probabilities(
        self, graph: Graph, image: np.ndarray, tile: int | None = None, symmetries: bool = False
    ) -> np.ndarray:
        """Class probabilities float32 (num_classes, H, W) of an image (1 or 3, H, W) of 0..1.

        tile, symmetries  see `prediction.predict_probabilities`
        """
        image = normalised(with_channels(image, self.channels), self.mean, self.std)
        return predict_probabilities(graph, image, tile, symmetries)

    def detections(self, detector: Detector, image: np.ndarray) -> Detections:
        """The objects in an image (1 or 3, H, W) of 0..1, in its own pixels."""
        image = with_channels(image, self.channels)
        height, width = image.shape[1:]
        enlarged = Enlarge(self.smallest_side).image(image) if self.smallest_side else image
        (found,) = detector.detect([normalised(enlarged, self.mean, self.std)])
        by_width, by_height = width / enlarged.shape[2], height / enlarged.shape[1]
        boxes = found.boxes * np.array([by_width, by_height, by_width, by_height], found.boxes.dtype)
        return replace(found, boxes=boxes)


def load_trained(path: str | Path) -> tuple[Any, Recipe]:
    """The network of a checkpoint, last.npz or best.npz of a run, with its recipe: a `Graph`, or a `Detector`.

    Raises CheckpointError for a file that is no such checkpoint (see `training.load_checkpoint`), lacks its recipe, or
    is of a model that this version cannot build.
    """
    arrays, metadata = load_checkpoint(path)
    recipe = Recipe.of(metadata, path)
    try:
        graph = recipe.build()
    except MinisegnetError as problem:
        raise CheckpointError(f"{path} is of a model that cannot be built here: {problem}") from problem
    load_model(graph, arrays, metadata, path)
    return graph, recipe


def normalised(image: np.ndarray, mean: Any, std: Any) -> np.ndarray:
    """(image - mean) / std for each channel of (C, H, W), float32."""
    mean, std = (np.asarray(values, np.float32).reshape(-1, 1, 1) for values in (mean, std))
    return (image - mean) / std
