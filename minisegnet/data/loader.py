"""Batches of a data set, in an order and with random changes that a seed, the epoch and the sample decide alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from minisegnet.data.sample import Batch, Dataset, Sample
from minisegnet.errors import DataError, LabelError, OptionError

Transform = Callable[[Sample, np.random.Generator], Sample]
_ORDER, _CHANGES = 11, 12  # apart, so that the order's random numbers are no sample's


class Loader:
    """Batches for training; each epoch is the same whenever and from wherever it is read.

    dataset     what to read
    batch_size  samples a batch
    transform   (sample, rng) -> sample, with an rng made of (seed, epoch, the sample's index), or None
    shuffle     a new order each epoch, made of (seed, epoch); else the data set's own
    seed        a whole number from 0
    drop_last   leave out the last batch if it is not full
    prefetch    how many batches a thread prepares ahead; 0 uses no thread. The batches are the same

    len() is the number of batches an epoch. Raises DataError if that is none, OptionError for a setting out of range.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        transform: Transform | None = None,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        prefetch: int = 2,
    ) -> None:
        if batch_size < 1 or prefetch < 0 or seed < 0:
            raise OptionError(
                "Loader: batch_size must be at least 1, prefetch and seed at least 0; "
                f"got batch_size={batch_size!r}, prefetch={prefetch!r}, seed={seed!r}"
            )
        self.dataset, self.batch_size, self.transform = dataset, batch_size, transform
        self.shuffle, self.seed, self.drop_last, self.prefetch = shuffle, seed, drop_last, prefetch
        if len(self) == 0:
            raise DataError(
                f"Loader: {len(dataset)} samples give no batch of {batch_size}"
                + ("; use a smaller batch_size or drop_last=False" if len(dataset) else ": the data set is empty")
            )

    def __len__(self) -> int:
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (1 if rest and not self.drop_last else 0)

    def order(self, epoch: int) -> np.ndarray:
        """The samples' indices in the order in which the epoch reads them."""
        count = len(self.dataset)
        return np.random.default_rng([self.seed, _ORDER, epoch]).permutation(count) if self.shuffle else np.arange(count)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from batch `start` on.

        Raises DataError (an image that is empty or holds NaN, sizes that differ, no labels) and LabelError (a label
        outside the classes), naming the sample, when the batch is asked for.
        """
        if number < 0 or not 0 <= start <= len(self):
            raise OptionError(
                f"Loader: epoch must be at least 0 and start 0 to {len(self)} (batches); got {number!r} and {start!r}"
            )
        order = self.order(number)
        places = range(start, len(self))
        if self.prefetch == 0:
            return (self._batch(order, number, place) for place in places)
        return self._prefetched(order, number, places)

    def _prefetched(self, order: np.ndarray, epoch: int, places: range) -> Iterator[Batch]:
        # A future carries an exception of the thread to whoever asks for the batch; leaving early ends up in `finally`.
        thread = ThreadPoolExecutor(1, "minisegnet-loader")
        waiting: deque[Future[Batch]] = deque()
        try:
            for place in places:
                waiting.append(thread.submit(self._batch, order, epoch, place))
                if len(waiting) > self.prefetch:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            thread.shutdown(wait=True, cancel_futures=True)

    def _batch(self, order: np.ndarray, epoch: int, place: int) -> Batch:
        chosen = order[place * self.batch_size : (place + 1) * self.batch_size]
        samples = [self._sample(int(index), epoch) for index in chosen]
        first = samples[0]
        for sample in samples:
            if sample.image.shape != first.image.shape:
                raise DataError(
                    f"images of one batch must have one size: {first.name} is {_size(first)} and {sample.name} is "
                    f"{_size(sample)}; add the transform RandomCrop(size, pad_if_needed=True) or Resize((height, width)), "
                    "or use batch_size=1"
                )
            if (sample.pixel_weight is None) != (first.pixel_weight is None):
                raise DataError(f"of {first.name} and {sample.name} one has pixel weights and one has none; give them to all")
        return Batch(
            np.stack([sample.image for sample in samples]).astype(np.float32, copy=False),
            np.stack([sample.labels for sample in samples]).astype(np.int32, copy=False),  # type: ignore[arg-type]
            [sample.name for sample in samples],
            None if first.pixel_weight is None else np.stack([s.pixel_weight for s in samples]).astype(np.float32),  # type: ignore[misc]
        )

    def _sample(self, index: int, epoch: int) -> Sample:
        sample = self.dataset[index]
        check_sample(sample, self.dataset)
        if self.transform is None:
            return sample
        changed = self.transform(sample, np.random.default_rng([self.seed, _CHANGES, epoch, index]))
        check_sample(changed, self.dataset, " (after the transform)")
        return changed


def check_sample(sample: Sample, dataset: Dataset, when: str = "") -> None:
    """Raise DataError or LabelError, naming the sample, for what no training step can use."""
    image, labels, name = sample.image, sample.labels, f"{sample.name}{when}"
    if image.ndim != 3 or image.size == 0:
        raise DataError(f"{name}: an image has shape (C, H, W) with at least one pixel; got {image.shape}; remove or mend it")
    if image.shape[0] != dataset.channels:
        raise DataError(f"{name}: the image has {image.shape[0]} channels and the data set {dataset.channels}")
    finite = np.isfinite(image)
    if not finite.all():
        first = tuple(int(place) for place in np.argwhere(~finite)[0])
        raise DataError(
            f"{name}: the image holds {int((~finite).sum())} values that are NaN or infinite, the first at {first} "
            "(channel, row, column); mend or remove the file"
        )
    if labels is None:
        raise DataError(f"{name} has no labels; training and scores need a mask for every image")
    for what, array in (("labels", labels), ("pixel weights", sample.pixel_weight)):
        if array is not None and array.shape != image.shape[1:]:
            raise DataError(f"{name}: the {what} are {array.shape} and the image {image.shape}; they need one size")
    check_labels_inside(labels, len(dataset.classes), dataset.ignore_index, name)


def check_labels_inside(labels: np.ndarray, num_classes: int, ignore_index: int | None, name: str) -> None:
    """Raise LabelError, saying which, how many and the way out, for labels that are no class and not ignored."""
    if labels.dtype.kind not in "iu":
        raise LabelError(f"{name}: labels must be whole numbers; got {labels.dtype}; use labels.astype('int32')")
    if labels.size == 0 or (labels.min() >= 0 and labels.max() < num_classes):
        return
    stray = (labels < 0) | (labels >= num_classes)
    if ignore_index is not None:
        stray &= labels != ignore_index
    if stray.any():
        value = int(labels[stray][0])
        count = int((labels == value).sum())
        way_out = (
            f"ignore_index is {ignore_index}; mend the mask, or name that class"
            if ignore_index is not None
            else f"if {value} means 'no class here', pass ignore_index={value}; else mend the mask, or name that class"
        )
        raise LabelError(
            f"{name}: label {value} in {count} of {labels.size} pixels is outside the classes 0 to {num_classes - 1}; {way_out}"
        )


def _size(sample: Sample) -> str:
    return " x ".join(str(size) for size in sample.image.shape[1:]) + f" with {sample.image.shape[0]} channels"
