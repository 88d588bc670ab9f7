"""CamVid as SegNet divides it: road scenes in eleven classes."""

from __future__ import annotations

from pathlib import Path

from minisegnet.data.file_dataset import FileDataset, Pair, contents, images_in, pair_up
from minisegnet.data.palettes import camvid_palette
from minisegnet.errors import DataError, OptionError

CLASSES = (
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
)  # fmt: skip
VOID = 11
SPLITS = ("train", "val", "test")


def camvid(path: Path, split: str = "train") -> FileDataset:
    """The images of one split; label 11, "unlabelled", is ignored.

    path   a folder with train and trainannot, val and valannot, test and testannot; or with CamVid/ that has them
    split  "train", "val" or "test" (which may lack its annotations)

    Raises DataError for a folder of another kind, OptionError for another split.
    Source: Brostow et al. 2009; the split of Badrinarayanan et al. 2017, SegNet.
    """
    if split not in SPLITS:
        raise OptionError(f"camvid: the split must be one of {', '.join(SPLITS)}; got {split!r}")
    root = _root(path)
    images, annotations = root / split, root / f"{split}annot"
    if not images.is_dir():
        raise DataError(f"camvid: looked in {root} for {split} and {split}annot; {contents(root)}")
    if annotations.is_dir():
        pairs, problems = pair_up(images_in(images), images_in(annotations))
    else:
        pairs = [Pair(image.stem, image, None) for image in images_in(images)]
        problems = [] if split == "test" else [f"{images} has images, but there is no {annotations} with their masks"]
    return FileDataset(pairs, CLASSES, 3, camvid_palette(), VOID, problems=problems)


def splits(path: Path) -> list[str]:
    """The splits that there are."""
    return [split for split in SPLITS if (_root(path) / split).is_dir()] or ["train"]


def _root(path: Path) -> Path:
    inside = path / "CamVid"
    return inside if inside.is_dir() and not (path / "train").is_dir() else path
