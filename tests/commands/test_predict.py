"""`minisegnet predict`: what it writes, what it never touches, and what it does about files that it cannot read."""

import numpy as np
import pytest
from PIL import Image
from small_checkpoint import save_small_checkpoint

from minisegnet.cli import main
from minisegnet.trained import load_trained

SIZES = {"alpha": (9, 30), "colour": (21, 34), "grey": (16, 16), "photo": (40, 24)}


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of three classes that takes colour images."""
    path = tmp_path / "best.npz"
    save_small_checkpoint(path)
    return path


@pytest.fixture
def photos(tmp_path):
    """A folder of images of several kinds and sizes, and a file that is none."""
    rng = np.random.default_rng(7)
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(rng.integers(0, 256, (21, 34, 3), np.uint8)).save(folder / "colour.png")
    Image.fromarray(rng.integers(0, 256, (40, 24, 3), np.uint8)).save(folder / "photo.JPG")
    Image.fromarray(rng.integers(0, 256, (16, 16), np.uint8)).save(folder / "grey.png")
    Image.fromarray(rng.integers(0, 256, (9, 30, 4), np.uint8)).save(folder / "alpha.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def files(folder):
    return {path.name for path in folder.iterdir()}


def test_a_folder_gives_masks_and_overlays(checkpoint, photos, tmp_path, capsys):
    before = contents(photos)
    assert main(["predict", str(checkpoint), str(photos), "--out", str(tmp_path / "new" / "masks")]) == 0
    out = tmp_path / "new" / "masks"
    assert files(out) == {f"{name}{end}" for name in SIZES for end in (".png", "-overlay.png")}
    _, recipe = load_trained(checkpoint)
    for name, size in SIZES.items():
        mask = Image.open(out / f"{name}.png")
        assert mask.mode == "P"
        assert mask.getpalette()[:9] == np.ravel(recipe.palette).tolist()
        assert np.asarray(mask).shape == size
        assert np.asarray(mask).max() < 3
        overlay = Image.open(out / f"{name}-overlay.png")
        assert (overlay.mode, overlay.size) == ("RGB", size[::-1])
    assert len(np.unique(np.asarray(Image.open(out / "photo.png")))) > 1  # else the assertions above are easily met
    assert contents(photos) == before
    assert "4 of 4 images predicted" in capsys.readouterr().out


def test_mask_is_the_most_probable_class_of_the_normalised_image(checkpoint, photos, tmp_path):
    image = photos / "colour.png"
    options = ["--no-overlay", "--probabilities"]
    assert main(["predict", str(checkpoint), str(image), "--out", str(tmp_path / "out"), *options]) == 0
    assert files(tmp_path / "out") == {"colour.png", "colour-probabilities.npz"}
    with np.load(tmp_path / "out" / "colour-probabilities.npz", allow_pickle=False) as saved:
        probabilities = saved["probabilities"]
        assert saved["classes"].tolist() == ["ground", "cat", "dog"]
    assert probabilities.dtype == np.float32

    graph, recipe = load_trained(checkpoint)
    x = np.asarray(Image.open(image), np.float32).transpose(2, 0, 1) / 255
    x = (x - np.reshape(recipe.mean, (3, 1, 1))) / np.reshape(recipe.std, (3, 1, 1))
    scores = graph.predict(x[None].astype(np.float32))[0].astype(np.float64)
    expected = np.exp(scores) / np.exp(scores).sum(axis=0)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "colour.png")), probabilities.argmax(axis=0))


def test_grey_network_takes_the_luma_of_colours(photos, tmp_path):
    save_small_checkpoint(tmp_path / "grey.npz", channels=1)
    Image.open(photos / "colour.png").convert("L").save(tmp_path / "luma.png")
    images = [str(photos / "colour.png"), str(tmp_path / "luma.png")]
    out = tmp_path / "out"
    assert main(["predict", str(tmp_path / "grey.npz"), *images, "--out", str(out), "--probabilities"]) == 0
    with np.load(out / "colour-probabilities.npz") as one, np.load(out / "luma-probabilities.npz") as other:
        np.testing.assert_allclose(one["probabilities"], other["probabilities"], atol=0.05)  # luma.png is rounded


@pytest.mark.parametrize(("engine", "bound"), [("off", 1e-6), ("on", 1e-5)])
def test_tiles_and_symmetries_reach_the_prediction(checkpoint, photos, tmp_path, engine, bound):
    graph, recipe = load_trained(checkpoint)
    image = np.asarray(Image.open(photos / "colour.png"), np.float32).transpose(2, 0, 1) / 255
    command = [
        "predict",
        str(checkpoint),
        str(photos / "colour.png"),
        "--probabilities",
        "--tile",
        "16",
        "--symmetries",
        "--engine",
        engine,
    ]
    assert main([*command, "--out", str(tmp_path / "out"), "--threads", "1"]) == 0
    with np.load(tmp_path / "out" / "colour-probabilities.npz") as saved:
        expected = recipe.probabilities(graph, image, tile=16, symmetries=True)
        np.testing.assert_allclose(saved["probabilities"], expected, atol=bound)
        assert np.abs(saved["probabilities"] - recipe.probabilities(graph, image)).max() > 1e-3


def test_bad_files_are_told_at_the_end_and_the_others_done(checkpoint, photos, tmp_path, capsys):
    (photos / "broken.png").write_bytes((photos / "colour.png").read_bytes()[:300])
    (photos / "a_text.png").write_text("I am no picture")
    arguments = [str(photos), str(tmp_path / "missing.png")]
    assert main(["predict", str(checkpoint), *arguments, "--out", str(tmp_path / "out")]) == 1
    assert files(tmp_path / "out") == {f"{name}{end}" for name in SIZES for end in (".png", "-overlay.png")}
    printed = capsys.readouterr()
    assert "4 of 7 images predicted" in printed.out
    lines = printed.err.strip().splitlines()
    assert lines[0] == "minisegnet: 3 of 7 images failed:"
    assert [name in line for name, line in zip(("a_text", "broken", "missing"), lines[1:], strict=True)] == [True] * 3


@pytest.mark.parametrize(
    "case", ["onto the image", "onto the image through a link", "two images of one name", "an overlay onto a mask"]
)
def test_nothing_is_written_where_a_result_would_replace_something(case, checkpoint, photos, tmp_path, capsys):
    out, images = photos, [photos / "photo.JPG", photos / "colour.png"]
    if case == "onto the image through a link":
        out = tmp_path / "link"
        out.symlink_to(photos)
    elif case == "two images of one name":
        out, images = tmp_path / "out", [photos / "colour.png", tmp_path / "colour.JPG"]
        (tmp_path / "colour.JPG").write_bytes((photos / "photo.JPG").read_bytes())
    elif case == "an overlay onto a mask":
        out, images = tmp_path / "out", [photos / "colour.png", tmp_path / "colour-overlay.png"]
        (tmp_path / "colour-overlay.png").write_bytes((photos / "grey.png").read_bytes())
    before = contents(photos)
    assert main(["predict", str(checkpoint), *map(str, images), "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert "colour" in told and told.count("\n") == 1
    assert contents(photos) == before
    assert not (tmp_path / "out").exists()


def test_an_image_named_twice_is_predicted_once(checkpoint, photos, tmp_path, capsys):
    assert (
        main(["predict", str(checkpoint), str(photos), str(photos / "grey.png"), "--out", str(tmp_path / "out")]) == 0
    )
    assert "4 of 4" in capsys.readouterr().out


def test_results_are_replaced_by_those_of_a_second_run(checkpoint, photos, tmp_path):
    command = ["predict", str(checkpoint), str(photos / "grey.png"), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    first = contents(tmp_path / "out")
    (tmp_path / "out" / "grey.png").write_bytes(b"something else")
    assert main(command) == 0
    assert contents(tmp_path / "out") == first


def test_an_interrupt_leaves_only_whole_files(checkpoint, photos, tmp_path, monkeypatch, capsys):
    save = Image.Image.save
    saved = []

    def interrupted(image, file, *arguments, **options):
        saved.append(file)
        if len(saved) == 4:
            file.write(b"half a picture")
            raise KeyboardInterrupt
        save(image, file, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", interrupted)
    assert main(["predict", str(checkpoint), str(photos), "--out", str(tmp_path / "out")]) == 130
    assert len(files(tmp_path / "out")) == 3
    for path in (tmp_path / "out").iterdir():
        Image.open(path).load()


def test_a_folder_without_images(checkpoint, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(checkpoint), str(tmp_path / "empty"), "--out", str(tmp_path / "out")]) == 2
    assert "no image in the folder" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made(checkpoint, photos, tmp_path, capsys):
    assert main(["predict", str(checkpoint), str(photos), "--out", str(photos / "notes.txt" / "out")]) == 2
    told = capsys.readouterr().err
    assert "notes.txt" in told and told.count("\n") == 1


@pytest.mark.parametrize("damage", ["missing", "cut short", "no recipe", "unknown model", "other weights"])
def test_a_bad_checkpoint_is_told_in_one_line(damage, checkpoint, photos, tmp_path, capsys):
    from minisegnet.training import load_checkpoint, save_checkpoint

    arrays, metadata = load_checkpoint(checkpoint)
    if damage == "missing":
        checkpoint.unlink()
        words = "there is no checkpoint"
    elif damage == "cut short":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
        words = "cut short"
    elif damage == "no recipe":
        save_checkpoint(checkpoint, arrays, {name: metadata[name] for name in metadata if name != "mean"})
        words = "mean missing"
    elif damage == "unknown model":
        save_checkpoint(checkpoint, arrays, {**metadata, "model": "nonet"})
        words = "nonet"
    else:
        save_checkpoint(checkpoint, arrays, {**metadata, "arguments": {**metadata["arguments"], "width": 5}})
        words = "encoder0"
    assert main(["predict", str(checkpoint), str(photos), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert words in told and "best.npz" in told and told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_more_classes_than_a_mask_holds(photos, tmp_path, capsys):
    save_small_checkpoint(tmp_path / "many.npz", classes=tuple(f"class {i}" for i in range(257)))
    assert main(["predict", str(tmp_path / "many.npz"), str(photos), "--out", str(tmp_path / "out")]) == 2
    assert "at most 256 classes; the network has 257" in capsys.readouterr().err
