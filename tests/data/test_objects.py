"""What a detector learns from a sample: boxes, classes and masks of its objects, whatever a transform did to them."""

from dataclasses import replace

import numpy as np
import pytest

from minisegnet.data.collate import detection_batch
from minisegnet.data.loader import Loader
from minisegnet.data.objects import objects_of, targets_of
from minisegnet.data.resampling import at_pixels
from minisegnet.data.sample import Sample
from minisegnet.data.sample_checks import check_sample
from minisegnet.data.shapes import Shapes
from minisegnet.data.transforms import (
    CenterCrop,
    Compose,
    ElasticDeformation,
    Pad,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotate90,
    RandomRotation,
    RandomScale,
    RandomVerticalFlip,
    Resize,
)
from minisegnet.data.weight_map import BorderWeight
from minisegnet.detection.boxes import of_masks
from minisegnet.detection.targets import mask_targets
from minisegnet.errors import DataError, DtypeError, LabelError

TRANSFORMS = {
    "nothing": Compose([]),
    "left right": RandomHorizontalFlip(1),
    "upside down": RandomVerticalFlip(1),
    "quarter turns": RandomRotate90(),
    "crop": RandomCrop((17, 19)),
    "enlarged": Resize((50, 61)),
    "shrunk": Resize((11, 9)),
    "scaled": RandomScale(),
    "resized crop": RandomResizedCrop((20, 22)),
    "turned": RandomRotation(30, label_fill=0),
    "elastic": ElasticDeformation(sigma=4),
    "margin": Pad(9),
}


def blobs(seed, layers=2, height=32, width=36, count=9):
    """A sample of random rectangles, some upon each other in a stack; every third number is not seen."""
    rng = np.random.default_rng(seed)
    instances = np.zeros((layers, height, width), np.int32)
    classes = rng.integers(1, 4, count).astype(np.int32)
    for number in range(1, count + 1):
        if number % 3:
            top, left = rng.integers(0, (height, width))
            instances[rng.integers(layers), top : top + rng.integers(1, 12), left : left + rng.integers(1, 12)] = number
    top = instances.max(axis=0)
    labels = np.where(top > 0, classes[top - 1], 0).astype(np.int32)
    image = np.stack([*instances[:1], top, labels]).astype(np.float32) / 10
    return Sample(
        image, labels, f"blobs {seed}", instances if layers > 1 else instances[0], object_classes=classes,
        object_crowd=np.arange(1, count + 1) % 4 == 0,
    )  # fmt: skip


class Blobs:
    """A data set of those."""

    classes, palette, ignore_index, channels = ("background", "a", "b", "c"), np.zeros((4, 3), np.uint8), None, 3

    def __len__(self):
        return 7

    def __getitem__(self, index):
        return blobs(index, layers=1 + index % 2, height=20 + index)


def brute_force(sample):
    """Number, box, label, crowd and mask of each object, by looking at each pixel."""
    maps = sample.instances.reshape(-1, *sample.instances.shape[-2:])
    for number in sorted(set(maps.ravel().tolist()) - {0}):
        mask = (maps == number).any(axis=0)
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        yield number, box, sample.object_classes[number - 1], sample.object_crowd[number - 1], mask


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_objects_after_each_transform(name, layers, seed):
    given = blobs(seed, layers)
    sample = TRANSFORMS[name](given, np.random.default_rng(seed))
    check_sample(sample, Blobs())
    assert sample.instances.ndim == given.instances.ndim and sample.instances.flags.c_contiguous
    objects = objects_of(sample)
    expected = list(brute_force(sample))
    assert len(objects) == len(expected)
    assert (objects.boxes.dtype, objects.labels.dtype, objects.crowd.dtype) == (np.float32, np.int32, bool)
    assert objects.boxes.shape == (len(objects), 4) and objects.masks.shape[1:] == sample.image.shape[1:]
    for i, (number, box, label, crowd, mask) in enumerate(expected):
        assert objects.masks.numbers[i] == number
        assert objects.boxes[i].tolist() == box
        assert (objects.labels[i], objects.crowd[i]) == (label, crowd)
        np.testing.assert_array_equal(objects.masks[i], mask)
    np.testing.assert_array_equal(of_masks(objects.masks), objects.boxes)
    for packed, (*_, mask) in zip(objects.run_lengths(), expected, strict=True):
        np.testing.assert_array_equal(packed.mask(), mask)
    np.testing.assert_array_equal(targets_of(sample).boxes, objects.boxes[~objects.crowd])


@pytest.mark.parametrize("name", sorted(TRANSFORMS.keys() - {"margin", "elastic"}))
def test_each_layer_of_a_stack_moves_as_a_plane_does(name):
    given = blobs(5, layers=3)
    moved = TRANSFORMS[name](given, np.random.default_rng(5))
    for layer in range(3):
        alone = TRANSFORMS[name](replace(given, instances=given.instances[layer]), np.random.default_rng(5))
        np.testing.assert_array_equal(moved.instances[layer], alone.instances)
    np.testing.assert_array_equal(given.instances, blobs(5, layers=3).instances)


def test_objects_cut_to_nothing_are_gone():
    instances = np.zeros((8, 8), np.int32)
    instances[0, 0], instances[2:4, 3:6], instances[7, 7] = 1, 7, 300
    sample = Sample(np.zeros((1, 8, 8), np.float32), (instances > 0).astype(np.int32), "corners", instances)
    assert objects_of(sample).masks.numbers.tolist() == [1, 7, 300]
    cropped = CenterCrop(4)(sample, np.random.default_rng(0))
    objects = objects_of(cropped)
    assert objects.masks.numbers.tolist() == [7] and objects.boxes.tolist() == [[1, 0, 4, 2]]
    nothing = objects_of(CenterCrop(1)(replace(sample, instances=instances * (instances == 1)), None))
    assert nothing.boxes.shape == (0, 4) and nothing.masks.shape == (0, 1, 1) and nothing.run_lengths() == []
    assert (nothing.boxes.dtype, nothing.labels.dtype, nothing.labels.shape) == (np.float32, np.int32, (0,))
    assert np.asarray(nothing.masks).shape == (0, 1, 1)


def test_masks_are_indexed_as_an_array():
    objects = objects_of(blobs(1))
    dense = np.asarray(objects.masks)
    assert dense.dtype == bool and dense.shape == objects.masks.shape == (len(objects), 32, 36)
    for key in (0, -1, slice(1, 3), [2, 0, 2], np.array([], int), objects.labels == 1, (1, slice(3, 9), slice(4, 7)),
                (slice(None), 5), (slice(None), slice(2, 30, 3), 7), np.int32(1)):  # fmt: skip
        np.testing.assert_array_equal(objects.masks[key], dense[key])
    with pytest.raises(IndexError):
        objects.masks[len(objects)]


def test_mask_targets_take_the_masks_as_they_are():
    objects = objects_of(blobs(2))
    chosen = np.array([0, 2, 2])
    rois = objects.boxes[chosen] + np.float32(0.3)
    np.testing.assert_array_equal(
        mask_targets(rois, chosen, objects.masks, 7), mask_targets(rois, chosen, np.asarray(objects.masks), 7)
    )


@pytest.mark.parametrize("difficulty", ["easy", "medium", "hard"])
def test_classes_of_shapes_are_the_labels_of_their_pixels(difficulty):
    for sample in (Shapes(48, 12, seed=3, difficulty=difficulty)[index] for index in range(12)):
        given, below = objects_of(sample), objects_of(replace(sample, object_classes=None))
        np.testing.assert_array_equal(given.labels, below.labels)
        assert len(given) == len(sample.object_classes)  # nothing is hidden whole
        for mask, label in zip(given.masks, given.labels, strict=True):
            assert (sample.labels[mask] == label).all()
        np.testing.assert_array_equal(np.asarray(given.masks).sum(axis=0), sample.labels > 0)


# ------------------------------------------------------------------------------------------------------------- mirrors


def test_a_mirror_image_apart_from_its_object_is_an_object_of_its_own():
    instances = np.zeros((6, 8), np.int32)
    instances[2:4, 2:4], instances[1:3, 7] = 1, 2  # one apart from the edge, one at it
    sample = Sample(
        np.zeros((1, 6, 8), np.float32), np.zeros((6, 8), np.int32), "near the edge", instances,
        object_classes=np.array([1, 2], np.int32), object_crowd=np.array([True, False]),
    )  # fmt: skip
    padded = Pad((3, 0))(sample, np.random.default_rng(0))
    objects = objects_of(padded)
    assert objects.labels.tolist() == [1, 2, 1] and objects.crowd.tolist() == [True, False, True]
    assert objects.boxes.tolist() == [[5, 2, 7, 4], [10, 1, 11, 3], [0, 2, 2, 4]]
    without = Pad((3, 0))(replace(sample, object_classes=None, object_crowd=None), np.random.default_rng(0))
    assert set(np.unique(without.instances)) == {0, 1, 2}
    blank = Pad((3, 0), label_fill=0)(sample, np.random.default_rng(0))
    assert objects_of(blank).boxes.tolist() == [[5, 2, 7, 4], [10, 1, 11, 3]]


def test_of_an_object_seen_in_mirrors_alone_one_image_keeps_the_number():
    instances = np.zeros((1, 9), np.int32)
    instances[0, 4] = 1
    sample = Sample(
        np.zeros((1, 1, 9), np.float32), np.zeros((1, 9), np.int32), "between", instances,
        object_classes=np.array([3], np.int32),
    )  # fmt: skip
    beyond = at_pixels(sample, np.arange(1), np.array([-5, -4, -3, 9, 10, 11, 12, 13]))
    assert beyond.instances.tolist() == [[0, 1, 0, 0, 0, 0, 2, 0]]
    assert beyond.object_classes.tolist() == [3, 3]


# ------------------------------------------------------------------------------------------------------------- batches


def test_batches_of_images_of_any_size():
    loader = Loader(Blobs(), 3, shuffle=True, seed=4, collate=detection_batch)
    batches = list(loader.epoch(0))
    assert [len(batch.images) for batch in batches] == [3, 3, 1]
    seen = set()
    for batch in batches:
        for image, objects, name in zip(batch.images, batch.targets, batch.names, strict=True):
            index = int(name.split()[1])
            seen.add(index)
            np.testing.assert_array_equal(image, Blobs()[index].image)
            expected = targets_of(Blobs()[index])
            assert not objects.crowd.any() and objects.masks.shape[1:] == image.shape[1:]
            np.testing.assert_array_equal(objects.boxes, expected.boxes)
            np.testing.assert_array_equal(objects.labels, expected.labels)
            np.testing.assert_array_equal(np.asarray(objects.masks), np.asarray(expected.masks))
    assert seen == set(range(7))


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("start", [0, 1, 3])
def test_an_epoch_goes_on_anywhere_bit_for_bit(prefetch, start):
    transform = Compose([RandomScale(), RandomCrop(24), ElasticDeformation(sigma=3)])
    whole = list(Loader(Blobs(), 2, transform, True, 7, prefetch=0, collate=detection_batch).epoch(2))
    rest = list(Loader(Blobs(), 2, transform, True, 7, prefetch=prefetch, collate=detection_batch).epoch(2, start))
    assert len(rest) == len(whole) - start
    for one, other in zip(whole[start:], rest, strict=True):
        assert one.names == other.names
        for a, b in zip([*one.images, *(x.boxes for x in one.targets), *(x.masks[:] for x in one.targets)],
                        [*other.images, *(x.boxes for x in other.targets), *(x.masks[:] for x in other.targets)],
                        strict=True):  # fmt: skip
            assert a.tobytes() == b.tobytes()


# -------------------------------------------------------------------------------------------------------------- errors


def test_a_weight_map_takes_a_stack():
    sample = BorderWeight()(blobs(3, layers=3), np.random.default_rng(0))
    flat = replace(sample, instances=sample.instances.max(axis=0))
    np.testing.assert_array_equal(sample.pixel_weight, BorderWeight()(flat, np.random.default_rng(0)).pixel_weight)


@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"object_classes": np.ones(9)}, DtypeError, "object_classes must be an array of int32"),
        ({"object_crowd": np.ones(9, np.int32)}, DtypeError, "object_crowd must be an array of bool"),
        ({"object_classes": np.ones(3, np.int32)}, DataError, r"objects up to 8, but object_classes has shape \(3,\)"),
        ({"object_crowd": np.ones((9, 1), bool)}, DataError, r"object_crowd has shape \(9, 1\)"),
        ({"object_classes": np.arange(9, dtype=np.int32)}, LabelError, "object 1 is of class 0; .* 1 to 3"),
        ({"object_classes": np.arange(1, 10, dtype=np.int32)}, LabelError, "object 4 is of class 4"),
        ({"instances": None}, DataError, "object_classes but no instances"),
        ({"instances": np.zeros((1, 32, 36), np.int32) - 1}, DataError, "from 1, with 0 for none; got -1"),
        ({"instances": np.zeros((2, 32, 35), np.int32)}, DataError, "its instances 2 x 32 x 35"),
        ({"instances": np.zeros((1, 2, 32, 36), np.int32)}, DataError, "instances 1 x 2 x 32 x 36"),
        ({"labels": np.zeros((1, 32, 36), np.int32)}, DataError, "its labels 1 x 32 x 36"),
    ],
)
def test_samples_that_do_not_hold_together_are_refused(changes, error, message):
    with pytest.raises(error, match=f"blobs 0.*{message}"):
        check_sample(replace(blobs(0), **changes), Blobs())


def test_objects_that_are_not_known_are_refused():
    bare = replace(blobs(0), instances=None, object_classes=None)
    with pytest.raises(DataError, match="blobs 0 has no instances"):
        objects_of(bare)
    with pytest.raises(LabelError, match="neither object_classes nor labels"):
        objects_of(replace(blobs(0), object_classes=None, labels=None))
    with pytest.raises(LabelError, match="object 1 are labelled as background"):
        objects_of(replace(blobs(0), object_classes=None, labels=np.zeros((32, 36), np.int32)))
    with pytest.raises(LabelError, match="object 8 has no class; 2 are given"):
        objects_of(replace(blobs(0), object_classes=np.ones(2, np.int32)))
    with pytest.raises(DataError, match="up to 2000000000; number them"):
        objects_of(replace(blobs(0), instances=np.full((32, 36), 2_000_000_000, np.int32)))
