"""The built-in data set: circles, squares, triangles and stars on textured ground, drawn when asked for.

Made so that only shape tells the classes apart. All objects of an image have nearly one colour, whatever their class,
and every class the same spread of sizes and textures; objects crowd together and hide parts of each other, with a thin
dark rim where one ends. So a network has to look at outlines, and thresholds on colour find one blob (see `baseline`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from minisegnet.data.blending import blended
from minisegnet.data.palettes import default_palette
from minisegnet.data.sample import Sample
from minisegnet.errors import OptionError
from minisegnet.shapes import pair

CLASSES = ("background", "circle", "square", "triangle", "star")
SPLITS = {"train": 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class Grade:
    """How hard the images are. Lengths are shares of the image's shorter side, colours go from 0 to 1."""

    objects: tuple[int, int]  # fewest and most in an image
    radius: tuple[float, float]  # of the circle of the object's area
    turn: float  # how far an object may be turned either way, in degrees
    crowding: float  # how likely an object is put beside another
    hidden: float  # the largest share of an object that others may cover
    distance: float  # between the colour of the objects and that of the ground
    tint: float  # how far the colours of two objects differ
    ground: float  # how far the ground's colours wander
    texture: float  # how far an object's colours wander
    rim: float  # how much darker an object is at its edge
    illumination: float  # how much brighter one side of the image is than its middle
    noise: float  # standard deviation of each pixel's noise


GRADES = {
    "easy": Grade((2, 3), (0.13, 0.19), 180, 0.0, 0.0, 0.6, 0.5, 0.02, 0.0, 0.4, 0.0, 0.01),
    "medium": Grade((4, 6), (0.15, 0.20), 25, 0.95, 0.2, 0.5, 0.03, 0.25, 0.06, 0.35, 0.15, 0.04),
    "hard": Grade((5, 9), (0.09, 0.16), 180, 0.95, 0.4, 0.35, 0.05, 0.35, 0.15, 0.3, 0.3, 0.07),
}
RIM_WIDTH = 1.2  # pixels

# Each outline is one straight edge repeated around the centre: folded into `angle` on either side of a corner or the
# edge's middle, it is the line {reach = cos(direction) x + sin(direction) y}. The reach is that of area pi.
_STAR_NOTCH = 0.45  # the inner corners' distance from the centre, as a share of the outer ones'


def _polygon(sides: int) -> tuple[float, float, float]:
    angle = np.pi / sides
    return angle, 0.0, float(np.sqrt(angle / np.tan(angle)))


def _star(points: int) -> tuple[float, float, float]:
    angle = np.pi / points
    outer = np.sqrt(np.pi / (points * _STAR_NOTCH * np.sin(angle)))
    edge = _STAR_NOTCH * np.exp(1j * angle) - 1  # from an outer corner on the x axis to the next inner one
    normal = edge / abs(edge) / 1j
    normal = normal if normal.real > 0 else -normal
    return angle, float(np.angle(normal)), float(outer * normal.real)


_EDGES = {"square": _polygon(4), "triangle": _polygon(3), "star": _star(5)}
_OUTERMOST = 1.6  # the farthest corner (the triangle's) of an object with radius 1


def signed_distance(kind: str, x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """How far points lie outside (above 0) or inside (below 0) an outline that encloses the area pi radius^2.

    Exact along the edges, which is where pixels are blended; beyond a corner it is the distance to the edge's line.
    """
    distance = np.hypot(x, y)
    if kind == "circle":
        return distance - radius
    angle, direction, reach = _EDGES[kind]
    folded = np.abs((np.arctan2(y, x) + angle) % (2 * angle) - angle)
    return distance * np.cos(folded - direction) - reach * radius


class Shapes:
    """`count` images (3, size, size), drawn when asked for: image i depends on (seed, split, difficulty, i) alone.

    size        side in pixels, or (height, width)
    count       how many; as many as you like, they cost nothing until they are drawn
    seed        a whole number from 0
    difficulty  "easy" (plain colours, nothing hidden), "medium", "hard"; see GRADES
    split       "train", "val" or "test": different images of the same kind

    Each sample has labels, and instances with their classes. Raises OptionError for a setting outside those.
    """

    classes = CLASSES
    ignore_index = None
    channels = 3

    def __init__(
        self, size: Any = 64, count: int = 1000, seed: int = 0, difficulty: str = "medium", split: str = "train"
    ) -> None:
        if difficulty not in GRADES:
            raise OptionError(f"shapes: difficulty must be one of {', '.join(GRADES)}; got {difficulty!r}")
        if split not in SPLITS:
            raise OptionError(f"shapes: split must be one of {', '.join(SPLITS)}; got {split!r}")
        if count < 1 or seed < 0:
            raise OptionError(f"shapes: count must be at least 1 and seed at least 0; got {count!r} and {seed!r}")
        self.size = pair(size, "shapes: size", minimum=16)
        self.count, self.seed, self.difficulty, self.split = count, seed, difficulty, split
        self.palette = default_palette(len(CLASSES))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        index = range(self.count)[index]
        rng = np.random.default_rng([self.seed, SPLITS[self.split], index, 1])
        picture = Picture(self.size, GRADES[self.difficulty], rng)
        name = f"shapes_{self.split}_{index:05d}"
        classes = np.array(picture.classes, np.int32)
        return Sample(picture.photograph(), picture.labels, name, picture.instances, object_classes=classes)


class Picture:
    """One image in the making: the ground, then object upon object."""

    def __init__(self, size: tuple[int, int], grade: Grade, rng: np.random.Generator) -> None:
        self.size, self.grade, self.rng = size, grade, rng
        ground, self.paint = _two_colours(rng, grade.distance)
        self.image = _texture(rng, *size, ground, grade.ground)
        self.labels = np.zeros(size, np.int32)
        self.instances = np.zeros(size, np.int32)
        self.objects: list[tuple[float, float, float, int]] = []  # row, column, radius, area when drawn
        self.classes: list[int] = []
        wanted = int(rng.integers(grade.objects[0], grade.objects[1], endpoint=True))
        for _ in range(20 * wanted):
            if len(self.objects) < wanted:
                self._add_object()

    def photograph(self) -> np.ndarray:
        """The image as a camera would have it: unevenly lit, and with noise."""
        light = 1 + self.grade.illumination * _smooth_noise(self.rng, *self.size)
        noise = self.grade.noise * self.rng.standard_normal(self.image.shape)
        return np.clip(self.image * light + noise, 0, 1).astype(np.float32)

    def _add_object(self) -> None:
        """Try one object on top; leave everything as it is if it would hide too much of another."""
        label = int(self.rng.integers(1, len(CLASSES)))
        radius = self.rng.uniform(*self.grade.radius) * min(self.size)
        row, column = self.place(radius)
        y, x = _pixels(self.size, row, column, np.radians(self.grade.turn) * self.rng.uniform(-1, 1))
        outside = signed_distance(CLASSES[label], x, y, radius)
        inside = outside <= 0
        left = np.bincount(self.instances[~inside], minlength=len(self.objects) + 1)[1:]
        if any(now < (1 - self.grade.hidden) * area for now, (*_, area) in zip(left, self.objects, strict=True)):
            return
        tint = self.grade.tint * _direction(self.rng)
        colours = _texture(self.rng, *self.size, self.paint + tint, self.grade.texture)
        colours *= 1 - self.grade.rim * np.exp(-np.square(outside / RIM_WIDTH))
        coverage = np.clip(0.5 - outside, 0, 1)  # the share of the pixel that the object fills
        self.image += coverage * (colours - self.image)
        self.labels[inside] = label
        self.objects.append((row, column, radius, int(inside.sum())))
        self.classes.append(label)
        self.instances[inside] = len(self.objects)

    def place(self, radius: float) -> tuple[float, float]:
        """Row and column of a centre: beside another object, or anywhere; the circle lies inside the image."""
        height, width = self.size
        row, column = self.rng.uniform(radius, height - radius), self.rng.uniform(radius, width - radius)
        if self.objects and self.rng.random() < self.grade.crowding:
            beside = self.objects[self.rng.integers(len(self.objects))]
            angle, apart = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(0.8, 1.1) * (radius + beside[2])
            row, column = beside[0] + apart * np.sin(angle), beside[1] + apart * np.cos(angle)
        return float(np.clip(row, radius, height - radius)), float(np.clip(column, radius, width - radius))


def _pixels(size: tuple[int, int], row: float, column: float, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates y, x of the pixels' centres, seen from (row, column) and turned."""
    y = np.arange(size[0])[:, None] + 0.5 - row
    x = np.arange(size[1]) + 0.5 - column
    return np.cos(turn) * y - np.sin(turn) * x, np.cos(turn) * x + np.sin(turn) * y


def _two_colours(rng: np.random.Generator, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """The colour (3,) of the ground and that of the objects, so far apart; the objects are the brighter ones."""
    towards = np.abs(_direction(rng)) + 0.5
    ground = rng.uniform(0.15, 0.5, 3)
    return ground, ground + distance * towards / np.linalg.norm(towards)


def _direction(rng: np.random.Generator) -> np.ndarray:
    arrow = rng.standard_normal(3)
    return arrow / np.linalg.norm(arrow)


def _texture(rng: np.random.Generator, height: int, width: int, colour: np.ndarray, spread: float) -> np.ndarray:
    """Colours (3, height, width) that wander from one by at most `spread`: stripes over hills and valleys."""
    share = rng.uniform(0, 1)
    hills, stripes = _smooth_noise(rng, height, width), _stripes(rng, height, width)
    wandering = share * _direction(rng)[:, None, None] * hills + (1 - share) * _direction(rng)[:, None, None] * stripes
    return colour[:, None, None] + spread * wandering


def _smooth_noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Hills and valleys (height, width) from -1 to 1: a coarse grid of random numbers, blended smoothly."""
    points = int(rng.integers(2, 5))
    heights = rng.uniform(-1, 1, (points, points))
    return blended(_blend(height, points), heights, _blend(width, points))


@cache
def _blend(length: int, points: int) -> np.ndarray:
    """(length, points): how much each of the coarse points counts at each place of a line."""
    position = np.linspace(0, points - 1, length)
    near = 1 - np.abs(position[:, None] - np.arange(points)).clip(0, 1)
    return near * near * (3 - 2 * near)  # the smooth step, whose slope is 0 at the points


def _stripes(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A grating (height, width) from -1 to 1 at a random angle, 6 to 16 pixels from stripe to stripe."""
    angle, wavelength, phase = rng.uniform(0, np.pi), rng.uniform(6, 16), rng.uniform(0, 2 * np.pi)
    across = 2 * np.pi / wavelength
    columns = across * np.cos(angle) * np.arange(width)
    rows = across * np.sin(angle) * np.arange(height)[:, None]
    return np.sin(rows + columns + phase)
