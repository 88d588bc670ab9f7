"""The pictures of a run, by the arrays that are shown and the files that are written."""

import numpy as np
import pytest
from PIL import Image

from minisegnet.data.sample import Sample
from minisegnet.errors import CheckpointError
from minisegnet.training import draw_curves, draw_panel
from minisegnet.training.pictures import IGNORED, WRONG, abridged, as_picture, colours, error_map, running_mean

PALETTE = np.array([[0, 0, 0], [255, 200, 0], [0, 90, 255]], np.uint8)


def test_labels_take_their_class_colour_and_ignored_ones_grey():
    picture = colours(np.array([[0, 1], [2, 255]]), PALETTE, ignore_index=255)
    np.testing.assert_array_equal(picture, [[PALETTE[0], PALETTE[1]], [PALETTE[2], IGNORED]])


def test_errors_are_red_and_ignored_pixels_grey_over_a_faded_picture():
    picture = np.full((2, 2, 3), (10, 200, 90), np.uint8)
    errors = error_map(picture, np.array([[0, 1], [2, 2]]), np.array([[0, 2], [2, 255]]), ignore_index=255)
    assert tuple(errors[0, 1]) == WRONG and tuple(errors[1, 1]) == IGNORED
    assert tuple(errors[0, 0]) == tuple(errors[1, 0]) == (208, 208, 208)


def test_images_of_any_number_of_channels_become_a_picture():
    image = np.array([[[0.0, 1.5]], [[0.5, -1.0]], [[1.0, 0.2]]], np.float32)
    np.testing.assert_array_equal(as_picture(image), [[[0, 128, 255], [255, 0, 51]]])
    np.testing.assert_array_equal(as_picture(image[:1]), [[[0, 0, 0], [255, 255, 255]]])
    assert as_picture(np.zeros((5, 2, 3))).shape == (2, 3, 3)


@pytest.mark.parametrize("window", [1, 3, 10])
def test_running_mean_is_of_the_last_values(window):
    values = np.random.default_rng(0).normal(size=7)
    wanted = [values[max(0, i - window + 1) : i + 1].mean() for i in range(7)]
    np.testing.assert_allclose(running_mean(values, window), wanted, rtol=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("steps", [0, 1, 300])
@pytest.mark.parametrize("scores", [[], [np.nan], [0.2, 0.5, np.nan, 0.4]], ids=str)
def test_curves_of_runs_of_any_length(tmp_path, steps, scores):
    log = {"step": np.arange(1.0, steps + 1), "loss": np.exp(-np.arange(steps) / 50), "lr": np.full(steps, 0.1)}
    validation = {"step": 10.0 * np.arange(len(scores)), "mean_iou": np.array(scores)}
    draw_curves(log, validation, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width == 1040
        assert (picture.height > 700) == np.isfinite(scores).any()


def count(path, colour):
    with Image.open(path) as picture:
        return int((np.asarray(picture.convert("RGB")) == colour).all(axis=2).sum())


@pytest.mark.filterwarnings("error")
def test_panel_shows_each_pixel_of_the_maps(tmp_path):
    """By the area of each colour: a wrong prediction adds red and its class's colour."""
    labels = np.zeros((32, 48), np.int32)
    labels[:8] = 255
    labels[8:, :24] = 1
    sample = Sample(np.full((3, 32, 48), 0.5, np.float32), labels, "street")
    right = np.where(labels == 255, 0, labels)
    wrong = right.copy()
    wrong[16:, 24:] = 2
    areas = {}
    for name, prediction in (("right", right), ("wrong", wrong)):
        path = tmp_path / f"{name}.png"
        draw_panel([sample] * 2, [prediction] * 2, PALETTE, path, ["ground", "car", "sky"], ignore_index=255)
        areas[name] = {key: count(path, c) for key, c in [("red", WRONG), ("blue", PALETTE[2]), ("yellow", PALETTE[1])]}
    pixels = areas["right"]["yellow"] / (2 * 2 * labels[labels == 1].size)  # of the file for one of the image, about
    for colour in ("red", "blue"):
        more = areas["wrong"][colour] - areas["right"][colour]
        assert more == pytest.approx(2 * 16 * 24 * pixels, rel=0.1), colour
    assert areas["wrong"]["yellow"] == areas["right"]["yellow"]


def test_panel_takes_samples_of_other_sizes_without_names(tmp_path):
    sizes = [(8, 8), (5, 20)]
    samples = [Sample(np.zeros((1, *size), np.float32), np.zeros(size, np.int32), "grey") for size in sizes]
    draw_panel(samples, [s.labels for s in samples], PALETTE, tmp_path / "panel.png")
    with Image.open(tmp_path / "panel.png") as picture:
        assert picture.width > picture.height > 300


def test_disk_that_does_not_take_a_picture_is_told(tmp_path):
    nothing = dict.fromkeys(("step", "loss", "lr", "mean_iou"), np.zeros(0))
    with pytest.raises(CheckpointError, match=r"curves.png could not be written"):
        draw_curves(nothing, nothing, tmp_path / "no" / "curves.png")


def test_a_long_name_keeps_its_beginning_and_its_end():
    name = "0123456789abcdef" * 4
    short = abridged(name)
    assert len(short) <= 30 and name.startswith(short.split(" ... ")[0]) and name.endswith(short.split(" ... ")[1])
    assert abridged(name[:30]) == name[:30]
