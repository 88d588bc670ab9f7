"""A data set of image files with a mask file each: the pairing, the reading, and what a mask's values mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minisegnet.data.files import channels_of, image_files, read_image, read_mask
from minisegnet.data.sample import Sample
from minisegnet.errors import DataError, LabelError, OptionError


@dataclass(frozen=True)
class Pairs:
    """Image files with their masks, and the files that found no partner."""

    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    images_alone: tuple[Path, ...] = ()
    masks_alone: tuple[Path, ...] = ()


def pair_by_stem(images: Path, masks: Path) -> Pairs:
    """Pair the files of two folders by their names without extension, in natural order."""
    masks_by_stem = {path.stem: path for path in image_files(masks)}
    found = image_files(images)
    stems = {path.stem for path in found}
    both = tuple(path for path in found if path.stem in masks_by_stem)
    return Pairs(
        both,
        tuple(masks_by_stem[path.stem] for path in both),
        tuple(path for path in found if path.stem not in masks_by_stem),
        tuple(path for stem, path in masks_by_stem.items() if stem not in stems),
    )


def packed(colours: np.ndarray) -> np.ndarray:
    """Colours (..., 3) as one number each, 0xRRGGBB."""
    red, green, blue = np.moveaxis(colours.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def spelled(colour: int) -> str:
    """A packed colour as people write it: (255, 0, 0)."""
    return f"({colour >> 16}, {colour >> 8 & 255}, {colour & 255})"


@dataclass(frozen=True)
class Meaning:
    """What a mask's values stand for.

    values   {value in the file: label}; None if they are the labels
    colours  {packed colour in the file: label} for masks of red, green and blue; None if such masks are not expected
    """

    values: dict[int, int] | None = None
    colours: dict[int, int] | None = None

    def labels(self, mask: np.ndarray, path: Path | str) -> np.ndarray:
        """The labels (H, W) int32 of a mask as `read_mask` gives it. Raises LabelError for what has no meaning."""
        if mask.ndim == 3:
            if self.colours is None:
                raise LabelError(
                    f"{path} is a picture in colours and no colour is known to mean a class; put a classes.txt beside the "
                    "folders with 'name, red, green, blue' on each line, or save masks of one channel"
                )
            return _looked_up(packed(mask), self.colours, path, spelled)
        return mask.astype(np.int32) if self.values is None else _looked_up(mask, self.values, path, str)


def _looked_up(mask: np.ndarray, table: dict[int, int], path: Path | str, spell: Callable[[int], str]) -> np.ndarray:
    found, where = np.unique(mask, return_inverse=True)
    stray = [(int(value), int((mask == value).sum())) for value in found if int(value) not in table]
    if stray:
        shown = ", ".join(f"{spell(value)} in {count} pixels" for value, count in stray[:5])
        more = f" and {len(stray) - 5} more" if len(stray) > 5 else ""
        hint = "; was it saved as JPEG, which blurs colours? Use PNG" if len(stray) > 16 else ""
        raise LabelError(
            f"{path} holds what means no class: {shown}{more}; known are "
            f"{', '.join(spell(value) for value in list(table)[:8])}{hint}"
        )
    return np.array([table[int(value)] for value in found], np.int32)[where].reshape(mask.shape)


class FileDataset:
    """Samples read from pairs of files when asked for; `Folder`, `CamVid` and `VOC` are made of it.

    strict    True raises for an image without a mask or a mask without an image; False leaves them out, for `check_labels`
    channels  1 or 3 to read every image so; None for 1 if all files are grey, else 3
    """

    def __init__(
        self,
        pairs: Pairs,
        classes: Sequence[str],
        palette: np.ndarray,
        meaning: Meaning,
        ignore_index: int | None = None,
        channels: int | None = None,
        strict: bool = True,
    ) -> None:
        if strict:
            check_complete(pairs)
        if channels not in (None, 1, 3):
            raise OptionError(f"channels must be 1 (grey), 3 (colours) or None (as the files are); got {channels!r}")
        self.pairs, self.meaning = pairs, meaning
        self.classes, self.palette, self.ignore_index = tuple(classes), palette, ignore_index
        self.channels = channels if channels is not None else _channels(pairs.images, strict)

    def __len__(self) -> int:
        return len(self.pairs.images)

    def __getitem__(self, index: int) -> Sample:
        index = range(len(self))[index]
        image, labels = self.image(index), self.labels(index)
        if image.shape[1:] != labels.shape:
            raise DataError(size_mismatch(self.pairs.images[index], image, self.pairs.masks[index], labels))
        return Sample(image, labels, self.name(index))

    def name(self, index: int) -> str:
        """The image file's stem."""
        return self.pairs.images[index].stem

    def image(self, index: int) -> np.ndarray:
        """The image (C, H, W) alone."""
        return read_image(self.pairs.images[index], self.channels)

    def labels(self, index: int) -> np.ndarray:
        """The labels (H, W) alone."""
        path = self.pairs.masks[index]
        return self.meaning.labels(read_mask(path), path)


def check_complete(pairs: Pairs) -> None:
    """Raise DataError unless every image has its mask, every mask its image, and there is at least one of each."""
    for alone, of, wanted in ((pairs.images_alone, "image", "mask"), (pairs.masks_alone, "mask", "image")):
        if alone:
            shown = ", ".join(str(path) for path in alone[:5]) + (f" and {len(alone) - 5} more" if alone[5:] else "")
            raise DataError(
                f"{len(alone)} {of}{'s have' if len(alone) > 1 else ' has'} no {wanted}: {shown}; each needs a {wanted} "
                f"file of the same name (extensions may differ): add the {wanted}s or remove the {of}s"
            )
    if not pairs.images:
        raise DataError("no image files were found; expected images and masks of the same names, such as 7.png and 7.png")


def size_mismatch(image_path: Path | str, image: np.ndarray, mask_path: Path | str, labels: np.ndarray) -> str:
    """The message for a mask of another size than its image."""
    return (
        f"{mask_path} is {labels.shape[0]} x {labels.shape[1]} pixels (height x width) and its image {image_path} is "
        f"{image.shape[1]} x {image.shape[2]}; a mask needs the size of its image: save it again at that size"
    )


def _channels(images: Sequence[Path], strict: bool) -> int:
    for path in images:
        try:
            if channels_of(path) == 3:
                return 3
        except DataError:
            if strict:
                raise
    return 1
