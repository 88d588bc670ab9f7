"""Reading image files of every common kind into arrays, with an error that names the file when one cannot be read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from minisegnet.errors import DataError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".pbm")
_GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Paths sorted by name as people count: 2 before 10."""

    def key(path: Path) -> tuple:
        parts = re.split(r"([0-9]+)", path.name)
        return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in parts], path.name

    return sorted(paths, key=key)  # type: ignore[arg-type]


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder in natural order, hidden ones left out.

    Raises DataError for a folder that is none, or two files with one stem.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; expected one with image files in it")
    files = natural_order(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
    )
    seen: dict[str, Path] = {}
    for path in files:
        if path.stem in seen:
            raise DataError(
                f"{folder} holds both {seen[path.stem].name} and {path.name}; images and masks are paired by the name "
                "without its extension, so keep only one of them"
            )
        seen[path.stem] = path
    return files


def read_image(path: Path | str, channels: int | None = None) -> np.ndarray:
    """An image file as float32 (C, H, W), 0 to 1.

    channels  1 for grey or 3 for red, green, blue; None takes what the file has. Transparency is dropped, 8 and 16 bits
              are divided by 255 and 65535, a photograph turned by its camera's EXIF note is turned upright.

    Raises DataError, naming the file, for anything that cannot be read as one image.
    """
    picture = _open(path)
    if channels is None:
        channels = 1 if picture.mode in _GREY_MODES else 3
    values = _grey_values(picture, path)
    if values is None:
        pixels = np.asarray(_convert(picture, "RGB" if channels == 3 else "L", path), np.float32) / 255
        planes = pixels.transpose(2, 0, 1) if channels == 3 else pixels[None]
    else:
        planes = np.broadcast_to(values, (channels, *values.shape))
    return np.ascontiguousarray(planes, np.float32)


def read_mask(path: Path | str) -> np.ndarray:
    """A mask file as it stands: values (H, W) int32, or colours (H, W, 3) uint8 for a file of red, green and blue.

    A palette file gives its indices, not its colours; a file of one bit gives 0 and 1.
    Raises DataError as `read_image`.
    """
    picture = _open(path, upright=False)
    if picture.mode in ("P", "L", "1") or picture.mode.startswith("I"):
        return np.asarray(picture).astype(np.int32)
    if picture.mode in ("LA", "PA"):
        return np.asarray(picture)[..., 0].astype(np.int32)
    if picture.mode == "F":
        values = np.asarray(picture)
        if not (np.isfinite(values).all() and (values == np.round(values)).all()):
            raise DataError(f"{path}: a mask holds whole numbers, this one fractions; save it as an 8-bit PNG")
        return values.astype(np.int32)
    return np.array(_convert(picture, "RGB", path))


def channels_of(path: Path | str) -> int:
    """1 for a grey image file, 3 for one with colours, from its first bytes alone."""
    return 1 if _open(path, pixels=False).mode in _GREY_MODES else 3


def read_pages(path: Path | str) -> list[np.ndarray]:
    """Every page of a grey TIFF volume, each as `read_mask` gives it. Raises DataError as `read_image`."""
    try:
        with Image.open(path) as volume:
            pages = []
            for number in range(getattr(volume, "n_frames", 1)):
                volume.seek(number)
                _check_size(volume, path)
                pages.append(np.asarray(volume).astype(np.int32))
            return pages
    except DataError:
        raise
    except Exception as problem:
        raise _unreadable(path, problem) from problem


def _open(path: Path | str, upright: bool = True, pixels: bool = True) -> Image.Image:
    """The file as one decoded picture. A hostile file can make a decoder raise anything, so everything is caught."""
    try:
        with Image.open(path) as picture:
            _check_size(picture, path)
            if picture.format == "TIFF" and getattr(picture, "n_frames", 1) > 1:
                raise DataError(
                    f"{path} holds {picture.n_frames} pages, not one image; save each page as its own file "
                    "('isbi:' reads train-volume.tif and train-labels.tif as they are)"
                )
            if not pixels:
                return picture
            picture.load()
            return ImageOps.exif_transpose(picture) if upright else picture.copy()
    except DataError:
        raise
    except Exception as problem:
        raise _unreadable(path, problem) from problem


def _check_size(picture: Image.Image, path: Path | str) -> None:
    width, height = picture.size
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and width * height > most:
        raise DataError(
            f"{path} says it has {width} x {height} pixels, more than the {most} that are read; cut it into tiles, or, "
            "if you trust the file, raise PIL.Image.MAX_IMAGE_PIXELS"
        )
    if width < 1 or height < 1:
        raise DataError(f"{path} has {width} x {height} pixels; an image needs at least one")


def _unreadable(path: Path | str, problem: Exception) -> DataError:
    file = Path(path)
    if not file.exists():
        return DataError(f"{path} does not exist; check the path")
    if file.is_dir():
        return DataError(f"{path} is a folder; expected an image file")
    if file.stat().st_size == 0:
        return DataError(f"{path} is empty (0 bytes); copy or download it again, or remove it")
    if isinstance(problem, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return DataError(
            f"{path} says it has too many pixels to read safely ({problem}); cut it into tiles, or, if you trust the file, "
            "raise PIL.Image.MAX_IMAGE_PIXELS"
        )
    if isinstance(problem, Image.UnidentifiedImageError):
        return DataError(f"{path} is no image that can be read, whatever its name says; replace or remove it")
    return DataError(
        f"{path} cannot be read as an image, it seems cut short or damaged ({type(problem).__name__}: {problem}); "
        "copy or download it again, or remove it"
    )


def _convert(picture: Image.Image, mode: str, path: Path | str) -> Image.Image:
    try:
        if picture.mode in ("P", "PA"):  # a palette with transparency warns unless the way leads over RGBA
            picture = picture.convert("RGBA")
        return picture.convert(mode)
    except Exception as problem:
        raise _unreadable(path, problem) from problem


def _grey_values(picture: Image.Image, path: Path | str) -> Any:
    """Values (H, W), 0 to 1, of a grey picture of more than 8 bits; None for any other."""
    if picture.mode == "F":
        values = np.asarray(picture)
        if np.nanmin(values, initial=0) < 0 or np.nanmax(values, initial=0) > 1:
            raise DataError(
                f"{path} holds fractions from {np.nanmin(values):g} to {np.nanmax(values):g}; bring them to 0 to 1"
            )
        return values
    if picture.mode.startswith("I"):
        values = np.asarray(picture)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise DataError(f"{path} holds values from {values.min()} to {values.max()}; save it with 8 or 16 bits")
        return values / np.float32(65535)
    return None
