"""Reading one image file or one mask file; whatever is wrong with it becomes a DataError that names it.

Pillow decodes. No file is trusted: only the formats of SUFFIXES are tried, a file that is cut short is an error and
not a picture with a grey end, and an image of absurd size is refused before it gets memory.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from minisegnet.data.colour import luma
from minisegnet.errors import DataError, ShapeError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".pbm"})
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")

_GREY = ("1", "L", "LA")
_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
_PALETTES = ("P", "PA")
_COLOURS = ("RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


def read_image(path: str | Path, page: int | None = None) -> np.ndarray:
    """An image file as float32 (C, H, W), 0 to 1: C is 1 for grey, 3 for red, green and blue.

    page  which page of a TIFF of several, from 0

    8 bits are divided by 255, 16 bits by 65535; floating point must be 0 to 1 already. A palette becomes its colours,
    transparency is left out, and a photograph is turned as its EXIF orientation says.

    Raises DataError, naming the file, for one that is missing, empty, cut short, no image, absurdly large, or that
    holds NaN.
    """
    image, kind = _load(Path(path), page)
    if image.mode in _GREY:
        values = np.asarray(image.convert("L"), np.float32)[None] / np.float32(255)
    elif image.mode in _SIXTEEN_BITS or (image.mode == "I" and kind in ("PNG", "PPM")):
        values = np.asarray(image).astype(np.float32)[None] / np.float32(65535)
    elif image.mode == "F":
        values = _checked_floats(np.asarray(image, np.float32)[None], path)
    elif image.mode == "I":
        raise DataError(f"{path} holds whole numbers of 32 bits, whose white is not known; save it with 8 or 16 bits")
    else:
        # By way of RGBA, since a palette may hold transparency, which RGB has no place for.
        colours = (image.convert("RGBA") if image.mode in _PALETTES else image).convert("RGB")
        values = np.asarray(colours, np.float32).transpose(2, 0, 1) / np.float32(255)
    return np.ascontiguousarray(values)


def read_labels(path: str | Path, page: int | None = None) -> np.ndarray:
    """A mask file as int32 (H, W): the indices of a palette, the values of grey (8 or 16 bits), 0 and 1 of black-white.

    Raises DataError as `read_image` does, and for a mask in colours.
    """
    values, coloured = read_mask(path, page)
    if not coloured:
        return values
    red, green, blue = values >> 16, values >> 8 & 255, values & 255
    if ((red != green) | (green != blue)).any():
        row, column = (int(i) for i in np.argwhere((red != green) | (green != blue))[0])
        colour = tuple(int(part[row, column]) for part in (red, green, blue))
        raise DataError(
            f"{path} is a mask in colours, such as {colour} at row {row}, column {column}, which name no class by "
            "themselves; say what they mean in a classes.txt with lines 'name red green blue', or save the class "
            "numbers as a grey or palette PNG"
        )
    return red


def read_mask(path: str | Path, page: int | None = None) -> tuple[np.ndarray, bool]:
    """A mask file as int32 (H, W), and whether those are colours, red * 65536 + green * 256 + blue."""
    image, _ = _load(Path(path), page)
    if image.mode in _COLOURS:
        red, green, blue = np.asarray(image.convert("RGB"), np.int32).transpose(2, 0, 1)
        return red << 16 | green << 8 | blue, True
    values = np.asarray(image)
    if image.mode in ("LA", "PA"):
        values = values[..., 0]
    with np.errstate(invalid="ignore"):
        labels = values.astype(np.int32)
    if image.mode == "F" and not (labels == values).all():
        raise DataError(f"{path} holds numbers that are not whole, so they are no classes; save whole numbers")
    if labels.size and labels.min() < 0:
        raise DataError(f"{path} holds {labels.min()}; numbers below 0 are no classes: save them as others")
    return labels, False


def is_grey(path: str | Path) -> bool | None:
    """Whether `read_image` will give one channel, as the file's first bytes say; None if they cannot be read."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            return image.mode in (*_GREY, *_SIXTEEN_BITS, "I", "F")
    except Exception:  # whatever is wrong is told when the image is read
        return None


def pages(path: str | Path) -> int:
    """How many pages a TIFF has. Raises DataError as `read_image` does."""
    image, _ = _load(Path(path), 0)
    return getattr(image, "n_frames", 1)


def with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """An image (1 or 3, H, W) as one of so many channels: grey is the luma of colours, colours are grey thrice.

    Raises ShapeError for other channels.
    """
    given = len(image)
    if given == channels:
        return image
    if (given, channels) == (3, 1):
        return luma(image)
    if (given, channels) == (1, 3):
        return np.repeat(image, 3, axis=0)
    raise ShapeError(f"an image of {given} channels cannot become one of {channels}; give grey (1) or colours (3)")


def _load(path: Path, page: int | None) -> tuple[Image.Image, str | None]:
    """The decoded image, upright, and its format."""
    data = _bytes(path)
    try:
        with Image.open(BytesIO(data), formats=_FORMATS) as checked:
            _check_size(checked, path)
            _check_pages(checked, path, page)
            if checked.format == "PNG":
                checked.verify()  # the checksums, which decoding alone does not look at
        image = Image.open(BytesIO(data), formats=_FORMATS)
        if page is not None:
            image.seek(page)
            _check_size(image, path)
        kind = image.format
        if image.mode not in (*_GREY, *_SIXTEEN_BITS, *_PALETTES, *_COLOURS, "I", "F"):
            raise DataError(f"{path} is of the kind {image.mode!r}; save it as grey or as red, green and blue")
        image.load()
        return (image if kind == "TIFF" else ImageOps.exif_transpose(image)), kind  # Pillow has turned a TIFF already
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        raise DataError(f"{path} claims to be so large that it is taken for an attack ({problem}); cut it") from problem
    except Image.UnidentifiedImageError:
        raise DataError(
            f"{path} is no image that can be read, whatever its name: of another kind, without pixels, or cut short "
            f"near its beginning, which is {data[:16]!r}. Save it as PNG, JPEG or TIFF, or leave it out"
        ) from None
    except Exception as problem:  # damaged bytes make Pillow raise nearly anything
        told = str(problem) or type(problem).__name__
        raise DataError(f"{path} is damaged or cut short ({told}); get it again or leave it out") from problem


def _bytes(path: Path) -> bytes:
    if path.is_dir():
        raise DataError(f"{path} is a folder; name an image file in it")
    if not path.is_file():
        raise DataError(f"{path} is no file" if path.exists() else f"there is no file {path}")
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror}") from problem
    if not data:
        raise DataError(f"{path} is empty (0 bytes); get it again or leave it out")
    return data


def _check_size(image: Image.Image, path: Path) -> None:
    width, height = image.size
    if width == 0 or height == 0:
        raise DataError(f"{path} is an image of {height} x {width} pixels; leave it out")
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and width * height > most:
        raise DataError(
            f"{path} claims {height} x {width} pixels, more than the {most} that are taken for an honest image; cut "
            "it, or, if you trust it, raise PIL.Image.MAX_IMAGE_PIXELS"
        )


def _check_pages(image: Image.Image, path: Path, page: int | None) -> None:
    count = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    if page is None and count > 1:
        raise DataError(f"{path} is a TIFF of {count} pages, where one image is wanted; save each page as a file")
    if page is not None and not 0 <= page < count:
        raise DataError(f"{path} has the pages 0 to {count - 1}; page {page} was asked for")


def _checked_floats(values: np.ndarray, path: str | Path) -> np.ndarray:
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise DataError(f"{path} holds NaN or infinity at {count} of {values.size} pixels; mend or leave out this file")
    if values.min() < 0 or values.max() > 1:
        raise DataError(
            f"{path} holds floating-point values from {values.min():g} to {values.max():g}; wanted 0 to 1. Scale them, "
            "or save the image with 8 or 16 bits"
        )
    return values
