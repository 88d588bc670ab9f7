"""`minisegnet compare`: networks of equal size, trained in turn, with a table and a picture; stopped between rounds."""

import signal

import numpy as np
import pytest
from PIL import Image

from minisegnet.cli import main
from minisegnet.metrics import ConfusionMatrix
from minisegnet.models import encoder_decoder, full_resolution
from minisegnet.teaching import comparison
from minisegnet.teaching.comparison import BUILDERS, Comparison, Result, nearest_width, table
from minisegnet.teaching.comparison_picture import draw_comparison


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    monkeypatch.setattr(comparison, "TRAIN_IMAGES", 12)
    monkeypatch.setattr(comparison, "TEST_IMAGES", 3)
    monkeypatch.setattr(comparison, "BATCH_SIZE", 4)


def parameter_count(graph):
    return sum(parameter.data.size for parameter in graph.parameters.values())


def test_compare_trains_tells_and_draws(tmp_path, capsys):
    assert main(["compare", "--steps", "2", "--size", "16", "--out", str(tmp_path / "out"), "--threads", "1"]) == 0
    told = capsys.readouterr().out
    lines = told.splitlines()
    assert [line[: len(name)] for line, name in zip(lines[2:8], BUILDERS, strict=True)] == list(BUILDERS)
    assert "after 2 steps" in told and "16 x 16" in told
    written = (tmp_path / "out" / "comparison.txt").read_text()
    assert told.startswith(written)
    Image.open(tmp_path / "out" / "comparison.png").load()


def test_ctrl_c_ends_between_two_rounds_and_shows_what_there_is(tmp_path, monkeypatch, capsys):
    step, taken = Comparison._step, []

    def interrupted(self, name, batch):
        step(self, name, batch)
        taken.append(name)
        if len(taken) == 9:  # the third network's second step
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Comparison, "_step", interrupted)
    assert main(["compare", "--steps", "50", "--size", "16", "--out", str(tmp_path)]) == 130
    told = capsys.readouterr().out
    assert taken == [*BUILDERS] * 2
    assert "Stopped after step 2 of 50" in told and "after 2 steps" in told
    assert (tmp_path / "comparison.png").exists()


def test_the_networks_are_of_equal_size():
    networks = Comparison(16, 1).graphs
    counts = [parameter_count(graph) for graph in networks.values()]
    assert max(counts) < 1.005 * min(counts)
    assert [graph.name for graph in networks.values()] == ["Full resolution"] + ["Encoder-decoder"] * 5


@pytest.mark.parametrize("build", [full_resolution, encoder_decoder])
@pytest.mark.parametrize("wanted", [1, 3000, 20000])
def test_nearest_width(build, wanted):
    chosen = nearest_width(lambda width: build(5, width=width), wanted)
    distance = {width: abs(parameter_count(build(5, width=width)) - wanted) for width in range(1, 30)}
    assert distance[chosen] == min(distance.values())


def test_every_network_takes_as_many_steps_on_the_same_images(monkeypatch):
    seen = {name: [] for name in BUILDERS}
    step = Comparison._step
    monkeypatch.setattr(
        Comparison, "_step", lambda self, name, batch: (seen[name].append(batch.names), step(self, name, batch))
    )
    compared = Comparison(16, 5)
    before = {name: graph.state_dict() for name, graph in compared.graphs.items()}
    assert list(compared.rounds()) == [1, 2, 3, 4, 5]
    first = seen["full resolution"]
    assert len(first) == 5 and first[3] != first[0]
    assert all(batches == first for batches in seen.values())
    for name, graph in compared.graphs.items():
        assert all(
            np.abs(parameter.data - before[name][key]).max() > 0 for key, parameter in graph.parameters.items()
        ), name


def test_results_are_what_the_networks_cost_and_score():
    compared = Comparison(16, 5)
    for _ in compared.rounds():
        pass
    compared.seconds["full resolution"] = [9.0, 9.0, 9.0, 0.1, 0.3]
    results = {result.name: result for result in compared.results()}
    full = results["full resolution"]
    width = full.width
    pixels = 16 * 16
    # 3 x 3 convolutions without bias, batch norms, and a 1 x 1 convolution with bias to 5 classes
    assert full.parameters == 9 * 3 * width + 5 * 9 * width**2 + 6 * 2 * width + 5 * width + 5
    assert full.multiply_adds == pixels * (9 * 3 * width + 5 * 9 * width**2 + 6 * width + 5 * width + 5)
    assert full.activation_bytes == 4 * pixels * (6 * 3 * width + 5)
    assert full.seconds == pytest.approx(0.2)
    scores = ConfusionMatrix(5)
    graph = compared.graphs["full resolution"]
    for sample in (compared.test_images[index] for index in range(3)):
        normalised = (sample.image[None] - np.float32(0.5)) / np.float32(0.25)
        scores.update(graph.predict(normalised)[0].argmax(axis=0), sample.labels)
    assert full.mean_iou == pytest.approx(scores.mean_iou)
    assert full.pixel_accuracy == pytest.approx(scores.pixel_accuracy)


def test_the_seed_chooses_weights_and_images():
    one, same, other = Comparison(16, 1, seed=3), Comparison(16, 1, seed=3), Comparison(16, 1, seed=4)
    weight = "layer0.0.weight"
    weights = [each.graphs["full resolution"].parameters[weight].data for each in (one, same, other)]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.abs(weights[0] - weights[2]).max() > 0.01
    images = [each.train_images[0].image for each in (one, same, other)]
    np.testing.assert_array_equal(images[0], images[1])
    assert np.abs(images[0] - images[2]).max() > 0.01


def test_table_and_picture_tell_each_number():
    results = [Result("full", 46, 97_249, 397_000_000, 13_650_000, 0.4126, 0.3614, 0.7182),
               Result("other", 17, 97_296, 37_100_000, 3_480_000, 0.0717, 0.8, 0.9)]  # fmt: skip
    row = table(results).splitlines()[2]
    for number in ("46", "97,249", "397 M", "13.65 MB", "413 ms", "0.361", "0.718"):
        assert number in row
    figure = draw_comparison(results, "two networks")
    told = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {"397", "37.1", "13.7", "3.48", "413", "71.7", "0.361", "0.800"} <= told
    lengths = [[bar.get_width() for bar in axes.patches] for axes in figure.axes]
    assert lengths == [[397, 37.1], [13.65, 3.48], pytest.approx([412.6, 71.7]), [0.3614, 0.8]]
