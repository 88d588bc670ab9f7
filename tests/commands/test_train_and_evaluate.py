"""`minisegnet train` and `evaluate`: from data to a checkpoint that needs nothing more, resumed and scored."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from small_checkpoint import save_small_checkpoint

from minisegnet import data
from minisegnet.cli import main
from minisegnet.commands.trainers import channel_statistics
from minisegnet.data.shapes import Shapes
from minisegnet.errors import OptionError
from minisegnet.metrics import ConfusionMatrix
from minisegnet.trained import load_trained
from minisegnet.training import load_checkpoint

TINY = ["--width", "4", "--depth", "2", "--batch-size", "2"]


@pytest.fixture(autouse=True)
def few_shapes(monkeypatch):
    """Data "shapes" is eight small images, and its split "val" three."""

    def open_dataset(name, split="train", size=32):
        assert name == "shapes"
        if split not in ("train", "val"):
            raise OptionError(f"shapes has no split {split!r}")
        return Shapes(size, {"train": 8, "val": 3}[split], split=split)

    monkeypatch.setattr(data, "open_dataset", open_dataset)


def train(folder, *options):
    return main(["train", "unet", "--data", "shapes", "--out", str(folder), *TINY, *options])


def weights(path):
    arrays, _ = load_checkpoint(path)
    return {name: array for name, array in arrays.items() if name.startswith("model/")}


def assert_equal_weights(one, other):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_a_run_leaves_everything_in_its_folder(tmp_path, capsys):
    assert train(tmp_path / "run", "--epochs", "2", "--option", "dropout=0.25") == 0
    told = capsys.readouterr().out
    assert "Trained for 8 steps; best validation mean IoU" in told
    assert "minisegnet predict" in told and "best.npz" in told
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"best.npz", "last.npz", "log.csv", "validation.csv", "curves.png", "panel.png"} <= names
    _, recipe = load_trained(tmp_path / "run" / "best.npz")
    assert recipe.model == "unet"
    assert recipe.arguments == {
        "num_classes": 5, "in_channels": 3, "seed": 0, "width": 4, "depth": 2, "dropout": 0.25,
    }  # fmt: skip
    assert recipe.classes == list(Shapes.classes)
    assert (recipe.channels, recipe.ignore_index) == (3, None)
    pixels = np.concatenate([Shapes(32, 8)[i].image.reshape(3, -1) for i in range(8)], axis=1)
    np.testing.assert_allclose(recipe.mean, pixels.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(recipe.std, pixels.std(axis=1), atol=1e-5)


def test_every_option_of_training(tmp_path):
    options = ["--steps", "2", "--crop", "24", "--augment", "flips", "rotate90", "elastic", "colour", "--seed", "3"]
    options += ["--class-weights", "median", "--border-weight", "star", "--optimiser", "sgd", "--momentum", "0.5"]
    options += ["--weight-decay", "0.01", "--lr", "0.02", "--schedule", "step", "--warm-up", "1", "--threads", "1"]
    assert train(tmp_path / "run", *options, "--validate-every", "3", "--val-split", "none") == 0
    assert not (tmp_path / "run" / "best.npz").exists()
    settings = load_checkpoint(tmp_path / "run" / "last.npz")[1]["settings"]
    assert "momentum=0.5" in settings["optimiser"] and "weight_decay=0.01" in settings["optimiser"]
    assert "lr=0.02" in settings["schedule"] and settings["schedule"].startswith("WarmUp(steps=1")
    assert settings["metadata"]["arguments"]["seed"] == settings["seed"] == settings["loader"]["seed"] == 3
    assert settings["metadata"]["training"]["augment"] == ["flips", "rotate90", "elastic", "colour"]


@pytest.mark.parametrize("optimiser, schedule", [("adam", "poly"), ("adamw", "constant"), ("sgd", "cosine")])
def test_optimisers_and_schedules_by_name(optimiser, schedule, tmp_path):
    options = ["--optimiser", optimiser, "--schedule", schedule, "--warm-up", "0", "--val-split", "none"]
    assert train(tmp_path, "--steps", "1", *options) == 0
    settings = load_checkpoint(tmp_path / "last.npz")[1]["settings"]
    assert settings["optimiser"].lower().startswith(f"{optimiser}(")
    assert settings["schedule"].lower().startswith(f"{schedule}(")


def test_interrupted_and_resumed_is_as_never_interrupted(tmp_path, monkeypatch, capsys):
    options = ["--steps", "6", "--augment", "flips", "elastic", "--option", "dropout=0.5"]
    assert train(tmp_path / "whole", *options) == 0
    capsys.readouterr()

    draw = Shapes.__getitem__
    drawn = []

    def interrupted(self, index):
        drawn.append(index)
        if len(drawn) == 15:
            raise KeyboardInterrupt
        return draw(self, index)

    monkeypatch.setattr(Shapes, "__getitem__", interrupted)
    assert train(tmp_path / "cut", *options) == 130
    monkeypatch.setattr(Shapes, "__getitem__", draw)
    hint = capsys.readouterr().out.splitlines()[-1].strip()
    assert hint.startswith("minisegnet train unet") and hint.endswith("--resume")
    assert train(tmp_path / "cut", *options, "--resume") == 0
    assert_equal_weights(tmp_path / "whole" / "last.npz", tmp_path / "cut" / "last.npz")


def test_a_run_is_neither_lost_nor_mixed_up(tmp_path, capsys):
    assert train(tmp_path, "--steps", "2") == 0
    before = (tmp_path / "last.npz").read_bytes()
    for options, words in [
        (["--steps", "2"], "resume"),
        (["--steps", "2", "--resume", "--augment", "flips"], "augment"),
        (["--steps", "2", "--resume", "--lr", "0.5"], "0.5"),
        (["--steps", "2", "--resume", "--overwrite"], "choose one"),
    ]:
        capsys.readouterr()
        assert train(tmp_path, *options) == 2
        told = capsys.readouterr().err
        assert told.startswith("minisegnet: ") and words in told and told.count("\n") == 1
        assert (tmp_path / "last.npz").read_bytes() == before
    assert train(tmp_path, "--steps", "1", "--overwrite") == 0
    assert (tmp_path / "last.npz").read_bytes() != before


@pytest.mark.parametrize(
    "options, words",
    [
        (["--border-weight", "cow"], ["cow", "background", "star"]),
        (["--border-weight", "5"], ["'5'"]),
        (["--option", "widht=3"], ["widht"]),
        (["--option", "pad=None", "--crop", "30"], ["divisible by 4", "30 x 30"]),
        (["--lr", "-1"], ["lr", "-1"]),
        (["--val-split", "other"], ["no split 'other'", "--val-split none"]),
        (["--data-option", "size=8"], ["shapes: size", "16"]),
    ],
)
def test_what_cannot_be_is_told_in_one_line(options, words, tmp_path, capsys):
    assert train(tmp_path / "run", "--steps", "1", *options) == 2
    told = capsys.readouterr().err
    assert told.count("minisegnet: ") == 1
    for word in words:
        assert word in told


def test_statistics_of_a_constant_channel_do_not_divide_by_zero():
    class Flat:
        channels = 1

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return type("", (), {"image": np.full((1, 4, 4), 0.25, np.float32)})

    mean, std = channel_statistics(Flat())
    assert mean == [0.25]
    assert std[0] > 0


LONG_RUN = """
import sys
from minisegnet import data
from minisegnet.data.shapes import Shapes
from minisegnet.cli import main
data.open_dataset = lambda name, split="train": Shapes(32, 8, split=split)
sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_in_a_terminal_saves_and_exits_with_130(tmp_path):
    command = ["train", "unet", "--data", "shapes", "--out", str(tmp_path), *TINY, "--steps", "100000"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    run = subprocess.Popen([sys.executable, "-c", LONG_RUN, *command], **pipes)
    log = tmp_path / "log.csv"
    deadline = time.monotonic() + 30
    while (not log.exists() or log.read_text().count("\n") < 4) and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    out, error = run.communicate(timeout=30)
    assert run.returncode == 130, error
    assert "Traceback" not in error
    assert f"--out {tmp_path}" in out and out.strip().endswith("--resume")
    _, metadata = load_checkpoint(tmp_path / "last.npz")
    assert metadata["run"]["step"] == log.read_text().count("\n") - 1 >= 3


def test_evaluate_gives_the_scores_of_its_predictions(tmp_path, capsys):
    recipe = save_small_checkpoint(tmp_path / "net.npz", classes=Shapes.classes)
    command = ["evaluate", str(tmp_path / "net.npz"), "--data", "shapes"]
    files = ["--csv", str(tmp_path / "scores.csv"), "--json", str(tmp_path / "scores.json")]
    assert main([*command, *files, "--threads", "1"]) == 0
    told = capsys.readouterr().out

    graph, _ = load_trained(tmp_path / "net.npz")
    expected = ConfusionMatrix(5)
    for sample in (Shapes(32, 3, split="val")[i] for i in range(3)):
        expected.update(recipe.probabilities(graph, sample.image).argmax(axis=0), sample.labels)
    assert expected.table(Shapes.classes) in told
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["confusion"] == expected.matrix.tolist()
    assert scores["mean_iou"] == pytest.approx(expected.mean_iou, abs=1e-12)
    assert scores["classes"]["star"]["pixels"] == expected.true[4]
    rows = (tmp_path / "scores.csv").read_text().splitlines()
    assert rows[0] == "class,iou,dice,accuracy,pixels"
    assert [row.split(",")[0] for row in rows[1:]] == list(Shapes.classes)

    capsys.readouterr()
    assert main([*command, "--symmetries", "--tile", "16"]) == 0
    assert expected.table(Shapes.classes) not in capsys.readouterr().out


def test_evaluate_writes_no_nan_for_a_class_that_does_not_occur(tmp_path, monkeypatch):
    class Blank(Shapes):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return type(sample)(sample.image, np.zeros_like(sample.labels), sample.name)

    monkeypatch.setattr(data, "open_dataset", lambda name, split: Blank(32, 1))
    save_small_checkpoint(tmp_path / "net.npz", classes=Shapes.classes)
    files = ["--csv", str(tmp_path / "scores.csv"), "--json", str(tmp_path / "scores.json")]
    assert main(["evaluate", str(tmp_path / "net.npz"), "--data", "shapes", *files]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text(), parse_constant=pytest.fail)
    assert scores["classes"]["star"]["accuracy"] is None
    assert (tmp_path / "scores.csv").read_text().splitlines()[-1].endswith(",,0")


def test_evaluate_refuses_data_of_other_classes(tmp_path, capsys):
    save_small_checkpoint(tmp_path / "net.npz")
    assert main(["evaluate", str(tmp_path / "net.npz"), "--data", "shapes"]) == 2
    told = capsys.readouterr().err
    assert "background, circle" in told and "ground, cat, dog" in told


def test_init_begins_with_the_weights_of_another_run(tmp_path):
    shared = ["--data", "shapes", "--width", "2", "--depth", "1", "--batch-size", "2", "--val-split", "none"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["train", "unet", *shared, "--steps", "2", "--out", str(first)]) == 0
    assert main(["train", "unet", *shared, "--steps", "1", "--lr", "0", "--init", str(first / "last.npz"),
                 "--out", str(second)]) == 0  # fmt: skip
    before, _ = load_checkpoint(first / "last.npz")
    after, _ = load_checkpoint(second / "last.npz")
    weights = [name for name in before if name.startswith("model/") and name.endswith("weight")]
    assert weights
    for name in weights:
        np.testing.assert_array_equal(before[name], after[name])


def test_init_with_another_network_is_told(tmp_path, capsys):
    shared = ["--data", "shapes", "--depth", "1", "--steps", "1", "--batch-size", "2", "--val-split", "none"]
    first = tmp_path / "first"
    assert main(["train", "unet", *shared, "--width", "2", "--out", str(first)]) == 0
    second = ["--width", "3", "--init", str(first / "last.npz"), "--out", str(tmp_path / "second")]
    assert main(["train", "unet", *shared, *second]) == 2
    assert "of another shape" in capsys.readouterr().err
    assert not (tmp_path / "second" / "last.npz").exists()
