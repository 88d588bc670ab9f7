"""The label check: reads a whole data set and tells all that is wrong with its masks in one list."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minisegnet.data.file_dataset import FileDataset, Pair, colour_of, counted, different_sizes, several
from minisegnet.data.images import read_image
from minisegnet.data.objects import objects_of
from minisegnet.data.opening import FORMATS, check_path, open_dataset, open_files, parse
from minisegnet.data.sample import Dataset
from minisegnet.data.sample_checks import check_finite
from minisegnet.errors import MinisegnetError

MOST_LISTED = 20  # values; with more of them a mask is hardly of classes


@dataclass
class Stray:
    """A value that is no class: how many pixels have it, and which files."""

    pixels: int = 0
    files: list[str] = field(default_factory=list)


@dataclass
class LabelReport:
    """What a data set's masks hold. str() is the whole report; `ok` says that nothing is wrong.

    name        of the data set
    classes     by label; none where it could not be told which values are classes
    splits      how many images each split has
    pixels      by value, how many pixels have it; `images`, in how many masks it is
    sizes       by (height, width), how many images have it
    strays      by value; negative ones are colours (see `file_dataset.colour_of`)
    objects     in each image whose objects are known, how many are seen; `unseen`, how many cover no pixel
    unlabelled  images without a mask that need none, such as those of a test split
    problems    a sentence for each other thing that is wrong
    """

    name: str
    classes: tuple[str, ...]
    ignore_index: int | None
    splits: dict[str, int] = field(default_factory=dict)
    pixels: Counter[int] = field(default_factory=Counter)
    images: Counter[int] = field(default_factory=Counter)
    sizes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    strays: dict[int, Stray] = field(default_factory=dict)
    objects: list[int] = field(default_factory=list)
    unseen: int = 0
    unlabelled: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems and not self.strays

    def count(self, labels: np.ndarray, file: str) -> None:
        """Add the labels (H, W) of one image."""
        values, counts = np.unique(labels, return_counts=True)
        for value, pixels in zip(values.tolist(), counts.tolist(), strict=True):
            self.pixels[value] += pixels
            self.images[value] += 1
            if value != self.ignore_index and not 0 <= value < len(self.classes):
                stray = self.strays.setdefault(value, Stray())
                stray.pixels += pixels
                stray.files.append(file)

    def __str__(self) -> str:
        return "\n".join([*self._head(), "", *self._table(), "", *self._verdict()])

    def _head(self) -> Iterator[str]:
        parts = ", ".join(f"{split} {count}" for split, count in self.splits.items())
        yield f"{self.name}: {counted(sum(self.splits.values()), 'image')} ({parts})"
        if self.unlabelled:
            yield f"without labels, and in no need of them: {self.unlabelled}"
        if self.sizes:
            listed = [f"{height} x {width} ({count})" for (height, width), count in self.sizes.most_common()]
            yield f"sizes (height x width): {several(listed)}"
        if self.objects:
            least, most = min(self.objects), max(self.objects)
            unseen = f"; {self.unseen} more cover no pixel" if self.unseen else ""
            yield f"objects: {sum(self.objects):,}, from {least} to {most} an image{unseen}"

    def _table(self) -> Iterator[str]:
        rows = [(f"{label:>3} {name}", label) for label, name in enumerate(self.classes) if label != self.ignore_index]
        if not rows:  # it could not be told which values are classes: show the values themselves
            common = [value for value, _ in self.pixels.most_common(MOST_LISTED) if value != self.ignore_index]
            rows = [(f"colour {colour_of(value)}" if value < 0 else f"value {value}", value) for value in common]
        if self.ignore_index is not None:
            rows.append((f"{self.ignore_index:>3} (ignored)", self.ignore_index))
        total = sum(self.pixels.values())
        width = max((len(name) for name, _ in rows), default=0)
        yield f"{'class':<{width}}  {'pixels':>15}  {'share':>8}  {'images':>7}"
        for name, label in rows:
            share = f"{self.pixels[label] / total:.2%}" if total else "-"
            yield f"{name:<{width}}  {self.pixels[label]:>15,}  {share:>8}  {self.images[label]:>7}"

    def _verdict(self) -> list[str]:
        lines = self.problems + self._stray_lines()
        if not lines:
            return ["no problems found"]
        return [f"{counted(len(lines), 'problem')} found:", *(f"- {line}" for line in lines)]

    def _stray_lines(self) -> list[str]:
        if not self.classes:
            return []  # a problem says so, and the table shows the values
        strays = sorted(self.strays.items(), key=lambda item: -item[1].pixels)
        lines = []
        for value, stray in strays[:MOST_LISTED]:
            what = f"colour {colour_of(value)}" if value < 0 else f"label {value}"
            line = f"{what} is no class: {counted(stray.pixels, 'pixel')} in {counted(len(stray.files), 'file')}: "
            line += several(stray.files, 4)
            if value == 255 and self.ignore_index is None:
                line += "; if it means 'no class', open the data set with ignore_index=255"
            lines.append(line)
        if len(strays) > MOST_LISTED:
            rest = strays[MOST_LISTED:]
            pixels = counted(sum(stray.pixels for _, stray in rest), "pixel")
            lines.append(
                f"{counted(len(rest), 'more value')} of no class: {pixels}. So many come from masks that number "
                "objects (open them with instances=True) or were smoothed (saved as JPEG, or resized: make them anew)"
            )
        return lines


def check_labels(
    data: str | Path | Dataset,
    split: str | None = None,
    progress: Callable[[Iterable], Iterable] = iter,
    **options: Any,
) -> LabelReport:
    """Read every image and mask, and report what they hold and all that is wrong.

    data      a line such as "folder:photos" (see `open_dataset`), a folder of images and masks, or an open data set
    split     one split; None: all
    progress  what to wrap the images in to see how far it is, such as tqdm
    options   those of `open_dataset`

    A file that cannot be read, a mask of another size than its image, images without masks and masks without images
    become lines of the report. Raises DataError or OptionError only if there is no such data set to look at.
    """
    parts = _open(data, split, options)
    first = next(iter(parts.values()))
    name = str(data) if isinstance(data, (str, Path)) else type(data).__name__
    report = LabelReport(name, first.classes, first.ignore_index)
    seen: set[Pair] = set()
    for part, dataset in parts.items():
        report.splits[part] = len(dataset)
        problems = getattr(dataset, "problems", [])
        report.problems += [problem for problem in problems if problem not in report.problems]
        if len(dataset) == 0 and not problems:
            report.problems.append(f"no images in the split {part!r}")
        for index in progress(range(len(dataset))):
            if not isinstance(dataset, FileDataset):
                _check_sample(dataset, index, report)
            elif dataset.pairs[index] not in seen:
                seen.add(dataset.pairs[index])
                _check_pair(dataset, dataset.pairs[index], report)
    return report


def _open(data: str | Path | Dataset, split: str | None, options: dict[str, Any]) -> dict[str, Dataset]:
    """The data sets to look at, by split, whatever is wrong with their pairs."""
    if not isinstance(data, (str, Path)):
        return {split or "all": data}
    name, path = ("folder", str(data)) if Path(data).is_dir() else parse(str(data))
    if name not in FORMATS:
        splits = ["train", "val", "test"] if split is None else [split]
        return {each: open_dataset(str(data), each, **options) for each in splits}
    if split is not None:
        splits = [split]
    else:
        check_path(name, Path(path))
        splits = importlib.import_module(f"minisegnet.data.{name}").splits(Path(path))
    return {each: open_files(name, Path(path), each, options) for each in splits}


def _check_pair(dataset: FileDataset, pair: Pair, report: LabelReport) -> None:
    size = None
    try:
        size = read_image(pair.image, pair.page).shape[1:]
        report.sizes[size] += 1
    except MinisegnetError as problem:
        report.problems.append(str(problem))
    if pair.mask is None:
        report.unlabelled += 1
        return
    try:
        labels = dataset.mask(pair)
    except MinisegnetError as problem:
        report.problems.append(str(problem))
        return
    if size is not None and size != labels.shape:
        report.problems.append(different_sizes(pair, size, labels.shape))
    if dataset.instances:
        report.objects.append(len(np.setdiff1d(labels, 0)))
        labels = (labels > 0).astype(np.int32)
    report.count(labels, pair.mask.name)


def _check_sample(dataset: Dataset, index: int, report: LabelReport) -> None:
    try:
        sample = dataset[index]
        check_finite(sample.image, f"{sample.name}: the image")
    except MinisegnetError as problem:
        report.problems.append(str(problem))
        return
    size = sample.image.shape[1:]
    report.sizes[size] += 1
    if sample.labels is None:
        report.unlabelled += 1
        return
    if sample.labels.shape != size:
        report.problems.append(f"{sample.name}: the image is of {size} pixels and its labels of {sample.labels.shape}")
    report.count(sample.labels, sample.name)
    if sample.instances is None:
        return
    try:
        report.objects.append(len(objects_of(sample)))
    except MinisegnetError as problem:
        report.problems.append(str(problem))
        return
    if sample.object_classes is not None:
        report.unseen += len(sample.object_classes) - report.objects[-1]
