"""CamVid in SegNet's split: streets from a car in Cambridge, eleven classes, the rest ignored.

    PATH/train/….png  PATH/trainannot/….png   and so val, valannot, test, testannot; images PNG or JPEG, of any size

Source: Brostow et al. 2009; the split and classes of Badrinarayanan et al. 2017, SegNet.
"""

from __future__ import annotations

from pathlib import Path

from minisegnet.data.files import image_files
from minisegnet.data.palettes import camvid_palette
from minisegnet.data.pairs import FileDataset, Meaning, pair_by_stem
from minisegnet.errors import DataError, OptionError

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
VOID = 11


class CamVid(FileDataset):
    """One split, "train", "val" or "test", of CamVid; label 11 is ignored. Raises DataError, OptionError."""

    def __init__(self, path: Path | str, split: str = "train", strict: bool = True) -> None:
        path = Path(path)
        if split not in ("train", "val", "test"):
            raise OptionError(f"camvid: split must be one of train, val, test; got {split!r}")
        images, masks = path / split, path / f"{split}annot"
        if not (images.is_dir() and masks.is_dir() and image_files(images)):
            found = sorted(child.name for child in path.iterdir())[:12] if path.is_dir() else []
            raise DataError(
                f"{path}: looked for CamVid's folders {split} and {split}annot with image files; "
                f"found {', '.join(found) or 'nothing'}"
            )
        super().__init__(
            pair_by_stem(images, masks), CLASSES, camvid_palette(), Meaning(), VOID, channels=3, strict=strict
        )
