"""`minisegnet pretrain`, with few images and steps: an encoder that another network can begin with."""

import shlex

import numpy as np
import pytest

from minisegnet import models
from minisegnet.cli import main, parser
from minisegnet.commands import pretrain
from minisegnet.data.shape_classes import ShapeClasses
from minisegnet.interop import load_pretrained
from minisegnet.trained import load_trained
from minisegnet.training import load_checkpoint
from minisegnet.training.trainer import centre

TINY = ["--size", "16", "--batch-size", "4", "--threads", "1"]


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    monkeypatch.setattr(pretrain, "IMAGES", {"train": 12, "val": 4, "test": 5})


def run(folder, *options, encoder="laptop", width="2"):
    return main(["pretrain", encoder, "--out", str(folder), "--width", width, *TINY, *options])


def test_a_run_leaves_an_encoder_and_says_what_to_do_with_it(tmp_path, capsys):
    assert run(tmp_path / "run", "--steps", "4", "--seed", "3") == 0
    told = capsys.readouterr().out.splitlines()
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == {
        "run.json", "best.npz", "last.npz", "log.csv", "validation.csv", "curves.png", "panel.png"
    }  # fmt: skip
    assert len((tmp_path / "run" / "validation.csv").read_text().splitlines()) == 1 + 2  # after 3 steps, and at the end
    best = tmp_path / "run" / "best.npz"
    graph, recipe = load_trained(best)
    assert graph.output_shape((2, 3, 40, 24)) == (2, 5, 1, 1)
    assert recipe.arguments == {"num_classes": 5, "in_channels": 3, "seed": 3, "width": 2}
    assert recipe.classes == list(ShapeClasses.classes)

    # The accuracy that is told is that of the best weights on images of the split "test".
    images = ShapeClasses(16, 5, seed=3, split="test")
    right = [
        recipe.classes[pretrain.whole_image_predictor(recipe.mean, recipe.std)(graph, sample.image)[:, 0, 0].argmax()]
        == recipe.classes[sample.labels[0, 0]]
        for sample in images
    ]
    assert told[-2].startswith(f"Right on {np.mean(right):.1%} of 5 images never seen (background ")

    command = shlex.split(told[-1].removeprefix("Now try: "))
    assert command[:2] == ["minisegnet", "train"]
    given = parser().parse_args(command[1:])
    fcn = models.create(given.model, num_classes=4, width=given.width, **dict(given.option))
    loaded = load_pretrained(fcn, given.init, partial=True)
    assert not any(name.startswith("level") for name in loaded.missing)
    assert loaded.normalisation == (recipe.mean, recipe.std)
    for name in loaded.loaded:
        np.testing.assert_array_equal(fcn.arrays()[name], graph.arrays()[name], err_msg=name)


def test_a_network_with_fully_connected_layers_hands_on_its_convolutions(tmp_path, capsys):
    assert run(tmp_path, "--steps", "1", "--size", "32", encoder="vgg16", width="1") == 0
    given = parser().parse_args(shlex.split(capsys.readouterr().out.splitlines()[-1].removeprefix("Now try: "))[1:])
    fcn = models.create(given.model, num_classes=2, width=given.width, **dict(given.option))
    loaded = load_pretrained(fcn, tmp_path / "best.npz", partial=True)
    assert len(loaded.loaded) == 26  # weight and bias of thirteen convolutions
    assert not any(name.startswith("features") for name in loaded.missing)


def test_interrupted_and_resumed_is_as_never_interrupted(tmp_path, monkeypatch, capsys):
    assert run(tmp_path / "whole", "--steps", "5") == 0
    draw, drawn = ShapeClasses.__getitem__, []

    def interrupted(self, index):
        drawn.append(index)
        if len(drawn) == 12 + 10:  # those of the mean and deviation, then some of training
            raise KeyboardInterrupt
        return draw(self, index)

    monkeypatch.setattr(ShapeClasses, "__getitem__", interrupted)
    capsys.readouterr()
    assert run(tmp_path / "cut", "--steps", "5") == 130
    monkeypatch.setattr(ShapeClasses, "__getitem__", draw)
    hint = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert hint[0] == "minisegnet" and hint[-1] == "--resume"
    assert main(hint[1:]) == 0
    whole, cut = (load_checkpoint(tmp_path / name / "last.npz")[0] for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    for name, array in whole.items():
        if name != "metadata":
            np.testing.assert_array_equal(array, cut[name], err_msg=name)
    assert main(hint[1:]) == 0  # a run that is over is only told about again
    assert "Right on" in capsys.readouterr().out


def test_a_classifier_learns_the_label_of_the_middle_pixel():
    labels = np.arange(2 * 5 * 8).reshape(2, 5, 8)
    np.testing.assert_array_equal(centre(labels, ()), [2 * 8 + 3, 40 + 2 * 8 + 3])
    np.testing.assert_array_equal(centre(labels, ()), centre(labels, (1, 1))[:, 0, 0])


def test_every_pixel_gets_the_probabilities_of_its_image():
    graph = models.create("laptop_classifier", num_classes=5, width=2, seed=1)
    image = np.random.default_rng(0).random((3, 20, 28), np.float32)
    probabilities = pretrain.whole_image_predictor([0.5] * 3, [0.25] * 3)(graph, image)
    assert probabilities.shape == (5, 20, 28)
    scores = graph.predict((image[None] - 0.5) / 0.25)[0, :, 0, 0]
    expected = np.exp(scores - scores.max())
    np.testing.assert_allclose(
        probabilities, np.broadcast_to((expected / expected.sum())[:, None, None], (5, 20, 28)), rtol=1e-5
    )


@pytest.mark.parametrize(
    "options, words",
    [
        (["lenet"], ["unknown encoder 'lenet'", "laptop", "resnet18"]),
        (["vgg16", "--size", "16"], ["size", "32"]),
        (["laptop", "--lr", "-1"], ["lr", "-1"]),
    ],
)
def test_what_cannot_be_is_told_in_one_line(options, words, tmp_path, capsys):
    assert main(["pretrain", *options, "--out", str(tmp_path / "run"), "--steps", "1"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("minisegnet: ") and told.count("\n") == 1
    assert all(word in told for word in words)
