import colorsys
import re

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import map_coordinates
from threadpoolctl import threadpool_limits

from minisegnet.data.elastic import bicubic
from minisegnet.data.resampling import at_points, mirrored
from minisegnet.data.sample import Sample
from minisegnet.data.transforms import (
    CenterCrop,
    ColorJitter,
    Compose,
    ElasticDeformation,
    GaussianNoise,
    Normalize,
    Pad,
    RandomApply,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotate90,
    RandomRotation,
    RandomScale,
    RandomVerticalFlip,
    Resize,
)
from minisegnet.errors import DataError, OptionError, ShapeError

WHOLE_PIXELS = [
    RandomHorizontalFlip(),
    RandomVerticalFlip(),
    RandomRotate90(),
    RandomCrop((9, 11)),
    RandomCrop(40),
    CenterCrop((9, 11)),
    CenterCrop(40),
    Pad((1, 2, 3, 4)),
    Compose([RandomCrop(16), RandomRotate90()]),
    RandomApply([RandomCrop(16), RandomRotate90()]),
]
BETWEEN_PIXELS = [
    RandomRotation(40),
    ElasticDeformation(sigma=3),
    Resize(31),
    Resize((13, 50)),
    RandomResizedCrop((17, 14)),
    RandomScale((0.6, 1.7)),
]
VALUES = [ColorJitter(0.4, 0.4, 0.4, 0.2), GaussianNoise(0.05), Normalize((0.4, 0.5, 0.6), 0.25)]
ALL = WHOLE_PIXELS + BETWEEN_PIXELS + VALUES


def of_seed(seed):
    return np.random.default_rng(seed)


def noisy_sample(seed=0, channels=3, size=(24, 20)):
    rng = of_seed(seed)
    return Sample(
        rng.random((channels, *size), np.float32),
        rng.integers(0, 5, size).astype(np.int32),
        f"noise{seed}",
        rng.integers(0, 9, size).astype(np.int32),
        rng.random(size, np.float32),
    )


def arrays(sample):
    return {name: getattr(sample, name) for name in ("image", "labels", "instances", "pixel_weight")}


def name_of(transform):
    return repr(transform)[:60]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("transform", ALL, ids=name_of)
def test_all_arrays_keep_type_and_one_size_and_the_given_sample_stays(transform, seed):
    given, untouched = noisy_sample(seed), noisy_sample(seed)
    for array in arrays(given).values():
        array.flags.writeable = False
    result = transform(given, of_seed(seed))
    again = transform(noisy_sample(seed), of_seed(seed))
    assert result.name == given.name
    for name, array in arrays(result).items():
        assert array.dtype == arrays(given)[name].dtype, name
        assert array.shape[-2:] == result.image.shape[-2:], name
        assert array.flags.c_contiguous, name
        np.testing.assert_array_equal(array, arrays(again)[name], err_msg=f"{name}: the same numbers, another result")
        np.testing.assert_array_equal(arrays(given)[name], arrays(untouched)[name], err_msg=f"{name} was changed")
    assert set(np.unique(result.labels)) <= set(np.unique(given.labels))
    assert set(np.unique(result.instances)) <= set(np.unique(given.instances))


@pytest.mark.parametrize(
    "transform", [t for t in ALL if t.__class__ not in (CenterCrop, Pad, Resize, Normalize)], ids=name_of
)
def test_another_rng_gives_another_result(transform):
    results = [transform(noisy_sample(), of_seed(seed)).image for seed in range(8)]
    assert any(other.shape != results[0].shape or (other != results[0]).any() for other in results)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("transform", WHOLE_PIXELS, ids=name_of)
def test_whole_pixels_move_together(transform, seed):
    """An image, instances and weights that equal the labels still do afterwards."""
    labels = of_seed(seed).integers(0, 200, (24, 20)).astype(np.int32)
    copy = labels.astype(np.float32)
    result = transform(Sample(np.stack([copy, copy]), labels, "copy", labels, copy), of_seed(seed))
    for plane in (*result.image, result.instances, result.pixel_weight):
        np.testing.assert_array_equal(plane, result.labels)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("transform", BETWEEN_PIXELS, ids=name_of)
def test_interpolated_image_stays_with_its_labels(transform, seed):
    """On a steady slope, nearest labels differ from the interpolated image by at most half a pixel each way."""
    slope_down, slope_right = 3, 7
    labels = (slope_down * np.arange(24)[:, None] + slope_right * np.arange(20)).astype(np.int32)
    copy = labels.astype(np.float32)
    result = transform(Sample(copy[None], labels, "slope", labels, copy), of_seed(seed))
    np.testing.assert_array_equal(result.instances, result.labels)
    # Splines ring where the mirror at the edge bends the slope: by less than a tenth of the bend.
    ringing = (slope_down + slope_right) / 10 * 2 if isinstance(transform, ElasticDeformation) else 0
    np.testing.assert_allclose(result.image[0], result.pixel_weight, rtol=0, atol=ringing)
    inner = np.s_[3:-3, 3:-3] if isinstance(transform, Resize | RandomResizedCrop | RandomScale) else np.s_[:, :]
    apart = np.abs(result.pixel_weight - result.labels)[inner]
    assert apart.max() <= (slope_down + slope_right) / 2 + 1e-3


@pytest.mark.parametrize("transform", ALL, ids=name_of)
def test_image_alone_is_transformed(transform):
    bare = Sample(noisy_sample().image, None, "bare")
    result = transform(bare, of_seed(1))
    assert result.labels is None and result.instances is None and result.pixel_weight is None
    np.testing.assert_array_equal(result.image, transform(noisy_sample(), of_seed(1)).image)


@pytest.mark.parametrize(
    "transform",
    [
        RandomRotation(0),
        RandomRotation(0, label_fill=255),
        ElasticDeformation(sigma=0),
        Resize((24, 20)),
        Resize(20),
        CenterCrop((24, 20)),
        RandomCrop((24, 20)),
        Pad(0),
        Compose([]),
        RandomApply([RandomCrop(3)], p=0),
        RandomHorizontalFlip(p=0),
        RandomVerticalFlip(p=0),
        ColorJitter(),
        GaussianNoise(0),
        Normalize(0, 1),
        RandomScale((1, 1)),
        RandomResizedCrop((24, 20), scale=(1, 1), ratio=(20 / 24, 20 / 24)),
    ],
    ids=name_of,
)
def test_identity(transform):
    given = noisy_sample()
    for name, array in arrays(transform(given, of_seed(3))).items():
        np.testing.assert_array_equal(array, arrays(given)[name], err_msg=name)


# ---------------------------------------------------------------------------------------------------- flips, rotations


def test_flips_by_hand():
    given = noisy_sample()
    np.testing.assert_array_equal(RandomHorizontalFlip(1)(given, of_seed(0)).image, given.image[:, :, ::-1])
    np.testing.assert_array_equal(RandomVerticalFlip(1)(given, of_seed(0)).labels, given.labels[::-1])


def test_rotate90_is_each_of_numpys_turns_as_often():
    given = noisy_sample()
    turned = [np.rot90(given.labels, k) for k in range(4)]
    counts = [0, 0, 0, 0]
    for seed in range(400):
        result = RandomRotate90()(given, of_seed(seed)).labels
        counts[[result.shape == t.shape and (result == t).all() for t in turned].index(True)] += 1
    assert min(counts) > 70, counts


def test_probability():
    given = noisy_sample()
    flips = sum((RandomHorizontalFlip(0.2)(given, of_seed(s)).image != given.image).any() for s in range(500))
    applied = sum(
        (RandomApply([GaussianNoise()], 0.2)(given, of_seed(s)).image != given.image).any() for s in range(500)
    )
    assert 65 < flips < 135 and 65 < applied < 135, (flips, applied)


@pytest.mark.parametrize("turns", [1, 2, 3, -1])
@pytest.mark.parametrize("size", [(8, 8), (9, 9)])
def test_rotation_by_right_angles_is_rot90(turns, size):
    given = noisy_sample(size=size)
    result = RandomRotation((90 * turns, 90 * turns), label_fill=255)(given, of_seed(0))
    np.testing.assert_array_equal(result.labels, np.rot90(given.labels, turns))
    np.testing.assert_allclose(result.image, np.rot90(given.image, turns, (1, 2)), atol=1e-6)


def test_rotation_fills_labels_from_outside_and_mirrors_the_image():
    given = noisy_sample(size=(40, 40))
    filled = RandomRotation((45, 45), label_fill=255)(given, of_seed(0))
    mirrored_labels = RandomRotation((45, 45))(given, of_seed(0)).labels
    y, x = np.mgrid[:40, :40] - 19.5
    outside = np.abs(x) + np.abs(y) > 20 * np.sqrt(2) + 1e-9
    np.testing.assert_array_equal(filled.labels == 255, outside)
    np.testing.assert_array_equal(filled.labels[~outside], mirrored_labels[~outside])
    assert (filled.instances[outside] == 0).all() and (filled.image[:, outside] > 0).all()
    assert 255 not in mirrored_labels


def test_rotation_angles_are_spread_over_the_interval():
    """A dot to the right of the middle goes up by counter-clockwise turns."""
    image = np.zeros((1, 101, 101), np.float32)
    image[0, 50, 90] = 1
    angles = []
    for seed in range(60):
        turned = RandomRotation((10, 50))(Sample(image, None, "dot"), of_seed(seed)).image[0]
        row, column = np.unravel_index(turned.argmax(), turned.shape)
        angles.append(np.rad2deg(np.arctan2(50 - row, column - 50)))
    assert 8 < min(angles) < 16 and 44 < max(angles) < 52, (min(angles), max(angles))


def test_points_are_mirrored_and_read_as_scipy_and_by_hand():
    given = noisy_sample(size=(7, 6))
    rng = of_seed(5)
    rows, columns = rng.uniform(-20, 27, (11, 12)), rng.uniform(-20, 26, (11, 12))
    result = at_points(given, rows, columns)
    # By hand: the four neighbours of each point, found in the mirrored image.
    below, right = rows - np.floor(rows), columns - np.floor(columns)
    r, c = np.floor(rows).astype(int), np.floor(columns).astype(int)
    wanted = sum(
        np.abs(1 - i - below) * np.abs(1 - j - right) * given.image[:, mirrored(r + i, 7), mirrored(c + j, 6)]
        for i in (0, 1)
        for j in (0, 1)
    )
    np.testing.assert_allclose(result.image, wanted, atol=1e-6)
    nearest = mirrored(np.floor(rows + 0.5).astype(int), 7), mirrored(np.floor(columns + 0.5).astype(int), 6)
    np.testing.assert_array_equal(result.labels, given.labels[nearest])


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_mirrored_is_numpys_reflection(size):
    np.testing.assert_array_equal(
        np.arange(size)[mirrored(np.arange(-3 * size, 4 * size), size)],
        np.pad(np.arange(size), 3 * size, mode="reflect"),
    )


# ------------------------------------------------------------------------------------------------------ crops, margins


def test_random_crop_is_a_window_and_reaches_every_place():
    given = noisy_sample(size=(12, 10))
    places = set()
    for seed in range(300):
        crop = RandomCrop((10, 9))(given, of_seed(seed))
        fits = [
            (top, left)
            for top in range(3)
            for left in range(2)
            if (crop.image == given.image[:, top : top + 10, left : left + 9]).all()
        ]
        assert len(fits) == 1
        places.add(fits[0])
    assert len(places) == 6


def test_crops_reflect_a_smaller_image():
    given = noisy_sample(size=(5, 30))
    crop = CenterCrop((9, 30))(given, of_seed(0))
    np.testing.assert_array_equal(crop.image, np.pad(given.image, ((0, 0), (2, 2), (0, 0)), mode="reflect"))
    np.testing.assert_array_equal(crop.labels, np.pad(given.labels, ((2, 2), (0, 0)), mode="reflect"))
    for seed in range(20):
        crop = RandomCrop((9, 12))(given, of_seed(seed))
        padded = np.pad(given.labels, ((4, 4), (0, 0)), mode="reflect")
        assert any(
            (crop.labels == padded[t : t + 9, left : left + 12]).all() for t in range(5) for left in range(19)
        ), seed


def test_center_crop_by_hand():
    given = noisy_sample(size=(9, 8))
    np.testing.assert_array_equal(CenterCrop(4)(given, of_seed(0)).labels, given.labels[2:6, 2:6])


def test_pad_sides_and_label_fill():
    given = noisy_sample()
    padded = Pad((1, 2, 3, 4))(given, of_seed(0))
    np.testing.assert_array_equal(padded.image, np.pad(given.image, ((0, 0), (2, 4), (1, 3)), mode="reflect"))
    np.testing.assert_array_equal(padded.labels, np.pad(given.labels, ((2, 4), (1, 3)), mode="reflect"))
    assert Pad(2).padding == (2, 2, 2, 2) and Pad((1, 5)).padding == (1, 5, 1, 5)
    filled = Pad(3, label_fill=255)(given, of_seed(0))
    np.testing.assert_array_equal(filled.labels, np.pad(given.labels, 3, constant_values=255))
    np.testing.assert_array_equal(filled.instances, np.pad(given.instances, 3))
    np.testing.assert_array_equal(filled.image, np.pad(given.image, ((0, 0), (3, 3), (3, 3)), mode="reflect"))


@pytest.mark.parametrize("size", [(12, 40), (24, 20), (59, 7), (48, 33), (1, 1)])
def test_resize_is_pillows(size):
    given = noisy_sample(size=(24, 20))
    result = Resize(size)(given, of_seed(0))
    height, width = size
    for plane, wanted in zip((*result.image, result.pixel_weight), (*given.image, given.pixel_weight), strict=True):
        scaled = Image.fromarray(wanted).resize((width, height), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(plane, np.asarray(scaled), atol=1e-5)
    nearest = Image.fromarray(given.labels).resize((width, height), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(result.labels, np.asarray(nearest))


@pytest.mark.parametrize("size, wanted", [((30, 60), (10, 20)), ((60, 30), (20, 10)), ((25, 33), (10, 13))])
def test_resize_to_an_int_is_the_shorter_side(size, wanted):
    assert Resize(10)(noisy_sample(size=size), of_seed(0)).labels.shape == wanted


def test_random_resized_crop_draws_its_area_and_proportions():
    """Where an image holds its own coordinates, the result's slopes tell the window that was taken."""
    height, width = 200, 300
    image = np.stack(np.mgrid[:height, :width]).astype(np.float32)
    shares, ratios = [], []
    for seed in range(80):
        y, x = RandomResizedCrop(20, (0.1, 0.5), (0.5, 2))(Sample(image, None, "places"), of_seed(seed)).image
        tall, wide = (y[12, 5] - y[7, 5]) * 4, (x[5, 12] - x[5, 7]) * 4
        shares.append(tall * wide / (height * width))
        ratios.append(wide / tall)
    assert 0.09 < min(shares) < 0.15 and 0.4 < max(shares) < 0.51
    assert 0.48 < min(ratios) < 0.65 and 1.6 < max(ratios) < 2.05


def test_random_resized_crop_of_an_image_that_no_window_fits():
    result = RandomResizedCrop((8, 8), scale=(1, 1))(noisy_sample(size=(5, 90)), of_seed(0))
    assert result.image.shape == (3, 8, 8)


# ------------------------------------------------------------------------------------------------- elastic deformation


def test_elastic_displacements_have_the_paper_s_deviation():
    """At the grid's points it is sigma; between them less, since neighbours are averaged; the mean is 0."""
    deformation = ElasticDeformation(grid=3, sigma=10.0)
    d = np.stack([deformation.displacement(65, 129, of_seed(seed)) for seed in range(600)])
    assert abs(d.mean()) < 0.5
    at_points = d[:, :, ::32, ::64]
    np.testing.assert_allclose(at_points.std(axis=0), 10, rtol=0.12)
    assert 7 < d.std() < 10
    neighbours = np.corrcoef(at_points.reshape(600, -1), rowvar=False) - np.eye(18)
    assert np.abs(neighbours).max() < 0.2, "the points' displacements are independent, and so are their directions"


def test_elastic_displacement_goes_through_its_grid_and_is_smooth():
    rng = of_seed(7)
    coarse = 10 * of_seed(7).standard_normal((2, 3, 3))
    fine = ElasticDeformation().displacement(201, 301, rng)
    np.testing.assert_allclose(fine[:, ::100, ::150], coarse, atol=1e-12)
    assert max(np.abs(np.diff(fine, axis=axis)).max() for axis in (1, 2)) < 1
    assert max(np.abs(np.diff(fine, 2, axis=axis)).max() for axis in (1, 2)) < 0.05


@pytest.mark.parametrize("points", [2, 3, 5])
@pytest.mark.parametrize("length", [1, 2, 50])
def test_bicubic_weights(length, points):
    weights = bicubic(length, points)
    assert weights.shape == (length, points)
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_bicubic_is_pillows_between_the_inner_points():
    """Away from the edges, Pillow's bicubic (Keys, a = -1/2) gives the same curve."""
    values = of_seed(11).standard_normal(9).astype(np.float32)
    scaled = np.asarray(Image.fromarray(values[None]).resize((9 * 16, 1), Image.Resampling.BICUBIC))[0]
    positions = (np.arange(9 * 16) + 0.5) / 16 - 0.5
    curve = bicubic(8 * 32 + 1, 9) @ values  # at every 1/32
    inner = (positions > 2) & (positions < 6)
    np.testing.assert_allclose(curve[np.rint(positions[inner] * 32).astype(int)], scaled[inner], atol=1e-5)


def test_elastic_reads_where_its_displacement_points():
    given = noisy_sample(size=(40, 50))
    down, right = ElasticDeformation(sigma=4).displacement(40, 50, of_seed(2))
    rows, columns = np.arange(40)[:, None] + down, np.arange(50) + right
    result = ElasticDeformation(sigma=4)(given, of_seed(2))
    for plane, source in zip(result.image, given.image, strict=True):
        wanted = map_coordinates(source.astype(float), (rows, columns), order=3, mode="mirror")
        np.testing.assert_allclose(plane, np.clip(wanted, given.image.min(), given.image.max()), atol=1e-5)


def test_elastic_keeps_the_image_sharp():
    """A fine grating keeps its contrast, of which bilinear reading would lose about a third."""
    grating = 0.5 + 0.4 * np.cos(np.arange(128) * 2 * np.pi / 4 + 0.3).astype(np.float32)
    image = np.broadcast_to(grating, (1, 128, 128))
    labels = np.zeros((128, 128), np.int32)
    for seed in range(5):
        result = ElasticDeformation()(Sample(image, labels, "grating"), of_seed(seed))
        assert result.image.std() > 0.9 * image.std(), seed
        assert result.image.min() >= 0.1 - 1e-6 and result.image.max() <= 0.9 + 1e-6


def test_elastic_keeps_a_smooth_image_with_its_mask():
    """A disc and its mask, deformed: the image, cut at a half, is the mask but for pixels on its edge."""
    y, x = np.mgrid[:128, :128]
    distance = np.hypot(y - 60, x - 70) - 30
    image = np.clip(0.5 - distance, 0, 1).astype(np.float32)
    labels = (distance < 0).astype(np.int32)
    for seed in range(5):
        result = ElasticDeformation()(Sample(image[None], labels, "disc"), of_seed(seed))
        differing = (result.image[0] > 0.5) != result.labels
        assert (result.labels != labels).sum() > 200 and differing.sum() < 60, seed


# ------------------------------------------------------------------------------------------------------------- values


def test_normalize():
    given = noisy_sample()
    result = Normalize((0.1, 0.2, 0.3), (0.5, 1, 2))(given, of_seed(0)).image
    for channel, (mean, std) in enumerate(zip((0.1, 0.2, 0.3), (0.5, 1, 2), strict=True)):
        np.testing.assert_allclose(result[channel], (given.image[channel] - mean) / std, atol=1e-6)
    with pytest.raises(ShapeError, match=r"mean has 3 values and noise0 1 channels"):
        Normalize((0.1, 0.2, 0.3), 1)(noisy_sample(channels=1), of_seed(0))


def test_gaussian_noise_has_its_deviation_and_stays_in_range():
    grey = Sample(np.full((1, 200, 200), 0.5, np.float32), None, "grey")
    noise = GaussianNoise(0.05)(grey, of_seed(0)).image - 0.5
    assert abs(noise.mean()) < 0.002 and abs(noise.std() - 0.05) < 0.002
    wild = GaussianNoise(3.0)(grey, of_seed(0)).image
    assert wild.min() == 0 and wild.max() == 1


@pytest.mark.parametrize("turn", [0.0, 0.1, 0.5, -0.3])
def test_hue_is_colorsys(turn):
    given = noisy_sample(size=(8, 8))
    given.image[:, 0, 0], given.image[:, 0, 1], given.image[:, 0, 2] = 0, 1, 0.5  # colours without a hue
    result = ColorJitter(hue=(turn, turn))(given, of_seed(0)).image
    for row, column in np.ndindex(8, 8):
        hue, saturation, value = colorsys.rgb_to_hsv(*given.image[:, row, column].tolist())
        wanted = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
        np.testing.assert_allclose(result[:, row, column], wanted, atol=2e-6)


def test_brightness_contrast_saturation_by_hand():
    given = noisy_sample()
    image = given.image
    grey = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]

    def jittered(**settings):
        return ColorJitter(**settings)(given, of_seed(0)).image

    np.testing.assert_allclose(jittered(brightness=(0.6, 0.6)), 0.6 * image, atol=1e-6)
    np.testing.assert_allclose(jittered(brightness=(1.8, 1.8)), np.minimum(1.8 * image, 1), atol=1e-6)
    wanted = np.clip(0.5 * image + 0.5 * grey.mean(), 0, 1)
    np.testing.assert_allclose(jittered(contrast=(0.5, 0.5)), wanted, atol=1e-5)
    np.testing.assert_allclose(jittered(saturation=(0, 0)), np.stack([grey] * 3), atol=1e-6)


def test_color_jitter_of_grey():
    given = noisy_sample(channels=1)
    result = ColorJitter(0.3, 0.3, 0.3, 0.3)(given, of_seed(1)).image
    assert result.shape == given.image.shape and (result != given.image).any()
    assert result.min() >= 0 and result.max() <= 1
    alone = ColorJitter(saturation=0.9, hue=0.5)(given, of_seed(1)).image
    np.testing.assert_array_equal(alone, given.image)


@pytest.mark.parametrize("transform", [ColorJitter(0.1), GaussianNoise()], ids=name_of)
def test_values_of_a_normalised_image_are_refused(transform):
    chain = Compose([Normalize(0.5, 0.25), transform])
    with pytest.raises(DataError, match=r"takes images of 0 to 1; noise0 goes from -.* to .* before Normalize"):
        chain(noisy_sample(), of_seed(0))


# -------------------------------------------------------------------------------------------------- settings and errors


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: RandomHorizontalFlip(1.5), "p is a probability"),
        (lambda: RandomApply([], -0.1), "p is a probability"),
        (lambda: RandomCrop(0), "RandomCrop: size must be at least 1"),
        (lambda: CenterCrop((3, 3, 3)), "CenterCrop: size must be an int or a pair"),
        (lambda: Resize(2.5), "Resize: size must be an int or a pair"),
        (lambda: RandomRotation(-3), "RandomRotation: degrees must be a number from 0, or a pair"),
        (lambda: RandomRotation("much"), "RandomRotation: degrees .* got 'much'"),
        (lambda: RandomResizedCrop(8, scale=(0.5, 1.5)), r"scale must be a pair \(low, high\), within 0 to 1"),
        (lambda: RandomResizedCrop(8, ratio=(2, 1)), "ratio must be a pair"),
        (lambda: Pad(-1), "Pad: padding must be 1, 2 or 4 ints from 0"),
        (lambda: Pad((1, 2, 3)), "Pad: padding must be 1, 2 or 4 ints from 0"),
        (lambda: ColorJitter(brightness=-1), "ColorJitter: brightness"),
        (lambda: ColorJitter(hue=0.6), "hue must be .* within -0.5 to 0.5"),
        (lambda: GaussianNoise(-1), "sigma must be at least 0"),
        (lambda: Normalize(0, 0), "std must be a number for each channel, above 0"),
        (lambda: Normalize(np.nan, 1), "mean must be a number for each channel"),
        (lambda: ElasticDeformation(grid=1), "grid must be at least 2 points"),
        (lambda: ElasticDeformation(sigma=-1), "sigma must be at least 0 pixels"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(OptionError, match=message):
        make()


@pytest.mark.parametrize("transform", WHOLE_PIXELS[3:-1] + BETWEEN_PIXELS, ids=name_of)
def test_a_mask_of_another_size_is_refused_before_it_is_cut_to_fit(transform):
    torn = Sample(np.zeros((1, 24, 20), np.float32), np.zeros((24, 21), np.int32), "torn")
    with pytest.raises(DataError, match="torn: the image is 24 x 20 and its labels 24 x 21"):
        transform(torn, of_seed(0))
    empty = Sample(np.zeros((1, 0, 0), np.float32), None, "empty")
    with pytest.raises(DataError, match="empty: the image has no pixels: 0 x 0"):
        transform(empty, of_seed(0))


def test_repr_says_what_it_does():
    chain = Compose([RandomCrop(256), RandomApply([ElasticDeformation()], p=0.8), Normalize([0.5], np.float32(0.25))])
    assert repr(chain) == (
        "Compose(transforms=(RandomCrop(size=(256, 256)), RandomApply(transforms=(ElasticDeformation(grid=3, "
        "sigma=10.0),), p=0.8), Normalize(mean=(0.5,), std=(0.25,))))"
    )
    assert not re.search("0x[0-9a-f]{6}", repr(chain))


# ------------------------------------------------------------------------------------------------------- random scale


def test_random_scale_keeps_the_proportions_and_spans_its_range():
    given = noisy_sample(size=(48, 40))
    factors = []
    for seed in range(200):
        result = RandomScale((0.5, 2.0))(given, of_seed(seed))
        height, width = result.labels.shape
        assert result.image.shape[1:] == (height, width) and abs(height / 48 - width / 40) < 0.03
        factors.append(height / 48)
    assert min(factors) < 0.55 and max(factors) > 1.85
    assert abs(np.mean(np.log(factors))) < 0.1, "as many larger as smaller"


@pytest.mark.parametrize("scale", [(0, 1), (2, 1), (-1, 2), "large", (0.5, np.inf)])
def test_random_scale_refuses(scale):
    with pytest.raises(OptionError, match="RandomScale: scale"):
        RandomScale(scale)


@pytest.mark.parametrize(
    "transform",
    [
        Resize((300, 420)),
        Resize(90),
        RandomScale((1.5, 2)),
        RandomResizedCrop(300),
        ElasticDeformation(),
        ColorJitter(0.4, 0.4, 0.4, 0.2),
        RandomRotation(40),
    ],
    ids=repr,
)
def test_the_last_bits_do_not_depend_on_the_threads_of_blas(transform):
    """Which the engine changes while a loader's thread makes the next batch: a run that was killed goes on alike."""
    sample = noisy_sample(size=(200, 260))
    images = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            images.append(transform(sample, of_seed(3)).image)
    assert np.array_equal(images[0], images[1]) and np.array_equal(images[0], images[2])
