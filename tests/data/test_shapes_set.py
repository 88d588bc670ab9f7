"""The built-in shapes: the same by seed, labelled to the pixel, and only told apart by shape."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from minisegnet.data.shapes import CLASSES, GRADES, SPLITS, Shapes, signed_distance
from minisegnet.errors import OptionError

DIFFICULTIES = sorted(GRADES)


@pytest.mark.parametrize("size", [16, 64, (40, 72), (72, 16)], ids=str)
@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_samples_have_the_shapes_types_and_ranges_that_are_promised(difficulty, size):
    shapes = Shapes(size, 4, seed=1, difficulty=difficulty)
    height, width = (size, size) if isinstance(size, int) else size
    assert len(shapes) == 4
    for sample in (shapes[index] for index in range(4)):
        assert sample.image.shape == (3, height, width)
        assert sample.image.dtype == np.float32
        assert np.isfinite(sample.image).all()
        assert 0 <= sample.image.min() < sample.image.max() <= 1
        for array in (sample.labels, sample.instances):
            assert array.shape == (height, width)
            assert array.dtype == np.int32
        assert sample.labels.max() < len(shapes.classes) == len(shapes.palette)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_instances_are_numbered_without_gaps_and_have_one_class_each(difficulty):
    for sample in (Shapes(64, 12, seed=2, difficulty=difficulty)[index] for index in range(12)):
        numbers = np.unique(sample.instances)
        assert numbers.tolist() == list(range(len(numbers))), sample.name
        assert len(numbers) > 1, sample.name
        np.testing.assert_array_equal(sample.instances > 0, sample.labels > 0)
        for number in numbers[1:]:
            assert len(np.unique(sample.labels[sample.instances == number])) == 1, (sample.name, number)


def test_a_sample_depends_on_seed_split_difficulty_and_index_alone():
    def picture(**options):
        index = options.pop("index", 5)
        return Shapes(32, **({"count": 10, "seed": 3} | options))[index].image

    first = picture()
    np.testing.assert_array_equal(first, picture())
    np.testing.assert_array_equal(first, picture(count=99))  # more images change none of the others
    read_before = Shapes(32, 10, seed=3)
    for index in (9, 0, 7):
        read_before[index]
    np.testing.assert_array_equal(first, read_before[5].image)
    for other in ({"seed": 4}, {"split": "val"}, {"split": "test"}, {"difficulty": "hard"}, {"index": 6}):
        assert not np.array_equal(first, picture(**other)), other


def test_changing_a_sample_changes_no_later_one():
    shapes = Shapes(32, 2)
    before = shapes[0].image.copy()
    shapes[0].image[:] = 0
    np.testing.assert_array_equal(shapes[0].image, before)


def test_indices_count_from_the_end_and_stop_at_it():
    shapes = Shapes(32, 3)
    np.testing.assert_array_equal(shapes[-1].image, shapes[2].image)
    for outside in (3, -4):
        with pytest.raises(IndexError):
            shapes[outside]
    assert len({sample.name for sample in shapes}) == 3  # iteration ends


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_every_class_occurs_about_as_often(difficulty):
    counts = np.zeros(len(CLASSES), int)
    for sample in Shapes(48, 60, seed=4, difficulty=difficulty):
        for number in range(1, sample.instances.max() + 1):
            counts[sample.labels[sample.instances == number][0]] += 1
    share = counts[1:] / counts.sum()
    assert share.min() > 0.12, share
    assert share.max() < 0.40, share


def test_size_says_nothing_about_the_class():
    # The easy grade hides nothing, so what is labelled is the whole object.
    areas = {label: [] for label in range(1, len(CLASSES))}
    for sample in Shapes(48, 150, seed=7, difficulty="easy"):
        for number in range(1, sample.instances.max() + 1):
            inside = sample.instances == number
            areas[int(sample.labels[inside][0])].append(inside.sum())
    means = np.array([np.mean(of_class) for of_class in areas.values()])
    assert np.abs(means / means.mean() - 1).max() < 0.1, means


def test_colour_says_nothing_about_the_class():
    # The mean colour of the objects of each class, over many images: equal but for chance.
    colours = {label: [] for label in range(1, len(CLASSES))}
    for sample in Shapes(48, 150, seed=5):
        for number in range(1, sample.instances.max() + 1):
            inside = sample.instances == number
            colours[int(sample.labels[inside][0])].append(sample.image[:, inside].mean(1))
    means = np.array([np.mean(of_class, 0) for of_class in colours.values()])
    chance = np.array([np.std(of_class, 0) / np.sqrt(len(of_class)) for of_class in colours.values()])
    assert (np.abs(means - means.mean(0)) < 4.5 * chance).all(), (means, chance)


@pytest.mark.parametrize("kind", CLASSES[1:])
@pytest.mark.parametrize("turn", [0, 0.7])
def test_outlines_enclose_the_area_of_the_circle(kind, turn):
    y, x = np.mgrid[-60:61, -60:61].astype(float)
    turned = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    area = (signed_distance(kind, *turned, 30.0) <= 0).sum()
    assert area == pytest.approx(np.pi * 30**2, rel=0.01)


@pytest.mark.parametrize("kind", CLASSES[1:])
def test_distance_to_an_outline_grows_by_one_a_pixel(kind):
    # Walking out along the ray through an edge's middle crosses the outline once, at unit slope.
    y, x = np.mgrid[-60:61, -60:61].astype(float)
    distance = signed_distance(kind, x, y, 30.0)
    slope = np.hypot(*np.gradient(distance))
    near = np.abs(distance) < 1.5
    assert np.median(slope[near]) == pytest.approx(1, abs=0.01)
    assert np.mean(np.abs(slope[near] - 1) < 0.1) > 0.85  # all but the corners


def test_edges_are_blended():
    # The easy grade has plain colours: pixels between an object's and the ground's colour exist only where edges are.
    sample = Shapes(96, 1, seed=6, difficulty="easy")[0]
    down, across = np.gradient(sample.image.mean(0))
    steep = np.hypot(down, across) > 0.1
    edge = np.zeros_like(steep)
    edge[:, 1:] |= sample.instances[:, 1:] != sample.instances[:, :-1]
    edge[1:] |= sample.instances[1:] != sample.instances[:-1]
    grown = np.pad(edge, 2)
    grown = np.max([np.roll(grown, (i, j), (0, 1)) for i in range(-2, 3) for j in range(-2, 3)], 0)[2:-2, 2:-2]
    assert steep.sum() > 20
    assert np.mean(grown[steep]) > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"difficulty": "severe"}, "difficulty must be one of easy, medium, hard; got 'severe'"),
        ({"split": "dev"}, "split must be one of train, val, test; got 'dev'"),
        ({"count": 0}, "count must be at least 1"),
        ({"seed": -1}, "seed at least 0"),
        ({"size": 8}, "size must be at least 16; got 8"),
        ({"size": "big"}, "size must be an int or a pair of ints"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_named(options, message):
    with pytest.raises(OptionError, match=message):
        Shapes(**options)


def test_splits_are_the_three_usual_ones():
    assert set(SPLITS) == {"train", "val", "test"}


def test_the_last_bits_do_not_depend_on_the_threads_of_blas():
    images = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            images.append([Shapes(256, 4, seed=2)[i].image for i in range(4)])
    assert np.array_equal(images[0], images[1]) and np.array_equal(images[0], images[2])
