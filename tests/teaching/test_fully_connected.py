"""The lessons on fully connected layers: sliding equals each window, costs by hand, and a head that needs its place."""

import numpy as np
import pytest
from PIL import Image

from minisegnet.cli import main
from minisegnet.commands import fully_connected as command
from minisegnet.data.shape_classes import ShapeClasses
from minisegnet.data.shapes import CLASSES
from minisegnet.graph import Graph
from minisegnet.layers import Conv2d, Flatten, Linear, ReLU
from minisegnet.teaching import fully_connected as lesson
from minisegnet.teaching.fully_connected_pictures import draw_shift, draw_slide

# ---------------------------------------------------------------------------------- 1: it is a convolution


@pytest.fixture(scope="module")
def in_double():
    """The classifier of windows, its running statistics and biases those of no fresh network, in float64."""
    graph = lesson.window_classifier(width=4, hidden=8, seed=3).astype(np.float64)
    rng = np.random.default_rng(0)
    for name, array in graph.arrays().items():
        if name.endswith(("bias", "running_mean")):
            array[...] = rng.standard_normal(array.shape)
        elif name.endswith("running_var"):
            array[...] = rng.uniform(0.5, 2, array.shape)
    return graph


@pytest.mark.parametrize("height, width, places", [(32, 32, (1, 1)), (48, 71, (5, 10)), (35, 40, (1, 3))])
def test_sliding_gives_the_scores_of_each_window(in_double, height, width, places):
    image = np.random.default_rng(1).standard_normal((3, height, width))
    slide = lesson.slide(in_double, 32, image)
    assert (slide.stride, slide.first) == (4, 15.5)
    assert slide.scores.shape == slide.by_window.shape == (len(CLASSES), *places)
    for i, j in np.ndindex(places):
        window = image[:, 4 * i : 4 * i + 32, 4 * j : 4 * j + 32]
        alone = in_double.predict(window[None])[0]
        np.testing.assert_allclose(slide.scores[:, i, j], alone, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(slide.by_window[:, i, j], alone, rtol=1e-12, atol=1e-12)
    assert slide.difference == np.abs(slide.scores - slide.by_window).max() < 1e-11
    np.testing.assert_allclose(slide.probabilities.sum(axis=0), 1)
    np.testing.assert_array_equal(slide.probabilities.argmax(axis=0), slide.scores.argmax(axis=0))


def test_the_difference_tells_when_sliding_is_another_computation():
    # A padded convolution sees zeros around a window cut out, and the image around one that slides.
    graph = Graph("padded")
    x = graph.chain("body", graph.input("image", channels=1), Conv2d(1, 2, 3, padding=1), ReLU(), Flatten())
    graph.output("score", Linear(2 * 64, 2), x).initialise(0)
    image = np.random.default_rng(2).standard_normal((1, 10, 10)).astype(np.float32)
    assert lesson.slide(graph, 8, image).difference > 1e-3
    assert lesson.slide(graph, 8, image[:, :8, :8]).difference < 1e-5


def test_multiply_adds_of_both_ways_by_hand():
    # 8 x 8 windows of one channel: a 3 x 3 convolution to 2 channels makes 6 x 6 of them, then 72 inputs to 5 outputs.
    graph = Graph("small")
    x = graph.chain("body", graph.input("image", channels=1), Conv2d(1, 2, 3, bias=False), Flatten())
    graph.output("score", Linear(72, 5, bias=False), x).initialise(0)
    slide = lesson.slide(graph, 8, np.zeros((1, 10, 12), np.float32))
    assert slide.scores.shape == (5, 3, 5)
    at_once = 2 * 9 * (8 * 10) + 5 * 72 * (3 * 5)
    by_window = 15 * (2 * 9 * 36 + 5 * 72)
    assert slide.multiply_adds == (at_once, by_window)
    assert min(slide.seconds) > 0


def test_windows_have_the_class_of_what_is_in_their_middle():
    near, far, empty = [], [], 0
    for sample in lesson.Windows(32, 300, seed=1, split="test"):
        assert len(np.unique(sample.labels)) == 1
        inside = np.argwhere(sample.instances)
        if sample.labels[0, 0] > 0:
            near.append(np.hypot(*(inside.mean(axis=0) - 15.5)))
        elif len(inside) == 0:
            empty += 1
        elif inside.min() > 0 and inside.max() < 31:  # all of it is seen, so that its middle is known
            far.append(np.hypot(*(inside.mean(axis=0) - 15.5)))
    assert len(near) == pytest.approx(0.6 * 300, abs=40)
    assert max(near) < 4
    assert len(far) > 5
    assert min(far) > 6
    assert empty > 5


def test_a_scene_has_shapes_as_large_as_windows_have():
    sample = lesson.scene(0)
    assert sample.image.shape == (3, *lesson.SCENE)
    areas = np.bincount(sample.instances.ravel())[1:]
    assert len(areas) == lesson.SCENE_OBJECTS
    smallest, largest = (np.pi * (share * 32) ** 2 for share in lesson.GRADE.radius)
    assert areas.max() < 1.1 * largest
    assert np.median(areas) > smallest
    np.testing.assert_array_equal(sample.image, lesson.scene(0).image)
    assert not np.array_equal(sample.image, lesson.scene(1).image)


# ------------------------------------------------------------------------------ 2: it loses where things are


def test_what_a_fully_connected_head_learnt_in_the_middle_it_does_not_know_elsewhere(tmp_path):
    head = lesson.fully_connected_head(width=4, hidden=24)
    lesson.train(head, ShapeClasses(32, 2560, shift=0), 80, 0.01, tmp_path)
    middle, moved = lesson.accuracy_by_shift({"head": head}, (0, 8), 150)["head"]
    assert middle > 0.6
    assert moved < 0.3  # five classes: guessing is 0.2


def test_a_convolutional_head_gives_one_answer_wherever_the_shape_is():
    # Exactly so for moves by the poolings' 4 pixels, where shape and edge do not meet in any window.
    head = lesson.convolutional_head(width=4, hidden=8, seed=1).astype(np.float64)
    fully = lesson.fully_connected_head(width=4, hidden=8, seed=1).astype(np.float64)
    shape = np.random.default_rng(0).standard_normal((3, 5, 5))

    def scores(graph, size, row, column):
        image = np.full((1, 3, size, size), 0.3)
        image[0, :, row : row + 5, column : column + 5] = shape
        return graph.predict(image).ravel()

    np.testing.assert_allclose(scores(head, 96, 40, 40), scores(head, 96, 48, 36), rtol=1e-12)
    assert np.abs(scores(fully, 32, 8, 12) - scores(fully, 32, 16, 8)).max() > 0.01


def test_both_heads_stand_on_the_same_convolutions():
    heads = lesson.fully_connected_head(seed=2), lesson.convolutional_head(seed=2)
    first, second = ({k: v for k, v in head.state_dict().items() if k.startswith("features")} for head in heads)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    side_and_channels = heads[0].shapes((1, 3, 32, 32))["features.10"]
    assert side_and_channels == (1, lesson.HEAD[0], lesson.HEAD[1], lesson.HEAD[1])
    assert heads[0].layers["head.1"].out_features == lesson.HEAD[2]


def test_accuracy_is_the_share_of_right_answers():
    class Constant(Linear):
        def forward(self, x):
            scores = np.zeros((len(x), len(CLASSES)), np.float32)
            scores[:, 3] = 1
            return scores, None

    graph = Graph("always a triangle")
    x = graph.add("flatten", Flatten(), graph.input("image", channels=3))
    graph.output("score", Constant(3 * 16 * 16, len(CLASSES)), x)
    images = ShapeClasses(16, 130)
    assert lesson.accuracy(graph, images) == np.mean([sample.labels[0, 0] == 3 for sample in images])


def test_the_highest_score_is_looked_for_on_the_shape():
    # A convolution that copies brightness as every class's score: bright shapes on dark ground are found, and dark
    # ones' negatives are not.
    class Pictures(ShapeClasses):
        def __init__(self, sign):
            super().__init__(32, 30)
            self.sign = sign

        def __getitem__(self, index):
            sample = super().__getitem__(index)
            image = np.where(sample.instances > 0, 0.5 + 0.4 * self.sign, 0.5).astype(np.float32)
            return type(sample)(np.repeat(image[None], 3, axis=0), sample.labels, sample.name, sample.instances)

    graph = Graph("brightness")
    graph.output("score", Conv2d(3, len(CLASSES), 1), graph.input("image", channels=3))
    graph.parameters["score.weight"].data[...] = 1
    found, covered = lesson.share_found(graph, Pictures(1))
    assert found == 1
    shapes = [sample for sample in Pictures(1) if sample.labels[0, 0] > 0]
    assert covered == pytest.approx(np.mean([(sample.instances > 0).mean() for sample in shapes]))
    assert lesson.share_found(graph, Pictures(-1))[0] == 0


def test_the_same_shape_moves():
    samples = lesson.moved((0, 4, 8))
    classes = lesson.class_of(samples)
    assert classes[0] > 0
    assert len(set(classes)) == 1
    places = [np.argwhere(sample.instances).mean(axis=0) for sample in samples]
    assert np.hypot(*(places[2] - places[0])) == pytest.approx(8, abs=0.7)
    np.testing.assert_allclose(places[1], (places[0] + places[2]) / 2, atol=0.7)  # in one direction


# --------------------------------------------------------------------------- 3: a small filter costs far less


def test_costs_of_vgg16_by_hand():
    linear, three, one = lesson.costs(*lesson.VGG16_FC6)
    assert linear == ("fully connected", 102_760_448, 102_760_448 * 49)
    assert three == ("3 x 3 convolution", 3 * 3 * 512 * 4096, 3 * 3 * 512 * 4096 * 49)
    assert one == ("1 x 1 convolution", 512 * 4096, 102_760_448)  # at all 49 places as many as fc6 for its one answer


def test_costs_are_those_of_the_layers():
    channels, side, outputs = 6, 5, 7
    shape = (1, channels, side, side)
    linear, *convolutions = lesson.costs(channels, side, outputs)
    layer = Linear(channels * side**2, outputs, bias=False)
    assert linear.weights == layer.weight.data.size == layer.multiply_adds(((1, 150),), (1, outputs))
    for cost, kernel in zip(convolutions, (3, 1), strict=True):
        layer = Conv2d(channels, outputs, kernel, padding=kernel // 2, bias=False)
        assert cost.weights == layer.weight.data.size
        assert cost.multiply_adds == layer.multiply_adds((shape,), layer.output_shape(shape))


# ------------------------------------------------------------------------------------------------- the command


def test_the_pictures_show_every_class_and_every_shift(in_double):
    sample = lesson.scene(0)
    slide = lesson.slide(in_double, 32, lesson.prepared(sample).astype(np.float64))
    figure = draw_slide(sample, slide, CLASSES)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[1:] == list(CLASSES)
    left, right, bottom, top = figure.axes[2].images[1].get_extent()
    assert (left, top) == (13.5, 13.5)  # the first window's middle is 15.5, and values lie 4 pixels apart
    assert (right - left, bottom - top) == (4 * slide.scores.shape[2], 4 * slide.scores.shape[1])
    np.testing.assert_array_equal(figure.axes[2].images[1].get_array()[..., 3], slide.probabilities[1])

    shifts = (0, 8)
    graphs = {"fully connected": lesson.fully_connected_head(4, 8), "convolutional": lesson.convolutional_head(4, 8)}
    curves = {"fully connected": [0.9, 0.2], "convolutional": [0.8, 0.7]}
    figure = draw_shift(shifts, curves, lesson.moved(shifts), graphs, graphs["convolutional"])
    lines = {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].lines}
    assert lines["fully connected"] == [0.9, 0.2]
    assert [axes.get_title() for axes in figure.axes[1::2]] == ["0 pixels", "8 pixels"]
    assert all(text.get_text() in CLASSES for axes in figure.axes[1::2] for text in axes.texts)


def test_the_command_tells_and_draws_all_three(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "TEST_IMAGES", 20)
    assert main(["fully-connected", "--out", str(tmp_path / "out"), "--steps", "2", "--threads", "1"]) == 0
    told = capsys.readouterr().out
    assert "64 filters of 5 x 5 on 32 channels" in told
    assert "2,361,473,925" in told  # window by window
    assert "102,760,448" in told
    for line in told.splitlines():
        if line.startswith(("  fully connected, ", "  convolutional, ")):
            assert all(0 <= float(share) <= 1 for share in line.split()[-6:])
    for name in ("slide.png", "shift.png"):
        assert str(tmp_path / "out" / name) in told
        Image.open(tmp_path / "out" / name).load()
