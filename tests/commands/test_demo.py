"""`minisegnet demo`, with fewer and smaller images: scores side by side, a picture, a checkpoint that can be used."""

from dataclasses import replace

import pytest
from PIL import Image

from minisegnet.cli import main
from minisegnet.commands import demo
from minisegnet.data.shapes import Shapes


@pytest.fixture
def small(monkeypatch):
    """The demo in a few seconds."""
    small = replace(demo.SETTINGS, size=32, train_images=6, test_images=8, width=4, depth=2, batch_size=2, shown=2)
    monkeypatch.setattr(demo, "SETTINGS", small)


def test_demo_compares_draws_and_saves(small, tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "run"), "--steps", "3", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    header = lines.index("IoU         thresholds       U-Net")
    table = {line.split()[0]: [float(cell) for cell in line.split()[1:]] for line in lines[header + 1 : header + 7]}
    assert list(table) == [*Shapes.classes, "mean"]
    assert all(0 <= score <= 1 for row in table.values() for score in row)
    assert f"picture     {tmp_path / 'run' / 'demo.png'}" in lines
    Image.open(tmp_path / "run" / "demo.png").load()

    predict = ["predict", str(tmp_path / "run" / "last.npz"), str(tmp_path / "run" / "demo.png")]
    assert main([*predict, "--out", str(tmp_path / "masks")]) == 0


def test_demo_runs_again_in_the_same_folder(small, tmp_path):
    command = ["demo", "--out", str(tmp_path), "--steps", "1"]
    assert main(command) == main(command) == 0
