"""The threshold baseline: what colour thresholds, connected components and shape descriptors reach without a network.

An honest effort of the classical kind, against which a network's score means something:

1. foreground: how far each smoothed pixel's colour lies from the image's background colour, cut by Otsu's threshold; or
   clusters of colour (k-means), of which the commonest along the image's border is the background and each other one a
   layer of its own; either with the colours as they are or divided by their brightness, against uneven light;
2. objects: the connected components of a layer, its touching parts first pulled apart by erosion or not, holes filled;
3. classes: each component's shape descriptors, looked up among those found in the training images, where the nearest
   vote (a component that is mostly background there votes for background).

Which recipe does best is chosen on training images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError, cKDTree

from minisegnet.data.sample import Dataset, Sample
from minisegnet.errors import DataError
from minisegnet.metrics import ConfusionMatrix

Object = tuple[tuple[slice, slice], np.ndarray]  # a window of the image, and which of its pixels, bool

_NEIGHBOURS = 9
_SMALLEST = 0.004  # of the image's area; what is smaller is noise


def threshold_baseline(train: Dataset, test: Dataset, train_count: int = 48) -> list[np.ndarray]:
    """Predicted labels (H, W) int32 for each test image, by the recipe that does best on training images.

    train_count images of train are used: a sixth teaches every recipe, a sixth chooses among them, and the chosen one
    learns from all. Only train's labels are looked at.

    Raises DataError for a training sample without labels, or fewer than two of them.
    """
    samples = [train[index] for index in range(min(train_count, len(train)))]
    unlabelled = [sample.name for sample in samples if sample.labels is None]
    if len(samples) < 2 or unlabelled:
        raise DataError(
            f"the baseline learns from at least two samples, each with labels; got {len(samples)}"
            + (f", and none with {', '.join(unlabelled[:5])}" if unlabelled else "")
        )
    few = max(1, len(samples) // 6)
    recipes = [Recipe(*choice) for choice in product((0, 3, 5, 8), (0.7, 1.5), (False, True), (0, 2))]
    best = max(recipes, key=lambda recipe: _score(recipe, samples[:few], samples[few : 2 * few], train))
    predict = _learn(best, samples, train.ignore_index)
    return [predict(test[index].image) for index in range(len(test))]


@dataclass(frozen=True)
class Recipe:
    """How to find objects in an image."""

    clusters: int  # of colour; 0 for Otsu's threshold instead
    sigma: float  # of the smoothing beforehand, in pixels
    without_brightness: bool
    erosion: int  # in pixels

    def objects(self, image: np.ndarray) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
        """Each object found in an image (C, H, W): its window, and which pixels of it."""
        smooth = ndimage.gaussian_filter(image, (0, self.sigma, self.sigma))
        if self.without_brightness:
            smooth = smooth / (smooth.mean(0) + 0.05)
        for mask in _colour_clusters(smooth, self.clusters) if self.clusters else _far_from_background(smooth):
            yield from _components(mask, self.erosion)


def _border(array: np.ndarray) -> np.ndarray:
    """The outermost two rows and columns of (..., H, W) as (..., pixels): most of them are background."""
    outer = np.ones(array.shape[-2:], bool)
    outer[2:-2, 2:-2] = False
    return array[..., outer]


def _far_from_background(smooth: np.ndarray) -> Iterator[np.ndarray]:
    background = np.median(_border(smooth), axis=1)
    distance = np.linalg.norm(smooth - background[:, None, None], axis=0)
    yield distance > otsu_threshold(distance)


def _colour_clusters(smooth: np.ndarray, clusters: int) -> Iterator[np.ndarray]:
    pixels = smooth.reshape(len(smooth), -1).T.astype(np.float64)
    # Starting from colours along the range of brightness needs no chance, so the same image gives the same clusters.
    ranked = pixels[np.argsort(pixels.sum(1), kind="stable")]
    centres = ranked[((np.arange(clusters) + 0.5) * len(ranked) / clusters).astype(int)]
    for _ in range(8):
        nearest = (np.square(centres).sum(1) - 2 * pixels @ centres.T).argmin(1)
        members = np.eye(clusters)[nearest]
        counts = members.sum(0)[:, None]
        centres = np.where(counts > 0, members.T @ pixels / np.maximum(counts, 1), centres)
    nearest = nearest.reshape(smooth.shape[1:])
    background = np.bincount(_border(nearest), minlength=clusters).argmax()
    for cluster in range(clusters):
        if cluster != background:
            yield nearest == cluster


def otsu_threshold(values: np.ndarray, bins: int = 128) -> float:
    """The cut that leaves the least variance within its two sides. Source: Otsu 1979."""
    counts, edges = np.histogram(values, bins)
    centres = (edges[:-1] + edges[1:]) / 2
    below = counts.cumsum()
    above = counts.sum() - below
    sum_below = (counts * centres).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sum_below / below - (sum_below[-1] - sum_below) / above) ** 2
    return float(edges[1:][np.nan_to_num(between).argmax()])


def _components(mask: np.ndarray, erosion: int) -> Iterator[Object]:
    """The connected components of a mask, holes filled; eroded apart and grown back within the mask if asked to."""
    mask = ndimage.binary_opening(mask)
    cores = ndimage.binary_erosion(mask, iterations=erosion) if erosion else mask
    numbered, count = ndimage.label(cores)
    if erosion and count:  # each pixel of the mask goes to the core nearest to it
        to_core, (rows, columns) = ndimage.distance_transform_edt(numbered == 0, return_indices=True)
        numbered = np.where(mask & (to_core <= 2 * erosion), numbered[rows, columns], 0)
    for number, window in enumerate(ndimage.find_objects(numbered), 1):
        if window is not None:
            pixels = ndimage.binary_fill_holes(numbered[window] == number)
            if pixels.sum() >= _SMALLEST * mask.size:
                yield window, pixels


def descriptors(pixels: np.ndarray) -> np.ndarray:
    """Eight numbers that say a shape's form, whatever its angle: convexity, compactness, moments, outline."""
    padded = np.pad(pixels, 1)
    area = pixels.sum()
    rim = np.argwhere(padded & ~ndimage.binary_erosion(padded))
    points = np.argwhere(padded)
    try:
        hull = ConvexHull(rim)
        hull_area, hull_length = hull.volume + hull.area / 2 + 1, hull.area + 4
    except (QhullError, ValueError):  # all in one line
        hull_area, hull_length = float(area), 2.0 * len(rim)
    offset = points - points.mean(0)
    small, large = np.linalg.eigvalsh(offset.T @ offset / area + np.eye(2) / 12)
    radius = np.linalg.norm(rim - points.mean(0), axis=1) + 0.5
    scale = np.sqrt(area / np.pi)
    return np.array([
        area / hull_area, 4 * np.pi * hull_area / hull_length**2, len(rim) / (2 * np.pi * scale),
        np.sqrt(small / large), (small + large) / area,
        radius.max() / scale, radius.min() / scale, radius.std() / scale,
    ])  # fmt: skip


def _learn(
    recipe: Recipe, samples: list[Sample], ignore_index: int | None
) -> Callable[[np.ndarray], np.ndarray]:
    """The function that predicts an image's labels, from the objects in the samples."""
    rows, votes = [np.zeros(8)], [0]
    for sample in samples:
        for window, pixels in _examples(recipe, sample):
            vote = _commonest(_labels(sample)[window][pixels])
            if vote != ignore_index:
                rows.append(descriptors(pixels))
                votes.append(vote)
    table, answers = np.array(rows), np.array(votes)
    spread = table.std(0) + 1e-6
    tree = cKDTree(table / spread)

    def predict(image: np.ndarray) -> np.ndarray:
        labels = np.zeros(image.shape[1:], np.int32)
        for window, pixels in recipe.objects(image):
            _, nearest = tree.query(descriptors(pixels) / spread, k=min(_NEIGHBOURS, len(answers)))
            labels[window][pixels] = _commonest(answers[np.atleast_1d(nearest)])
        return labels

    return predict


def _examples(recipe: Recipe, sample: Sample) -> Iterator[Object]:
    """The objects that the recipe finds, and the whole ones, as a perfect threshold would find them."""
    yield from recipe.objects(sample.image)
    if sample.instances is not None:
        for number, window in enumerate(ndimage.find_objects(sample.instances), 1):
            if window is not None:
                yield window, sample.instances[window] == number


def _commonest(labels: np.ndarray) -> int:
    values, counts = np.unique(labels, return_counts=True)
    return int(values[counts.argmax()])


def _labels(sample: Sample) -> np.ndarray:
    assert sample.labels is not None  # threshold_baseline takes no others
    return sample.labels


def _score(recipe: Recipe, taught: list[Sample], asked: list[Sample], train: Dataset) -> float:
    """Mean IoU on the samples asked, having learnt from those taught."""
    predict = _learn(recipe, taught, train.ignore_index)
    matrix = ConfusionMatrix(len(train.classes), train.ignore_index)
    for sample in asked:
        matrix.update(predict(sample.image), _labels(sample))
    return matrix.mean_iou
