"""Images of different sizes as one batch, and what is true of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minisegnet.errors import DtypeError, LabelError, ShapeError


class Targets(NamedTuple):
    """The objects of one image; there may be none.

    boxes   (G, 4)     x1, y1, x2, y2 in the image's pixels
    labels  (G,)  int  1 to num_classes - 1
    masks   (G, H, W)  bool, or what is indexed like it; None where no mask is learnt
    """

    boxes: np.ndarray
    labels: np.ndarray
    masks: Any = None


class ImageBatch(NamedTuple):
    """Images side by side in one array.

    images  (N, C, H, W)  each at the upper left, zeros beyond it
    sizes   (height, width) of each
    """

    images: np.ndarray
    sizes: list[tuple[int, int]]


def padded(images: Sequence[np.ndarray] | np.ndarray, multiple: int, channels: int | None, dtype: Any) -> ImageBatch:
    """Lay images (C, h, w) into one batch, whose height and width are the least multiples of `multiple` that hold all.

    Raises DtypeError for images of another type, ShapeError for other shapes and for no image or pixel at all.
    """
    for i, image in enumerate(images):
        if not isinstance(image, np.ndarray) or image.dtype != dtype:
            given = getattr(image, "dtype", type(image).__name__)
            raise DtypeError(f"image {i} must be a NumPy array of {dtype}, as the parameters are; got {given}")
        if image.ndim != 3 or image.size == 0 or channels not in (None, len(image)):
            wanted = "channels" if channels is None else channels
            raise ShapeError(f"image {i} must be ({wanted}, height, width), not empty; got shape {image.shape}")
    if len(images) == 0:
        raise ShapeError("a batch needs at least one image; got none")
    sizes = [(int(image.shape[1]), int(image.shape[2])) for image in images]
    H, W = (-(-max(side) // multiple) * multiple for side in zip(*sizes, strict=True))
    batch = np.zeros((len(images), len(images[0]), H, W), dtype)
    for place, image, (h, w) in zip(batch, images, sizes, strict=True):
        place[:, :h, :w] = image
    return ImageBatch(batch, sizes)


def with_image_numbers(boxes: Sequence[np.ndarray]) -> np.ndarray:
    """The boxes (R, 4) of each image as regions (sum of R, 5), the image's number before each."""
    numbers = np.repeat(np.arange(len(boxes)), [len(one) for one in boxes])
    together = np.concatenate(list(boxes))
    return np.concatenate([numbers[:, None].astype(together.dtype), together], axis=1)


def by_image(array: np.ndarray, boxes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What belongs to the regions of all images, (sum of R, ...), for each image by itself."""
    return np.split(array, np.cumsum([len(one) for one in boxes])[:-1])


def check_targets(
    targets: Sequence[Any], sizes: Sequence[tuple[int, int]], num_classes: int, with_masks: bool, dtype: Any
) -> list[Targets]:
    """The targets of each image, boxes as `dtype`; any object with these three attributes will do.

    Raises ShapeError, DtypeError or LabelError for those that do not fit the images or the classes, naming the image.
    """
    if len(targets) != len(sizes):
        raise ShapeError(f"one Targets an image: got {len(targets)} for {len(sizes)} images")
    checked = []
    for i, (target, size) in enumerate(zip(targets, sizes, strict=True)):
        boxes, labels, masks = np.asarray(target.boxes), np.asarray(target.labels), target.masks
        count = len(boxes)
        if boxes.shape != (count, 4) or labels.shape != (count,):
            raise ShapeError(f"image {i}: boxes must be (G, 4) and labels (G,); got {boxes.shape} and {labels.shape}")
        if not np.isfinite(boxes).all():
            raise ShapeError(f"image {i}: box {int(np.argmin(np.isfinite(boxes).all(axis=1)))} is not finite")
        if count and (labels.dtype.kind not in "iu" or labels.min() < 1 or labels.max() >= num_classes):
            raise LabelError(
                f"image {i}: labels are ints from 1 to {num_classes - 1}, 0 being the background; got {labels.dtype} "
                f"from {labels.min()} to {labels.max()}"
            )
        if with_masks:
            shape, kind = getattr(masks, "shape", None), getattr(masks, "dtype", type(masks).__name__)
            if shape != (count, *size):
                raise ShapeError(f"image {i}: masks must be (G, H, W), here {(count, *size)}; got {shape}")
            if kind != np.dtype(bool):
                raise DtypeError(f"image {i}: masks must be bool; got {kind}")
        checked.append(Targets(boxes.astype(dtype), labels.astype(np.int32), masks))
    return checked
