"""`minisegnet receptive-field` and `offsets`: what they take, tell and draw."""

import pytest
from PIL import Image
from small_checkpoint import save_small_checkpoint

from minisegnet.cli import main
from minisegnet.models import fcn8s, unet
from minisegnet.models.alignment import derivation
from minisegnet.receptive_field import receptive_field
from minisegnet.teaching import receptive_field_picture
from minisegnet.trained import load_trained

FCN = ["fcn8s", "--option", "encoder=laptop", "--option", "width=4"]


@pytest.fixture
def drawn(monkeypatch):
    """The arguments of each picture."""
    calls = []
    draw = receptive_field_picture.draw
    monkeypatch.setattr(
        receptive_field_picture, "draw", lambda graph, *others: (calls.append((graph, *others)), draw(graph, *others))
    )
    return calls


def spans(told):
    """The numbers of "can see rows 1 to 2 and columns 3 to 4 of the image"."""
    words = told.split("can see ")[1].split()
    return (int(words[1]), int(words[3])), (int(words[6]), int(words[8]))


def test_a_network_by_name_is_looked_at_from_its_middle(tmp_path, drawn, capsys):
    out = tmp_path / "field.png"
    assert main(["receptive-field", *FCN, "--size", "70", "--classes", "3", "--out", str(out), "--threads", "1"]) == 0
    graph = fcn8s(3, encoder="laptop", width=4)
    assert spans(capsys.readouterr().out) == receptive_field(graph, (1, 3, 70, 70), 35, 35)
    assert drawn[0][1:] == ((1, 3, 70, 70), 35, 35, out, "score")
    Image.open(out).load()


def test_a_checkpoint_is_looked_at_with_its_own_weights(tmp_path, drawn, capsys):
    save_small_checkpoint(tmp_path / "net.npz", channels=1)
    out = tmp_path / "field.png"
    command = ["receptive-field", str(tmp_path / "net.npz"), "--size", "33", "--out", str(out)]
    assert main([*command, "--at", "2,30"]) == 0
    graph, _ = load_trained(tmp_path / "net.npz")
    assert spans(capsys.readouterr().out) == receptive_field(graph, (1, 1, 33, 33), 2, 30)
    for name, parameter in drawn[0][0].parameters.items():
        assert (parameter.data == graph.parameters[name].data).all()
    assert main([*command, "--node", "encoder0.0", "--at", "9,9"]) == 0
    assert spans(capsys.readouterr().out) == receptive_field(graph, (1, 1, 33, 33), 9, 9, "encoder0.0")


@pytest.mark.parametrize(
    "options, words",
    [
        ([*FCN, "--at", "64,0", "--size", "64"], ["row 64", "0 to 63"]),
        ([*FCN, "--node", "scores"], ["no node 'scores'", "score8"]),
        (["nonet"], ["unknown model 'nonet'"]),
        (["missing.npz"], ["there is no checkpoint missing.npz"]),
        (["net.npz", "--option", "width=3"], ["leave out --option"]),
        ([*FCN, "--out", "field.jpg"], [".png, .svg, .pdf", "field.jpg"]),
        (["vgg16_classifier", "--option", "width=1", "--option", "size=32", "--size", "32", "--node", "classifier.0"],
         ["classifier.0"]),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_one_line(options, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_small_checkpoint("net.npz")
    assert main(["receptive-field", *options]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    for word in words:
        assert word in told
    assert [path.name for path in tmp_path.iterdir()] == ["net.npz"]


@pytest.mark.parametrize("at", ["3", "3,4,5", "a,b"])
def test_a_pixel_is_two_numbers(at, capsys):
    with pytest.raises(SystemExit):
        main(["receptive-field", "unet", "--at", at])
    assert "wanted ROW,COLUMN" in capsys.readouterr().err


def test_offsets_prints_the_derivation(capsys):
    assert main(["offsets", *FCN[:1], "--option", "as_published=True", "--option", "width=4", "--classes", "2"]) == 0
    told = capsys.readouterr().out
    assert told.rstrip("\n") == derivation(fcn8s(2, width=4, as_published=True))
    assert all(f"crop {crop}" in told for crop in (5, 9, 31))
    assert main(["offsets", "unet", "--option", "width=2", "--option", "valid=True", "--size", "572"]) == 0
    assert capsys.readouterr().out.rstrip("\n") == derivation(unet(21, width=2, valid=True), (1, 3, 572, 572))
    assert main(["offsets", "unet", "--option", "valid=True", "--size", "571"]) == 2
    assert "572 x 572" in capsys.readouterr().err
