"""Palettes: the published colours, colours that differ, and painting with them."""

import numpy as np
import pytest

from minisegnet.data.palettes import (
    VOID_COLOUR,
    as_rgb,
    camvid_palette,
    colourise,
    default_palette,
    overlay,
    voc_palette,
)
from minisegnet.errors import LabelError, OptionError, ShapeError


def test_voc_palette_is_the_published_one():
    palette = voc_palette(256)
    published = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128), 7: (128, 128, 128)}
    published |= {8: (64, 0, 0), 15: (192, 128, 128), 16: (0, 64, 0), 20: (0, 64, 128), 255: VOID_COLOUR}
    for label, colour in published.items():
        assert tuple(palette[label].tolist()) == colour, label
    assert palette.dtype == np.uint8
    assert len(np.unique(palette, axis=0)) == 256


def test_camvid_palette_has_eleven_different_colours():
    assert camvid_palette().shape == (11, 3)
    assert len(np.unique(camvid_palette(), axis=0)) == 11


@pytest.mark.parametrize("num_classes", [0, 1, 2, 8, 9, 40, 300])
def test_default_palette_has_a_different_colour_for_every_class(num_classes):
    palette = default_palette(num_classes)
    assert palette.shape == (num_classes, 3)
    assert palette.dtype == np.uint8
    assert len(np.unique(palette, axis=0)) == num_classes


def test_default_palette_keeps_a_class_s_colour_when_classes_are_added():
    np.testing.assert_array_equal(default_palette(40)[:12], default_palette(12))


def test_default_palette_starts_with_colours_that_are_far_apart():
    palette = default_palette(20).astype(int)
    apart = np.abs(palette[:, None] - palette).sum(-1) + 1000 * np.eye(20, dtype=int)
    assert apart.min() > 60


def test_default_palette_is_not_changed_through_the_array_it_returned():
    default_palette(5)[:] = 0
    assert default_palette(5).any()


def test_default_palette_refuses_a_negative_number():
    with pytest.raises(OptionError, match="at least 0; got -1"):
        default_palette(-1)


def test_colourise_paints_each_label_and_the_ignored():
    labels = np.array([[0, 1, 255], [2, 2, 0]], np.int32)
    picture = colourise(labels, default_palette(3), ignore_index=255)
    assert picture.shape == (2, 3, 3)
    assert picture.dtype == np.uint8
    assert tuple(picture[0, 2]) == VOID_COLOUR
    for label in range(3):
        assert (picture[labels == label] == default_palette(3)[label]).all()


@pytest.mark.parametrize("stray", [-1, 3, 255])
def test_colourise_names_a_label_without_a_colour(stray):
    labels = np.zeros((4, 5), np.int32)
    labels[1, 2:4] = stray
    message = rf"label {stray} has no colour in a palette of 3 \(2 of 20 pixels\).*ignore_index"
    with pytest.raises(LabelError, match=message):
        colourise(labels, default_palette(3))


@pytest.mark.parametrize("channels", [1, 3])
def test_as_rgb_gives_bytes_of_three_channels(channels):
    image = np.linspace(-0.5, 1.5, channels * 12, dtype=np.float32).reshape(channels, 3, 4)
    picture = as_rgb(image)
    assert picture.shape == (3, 4, 3)
    assert picture.dtype == np.uint8
    for channel in range(3):
        expected = np.round(np.clip(image[channel % channels], 0, 1) * 255)
        np.testing.assert_allclose(picture[..., channel], expected, atol=1)


def test_as_rgb_refuses_two_channels():
    with pytest.raises(ShapeError, match=r"got \(2, 3, 4\)"):
        as_rgb(np.zeros((2, 3, 4), np.float32))


def test_overlay_goes_from_the_image_to_the_colours():
    rng = np.random.default_rng(0)
    image, labels = rng.random((3, 6, 7), np.float32), rng.integers(0, 4, (6, 7))
    palette = default_palette(4)
    np.testing.assert_array_equal(overlay(image, labels, palette, 0), as_rgb(image))
    np.testing.assert_array_equal(overlay(image, labels, palette, 1), colourise(labels, palette))
    halfway = (as_rgb(image).astype(int) + colourise(labels, palette)) / 2
    np.testing.assert_allclose(overlay(image, labels, palette, 0.5), halfway, atol=1)


def test_overlay_leaves_ignored_pixels_as_they_are():
    image, labels = np.full((1, 2, 2), 0.5, np.float32), np.array([[0, 9], [1, 9]])
    picture = overlay(image, labels, default_palette(2), alpha=1, ignore_index=9)
    assert (picture[:, 1] == as_rgb(image)[:, 1]).all()
    assert (picture[:, 0] == default_palette(2)).all()


def test_overlay_refuses_other_sizes_and_shares():
    image, labels = np.zeros((3, 4, 5), np.float32), np.zeros((5, 4), int)
    with pytest.raises(ShapeError, match=r"\(3, 4, 5\) and \(5, 4\)"):
        overlay(image, labels, default_palette(2))
    with pytest.raises(OptionError, match=r"0 to 1; got 1\.5"):
        overlay(image, labels.T, default_palette(2), alpha=1.5)
