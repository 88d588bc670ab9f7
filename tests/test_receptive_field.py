"""Receptive fields: what the layers allow holds all gradients and is reached, also where images are mirrored."""

import copy

import numpy as np
import pytest

from minisegnet.errors import GraphError, OptionError, ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import (
    Add,
    AvgPool2d,
    BatchNorm2d,
    BedOfNails2d,
    Conv2d,
    ConvTranspose2d,
    Crop,
    Dropout,
    GlobalAvgPool2d,
    MaxPool2d,
    NearestUnpool2d,
    PadToMultiple,
    ReflectionPad2d,
    ReLU,
    UpsampleBilinear2d,
)
from minisegnet.models.fcn import fcn8s, fcn16s, fcn32s
from minisegnet.models.segnet import segnet_basic
from minisegnet.models.unet import unet
from minisegnet.receptive_field import effective_square, measured, receptive_field
from minisegnet.teaching import receptive_field_picture
from minisegnet.teaching.receptive_field_picture import TIMES

SHAPE = (1, 1, 23, 31)


def chain(*layers):
    graph = Graph("chain")
    x = graph.input("image", channels=1)
    graph.chain("body", x, *layers)
    graph.outputs.append(graph.nodes[f"body.{len(layers) - 1}"])
    return positive(graph)


def positive(graph, seed=0):
    """Weights above zero, so that no two gradients cancel."""
    rng = np.random.default_rng(seed)
    for parameter in graph.parameters.values():
        parameter.data[...] = rng.uniform(0.1, 1, parameter.data.shape)
    return graph.astype("float64")


def stirred(graph, seed=0):
    """Scores that are not zero, in float64."""
    rng = np.random.default_rng(seed)
    for parameter in graph.parameters.values():
        parameter.data += 0.3 * rng.standard_normal(parameter.data.shape).astype("float32")
    return graph.astype("float64")


def reached(gradient):
    """First and last row and column with a gradient."""
    rows, columns = (np.flatnonzero(gradient.any(axis=axis)) for axis in (1, 0))
    return (rows[0], rows[-1]), (columns[0], columns[-1])


# ---------------------------------------------------------------------------------------------------------- theory

CONVOLUTIONS = {
    "one": [Conv2d(1, 2, (3, 5), padding=1)],
    "strided": [Conv2d(1, 2, 3, stride=2), Conv2d(2, 2, 3, stride=(1, 2), padding=1), Conv2d(2, 1, 2)],
    "dilated": [Conv2d(1, 1, 3, dilation=2), Conv2d(1, 1, 2, dilation=3)],
    "stride above kernel": [Conv2d(1, 1, 2, stride=3), Conv2d(1, 1, 2)],
    "up": [Conv2d(1, 2, 3, stride=2), ConvTranspose2d(2, 1, 4, 2, 1), Conv2d(1, 1, 3)],
    "averages": [AvgPool2d(3, 2, ceil_mode=True), NearestUnpool2d(3), Conv2d(1, 1, 2)],
    "resized": [AvgPool2d(4), UpsampleBilinear2d(4), Conv2d(1, 1, 3)],
    "nails": [AvgPool2d(2), BedOfNails2d(2), Conv2d(1, 1, 3, padding=1)],
    "mirrored": [ReflectionPad2d((3, 2, 4, 1)), Conv2d(1, 1, 3), Conv2d(1, 1, 3, stride=2)],
    "padded to multiple": [PadToMultiple(16), Conv2d(1, 1, 5, padding=2), AvgPool2d(2)],
    "mirrored over and over": [Conv2d(1, 1, (21, 29)), ReflectionPad2d(7), Conv2d(1, 1, 3)],
    "mean of all": [Conv2d(1, 2, 3, padding=1), GlobalAvgPool2d()],
    "pointwise": [Conv2d(1, 2, 3), BatchNorm2d(2), Dropout(0.5), Conv2d(2, 1, 1)],
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_every_pixels_field_is_what_its_gradient_reaches(name):
    graph = chain(*CONVOLUTIONS[name])
    _, _, H, W = graph.output_shape(SHAPE)
    rng = np.random.default_rng(1)
    corners = [(0, 0), (H - 1, W - 1), (0, W - 1)]
    for row, column in [*corners, *zip(rng.integers(0, H, 12), rng.integers(0, W, 12), strict=True)]:
        gradient = measured(graph, SHAPE, row, column, samples=1)
        assert receptive_field(graph, SHAPE, row, column) == reached(gradient), f"{row}, {column}"


def test_dilated_windows_count_as_filled():
    """So at the edges the field holds a row or two more than the gradient reaches, and within it is the same."""
    graph = chain(Conv2d(1, 1, 3, padding=2, dilation=2), Conv2d(1, 1, 2, dilation=3))
    assert receptive_field(graph, SHAPE, 8, 9) == ((6, 13), (7, 14)) == reached(measured(graph, SHAPE, 8, 9))
    assert receptive_field(graph, SHAPE, 18, 9).rows == (16, 22)
    assert reached(measured(graph, SHAPE, 18, 9))[0] == (16, 21)


def test_all_paths_count():
    graph = Graph("paths")
    image = graph.input("image", channels=1)
    wide = graph.add("wide", Conv2d(1, 1, (1, 7), padding=(0, 3)), image)
    high = graph.add("high", Conv2d(1, 1, (5, 1)), image)
    cropped = graph.add("crop", Crop(2, 0), wide, size_of=high)
    positive(graph.output("sum", Add(), high, cropped))
    assert receptive_field(graph, SHAPE, 4, 9) == ((4, 8), (6, 12)) == reached(measured(graph, SHAPE, 4, 9))
    assert receptive_field(graph, SHAPE, 4, 9, node="wide") == ((4, 4), (6, 12))
    assert receptive_field(graph, SHAPE, 4, 9, node="image") == ((4, 4), (9, 9))
    assert reached(measured(graph, SHAPE, 4, 9, node="high")) == ((4, 8), (9, 9))


def test_a_pixel_between_nails_sees_nothing():
    graph = chain(AvgPool2d(2), BedOfNails2d(2))
    assert receptive_field(graph, SHAPE, 2, 4) == ((2, 3), (4, 5))
    for row, column in ((3, 4), (2, 5), (3, 5)):
        assert receptive_field(graph, SHAPE, row, column) == ((0, -1), (0, -1))
        assert receptive_field(graph, SHAPE, row, column).shape == (0, 0)
        with pytest.raises(GraphError, match="is zero everywhere"):
            measured(graph, SHAPE, row, column)


# -------------------------------------------------------------------------------------------------------- networks

FCNS = {
    "32s, vgg16": (lambda: fcn32s(2, encoder="vgg16", width=2, head=2), (1, 3, 20, 560)),
    "8s, vgg16 as published": (lambda: fcn8s(2, width=1, head=2, as_published=True), (1, 3, 20, 560)),
    "16s, squeezenet": (lambda: fcn16s(2, encoder="squeezenet1_1", width=8), (1, 3, 150, 260)),
    "8s, laptop": (lambda: fcn8s(2, encoder="laptop", width=2), (1, 3, 150, 260)),
}


@pytest.mark.parametrize("name", FCNS)
@pytest.mark.parametrize("place", [(0.5, 0.4), (0.99, 0.0)])
def test_fcn(name, place):
    build, shape = FCNS[name]
    graph = stirred(build())
    row, column = (int(part * side) for part, side in zip(place, shape[2:], strict=True))
    field = receptive_field(graph, shape, row, column)
    assert field == reached(measured(graph, shape, row, column, samples=4))
    assert field.shape != shape[2:]  # the image is large enough to show where it ends


@pytest.mark.parametrize(
    ("options", "size"),
    [({}, (45, 54)), ({}, (13, 3)), ({"valid": True}, (44, 52)), ({"upsampling": "bilinear"}, (60, 20))],
)
@pytest.mark.parametrize("place", [(0.5, 0.5), (0.0, 0.99)])
def test_unet(options, size, place):
    """Poolings pass one value of a window on, so that an outermost row may by chance be none's."""
    graph = stirred(unet(2, width=2, depth=2, **options))
    shape = (1, 3, *size)
    row, column = (int(part * side) for part, side in zip(place, graph.output_shape(shape)[2:], strict=True))
    field = receptive_field(graph, shape, row, column)
    for (first, last), (first_reached, last_reached) in zip(
        field, reached(measured(graph, shape, row, column)), strict=True
    ):
        assert first <= first_reached <= first + 1 and last - 1 <= last_reached <= last


def test_segnet_sees_through_its_indices():
    graph = stirred(segnet_basic(2, width=2, kernel_size=3))
    field = receptive_field(graph, (1, 3, 90, 110), 40, 60)
    rows, columns = reached(measured(graph, (1, 3, 90, 110), 40, 60))
    assert field.rows[0] <= rows[0] < rows[1] <= field.rows[1]
    assert field.columns[0] <= columns[0] < columns[1] <= field.columns[1]
    assert field.shape < (90, 110)


# ----------------------------------------------------------------------------------------------------- measurement


def test_measured_is_the_mean_of_gradients():
    """Of a linear network it is that of the upstream gradients alone: |weight| turned round, at the pixel."""
    graph = chain(Conv2d(1, 1, 3, padding=1))
    gradient = measured(graph, SHAPE, 7, 9, samples=500, seed=3)
    weight = graph.parameters["body.0.weight"].data[0, 0]
    np.testing.assert_allclose(gradient[6:9, 8:11] / weight, np.sqrt(2 / np.pi), rtol=0.05)  # the mean of |normal|
    assert np.ptp(gradient[6:9, 8:11] / weight) < 1e-12
    assert gradient.shape == SHAPE[2:]
    assert gradient.sum() == pytest.approx(gradient[6:9, 8:11].sum())


def test_the_seed_makes_the_measurement():
    graph = stirred(unet(2, width=2, depth=1))
    one, same, other = (measured(graph, (1, 3, 12, 14), 5, 6, samples=2, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize("training", [True, False])
def test_the_graph_is_left_as_it_was(training):
    graph = unet(2, width=2, depth=1, dropout=0.5)
    graph.layers["encoder0.0"].freeze()
    graph.train() if training else graph.eval()
    x = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
    score = graph.forward(x)
    before = copy.deepcopy(graph)
    measured(graph, (4, 3, 9, 11), 5, 6, samples=2)
    for name, array in before.arrays().items():
        np.testing.assert_array_equal(graph.arrays()[name], array)
    for name, parameter in graph.parameters.items():
        assert not parameter.grad.any()
        assert parameter.trainable == before.parameters[name].trainable
    assert [layer.training for layer in graph.layers.values()] == [layer.training for layer in before.layers.values()]
    assert graph.layers["dropout"].calls == before.layers["dropout"].calls
    np.testing.assert_array_equal(graph.backward(score), before.backward(score))  # the pass before is still there


def test_what_cannot_be_looked_at():
    graph = chain(Conv2d(1, 1, 3))
    for row, column in ((21, 0), (-1, 0), (0, 29)):
        told = f"has 21 x 29 pixels for an image of 23 x 31: got row {row}, column {column}"
        with pytest.raises(ShapeError, match=told):
            receptive_field(graph, SHAPE, row, column)
        with pytest.raises(ShapeError, match="choose rows 0 to 20, columns 0 to 28"):
            measured(graph, SHAPE, row, column)
    with pytest.raises(GraphError, match="has no node 'score'"):
        receptive_field(graph, SHAPE, 0, 0, node="score")
    with pytest.raises(OptionError, match="at least 1; got 0"):
        measured(graph, SHAPE, 0, 0, samples=0)
    with pytest.raises(GraphError, match="a network whose scores start at zero"):
        measured(fcn8s(2, encoder="laptop", width=1), (1, 3, 32, 32), 5, 5)
    graph.output("sum", Add(), graph.handle("body.0"), graph.input("other", channels=1))
    with pytest.raises(GraphError, match="has 2 inputs; a receptive field is looked at in one image"):
        receptive_field(graph, SHAPE, 0, 0)


# ------------------------------------------------------------------------------------------------ the effective one


def test_the_square_that_holds_a_share():
    gradient = np.zeros((20, 30))
    gradient[8:13, 10:15] = 1  # 25 in all, around (10, 12)
    assert effective_square(gradient, 1.0) == ((8, 12), (10, 14))
    assert effective_square(gradient, 9 / 25) == ((9, 11), (11, 13))
    assert effective_square(gradient, 0.37) == ((8, 12), (10, 14))
    assert effective_square(gradient, 0.04) == ((10, 10), (12, 12))
    gradient[:] = 0
    gradient[0, 5] = gradient[0, 9] = 1
    assert effective_square(gradient) == ((0, 2), (5, 9))  # cut off at the edge
    for share in (0, 1.1, -0.5):
        with pytest.raises(OptionError, match="above 0 up to 1; got"):
            effective_square(gradient, share)


def test_a_gaussian_is_cut_where_its_tables_say():
    """Of two independent normal directions, 95 % lies within 2.236 standard deviations in both."""
    rows, columns = np.ogrid[:201, :301]
    gradient = np.exp(-((rows - 90) ** 2 + (columns - 140) ** 2) / (2 * 20**2))
    square = effective_square(gradient)
    assert square == ((90 - 45, 90 + 45), (140 - 45, 140 + 45))  # 2.236 * 20 = 44.7
    assert square.shape == (91, 91)


def test_the_effective_field_is_smaller_than_the_theoretical():
    """Luo et al. 2016: with depth the gradient gathers in the middle, as a Gaussian of width sqrt(depth)."""
    shares = []
    for depth in (2, 10, 30):
        layers = [layer for _ in range(depth) for layer in (Conv2d(1, 1, 3, padding=1, bias=False), ReLU())]
        graph = chain(*layers)
        shape = (1, 1, 2 * depth + 11, 2 * depth + 11)
        field = receptive_field(graph, shape, depth + 5, depth + 5)
        assert field.shape == (2 * depth + 1, 2 * depth + 1)
        side = effective_square(measured(graph, shape, depth + 5, depth + 5, samples=4)).shape[0]
        shares.append(side / field.shape[0])
    assert shares[0] > shares[1] > shares[2]
    assert shares[2] < 0.5


# --------------------------------------------------------------------------------------------------------- picture


@pytest.mark.parametrize("place", [(20, 30), (0, 41)])
def test_the_picture_shows_both_fields(tmp_path, place):
    graph = stirred(unet(2, width=2, depth=1)).astype("float32")
    shape = (1, 3, 30, 42)
    path = tmp_path / "field.png"
    figure = receptive_field_picture.draw(graph, shape, *place, path=path, samples=2)
    image = figure.axes[0]
    gradient = measured(graph, shape, *place, samples=2)
    np.testing.assert_array_equal(image.images[0].get_array(), gradient)
    frames = [patch.get_bbox().bounds for patch in image.patches]
    for frame, field in zip(
        frames, (receptive_field(graph, shape, *place), effective_square(gradient)), strict=True
    ):
        (top, _), (left, _) = field
        assert frame == (left - 0.5, top - 0.5, field.shape[1], field.shape[0])
    (mark,) = image.lines
    assert (mark.get_ydata()[0], mark.get_xdata()[0]) == place
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    rows, columns = receptive_field(graph, shape, *place).shape
    assert told[0] == f"theoretical receptive field: {rows} {TIMES} {columns}"
    assert told[1].startswith("95% of the gradient: ")
    assert path.read_bytes()[1:4] == b"PNG"


def test_a_pixel_of_paths_that_do_not_line_up_is_not_marked():
    graph = Graph("askew")
    image = graph.input("image", channels=1)
    one = graph.add("one", MaxPool2d(2), image)
    graph.output("sum", Add(), one, graph.add("two", Conv2d(1, 1, 3, stride=2, padding=1), image)).initialise(0)
    figure = receptive_field_picture.draw(graph, (1, 1, 16, 60), 3, 5, samples=1)
    assert not figure.axes[0].lines
    assert len(figure.legends[0].get_texts()) == 2
