"""The built-in classification task: one shape on textured ground, or none, and the question which."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minisegnet.data.palettes import default_palette
from minisegnet.data.sample import Sample
from minisegnet.data.shapes import CLASSES, GRADES, SPLITS, Grade, Picture, Shapes
from minisegnet.errors import OptionError

RADIUS = (0.15, 0.25)  # of the circle of the shape's area, as a share of the image's shorter side


class ShapeClasses:
    """`count` images (3, size, size) of one class each, drawn when asked for as those of `Shapes` are.

    size, count, seed, difficulty, split   as for `Shapes`
    shift   how far the shape's centre lies from the image's middle, in pixels and any direction; None: anywhere

    The class is that of the one shape, or background where there is none. It stands at every pixel of the labels: so
    transforms, loader and checks treat the images as any others, and a network with a single output for each image,
    scores (N, classes) or (N, classes, 1, 1), is trained by the loop that trains segmentation, which compares with the
    middle pixel. The instances tell where the shape is.

    Raises OptionError for a setting outside those, or a shift that brings shapes over the edge.
    """

    classes = CLASSES
    ignore_index = None
    channels = 3

    def __init__(
        self,
        size: Any = 64,
        count: int = 1000,
        seed: int = 0,
        difficulty: str = "medium",
        split: str = "train",
        shift: float | None = None,
    ) -> None:
        checked = Shapes(size, count, seed, difficulty, split)
        self.size, self.count, self.seed, self.shift = checked.size, count, seed, shift
        self.difficulty, self.split = difficulty, split
        self.palette = default_palette(len(CLASSES))
        farthest = farthest_shift(self.size)
        if shift is not None and not 0 <= shift <= farthest:
            raise OptionError(
                f"shape classes: shift must be from 0 to {farthest:g} pixels for images of {self.size[0]} x "
                f"{self.size[1]}, so that a shape stays inside; got {shift!r}"
            )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        index = range(self.count)[index]
        rng = np.random.default_rng([self.seed, SPLITS[self.split], index, 2])  # Shapes draws from [..., 1]
        shapes = int(rng.integers(len(CLASSES)) > 0)
        grade = replace(GRADES[self.difficulty], objects=(shapes, shapes), radius=RADIUS)
        picture = OneShape(self.size, grade, rng, self.shift)
        labels = np.full(self.size, picture.labels.max(), np.int32)
        return Sample(picture.photograph(), labels, f"shape_{self.split}_{index:05d}", picture.instances)


class OneShape(Picture):
    """A picture whose shape lies `shift` pixels from the middle."""

    def __init__(self, size: tuple[int, int], grade: Grade, rng: np.random.Generator, shift: float | None) -> None:
        self.shift = shift
        super().__init__(size, grade, rng)

    def place(self, radius: float) -> tuple[float, float]:
        if self.shift is None:
            return super().place(radius)
        angle = self.rng.uniform(0, 2 * np.pi)
        row, column = (side / 2 for side in self.size)
        return row + self.shift * np.sin(angle), column + self.shift * np.cos(angle)


def farthest_shift(size: tuple[int, int]) -> float:
    """How far from the middle, in pixels, the largest shape's circle still lies inside the image."""
    return (0.5 - RADIUS[1]) * min(size)
