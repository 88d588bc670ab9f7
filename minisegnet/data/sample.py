"""What a data set holds: one sample, a batch of them, and what every data set can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Sample:
    """One image with what is known of its pixels.

    image           (C, H, W)  float32, 0 to 1
    labels          (H, W)     int32, the class of each pixel (or the data set's ignore_index); None if not known
    name            what an error message calls it: a file's stem, or how it was made
    instances       (H, W)     int32, 0 background, 1 to K the objects, not all of which need be seen; or (L, H, W), as
                               many such maps as objects lie upon each other; None if not known
    pixel_weight    (H, W)     float32, how much each pixel counts in the loss; None if all count alike
    object_classes  (K,)       int32, the class of each object 1 to K; None: the label of its pixels
    object_crowd    (K,)       bool, which of them are crowds, outlines around many objects; None: none are
    """

    image: np.ndarray
    labels: np.ndarray | None
    name: str
    instances: np.ndarray | None = None
    pixel_weight: np.ndarray | None = None
    object_classes: np.ndarray | None = None
    object_crowd: np.ndarray | None = None


@dataclass(frozen=True)
class Batch:
    """Samples of one size, stacked.

    images        (N, C, H, W)  float32
    labels        (N, H, W)     int32
    names         N names
    pixel_weight  (N, H, W)     float32, or None
    """

    images: np.ndarray
    labels: np.ndarray
    names: list[str]
    pixel_weight: np.ndarray | None = None


class Dataset(Protocol):
    """Samples by number, and what their labels mean.

    classes       the name of each class, by label
    palette       (number of classes, 3)  uint8, the colour of each class
    ignore_index  the label of pixels that count in no loss and no score, or None
    channels      of every image: 1 (grey) or 3 (red, green, blue)
    """

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def palette(self) -> np.ndarray: ...

    @property
    def ignore_index(self) -> int | None: ...

    @property
    def channels(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...
