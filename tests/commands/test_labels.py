"""`minisegnet labels`: the report of the label check, and an exit code that a script can ask."""

import numpy as np
import pytest
from PIL import Image

from minisegnet.cli import main


@pytest.fixture
def photos(tmp_path):
    """Four images with masks of the classes 0 to 2."""
    rng = np.random.default_rng(3)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(4):
        Image.fromarray(rng.integers(0, 256, (12, 10, 3), np.uint8)).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(rng.integers(0, 3, (12, 10), np.uint8)).save(tmp_path / "masks" / f"{number}.png")
    (tmp_path / "classes.txt").write_text("ground\ncat\ndog\n")
    return tmp_path


def test_good_labels(photos, capsys):
    assert main(["labels", f"folder:{photos}"]) == 0
    told = capsys.readouterr().out
    assert "4 images" in told and "0 ground" in told and "no problems found" in told


def test_bad_labels_are_listed_with_their_files(photos, capsys):
    mask = np.zeros((12, 10), np.uint8)
    mask[3, 4:6] = 77
    Image.fromarray(mask).save(photos / "masks" / "1.png")
    Image.fromarray(mask[:, :9]).save(photos / "masks" / "2.png")
    (photos / "images" / "3.png").write_bytes(b"no image")
    assert main(["labels", f"folder:{photos}"]) == 1
    told = capsys.readouterr().out
    [stray] = [line for line in told.splitlines() if "label 77 is no class: 4 pixels in 2 files" in line]
    assert "1.png" in stray and "2.png" in stray
    assert "12 x 10" in told and "12 x 9" in told
    assert "3.png" in told


def test_options_of_the_data_reach_it(photos, capsys):
    mask = np.full((12, 10), 255, np.uint8)
    mask[0] = 1
    Image.fromarray(mask).save(photos / "masks" / "0.png")
    assert main(["labels", f"folder:{photos}"]) == 1
    assert main(["labels", f"folder:{photos}", "--data-option", "ignore_index=255"]) == 0
    assert "255 (ignored)" in capsys.readouterr().out


@pytest.mark.parametrize("data", ["folder:nowhere", "nowhere", "folder:"])
def test_no_such_data(data, capsys):
    assert main(["labels", data]) == 2
    assert capsys.readouterr().err.count("\n") == 1
