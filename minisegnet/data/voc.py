"""Pascal VOC's layout: photographs of any size, twenty kinds of things, outlines ignored.

    PATH/JPEGImages/2007_000032.jpg   PATH/SegmentationClass/2007_000032.png
    PATH/ImageSets/Segmentation/train.txt   (val.txt, trainval.txt): a stem a line

PATH is the folder that holds these three, or one with VOCdevkit/VOC2012 in it. Masks are palette files of labels, or
pictures in VOC's colours. Source: Everingham et al. 2010, The Pascal visual object classes challenge.
"""

from __future__ import annotations

from pathlib import Path

from minisegnet.data.files import image_files
from minisegnet.data.palettes import VOID_COLOUR, voc_palette
from minisegnet.data.pairs import FileDataset, Meaning, Pairs, packed
from minisegnet.errors import DataError

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
VOID = 255
_FOLDERS = ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")


class VOC(FileDataset):
    """The images that ImageSets/Segmentation/<split>.txt lists; label 255 is ignored. Raises DataError."""

    def __init__(self, path: Path | str, split: str = "train", strict: bool = True) -> None:
        root = _find_root(Path(path))
        listing = root / "ImageSets" / "Segmentation" / f"{split}.txt"
        if not listing.is_file():
            found = ", ".join(sorted(file.stem for file in listing.parent.glob("*.txt")))
            raise DataError(f"{listing} does not exist; the splits found are {found or 'none'}")
        stems = listing.read_text(encoding="utf-8").split()
        if not stems:
            raise DataError(f"{listing} lists no image; expected a name such as 2007_000032 on each line")
        images = {file.stem: file for file in image_files(root / "JPEGImages")}
        masks = {file.stem: file for file in image_files(root / "SegmentationClass")}
        missing = [stem for stem in stems if stem not in images]
        if missing:
            raise DataError(
                f"{listing} lists {len(missing)} images that {root / 'JPEGImages'} lacks, the first {missing[0]}; "
                "add them or take them off the list"
            )
        both = [stem for stem in stems if stem in masks]
        pairs = Pairs(
            tuple(images[stem] for stem in both),
            tuple(masks[stem] for stem in both),
            tuple(images[stem] for stem in stems if stem not in masks),
        )
        palette = voc_palette(len(CLASSES))
        colours = {int(colour): label for label, colour in enumerate(packed(palette))}
        colours[VOID_COLOUR[0] << 16 | VOID_COLOUR[1] << 8 | VOID_COLOUR[2]] = VOID
        super().__init__(pairs, CLASSES, palette, Meaning(colours=colours), VOID, channels=3, strict=strict)


def _find_root(path: Path) -> Path:
    places = [path, path / "VOC2012", path / "VOCdevkit" / "VOC2012", *sorted(path.glob("VOCdevkit/VOC*"), reverse=True)]
    for place in places:
        if all((place / folder).is_dir() for folder in _FOLDERS):
            return place
    found = sorted(child.name for child in path.iterdir())[:12] if path.is_dir() else []
    raise DataError(
        f"{path}: looked for Pascal VOC's folders {', '.join(_FOLDERS)}, here or in VOCdevkit/VOC2012; "
        f"found {', '.join(found) or 'nothing'}"
    )
