"""Transforms of an image's values: its pixels stay where they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minisegnet.data.sample import Sample
from minisegnet.data.settings import interval, keep
from minisegnet.errors import DataError, OptionError, ShapeError

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # how bright red, green and blue look (ITU-R BT.601)


def luma(image: np.ndarray) -> np.ndarray:
    """The grey image (1, H, W) of colours (3, H, W); without BLAS, whose rounding depends on its threads."""
    return np.einsum("c, chw -> hw", LUMA, image)[None]


@dataclass(frozen=True)
class ColorJitter:
    """Brightness, contrast, saturation and hue changed by random factors, in random order.

    brightness, contrast, saturation  a number d: factors of max(0, 1 - d) to 1 + d; or (least, most)
    hue                               a number d up to 0.5: turned by -d to d of the colour circle; or (least, most)

    For images of 0 to 1, so before `Normalize`; the result is clipped to that. Saturation and hue leave an image that
    has not three channels as it is. Raises OptionError for factors below 0 and DataError for an image beyond 0 to 1.
    """

    brightness: Any = 0.0
    contrast: Any = 0.0
    saturation: Any = 0.0
    hue: Any = 0.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            keep(self, **{name: interval(f"ColorJitter: {name}", getattr(self, name), around=1.0, least=0.0)})
        keep(self, hue=interval("ColorJitter: hue", self.hue, around=0.0, least=-0.5, most=0.5))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image = _unit_image(sample, "ColorJitter")
        # Every number is drawn, used or not, so that one setting does not change the draws of another.
        factors = {name: np.float32(rng.uniform(*getattr(self, name))) for name in _CHANGES}
        for name in rng.permutation(list(_CHANGES)):
            if getattr(self, name) != ((0.0, 0.0) if name == "hue" else (1.0, 1.0)):
                image = np.clip(_CHANGES[name](image, factors[name]), 0, 1)
        return replace(sample, image=image)


def _brightness(image: np.ndarray, factor: np.float32) -> np.ndarray:
    return factor * image


def _contrast(image: np.ndarray, factor: np.float32) -> np.ndarray:
    mean = _grey(image).mean()
    return mean + factor * (image - mean)


def _saturation(image: np.ndarray, factor: np.float32) -> np.ndarray:
    grey = _grey(image)
    return grey + factor * (image - grey)


def _hue(image: np.ndarray, turn: np.float32) -> np.ndarray:
    """The colour circle turned: to hue, chroma and value of the HSV model, and back."""
    if len(image) != 3:
        return image
    red, green, blue = image
    value = image.max(axis=0)
    chroma = value - image.min(axis=0)
    divisor = np.where(chroma > 0, chroma, 1)
    sixths = np.where(
        value == red,
        (green - blue) / divisor,
        np.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    distance = (sixths + 6 * turn + np.array([5, 3, 1], np.float32)[:, None, None]) % 6
    return value - chroma * np.clip(np.minimum(distance, 4 - distance), 0, 1)


_CHANGES = {"brightness": _brightness, "contrast": _contrast, "saturation": _saturation, "hue": _hue}


def _grey(image: np.ndarray) -> np.ndarray:
    """(1, H, W) of three colours; any other image is its own."""
    return luma(image) if len(image) == 3 else image


@dataclass(frozen=True)
class GaussianNoise:
    """Each value plus a Gaussian random number of standard deviation sigma, clipped to 0 to 1.

    For images of 0 to 1, so before `Normalize`. Raises DataError for an image beyond that.
    """

    sigma: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < np.inf:
            raise OptionError(f"GaussianNoise: sigma must be at least 0; got {self.sigma!r}")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image = _unit_image(sample, "GaussianNoise")
        noise = np.float32(self.sigma) * rng.standard_normal(image.shape, np.float32)
        return replace(sample, image=np.clip(image + noise, 0, 1))


@dataclass(frozen=True)
class Normalize:
    """(image - mean) / std in each channel.

    mean, std  a number, or one for each channel

    Raises OptionError for a std that is not above 0, and ShapeError for an image of other channels.
    """

    mean: Any
    std: Any

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            values = np.atleast_1d(np.asarray(getattr(self, name), np.float64))
            if values.ndim != 1 or not np.isfinite(values).all() or (name == "std" and not (values > 0).all()):
                above = ", above 0" if name == "std" else ""
                raise OptionError(f"Normalize: {name} must be a number for each channel{above}; got {values.tolist()}")
            keep(self, **{name: tuple(values.tolist())})

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, len(sample.image)):
                raise ShapeError(
                    f"Normalize: {name} has {len(getattr(self, name))} values and {sample.name} {len(sample.image)} "
                    "channels; give one for each channel, or one for all"
                )
        mean, std = (np.array(values, np.float32)[:, None, None] for values in (self.mean, self.std))
        return replace(sample, image=(sample.image - mean) / std)


def _unit_image(sample: Sample, transform: str) -> np.ndarray:
    """The image, if its values are 0 to 1 but for rounding."""
    if sample.image.size and (sample.image.min() < -1e-3 or sample.image.max() > 1 + 1e-3):
        raise DataError(
            f"{transform} takes images of 0 to 1; {sample.name} goes from {sample.image.min():g} to "
            f"{sample.image.max():g}. Put it before Normalize"
        )
    return sample.image
