"""The built-in data set: circles, squares, triangles and stars on textured ground, drawn when asked for.

Made so that only shape tells the classes apart. Every class has the same spread of areas, angles, colours and textures,
the background is as coloured as the objects, and objects hide parts of each other; an edge, though, is always one that
the eye can find. So a network has to look at outlines, and thresholds on colour fail (see `baseline`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from minisegnet.data.palettes import default_palette
from minisegnet.data.sample import Sample
from minisegnet.errors import OptionError
from minisegnet.shapes import pair

POINTS = (3, 7)
CLASSES = ("background", "circle", "square", "triangle", "star")
SPLITS = {"train": 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class Grade:
    """How hard the images are. Lengths are shares of the image's shorter side, colours go from 0 to 1."""

    objects: tuple[int, int]  # fewest and most in an image
    radius: tuple[float, float]  # of the circle of the object's area
    hidden: float  # the largest share of an object that others may cover
    background: float  # how far the background's colours wander
    texture: float  # how far an object's colours wander
    contrast: float  # the least difference between an object and what lies around it, along most of its edge
    illumination: float  # how much brighter one side of the image is than its middle
    noise: float  # standard deviation of each pixel's noise


GRADES = {
    "easy": Grade((2, 3), (0.13, 0.19), 0.0, 0.02, 0.0, 0.5, 0.0, 0.01),
    "medium": Grade((2, 4), (0.12, 0.19), 0.25, 0.30, 0.12, 0.22, 0.2, 0.03),
    "hard": Grade((4, 8), (0.07, 0.16), 0.4, 0.35, 0.2, 0.12, 0.35, 0.08),
}

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

    Each sample has labels and instances. Raises OptionError for a setting outside those.
    """

    classes = CLASSES
    ignore_index = None
    channels = 3

    def __init__(
        self, size: Any = 96, count: int = 1000, seed: int = 0, difficulty: str = "medium", split: str = "train"
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
        image, labels, instances = _draw(self.size, GRADES[self.difficulty], rng)
        return Sample(image, labels, f"shapes_{self.split}_{index:05d}", instances)


def _draw(size: tuple[int, int], grade: Grade, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    height, width = size
    image = _clouds(rng, height, width, grade.background)
    labels = np.zeros(size, np.int32)
    instances = np.zeros(size, np.int32)
    areas: list[int] = []
    wanted = int(rng.integers(grade.objects[0], grade.objects[1] + 1))
    for _ in range(20 * wanted):
        if len(areas) < wanted:
            _add_object(image, labels, instances, areas, grade, rng)
    n = _smooth_noise(rng, height, width)
    n = (n - n.min()) / (n.max() - n.min()) * 2 - 1
    image *= (1 + grade.illumination * n).astype(np.float32)
    image += np.float32(grade.noise) * rng.standard_normal(image.shape, np.float32)
    return np.clip(image, 0, 1, out=image), labels, instances


def _add_object(image, labels, instances, areas: list[int], grade: Grade, rng: np.random.Generator) -> None:
    """Try to draw one object on top; leave everything as it is if it would hide too much or could not be seen."""
    height, width = labels.shape
    label = int(rng.integers(1, len(CLASSES)))
    radius = rng.uniform(*grade.radius) * min(height, width)
    centre_y, centre_x = rng.uniform(radius, height - radius), rng.uniform(radius, width - radius)
    reach = _OUTERMOST * radius + 1
    top, bottom = max(0, int(centre_y - reach)), min(height, int(centre_y + reach) + 1)
    left, right = max(0, int(centre_x - reach)), min(width, int(centre_x + reach) + 1)
    window = np.s_[top:bottom, left:right]

    turn = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[top:bottom, left:right].astype(np.float32) + np.float32(0.5)
    y, x = y - centre_y, x - centre_x
    cos, sin = np.cos(turn), np.sin(turn)
    outside = signed_distance(CLASSES[label], cos * x + sin * y, cos * y - sin * x, radius)
    inside = outside <= 0

    remaining = np.bincount(np.where(inside, 0, instances[window]).ravel(), minlength=len(areas) + 1)
    remaining += np.bincount(instances.ravel(), minlength=len(areas) + 1)
    remaining -= np.bincount(instances[window].ravel(), minlength=len(areas) + 1)
    if any(left_over < (1 - grade.hidden) * area for left_over, area in zip(remaining[1:], areas, strict=True)):
        return
    colours = _texture(rng, bottom - top, right - left, _colour(rng), grade.texture)
    edge = np.abs(outside) < 1.5
    difference = np.linalg.norm((colours - image[:, top:bottom, left:right])[:, edge], axis=0)
    if np.mean(difference > grade.contrast) < 0.9:
        return

    coverage = np.clip(0.5 - outside, 0, 1).astype(np.float32)  # the share of the pixel that the object fills
    image[:, top:bottom, left:right] += coverage * (colours - image[:, top:bottom, left:right])
    labels[window][inside] = label
    instances[window][inside] = len(areas) + 1
    areas.append(int(inside.sum()))


def _colour(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.15, 0.85, 3)


def _texture(rng: np.random.Generator, height: int, width: int, colour: np.ndarray, spread: float) -> np.ndarray:
    """Colours (3, height, width) that wander from one by about `spread`: smooth noise, stripes or both."""
    field = _field(rng, height, width, 2, 4)
    other = _colour(rng)
    far = other - colour
    far *= spread / np.linalg.norm(far)
    return (colour[:, None, None] + far[:, None, None] * field).astype(np.float32)


def _field(rng, height, width, lo, hi):
    global POINTS
    keep = POINTS; POINTS = (lo, hi)
    n = _smooth_noise(rng, height, width); POINTS = keep
    return (n - n.min()) / (n.max() - n.min()) - 0.5


def _clouds(rng, height, width, spread):
    out = []
    for _ in range(3):
        n = _smooth_noise(rng, height, width)
        n = (n - n.min()) / (n.max() - n.min()) - 0.5
        out.append(rng.uniform(0.4, 0.6) + spread * n)
    return np.stack(out).astype(np.float32)


def _smooth_noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Hills and valleys (height, width) from -1 to 1: a coarse grid of random numbers, blended smoothly."""
    points = int(rng.integers(*POINTS))
    heights = rng.uniform(-1, 1, (points, points))
    return _blend(height, points) @ heights @ _blend(width, points).T


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
