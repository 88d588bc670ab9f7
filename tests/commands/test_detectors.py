"""Mask R-CNN by the commands: train, resume, evaluate, predict, stages, and what they refuse."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from small_checkpoint import save_small_checkpoint

from minisegnet import cli
from minisegnet.data import open_dataset
from minisegnet.data.run_length import from_coco
from minisegnet.trained import load_trained
from minisegnet.training import load_checkpoint

SETTINGS = (
    "{'aligned': True, 'anchor_sizes': ((12,), (24,)), 'roi_samples': 16, 'rpn_samples': 32, 'score_threshold': 0.0, "
    "'candidates_per_level': (40, 40), 'proposals_per_image': (30, 20), 'detections_per_image': 12}"
)
NETWORK = {
    "encoder": "laptop", "width": 4, "strides": "(4, 8)", "pyramid_channels": 8, "top": False, "box_head_width": 16,
    "mask_head_width": 8, "mask_convolutions": 1, "settings": SETTINGS,
}  # fmt: skip
SHAPES = ["--data", "shapes", "--data-option", "count=6", "--data-option", "size=48"]


def train(folder, *more, model="mask_rcnn", steps=6):
    options = {name: value for name, value in NETWORK.items() if model == "mask_rcnn" or not name.startswith("mask")}
    words = [word for name, value in options.items() for word in ("--option", f"{name}={value}")]
    words += ["--steps", str(steps), "--batch-size", "2", "--lr", "0.001", "--optimiser", "adam"]
    return cli.main(["train", model, *SHAPES, "--out", str(folder), *words, *more])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    assert train(folder) == 0
    return folder


def test_a_run_tells_the_five_losses_and_draws_what_is_found(run):
    log = list(csv.DictReader((run / "log.csv").open()))
    parts = ["rpn_objectness", "rpn_box", "classifier", "box", "mask"]
    assert len(log) == 6
    for row in log:
        assert float(row["loss"]) == pytest.approx(sum(float(row[part]) for part in parts))
    scores = list(csv.DictReader((run / "validation.csv").open()))
    assert set(scores[0]) == {"step", "epoch", "box_ap", "box_ap50", "mask_ap", "mask_ap50", "matched_50"}
    assert all((run / name).stat().st_size > 0 for name in ("best.npz", "last.npz", "curves.png", "panel.png"))


@pytest.mark.parametrize("stopped_after", [1, 4])
def test_a_resumed_run_ends_with_the_same_weights(run, tmp_path, monkeypatch, stopped_after):
    from minisegnet.training.detector_trainer import DetectorTrainer

    losses_of, calls = DetectorTrainer.losses_of, []

    def interrupted(self, batch):
        if len(calls) == stopped_after:
            raise KeyboardInterrupt
        calls.append(batch)
        return losses_of(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(DetectorTrainer, "losses_of", interrupted)
        assert train(tmp_path / "again") == 130
    assert train(tmp_path / "again", "--resume") == 0
    first, second = (load_checkpoint(folder / "last.npz")[0] for folder in (run, tmp_path / "again"))
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array, err_msg=name)


def test_the_plain_path_takes_the_same_steps_up_to_rounding(run, tmp_path):
    assert train(tmp_path / "plain", "--engine", "off", steps=2) == 0
    losses = [
        [float(row["loss"]) for row in csv.DictReader((folder / "log.csv").open())][:1]
        for folder in (run, tmp_path / "plain")
    ]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_faster_rcnn_has_boxes_alone(tmp_path, capsys):
    assert train(tmp_path / "boxes", model="faster_rcnn", steps=2) == 0
    told = capsys.readouterr().out
    assert "best validation box AP50" in told and "Data Science Bowl" not in told
    assert "mask" not in (tmp_path / "boxes" / "log.csv").read_text().splitlines()[0]


def test_evaluate_writes_every_score(run, tmp_path, capsys):
    files = ["--csv", str(tmp_path / "scores.csv"), "--json", str(tmp_path / "scores.json")]
    assert cli.main(["evaluate", str(run / "last.npz"), *SHAPES, *files]) == 0
    told = capsys.readouterr().out
    assert "boxes" in told and "masks" in told and "Data Science Bowl" in told
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert [row["class"] for row in rows] == ["circle", "square", "triangle", "star"] * 2
    scores = json.loads((tmp_path / "scores.json").read_text())
    objects = sum(len(np.unique(sample.instances)) - 1 for sample in open_dataset("shapes", "val", count=6, size=48))
    assert scores["maps"]["right"] + scores["maps"]["missed"] == objects
    assert sum(int(row["objects"]) for row in rows if row["kind"] == "masks") == objects


def test_predict_writes_a_map_an_overlay_and_the_objects(run, tmp_path):
    image = np.random.default_rng(3).integers(0, 256, (40, 56, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "photo.png")
    out = tmp_path / "out"
    arguments = ["predict", str(run / "last.npz"), str(tmp_path / "photo.png"), "--out", str(out), "--score", "0"]
    assert cli.main(arguments) == 0
    objects = json.loads((out / "photo.json").read_text())
    detector, recipe = load_trained(run / "last.npz")
    found = recipe.detections(detector, image.transpose(2, 0, 1).astype(np.float32) / 255)
    assert len(objects) == len(found) == 12
    for one, score, label, mask in zip(objects, found.scores, found.labels, found.pasted((40, 56)), strict=True):
        assert one["score"] == pytest.approx(score, abs=1e-4) and one["category"] == recipe.classes[label]
        assert (from_coco(one["segmentation"]).mask() != mask).mean() < 0.01
    with Image.open(out / "photo.png") as picture:
        assert picture.mode.startswith("I") and np.asarray(picture).max() <= 12
    assert (out / "photo-overlay.png").exists()


def test_detections_of_an_enlarged_image_lie_in_the_images_own_pixels(run):
    from dataclasses import replace

    detector, recipe = load_trained(run / "last.npz")
    sample = open_dataset("shapes", "val", count=1, size=48)[0]
    twice = replace(recipe, smallest_side=96)
    found = twice.detections(detector, sample.image)
    assert len(found) and found.boxes.max() <= 48 and found.boxes.min() >= 0
    large = twice.detections(detector, np.repeat(np.repeat(sample.image, 2, axis=1), 2, axis=2))
    assert large.boxes.max() > 48


def test_stages_draws_all_of_them(run, tmp_path, capsys):
    out = tmp_path / "stages"
    words = ["stages", str(run / "last.npz"), *SHAPES, "--index", "1", "--out", str(out), "--score", "0"]
    assert cli.main(words) == 0
    names = sorted(path.name for path in out.iterdir())
    assert len(names) == 7 and names[0] == "1 anchors.png" and names[-1] == "7 result.png"
    assert "12 objects" in capsys.readouterr().out


def test_stages_draws_another_networks_classes_beside_the_objects(run, tmp_path, capsys):
    shapes = open_dataset("shapes", count=1)
    save_small_checkpoint(tmp_path / "unet.npz", classes=shapes.classes)
    words = ["stages", str(run / "last.npz"), *SHAPES, "--out", str(tmp_path / "stages"), "--semantic"]
    assert cli.main([*words, str(tmp_path / "unet.npz")]) == 0
    assert (tmp_path / "stages" / "classes and instances.png").exists()
    save_small_checkpoint(tmp_path / "other.npz")
    assert cli.main([*words, str(tmp_path / "other.npz")]) == 2
    assert "with the detector's classes" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["photo.png", *SHAPES], [*SHAPES, "--index", "6"]], ids=" ".join)
def test_stages_wants_one_image_that_there_is(run, words, tmp_path):
    assert cli.main(["stages", str(run / "last.npz"), *words, "--out", str(tmp_path)]) == 2
    assert not list(tmp_path.iterdir())


def test_demo_instances_scores_held_out_images_and_draws_them(tmp_path, capsys, monkeypatch):
    from minisegnet.commands import demo_instances

    monkeypatch.setattr(demo_instances, "SETTINGS", demo_instances.Settings(32, 4, 2, 1, 2))
    assert cli.main(["demo-instances", "--steps", "1", "--out", str(tmp_path), "--engine", "off"]) == 0
    told = capsys.readouterr().out
    assert "On 2 held-out images" in told and "mask AP50" in told
    assert (tmp_path / "demo-instances.png").exists()


REFUSED = {
    "pixel weights": (["train", "mask_rcnn", *SHAPES, "--class-weights", "median"], "weigh pixels"),
    "smallest side": (["train", "unet", *SHAPES, "--smallest-side", "9"], "for detectors"),
    "an unknown number": (["train", "mask_rcnn", *SHAPES, "--option", "settings={'nms': 1}"], "the names are"),
    "a background alone": (["train", "mask_rcnn", *SHAPES, "--option", "num_classes=1"], "at least 2"),
    "offsets": (["offsets", "mask_rcnn"], "several graphs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused(case, tmp_path, capsys):
    words, told = REFUSED[case]
    out = ["--out", str(tmp_path / "run")] if words[0] == "train" else []
    assert cli.main([*words, *out]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--symmetries", "--tile=32"])
def test_a_detector_takes_no_options_of_pixels(run, option, capsys):
    assert cli.main(["evaluate", str(run / "last.npz"), *SHAPES, option]) == 2
    assert "finds objects" in capsys.readouterr().err


def test_data_without_objects_is_refused(tmp_path, capsys):
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(tmp_path / "data" / "images" / f"{number}.png")
        Image.fromarray(np.eye(40, dtype=np.uint8)).save(tmp_path / "data" / "masks" / f"{number}.png")
    words = ["train", "mask_rcnn", "--data", f"folder:{tmp_path / 'data'}", "--val-split", "none", "--steps", "1"]
    assert cli.main([*words, "--out", str(tmp_path / "run")]) == 2
    assert "instances=True" in capsys.readouterr().err
