import gc
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from minisegnet.data.loader import Loader
from minisegnet.data.sample import Sample
from minisegnet.data.transforms import Compose, GaussianNoise, RandomCrop, RandomHorizontalFlip
from minisegnet.data.weight_map import BorderWeight
from minisegnet.errors import DataError, DtypeError, LabelError, OptionError


class Numbered:
    """Images of 8 x 8 pixels whose first pixel is the image's number; any of them can be replaced."""

    classes = ("ground", "cell", "edge")
    palette = np.zeros((3, 3), np.uint8)
    channels = 1

    def __init__(self, count=10, ignore_index=None, **replaced):
        rng = np.random.default_rng(0)
        self.ignore_index = ignore_index
        self.samples = []
        for i in range(count):
            image = rng.random((1, 8, 8), np.float32)
            image[0, 0, 0] = i / 1000
            self.samples.append(Sample(image, rng.integers(0, 3, (8, 8)).astype(np.int32), f"image{i}"))
        for name, sample in replaced.items():
            self.samples[int(name.removeprefix("image"))] = sample

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        sample = self.samples[i]
        if isinstance(sample, Exception):
            raise sample
        return sample


AUGMENT = Compose([RandomCrop(6), RandomHorizontalFlip(), GaussianNoise(0.1), BorderWeight()])


def names(batches):
    return [name for batch in batches for name in batch.names]


def same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.names == b.names
        for field in ("images", "labels", "pixel_weight"):
            np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name == "minisegnet loader"]


@pytest.fixture(autouse=True)
def no_thread_stays():
    yield
    gc.collect()
    assert loader_threads() == []


# ------------------------------------------------------------------------------------------------------ order, chance


@pytest.mark.parametrize(
    "count, batch_size, drop_last, sizes",
    [
        (10, 4, False, [4, 4, 2]),
        (10, 4, True, [4, 4]),
        (8, 4, True, [4, 4]),
        (3, 4, False, [3]),
        (3, 4, True, []),
        (0, 4, False, []),
    ],
)
@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_batches(count, batch_size, drop_last, sizes, prefetch):
    loader = Loader(Numbered(count), batch_size, drop_last=drop_last, prefetch=prefetch)
    batches = list(loader.epoch(0))
    assert [len(batch.images) for batch in batches] == sizes and len(loader) == len(sizes)
    assert names(batches) == [f"image{i}" for i in range(sum(sizes))]
    for batch in batches:
        assert batch.images.dtype == np.float32 and batch.images.shape[1:] == (1, 8, 8)
        assert batch.labels.dtype == np.int32 and batch.labels.shape[1:] == (8, 8) and batch.pixel_weight is None
        for image, label, name in zip(batch.images, batch.labels, batch.names, strict=True):
            sample = loader.dataset[int(name.removeprefix("image"))]
            np.testing.assert_array_equal(image, sample.image)
            np.testing.assert_array_equal(label, sample.labels)


@pytest.mark.parametrize("prefetch", [1, 2, 5])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_thread_changes_nothing(prefetch, shuffle):
    options = {"transform": AUGMENT, "shuffle": shuffle, "seed": 3}
    alone = Loader(Numbered(), 3, prefetch=0, **options)
    ahead = Loader(Numbered(), 3, prefetch=prefetch, **options)
    for epoch in (0, 4):
        same(list(alone.epoch(epoch)), list(ahead.epoch(epoch)))


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_an_epoch_goes_on_where_it_was_left(start, prefetch):
    loader = Loader(Numbered(), 3, AUGMENT, shuffle=True, seed=1, prefetch=prefetch)
    whole = list(loader.epoch(2))
    assert len(whole) == 4
    same(list(Loader(Numbered(), 3, AUGMENT, shuffle=True, seed=1, prefetch=prefetch).epoch(2, start)), whole[start:])


def test_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch, **options):
        return names(Loader(Numbered(30), 7, shuffle=True, seed=seed, **options).epoch(epoch))

    assert order(0, 0) == order(0, 0, prefetch=0) == order(0, 0, transform=AUGMENT)
    orders = {tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9 and all(sorted(o) == sorted(order(0, 0)) for o in orders)


def test_the_random_numbers_of_a_sample_are_its_own():
    """Of (seed, epoch, index) and nothing else; neither the batch nor the order changes them."""
    drawn = {}

    def draw(sample, rng):
        drawn.setdefault((*key, sample.name), []).append(rng.random())
        return sample

    for seed in (0, 1):
        for epoch in (0, 1):
            for batch_size, shuffle in ((1, False), (4, True)):
                key = (seed, epoch)
                list(Loader(Numbered(6), batch_size, draw, shuffle=shuffle, seed=seed).epoch(epoch))
    assert all(first == second for first, second in drawn.values())
    assert len({first for first, _ in drawn.values()}) == 2 * 2 * 6
    assert drawn[1, 1, "image5"][0] == np.random.default_rng([1, 1, 5]).random()


def test_the_order_has_a_stream_of_its_own():
    """NumPy fills seeds up with zeros, so [seed, epoch] would be the stream of sample 0."""
    order = Loader(Numbered(10), 1, shuffle=True, seed=5).order(2)
    assert list(order) != list(np.random.default_rng([5, 2, 0]).permutation(10))


def test_pixel_weights_are_stacked():
    batch = next(iter(Loader(Numbered(), 3, BorderWeight(), prefetch=0).epoch(0)))
    assert batch.pixel_weight.shape == (3, 8, 8) and batch.pixel_weight.dtype == np.float32


# ------------------------------------------------------------------------------------------------------------- threads


def test_prefetch_stays_that_far_ahead():
    asked = []

    def note(sample, rng):
        asked.append(sample.name)
        return sample

    batches = Loader(Numbered(10), 1, note, prefetch=2).epoch(0)
    assert asked == [] and loader_threads() == []
    next(batches)
    deadline = time.monotonic() + 5
    while len(asked) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert asked == ["image0", "image1", "image2"]
    batches.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
def test_a_fork_waits_for_the_sample_at_hand():
    """Else OpenBLAS, which ends its threads at a fork, may wait for ever for those at work for the loader."""
    at_hand, ready = threading.Event(), threading.Event()

    def slow(sample, rng):
        at_hand.set()
        ready.wait(30)
        return sample

    batches = Loader(Numbered(2), 1, slow, prefetch=1).epoch(0)
    threading.Thread(target=next, args=(batches,)).start()
    assert at_hand.wait(30)
    threading.Timer(0.2, ready.set).start()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if ready.is_set() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_transform_may_read_another_loader():
    inner = iter(Loader(Numbered(2), 1, prefetch=1).epoch(0))

    def reading(sample, rng):
        next(inner)
        return sample

    assert len(list(Loader(Numbered(2), 1, reading, prefetch=1).epoch(0))) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
def test_a_transform_may_fork():
    def forking(sample, rng):
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        return sample

    assert len(list(Loader(Numbered(2), 1, forking, prefetch=1).epoch(0))) == 2


@pytest.mark.parametrize("way", ["break", "close", "del", "exception", "full", "not begun"])
def test_the_thread_ends(way):
    loader = Loader(Numbered(30), 1, AUGMENT, prefetch=2)
    batches = loader.epoch(0)
    if way == "full":
        list(batches)
    elif way == "break":
        for _ in loader.epoch(1):
            break
    elif way == "exception":
        with pytest.raises(KeyboardInterrupt):
            for _ in loader.epoch(1):
                raise KeyboardInterrupt
        gc.collect()
    elif way != "not begun":
        next(batches)
        assert len(loader_threads()) == 1
        if way == "close":
            batches.close()
        else:
            del batches
            gc.collect()
    assert loader_threads() == []


def test_two_epochs_at_once():
    loader = Loader(Numbered(), 3, AUGMENT, shuffle=True)
    pairs = list(zip(loader.epoch(0), loader.epoch(1), strict=True))
    same([first for first, _ in pairs], list(loader.epoch(0)))
    same([second for _, second in pairs], list(loader.epoch(1)))


def test_an_iterator_left_open_does_not_hold_up_the_end_of_python():
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_loader import Numbered, Loader\n"
        "batches = Loader(Numbered(), 1).epoch(0); next(batches); print('begun')"
    )
    folder = __file__.rpartition("test_loader.py")[0] or "."
    done = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "begun\n", "")


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize(
    "problem", [DataError("image5.png is cut short"), ZeroDivisionError("own"), StopIteration("x")]
)
def test_what_the_data_set_raises_arrives_at_its_place(problem, prefetch):
    batches = Loader(Numbered(image5=problem), 2, prefetch=prefetch).epoch(0)
    assert names([next(batches), next(batches)]) == ["image0", "image1", "image2", "image3"]
    wanted = RuntimeError if isinstance(problem, StopIteration) else type(problem)  # Python's own rule for generators
    with pytest.raises(wanted, match=None if wanted is RuntimeError else re.escape(str(problem))):
        next(batches)
    with pytest.raises(StopIteration):
        next(batches)
    assert loader_threads() == []


# -------------------------------------------------------------------------------------------------------------- checks


def changed(field, value, base=None, **others):
    """A good sample, with one value changed in one array, or one array for another."""
    base = base or replace(Numbered()[3], name="wrong", **others)
    if isinstance(value, dict):
        array = getattr(base, field).copy()
        for place, number in value.items():
            array[place] = number
        value = array
    return replace(base, **{field: value})


NAN = changed("image", {(0, 2, 3): np.nan, (0, 4, 4): np.nan, (0, 7, 7): -np.inf})
WRONG = {
    "NaN": (NAN, DataError, r"wrong: the image holds 2 NaN and 1 infinite values of 64, the first at \(0, 2, 3\)"),
    "weights NaN": (
        changed("pixel_weight", np.full((8, 8), np.nan, np.float32)),
        DataError,
        "wrong: pixel_weight holds 64 NaN",
    ),
    "no pixels": (
        Sample(np.zeros((1, 0, 0), np.float32), np.zeros((0, 0), np.int32), "wrong"),
        DataError,
        "wrong: the image has no pixels: 0 x 0",
    ),
    "uint8": (
        changed("image", np.zeros((1, 8, 8), np.uint8)),
        DtypeError,
        "wrong: image must be an array of float32; got uint8. .* divide by 255",
    ),
    "float64": (changed("image", np.zeros((1, 8, 8))), DtypeError, "image must be an array of float32; got float64"),
    "int64": (
        changed("labels", np.zeros((8, 8), np.int64)),
        DtypeError,
        r"wrong: labels must be an array of int32; got int64. Convert it with .astype\(np.int32\)",
    ),
    "list": (changed("image", [[[0.5]]]), DtypeError, "wrong: image must be an array of float32; got list"),
    "plane": (changed("image", np.zeros((8, 8), np.float32)), DataError, r"an image has shape \(channels, height, wid"),
    "mask size": (
        changed("labels", np.zeros((8, 9), np.int32)),
        DataError,
        "wrong: the image is 8 x 8 and its labels 8 x 9; they must be of one size",
    ),
    "instances size": (changed("instances", np.zeros((4, 4), np.int32)), DataError, "its instances 4 x 4"),
    "channels": (
        changed("image", np.zeros((3, 8, 8), np.float32)),
        DataError,
        "wrong: the image has 3 channels, but those of the data set have 1",
    ),
    "no labels": (changed("labels", None), DataError, "wrong has no labels"),
    "255": (
        changed("labels", {(2, 3): 255, (4, 4): 255}),
        LabelError,
        r"wrong: label 255 at row 2, column 3 is outside the classes 0 to 2 \(2 of 64 pixels are; their values: 255\); "
        "if 255 means 'no class', open the data set with ignore_index=255",
    ),
    "-1": (changed("labels", {(7, 7): -1}), LabelError, "label -1 at row 7, column 7 is outside the classes 0 to 2"),
    "3": (changed("labels", {(0, 0): 3, (1, 1): 7}), LabelError, "label 3 at row 0, column 0 .* their values: 3, 7"),
}


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_sample_is_named(case, prefetch):
    sample, error, message = WRONG[case]
    batches = Loader(Numbered(image5=sample), 2, prefetch=prefetch).epoch(0)
    next(batches), next(batches)
    with pytest.raises(error, match=message):
        next(batches)


@pytest.mark.parametrize("case", ["NaN", "mask size", "255", "no pixels"])
def test_a_wrong_sample_is_told_before_a_transform_hides_it(case):
    """A crop would cut a mask of another size to fit, and move the place that the message names."""
    sample, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        list(Loader(Numbered(image5=sample), 2, RandomCrop(2)).epoch(0))


@pytest.mark.parametrize("case", WRONG)
def test_what_a_transform_makes_is_checked_as_well(case):
    sample, error, _ = WRONG[case]
    with pytest.raises(error, match=r"wrong \(after the transform\)"):
        list(Loader(Numbered(), 2, lambda given, rng: sample).epoch(0))


def test_ignored_labels_pass_and_others_do_not():
    ignored = changed("labels", {(2, 3): 255})
    assert len(list(Loader(Numbered(image5=ignored, ignore_index=255), 2).epoch(0))) == 5
    with pytest.raises(LabelError, match=r"label 255 .*; the ignore_index is -100"):
        list(Loader(Numbered(image5=ignored, ignore_index=-100), 2).epoch(0))


def test_sizes_that_differ_in_a_batch():
    larger = Sample(np.zeros((1, 9, 8), np.float32), np.zeros((9, 8), np.int32), "larger")
    with pytest.raises(DataError, match=r"image4 is 8 x 8 and larger 9 x 8; .* RandomCrop or Resize"):
        list(Loader(Numbered(image5=larger), 2).epoch(0))
    assert len(list(Loader(Numbered(image5=larger), 1).epoch(0))) == 10
    assert len(list(Loader(Numbered(image5=larger), 2, RandomCrop(8)).epoch(0))) == 5


def test_weights_for_some_of_a_batch():
    weighted = changed("pixel_weight", np.ones((8, 8), np.float32))
    with pytest.raises(DataError, match="wrong has a pixel_weight and image4 of the same batch has none"):
        list(Loader(Numbered(image5=weighted), 2).epoch(0))


def test_a_transform_that_forgets_to_return():
    with pytest.raises(OptionError, match=r"a transform must return a Sample; .* returned NoneType"):
        list(Loader(Numbered(), 2, lambda sample, rng: None).epoch(0))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Loader(Numbered(), 0), "batch_size must be at least 1; got 0"),
        (lambda: Loader(Numbered(), 2.5), "batch_size must be an int; got 2.5"),
        (lambda: Loader(Numbered(), 2, seed=-1), "seed must be at least 0"),
        (lambda: Loader(Numbered(), 2, prefetch=-1), "prefetch must be at least 0"),
        (lambda: Loader(Numbered(), 2).epoch(-1), "epoch must be at least 0"),
        (lambda: Loader(Numbered(), 2).epoch(0, 6), "start 0 to 5, the batches; got 0, 6"),
        (lambda: Loader(Numbered(), 2).epoch(0, -1), "start 0 to 5"),
    ],
)
def test_settings_are_checked_when_they_are_given(make, message):
    with pytest.raises(OptionError, match=message):
        make()
