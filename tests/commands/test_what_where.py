"""`minisegnet what-where`: the networks' predictions of one image, its truth, and the place that is enlarged."""

import numpy as np
import pytest
from PIL import Image
from small_checkpoint import save_small_checkpoint

from minisegnet.cli import main
from minisegnet.data.palettes import VOID_COLOUR, colourise
from minisegnet.errors import OptionError, ShapeError
from minisegnet.teaching import what_where_picture
from minisegnet.teaching.what_where_picture import Window, draw_what_where, where_they_differ, window_around
from minisegnet.trained import load_trained
from minisegnet.training import load_checkpoint, save_checkpoint

SIZE = (30, 44)
CLASSES = ["ground", "cat", "dog"]
PALETTE = np.array([(0, 0, 0), (200, 30, 30), (30, 30, 200)], np.uint8)


@pytest.fixture
def photo(tmp_path):
    """An image file and a mask of its size, and a checkpoint in each of two folders."""
    rng = np.random.default_rng(3)
    Image.fromarray(rng.integers(0, 256, (*SIZE, 3), np.uint8)).save(tmp_path / "photo.png")
    Image.fromarray(mask()).save(tmp_path / "mask.png")
    for number, name in enumerate(("first", "second")):
        (tmp_path / name).mkdir()
        save_small_checkpoint(tmp_path / name / "best.npz", seed=5 + number)
    return tmp_path


def mask():
    labels = np.zeros(SIZE, np.uint8)
    labels[8:20, 10:25] = 1
    labels[22:, 30:] = 2
    labels[0, 0] = 255
    return labels


def what_where(folder, *options, networks=("first", "second")):
    checkpoints = [str(folder / name / "best.npz") for name in networks]
    out = [] if "--out" in options else ["--out", str(folder / "drawn.png")]
    return main(["what-where", str(folder / "photo.png"), *checkpoints, *out, *map(str, options)])


@pytest.fixture
def drawn(monkeypatch):
    """What the command gives to the picture, and the figure that comes of it."""
    seen = {}

    def spied(image, predictions, palette, classes, truth, ignore_index, window):
        seen.update(predictions=predictions, truth=truth, window=window)
        seen["figure"] = draw_what_where(image, predictions, palette, classes, truth, ignore_index, window)
        return seen["figure"]

    monkeypatch.setattr(what_where_picture, "draw_what_where", spied)
    return seen


def test_each_network_predicts_as_predict_does(photo, drawn, capsys):
    assert what_where(photo, "--mask", photo / "mask.png", "--threads", "1") == 0
    image = np.asarray(Image.open(photo / "photo.png"), np.float32).transpose(2, 0, 1) / 255
    assert list(drawn["predictions"]) == ["U-Net, first", "U-Net, second"]
    for name, prediction in zip(("first", "second"), drawn["predictions"].values(), strict=True):
        graph, recipe = load_trained(photo / name / "best.npz")
        np.testing.assert_array_equal(prediction, recipe.probabilities(graph, image).argmax(axis=0))
        assert len(np.unique(prediction)) > 1
    np.testing.assert_array_equal(drawn["truth"], mask())
    titles = [axes.get_title() for axes in drawn["figure"].axes if axes.get_title()]
    assert titles == ["image", "truth", "U-Net, first", "U-Net, second"]
    Image.open(photo / "drawn.png").load()
    assert f"picture  {photo / 'drawn.png'}" in capsys.readouterr().out


def test_what_is_told_as_zoom_draws_the_same_place(photo, drawn, capsys):
    assert what_where(photo) == 0
    place = capsys.readouterr().out.split("--zoom ")[1].split()[0]
    chosen = drawn["window"]
    assert what_where(photo, "--zoom", place) == 0
    assert drawn["window"] == chosen
    assert what_where(photo, "--zoom", "10,20,8", networks=["first"]) == 0
    assert drawn["window"] == Window(6, 16, 8, 8)
    assert list(drawn["predictions"]) == ["U-Net"]


def test_masks_may_be_colours_or_black_and_white(photo, drawn):
    recipe = load_trained(photo / "first" / "best.npz")[1]
    coloured = colourise(mask().astype(np.int32), np.array(recipe.palette, np.uint8), 255)
    assert tuple(coloured[0, 0]) == VOID_COLOUR
    Image.fromarray(coloured).save(photo / "colours.png")
    assert what_where(photo, "--mask", photo / "colours.png") == 0
    np.testing.assert_array_equal(drawn["truth"], mask())

    save_small_checkpoint(photo / "two.npz", classes=("ground", "cat"))
    arrays, metadata = load_checkpoint(photo / "two.npz")
    save_checkpoint(photo / "two.npz", arrays, {**metadata, "ignore_index": None})
    Image.fromarray(np.where(mask() == 1, np.uint8(255), np.uint8(0))).save(photo / "two.png")
    command = ["what-where", str(photo / "photo.png"), str(photo / "two.npz"), "--mask", str(photo / "two.png")]
    assert main([*command, "--out", str(photo / "drawn.png")]) == 0
    np.testing.assert_array_equal(drawn["truth"], mask() == 1)


@pytest.mark.parametrize(
    "options, words",
    [
        (["--zoom", "30,0,8"], ["30 x 44", "row 30"]),
        (["--zoom", "3,3,0"], ["side 0"]),
        (["--out", "picture.pdf"], ["PNG", "picture.png"]),
        (["--mask", "turned.png"], ["turned.png is 44 x 30", "the image is 30 x 44"]),
        (["--mask", "stray.png"], ["label 7", "row 0, column 0"]),
        (["--mask", "pink.png"], ["(255, 0, 200)", "no class"]),
    ],
)
def test_what_cannot_be_is_told_in_one_line(options, words, photo, monkeypatch, capsys):
    monkeypatch.chdir(photo)
    Image.fromarray(mask().T).save("turned.png")
    Image.fromarray(np.full(SIZE, 7, np.uint8)).save("stray.png")
    Image.fromarray(np.full((*SIZE, 3), (255, 0, 200), np.uint8)).save("pink.png")
    assert what_where(photo, *options) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    for word in words:
        assert word in told
    assert not (photo / "drawn.png").exists()


def test_networks_of_other_classes_and_twice_the_same(photo, capsys):
    (photo / "other").mkdir()
    save_small_checkpoint(photo / "other" / "best.npz", classes=("ground", "dog", "cat"))
    assert what_where(photo, networks=["first", "other"]) == 2
    told = capsys.readouterr().err
    assert "ground, cat, dog" in told and "ground, dog, cat" in told
    assert what_where(photo, networks=["first", "first"]) == 2
    assert "twice" in capsys.readouterr().err


def test_no_file_that_is_read_is_replaced(photo, capsys):
    before = (photo / "photo.png").read_bytes()
    assert what_where(photo, "--out", photo / "photo.png") == 2
    assert what_where(photo, "--mask", photo / "mask.png", "--out", photo / "mask.png") == 2
    assert "would be replaced" in capsys.readouterr().err
    assert (photo / "photo.png").read_bytes() == before


# -------------------------------------------------------------------------------------------------- the place, drawing


def test_the_window_is_where_predictions_differ_along_the_truths_boundary():
    truth = np.zeros((60, 80), int)
    truth[:, 40:] = 1
    right, wrong = truth.copy(), truth.copy()
    wrong[30:42, 36:40] = 1  # along the boundary
    wrong[5:15, 60:78] = 0  # more, but inside a class
    window = where_they_differ([right, wrong], truth, side=12)
    assert window[2:] == (12, 12)
    assert 27 <= window.top <= 33 and 30 <= window.left <= 36  # about the middle of the first, row 36 and column 38


def test_what_the_truth_ignores_attracts_no_window():
    truth = np.zeros((40, 80), int)
    truth[15:25, 10:20] = truth[15:25, 60:70] = 1
    wrong = truth.copy()
    wrong[15:25, 10:20] = 0
    wrong[18:22, 60:64] = 0
    assert where_they_differ([wrong], truth, 255).left < 25
    truth[15:25, 10:20] = 255
    assert where_they_differ([wrong], truth, 255).left > 45


def test_the_window_without_truth_without_difference_and_without_boundary():
    labels = np.zeros((40, 50), int)
    labels[35:, :3] = 1
    assert where_they_differ([labels]) == Window(24, 0, 16, 16)
    assert where_they_differ([labels, labels]) == Window(24, 0, 16, 16)
    assert where_they_differ([np.zeros((40, 50), int)]) == Window(12, 17, 16, 16)
    assert where_they_differ([np.zeros((5, 50), int)]) == Window(0, 17, 5, 16)


@pytest.mark.parametrize(
    "place, window",
    [
        ((10, 10, 6), (7, 7, 6, 6)),
        ((0, 0, 6), (0, 0, 6, 6)),
        ((19, 29, 6), (14, 24, 6, 6)),
        ((10, 10, 25), (0, 0, 20, 25)),
        ((5, 7, 1), (5, 7, 1, 1)),
    ],
)
def test_a_window_stays_inside_the_image(place, window):
    assert window_around(*place, (20, 30)) == window


@pytest.mark.parametrize("place", [(-1, 0, 5), (20, 0, 5), (0, 30, 5), (3, 3, 0)])
def test_a_window_about_no_pixel(place):
    with pytest.raises(OptionError, match="20 x 30"):
        window_around(*place, (20, 30))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("channels, size", [(3, (24, 30)), (1, (50, 17)), (3, (1, 40))])
def test_the_boundary_drawn_is_the_truths_or_each_ones_own(channels, size, known):
    rng = np.random.default_rng(4)
    image = rng.random((channels, *size), np.float32)
    truth = rng.integers(0, 3, size)
    predictions = {name: rng.integers(0, 3, size) for name in ("one", "two")}
    window = window_around(size[0] // 2, size[1] // 2, 9, size)
    figure = draw_what_where(image, predictions, PALETTE, CLASSES, truth if known else None, None, window)
    enlarged = [axes for axes in figure.axes if axes.collections]
    labellings = [truth] * 3 if known else list(predictions.values())
    assert len(enlarged) == len(labellings)
    for axes, labels in zip(enlarged, labellings, strict=True):
        part = window.of(labels)
        edges = (part[1:] != part[:-1]).sum() + (part[:, 1:] != part[:, :-1]).sum()
        assert all(len(lines.get_segments()) == edges for lines in axes.collections)
    whole = [axes.images[0].get_array() for axes in figure.axes if axes.get_title() in predictions]
    for picture, labels in zip(whole, predictions.values(), strict=True):
        np.testing.assert_array_equal(picture, PALETTE[labels])


def test_scores_are_of_this_image():
    truth = np.repeat([[0, 1]], 4, axis=0).repeat(4, axis=1)
    wrong = np.zeros_like(truth)
    figure = draw_what_where(np.zeros((1, 4, 8), np.float32), {"A": truth, "B": wrong}, PALETTE, CLASSES, truth)
    told = [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text()]
    assert told == ["mean IoU 1.000", "mean IoU 0.250"]


def test_labels_of_another_size():
    with pytest.raises(ShapeError, match="A: the labels are 4 x 5, the image is 4 x 4"):
        draw_what_where(np.zeros((1, 4, 4), np.float32), {"A": np.zeros((4, 5), int)}, PALETTE, CLASSES)
