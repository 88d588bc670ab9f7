"""Small picture files for the tests of what reads them."""

from pathlib import Path

import numpy as np
from PIL import Image


def save(path, array, **options):
    """Write an array as the kind of image that its type says: uint8 (H, W[, 3 or 4]), uint16, int32, float32, bool."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array)).save(path, **options)
    return path


def photo(seed, height=6, width=8, channels=3):
    """Random values, uint8 (height, width, 3), or (height, width) for one channel."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def mask(seed, values, height=6, width=8):
    """Random ones of the values, uint8, each of them at least once."""
    values = np.asarray(values, np.uint8)
    drawn = np.random.default_rng(seed).choice(values, (height, width))
    drawn.flat[: len(values)] = values
    return drawn


def pairs(images, masks, names, values, channels=3):
    """A photo and a mask of each name, as PNG files in two folders."""
    for seed, name in enumerate(names):
        save(Path(images) / f"{name}.png", photo(seed, channels=channels))
        save(Path(masks) / f"{name}.png", mask(seed, values))
