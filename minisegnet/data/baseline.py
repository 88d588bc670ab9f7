"""The threshold baseline: what colour thresholds, connected components and shape descriptors reach without a network.

An honest effort of the classical kind, against which a network's score means something:

1. foreground: how far each (smoothed) pixel's colour lies from the image's background colour, cut by Otsu's threshold;
   or two to five colour clusters (k-means), of which the largest along the image's edge is the background, and each
   other one a layer of its own;
2. objects: the connected components of a layer, holes filled, small ones left out;
3. classes: the components' shape descriptors, looked up among those found in the training images (the nearest
   neighbours vote; a component that is mostly background votes for that).

Which foreground, how much smoothing and which smallest size do best is chosen on the training images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import numpy as np
from scipy import ndimage
from scipy.cluster.vq import kmeans2
from scipy.spatial import ConvexHull, QhullError, cKDTree

from minisegnet.data.sample import Dataset, Sample

_NEIGHBOURS = 9


def threshold_baseline(train: Dataset, test: Dataset, train_count: int = 48) -> list[np.ndarray]:
    """Predicted labels (H, W) int32 for each test image, by the best of the recipes above.

    train_count training images are used; half of them to learn the descriptors, half to choose the recipe.
    """
    samples = [train[index] for index in range(min(train_count, len(train)))]
    learned, chosen_on = samples[: (len(samples) + 1) // 2], samples[len(samples) // 2 :]
    best_score, best = -1.0, None
    for layers, sigma, even in product(_recipes(), (0.7, 1.5), (False, True)):
        predict = _fit(partial(layers, sigma=sigma, even=even), learned)
        score = _mean_iou([predict(s.image) for s in chosen_on], [s.labels for s in chosen_on], len(train.classes))
        if score > best_score:
            best_score, best = score, partial(layers, sigma=sigma, even=even)
    assert best is not None
    predict = _fit(best, samples)
    return [predict(test[index].image) for index in range(len(test))]


def _recipes() -> list[Callable[..., Iterator[np.ndarray]]]:
    return [_far_from_background, *(partial(_colour_clusters, clusters=k) for k in (2, 3, 5, 8))]


def _smooth(image: np.ndarray, sigma: float, even:bool) -> np.ndarray:
    smooth= ndimage.gaussian_filter(image, (0, sigma, sigma))
    if even:
        smooth = smooth / (smooth.mean(0) + 0.05)
    return smooth


def _border(array: np.ndarray) -> np.ndarray:
    """The outermost two rows and columns of (..., H, W) as (..., pixels): most of them are background."""
    inner = np.zeros(array.shape[-2:], bool)
    inner[2:-2, 2:-2] = True
    return array[..., ~inner]


def _far_from_background(image: np.ndarray, sigma: float, even:bool) -> Iterator[np.ndarray]:
    smooth = _smooth(image, sigma, even)
    background = np.median(_border(smooth), axis=1)
    distance = np.linalg.norm(smooth - background[:, None, None], axis=0)
    yield distance > otsu_threshold(distance)


def _colour_clusters(image: np.ndarray, sigma: float, even:bool, clusters: int) -> Iterator[np.ndarray]:
    smooth = _smooth(image, sigma, even)
    pixels = smooth.reshape(len(smooth), -1).T.astype(np.float64)
    _, nearest = kmeans2(pixels, clusters, minit="++", rng=0, iter=8, missing="warn")
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


def _components(mask: np.ndarray) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Each object of a mask: its window of the image and the pixels in it, holes filled."""
    mask = ndimage.binary_opening(mask)
    numbered, _ = ndimage.label(mask)
    for number, window in enumerate(ndimage.find_objects(numbered), 1):
        pixels = ndimage.binary_fill_holes(numbered[window] == number)
        if pixels.sum() >= 0.004 * mask.size:
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
        area / hull_area, 4 * np.pi * hull_area / hull_length**2, len(rim) / (2 * np.pi * scale), np.sqrt(small / large),
        (small + large) / area, radius.max() / scale, radius.min() / scale, radius.std() / scale,
    ])  # fmt: skip


def _fit(layers: Callable[[np.ndarray], Iterator[np.ndarray]], samples: list[Sample]) -> Callable[[np.ndarray], np.ndarray]:
    """Learn the descriptors of the components found in the samples; return the function that predicts an image."""
    features, classes = [np.zeros(8)], [0]
    for sample in samples:
        assert sample.labels is not None
        for mask in layers(sample.image):
            for window, pixels in _components(mask):
                features.append(descriptors(pixels))
                classes.append(int(np.bincount(sample.labels[window][pixels].clip(0)).argmax()))
        for number, window in enumerate(ndimage.find_objects(sample.instances) if sample.instances is not None else (), 1):
            pixels = sample.instances[window] == number
            features.append(descriptors(pixels))
            classes.append(int(sample.labels[window][pixels][0]))
    table, votes = np.array(features), np.array(classes)
    spread = table.std(0) + 1e-6
    tree = cKDTree(table / spread)

    def predict(image: np.ndarray) -> np.ndarray:
        labels = np.zeros(image.shape[1:], np.int32)
        for mask in layers(image):
            for window, pixels in _components(mask):
                _, nearest = tree.query(descriptors(pixels) / spread, k=min(_NEIGHBOURS, len(votes)))
                labels[window][pixels] = np.bincount(votes[np.atleast_1d(nearest)]).argmax()
        return labels

    return predict


def _mean_iou(predictions: list[np.ndarray], truths: list[np.ndarray], num_classes: int) -> float:
    pairs = sum(
        np.bincount(truth.ravel() * num_classes + prediction.ravel(), minlength=num_classes**2)
        for prediction, truth in zip(predictions, truths, strict=True)
    ).reshape(num_classes, num_classes)
    union = pairs.sum(0) + pairs.sum(1) - pairs.diagonal()
    return float((pairs.diagonal()[union > 0] / union[union > 0]).mean())
