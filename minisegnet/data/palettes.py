"""A colour for each class: the palettes of known data sets, one for any number of classes, and painting with them."""

from __future__ import annotations

from functools import cache

import numpy as np

from minisegnet.errors import LabelError, OptionError, ShapeError

VOID_COLOUR = (224, 224, 192)  # what Pascal VOC paints its pixels without a class

# Okabe & Ito 2008 after a dark background: seven colours that colour-blind readers tell apart.
_FIRST_COLOURS = (
    (28, 30, 44), (230, 159, 0), (86, 180, 233), (0, 158, 115),
    (240, 228, 66), (213, 94, 0), (204, 121, 167), (0, 114, 178),
)  # fmt: skip


def voc_palette(num_classes: int = 21) -> np.ndarray:
    """Pascal VOC's colours (num_classes, 3) uint8: the bits of the class number, dealt to red, green and blue in turn.

    Bit 0 of the class becomes red's highest bit, bit 1 green's, bit 2 blue's, bit 3 red's second highest, and so on.
    Source: Everingham et al. 2010, VOCdevkit, VOClabelcolormap.m.
    """
    classes = np.arange(num_classes)
    palette = np.zeros((num_classes, 3), np.uint8)
    for place in range(8):
        for channel in range(3):
            palette[:, channel] |= ((classes >> (3 * place + channel) & 1) << (7 - place)).astype(np.uint8)
    return palette


def camvid_palette() -> np.ndarray:
    """SegNet's colours (11, 3) uint8 for CamVid's eleven classes, sky to bicyclist."""
    colours = [
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
        (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ]  # fmt: skip
    return np.array(colours, np.uint8)


def default_palette(num_classes: int) -> np.ndarray:
    """Colours (num_classes, 3) uint8 that are told apart, for any number of classes; class 0 is dark.

    The first eight are chosen by hand; each further one is the colour farthest from all before it in CIELAB, where
    equal distances look about equally different.
    """
    if num_classes < 0:
        raise OptionError(f"default_palette: num_classes must be at least 0; got {num_classes}")
    return np.array(_distinct_colours(num_classes)[:num_classes], np.uint8).reshape(num_classes, 3)


@cache
def _distinct_colours(count: int) -> tuple[tuple[int, ...], ...]:
    colours: list[tuple[int, ...]] = list(_FIRST_COLOURS)
    steps = max(16, int(np.ceil((4 * count) ** (1 / 3))))
    levels = np.linspace(0, 255, steps).round().astype(int)
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    lab = _cielab(candidates)
    nearest = np.min([np.square(lab - _cielab(np.array(colour))).sum(1) for colour in colours], axis=0)
    while len(colours) < count:
        farthest = int(nearest.argmax())
        colours.append(tuple(int(value) for value in candidates[farthest]))
        nearest = np.minimum(nearest, np.square(lab - lab[farthest]).sum(1))
    return tuple(colours)


def _cielab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB (..., 3) of sRGB colours 0 to 255 under daylight D65 (IEC 61966-2-1; CIE 15)."""
    value = rgb / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / (0.9505, 1, 1.089)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def colourise(labels: np.ndarray, palette: np.ndarray, ignore_index: int | None = None) -> np.ndarray:
    """Labels (H, W) as a picture (H, W, 3) uint8; ignored pixels take VOID_COLOUR.

    Raises LabelError for a label that has no colour.
    """
    ignored = np.zeros(labels.shape, bool) if ignore_index is None else labels == ignore_index
    stray = ((labels < 0) | (labels >= len(palette))) & ~ignored
    if stray.any():
        raise LabelError(
            f"colourise: label {int(labels[stray][0])} has no colour in a palette of {len(palette)} "
            f"({int(stray.sum())} of {labels.size} pixels); if it means 'no label', pass it as ignore_index"
        )
    picture = np.asarray(palette, np.uint8)[np.where(ignored, 0, labels)]
    picture[ignored] = VOID_COLOUR
    return picture


def as_rgb(image: np.ndarray) -> np.ndarray:
    """A sample's image (1 or 3, H, W), 0 to 1, as a picture (H, W, 3) uint8."""
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ShapeError(f"an image to show has shape (1, H, W) or (3, H, W); got {image.shape}")
    picture = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(picture, (3, *image.shape[1:])).transpose(1, 2, 0))


def overlay(
    image: np.ndarray, labels: np.ndarray, palette: np.ndarray, alpha: float = 0.5, ignore_index: int | None = None
) -> np.ndarray:
    """The image (1 or 3, H, W) with each pixel's class colour laid over it, as a picture (H, W, 3) uint8.

    alpha is the colour's share, 0 (image alone) to 1 (colours alone). Ignored pixels show the image.
    Raises ShapeError if the sizes differ, LabelError as `colourise`, OptionError for alpha outside 0 to 1.
    """
    if image.shape[1:] != labels.shape:
        raise ShapeError(f"overlay takes an image (C, H, W) and labels (H, W); got {image.shape} and {labels.shape}")
    if not 0 <= alpha <= 1:
        raise OptionError(f"overlay: alpha is a share from 0 to 1; got {alpha!r}")
    picture = as_rgb(image)
    colours = colourise(labels, palette, ignore_index)
    shares = np.full(labels.shape, alpha) if ignore_index is None else np.where(labels == ignore_index, 0, alpha)
    return (picture + shares[..., None] * (colours.astype(float) - picture) + 0.5).astype(np.uint8)
