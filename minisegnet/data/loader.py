"""The loader: batches of a data set in an order, and with a chance, that depend on nothing but numbers."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from minisegnet.data.collate import stack
from minisegnet.data.sample import Dataset, Sample
from minisegnet.data.sample_checks import check_sample
from minisegnet.errors import OptionError
from minisegnet.forks import work_beside
from minisegnet.shapes import integer

if TYPE_CHECKING:
    from minisegnet.data.transforms import Transform


class Loader:
    """Batches of a data set, epoch by epoch.

    dataset     see `Dataset`
    batch_size  samples a batch; the last one of an epoch may be smaller
    transform   (sample, rng) -> sample, a pure function such as those of `transforms`; None: as they are
    shuffle     another order in each epoch; else the data set's
    seed        of the order and of the transform's random numbers, from 0
    drop_last   leave out a last batch that is not full
    prefetch    batches made ahead by a thread; 0: none, and no thread
    collate     (samples) -> batch: `stack`, which wants one size; or `detection_batch`, which keeps them apart

    The order is a function of (seed, epoch), and each sample's random numbers are one of (seed, epoch, index): what
    came before does not matter, so a run can go on at any batch, and a thread changes nothing.

    Every sample is checked, as the data set gives it and again after the transform; see `sample_checks`.
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
        collate: Callable[[list[Sample]], Any] = stack,
    ) -> None:
        for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0), ("prefetch", prefetch, 0)):
            if integer(value, name) < least:
                raise OptionError(f"Loader: {name} must be at least {least}; got {value!r}")
        self.dataset, self.batch_size, self.transform = dataset, int(batch_size), transform
        self.shuffle, self.seed, self.drop_last, self.prefetch = shuffle, int(seed), drop_last, int(prefetch)
        self.collate = collate

    def __len__(self) -> int:
        """Batches an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        """The batches of epoch `number` (from 0), from batch `start` on.

        An iterator that is left early ends its thread. Raises OptionError for numbers below 0 or a start beyond the
        end; while it runs, what the data set, the transform and the checks raise.
        """
        if integer(number, "epoch") < 0 or not 0 <= integer(start, "start") <= len(self):
            raise OptionError(
                f"Loader: epoch must be at least 0 and start 0 to {len(self)}, the batches; got {number!r}, {start!r}"
            )
        batches = self._batches(int(number), int(start))
        return ahead(batches, self.prefetch) if self.prefetch else batches

    def order(self, epoch: int) -> np.ndarray:
        """The indices of all samples in the order of an epoch."""
        if not self.shuffle:
            return np.arange(len(self.dataset))
        # The last 1 keeps this stream apart from those of the samples: [seed, epoch] alone would be sample 0's, as
        # NumPy fills seeds up with zeros.
        return np.random.default_rng([self.seed, epoch, 0, 1]).permutation(len(self.dataset))

    def sample(self, epoch: int, index: int) -> Sample:
        """One sample as an epoch has it: checked, transformed, checked."""
        sample = self.dataset[index]
        check_sample(sample, self.dataset)
        if self.transform is None:
            return sample
        sample = self.transform(sample, np.random.default_rng([self.seed, epoch, index]))
        if not isinstance(sample, Sample):
            returned = type(sample).__name__
            raise OptionError(f"a transform must return a Sample; {self.transform!r} returned {returned}")
        check_sample(sample, self.dataset, " (after the transform)")
        return sample

    def _batches(self, epoch: int, start: int) -> Iterator[Any]:
        order = self.order(epoch)
        for number in range(start, len(self)):
            chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield self.collate([self.sample(epoch, int(index)) for index in chosen])


def ahead(items: Iterator[Any], count: int) -> Iterator[Any]:
    """The same items, up to `count` of them made ahead of time by a thread.

    What the thread raises is raised here, at its place in the order. The thread ends with the last item, or as soon as
    this iterator is closed or forgotten and the item at hand is done.
    """
    made: SimpleQueue = SimpleQueue()
    room = threading.Semaphore(count)
    stop = threading.Event()

    def work() -> None:
        try:
            while True:
                room.acquire()
                if stop.is_set():
                    return
                with work_beside():
                    item = next(items)
                made.put((item, None))
        except StopIteration:
            made.put((None, None))
        except BaseException as problem:  # whatever it is, the consumer waits for it
            made.put((None, problem))

    thread = threading.Thread(target=work, name="minisegnet loader", daemon=True)
    thread.start()
    try:
        while True:
            item, problem = made.get()
            if problem is not None:
                raise problem
            if item is None:
                return
            room.release()
            yield item
    finally:
        stop.set()
        room.release()
        # Waited for, so that no two threads read one data set; but a thread cannot wait for itself (the garbage
        # collector may bring it here), nor one that ends with the interpreter.
        if threading.current_thread() is not thread and not sys.is_finalizing():
            thread.join()
