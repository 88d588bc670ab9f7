"""The classification task on shapes: one shape or none, its class at every pixel, where it was asked to be."""

import numpy as np
import pytest

from minisegnet.data.loader import Loader
from minisegnet.data.shape_classes import RADIUS, OneShape, ShapeClasses, farthest_shift
from minisegnet.data.shapes import CLASSES, GRADES
from minisegnet.errors import OptionError


@pytest.mark.parametrize("size", [16, 48, (24, 40)], ids=str)
@pytest.mark.parametrize("difficulty", sorted(GRADES))
def test_each_image_has_one_class_at_every_pixel(difficulty, size):
    images = ShapeClasses(size, 30, seed=1, difficulty=difficulty)
    for sample in images:
        assert (sample.image.dtype, sample.labels.dtype) == (np.float32, np.int32)
        assert sample.image.shape[1:] == sample.labels.shape == images.size
        assert 0 <= sample.image.min() < sample.image.max() <= 1
        assert len(np.unique(sample.labels)) == 1
        assert sample.instances.max() == (sample.labels.max() > 0), sample.name  # one shape, or none


def test_every_class_occurs_about_as_often():
    counts = np.bincount([sample.labels[0, 0] for sample in ShapeClasses(16, 1000, difficulty="easy")])
    assert len(counts) == len(CLASSES)
    assert (np.abs(counts - 200) < 4 * np.sqrt(1000 * 0.2 * 0.8)).all(), counts


def test_an_image_depends_on_seed_split_difficulty_shift_and_index_alone():
    def picture(index=3, **options):
        return ShapeClasses(**({"size": 32, "count": 9, "seed": 3} | options))[index].image

    first = picture()
    np.testing.assert_array_equal(first, picture(count=5))
    np.testing.assert_array_equal(first, picture(index=-6))
    for other in ({"index": 4}, {"seed": 4}, {"split": "val"}, {"difficulty": "hard"}, {"shift": 0}):
        assert not np.array_equal(first, picture(**other)), other
    with pytest.raises(IndexError):
        picture(index=9)


@pytest.mark.parametrize("shift", [0, 3, 8.0])
def test_a_shape_lies_as_far_from_the_middle_as_asked(shift):
    angles = []
    for sample in ShapeClasses(32, 60, seed=2, shift=shift):
        if sample.labels[0, 0] > 0:
            inside = np.argwhere(sample.instances)
            row, column = inside.mean(axis=0) - 15.5  # the middle of 32 pixels
            assert np.hypot(row, column) == pytest.approx(shift, abs=0.6)
            angles.append(np.arctan2(row, column))
    if shift:
        assert np.histogram(angles, 4, (-np.pi, np.pi))[0].min() > 3  # in every direction


def test_without_a_shift_shapes_lie_anywhere():
    places = [np.argwhere(s.instances).mean(axis=0) for s in ShapeClasses(32, 200, seed=5) if s.labels[0, 0] > 0]
    lowest, highest = np.min(places, axis=0), np.max(places, axis=0)
    assert (lowest < 32 * RADIUS[1] + 1).all()
    assert (highest > 32 * (1 - RADIUS[1]) - 1).all()


def test_a_shape_moves_and_nothing_else_changes():
    still, moved = (ShapeClasses(32, 1, seed=2, difficulty="easy", shift=shift)[0] for shift in (0, 6))
    assert still.labels[0, 0] == moved.labels[0, 0] > 0
    ground = (still.instances == 0) & (moved.instances == 0)
    far = ground[:2]  # the rim's darkness does not reach the upper edge
    np.testing.assert_allclose(still.image[:, :2][:, far], moved.image[:, :2][:, far], atol=1e-6)
    assert abs(int((still.instances > 0).sum()) - int((moved.instances > 0).sum())) < 8


def test_one_shape_may_be_put_outside():
    picture = OneShape((32, 32), GRADES["easy"], np.random.default_rng(0), 60.0)
    assert picture.labels.max() == picture.instances.max() == 0


def test_the_loader_takes_them():
    batch = next(iter(Loader(ShapeClasses(16, 4), 4).epoch(0)))
    assert batch.images.shape == (4, 3, 16, 16)
    assert batch.labels.shape == (4, 16, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shift": -1}, r"shift must be from 0 to 16 pixels for images of 64 x 64.*got -1"),
        ({"shift": 17}, "got 17"),
        ({"shift": float("nan")}, "got nan"),
        ({"size": 8}, "size must be at least 16"),
        ({"difficulty": "severe"}, "difficulty must be one of"),
        ({"split": "dev"}, "split must be one of"),
        ({"count": 0}, "count must be at least 1"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_named(options, message):
    with pytest.raises(OptionError, match=message):
        ShapeClasses(**options)


def test_farthest_shift_is_of_the_shorter_side():
    assert farthest_shift((32, 64)) == farthest_shift((64, 32)) == 8
