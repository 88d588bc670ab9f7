"""The label check: read a whole data set and say in one list what its labels are and what is wrong with it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from minisegnet.data.folder import Folder
from minisegnet.data.pairs import FileDataset, size_mismatch
from minisegnet.data.sample import Dataset
from minisegnet.errors import DataError, LabelError

_SHOWN = 8


@dataclass
class LabelReport:
    """What `check_labels` found. str() is the list to read; ok is True if nothing is wrong.

    images         how many were looked at
    classes        their names, by label
    pixels         {label: pixels}, classes, ignored and stray labels alike
    images_with    {label: images that hold it}
    stray          {label outside the classes: {image's name: pixels}}
    unreadable     messages: files that cannot be read, values without a meaning, NaN
    mismatched     messages: masks of another size than their image
    images_alone   image files without a mask
    masks_alone    mask files without an image
    """

    classes: tuple[str, ...]
    ignore_index: int | None
    images: int = 0
    pixels: Counter = field(default_factory=Counter)
    images_with: Counter = field(default_factory=Counter)
    stray: dict[int, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    unreadable: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    images_alone: list[str] = field(default_factory=list)
    masks_alone: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        wrong = (self.stray, self.unreadable, self.mismatched, self.images_alone, self.masks_alone)
        return self.images > 0 and not any(wrong)

    def __str__(self) -> str:
        return "\n".join([*self._table(), "", *self._problems()])

    def _table(self) -> list[str]:
        counted = sum(self.pixels.values())
        width = max([len(name) for name in self.classes] + [len("(ignored)")])
        lines = [f"{self.images} images, {counted} labelled pixels", f"{'label':>6}  {'class':<{width}}  {'pixels':>12}   share  images"]
        rows = list(enumerate(self.classes))
        if self.ignore_index is not None and not 0 <= self.ignore_index < len(self.classes):
            rows.append((self.ignore_index, "(ignored)"))
        for label, name in rows:
            share = self.pixels[label] / counted if counted else 0.0
            note = "" if self.pixels[label] else "   never occurs"
            lines.append(
                f"{label:>6}  {name:<{width}}  {self.pixels[label]:>12}  {share:6.2%}  {self.images_with[label]:>6}{note}"
            )
        return lines

    def _problems(self) -> list[str]:
        if self.ok:
            return ["nothing is wrong"]
        lines = [] if self.images else ["no image with its mask was found"]
        for label, files in sorted(self.stray.items())[:_SHOWN]:
            names = _few([f"{name} ({count})" for name, count in files.items()])
            lines.append(
                f"label {label} is outside the classes 0 to {len(self.classes) - 1}: {sum(files.values())} pixels in "
                f"{len(files)} images: {names}"
            )
        if len(self.stray) > _SHOWN:
            lines.append(
                f"{len(self.stray) - _SHOWN} more labels are outside the classes; if the masks were saved as JPEG, save them "
                "as PNG; if they number objects, open the folder with instances=True"
            )
        elif self.stray:
            lines.append("  if a label means 'no class here', pass it as ignore_index; else mend the masks or name the classes")
        for title, items in (
            ("masks of another size than their image", self.mismatched),
            ("files that cannot be used", self.unreadable),
            ("images without a mask", self.images_alone),
            ("masks without an image", self.masks_alone),
        ):
            if items:
                lines += [f"{title}: {len(items)}", *(f"  {item}" for item in items)]
        return lines


def check_labels(data: Dataset | Path | str, **options: object) -> LabelReport:
    """Read every image and mask of a data set, or of a folder (then with `Folder`'s options), and report on them.

    Goes on after each problem, so that one run shows them all. Raises DataError only for a folder without any layout.
    """
    if isinstance(data, str | Path):
        data = Folder(data, split="all", strict=False, **options)  # type: ignore[arg-type]
    report = LabelReport(data.classes, data.ignore_index)
    if isinstance(data, FileDataset):
        report.images_alone = [str(path) for path in data.pairs.images_alone]
        report.masks_alone = [str(path) for path in data.pairs.masks_alone]
    for index in range(len(data)):
        report.images += 1
        _look_at(data, index, report)
    report.stray = dict(report.stray)
    return report


def _look_at(data: Dataset, index: int, report: LabelReport) -> None:
    if not isinstance(data, FileDataset):
        try:
            sample = data[index]
        except (DataError, LabelError) as problem:
            report.unreadable.append(str(problem))
            return
        _count(sample.name, sample.image, sample.labels, report)
        return
    image = labels = None
    try:
        image = data.image(index)
    except DataError as problem:
        report.unreadable.append(str(problem))
    try:
        labels = data.labels(index)
    except (DataError, LabelError) as problem:
        report.unreadable.append(str(problem))
    _count(data.name(index), image, labels, report)
    if image is not None and labels is not None and image.shape[1:] != labels.shape:
        report.mismatched.append(size_mismatch(data.pairs.images[index], image, data.pairs.masks[index], labels))


def _count(name: str, image: np.ndarray | None, labels: np.ndarray | None, report: LabelReport) -> None:
    if image is not None and not np.isfinite(image).all():
        report.unreadable.append(f"{name}: the image holds {int((~np.isfinite(image)).sum())} values that are NaN or infinite")
    if labels is None:
        return
    for label, count in zip(*(part.tolist() for part in np.unique(labels, return_counts=True)), strict=True):
        report.pixels[label] += count
        report.images_with[label] += 1
        if not 0 <= label < len(report.classes) and label != report.ignore_index:
            report.stray[label][name] = count


def _few(items: list[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")
