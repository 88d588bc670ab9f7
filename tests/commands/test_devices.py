"""`--device` of train, evaluate and predict: the emulator's results are NumPy's; without a GPU, what to install."""

import sys

import numpy as np
import pytest
from conftest import skip_without_compiler
from PIL import Image
from small_checkpoint import save_small_checkpoint

from minisegnet import data
from minisegnet.cli import main
from minisegnet.data.shapes import Shapes
from minisegnet.training import load_checkpoint


@pytest.fixture(autouse=True)
def few_shapes(monkeypatch):
    """Data "shapes" is four small images."""
    monkeypatch.setattr(data, "open_dataset", lambda name, split="train": Shapes(16, 4, split=split))


def train(folder, *options):
    tiny = ["--width", "2", "--depth", "1", "--batch-size", "2", "--steps", "2", "--optimiser", "sgd"]
    tiny += ["--schedule", "constant"]
    return main(["train", "unet", "--data", "shapes", "--out", str(folder), *tiny, *options])


def test_training_on_the_emulator_makes_numpys_weights(tmp_path):
    skip_without_compiler("emulator")
    assert train(tmp_path / "numpy", "--device", "cpu") == train(tmp_path / "emulator", "--device", "emulator") == 0
    wanted, found = (load_checkpoint(tmp_path / name / "last.npz")[0] for name in ("numpy", "emulator"))
    assert wanted.keys() == found.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5, err_msg=name)
    assert train(tmp_path / "numpy", "--steps", "3", "--resume", "--device", "emulator") == 0, "a run goes on elsewhere"


def test_evaluating_and_predicting_on_the_emulator(tmp_path, capsys):
    skip_without_compiler("emulator")
    save_small_checkpoint(tmp_path / "net.npz", classes=Shapes.classes)
    Image.fromarray((255 * Shapes(16, 1)[0].image).astype(np.uint8).transpose(1, 2, 0)).save(tmp_path / "photo.png")
    tables = []
    for device in ("cpu", "emulator"):
        assert main(["evaluate", str(tmp_path / "net.npz"), "--data", "shapes", "--device", device]) == 0
        tables.append(capsys.readouterr().out)
        out = ["--out", str(tmp_path / device), "--probabilities", "--device", device, "--tile", "8", "--symmetries"]
        assert main(["predict", str(tmp_path / "net.npz"), str(tmp_path / "photo.png"), *out]) == 0
        capsys.readouterr()
    assert tables[0] == tables[1]
    wanted, found = (np.load(tmp_path / name / "photo-probabilities.npz") for name in ("cpu", "emulator"))
    np.testing.assert_allclose(found["probabilities"], wanted["probabilities"], atol=1e-5)


@pytest.mark.parametrize("command", ["train", "evaluate", "predict"])
def test_without_cupy_each_says_what_to_install(tmp_path, monkeypatch, capsys, command):
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if it were not installed
    save_small_checkpoint(tmp_path / "net.npz", classes=Shapes.classes)
    net, out = str(tmp_path / "net.npz"), str(tmp_path / "out")
    words = {
        "train": ["train", "unet", "--data", "shapes", "--out", out, "--width", "2", "--depth", "1"],
        "evaluate": ["evaluate", net, "--data", "shapes"],
        "predict": ["predict", net, net, "--out", out],
    }[command]
    assert main([*words, "--device", "cuda"]) != 0
    told = capsys.readouterr().err
    assert "the cuda backend needs CuPy" in told and "pip install 'minisegnet[cuda12]' or 'minisegnet[cuda13]'" in told
    assert "Traceback" not in told
