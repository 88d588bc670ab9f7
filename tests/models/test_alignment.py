"""Where pixels lie: composed offsets against ramps that pass through the layers, the papers' crops, and the errors."""

import re
from fractions import Fraction

import numpy as np
import pytest

from minisegnet.errors import ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import (
    Add,
    AvgPool2d,
    BilinearConvTranspose2d,
    CenterCrop,
    Concat,
    Conv2d,
    Crop,
    Flatten,
    MaxPool2d,
    ReLU,
    UpsampleBilinear2d,
)
from minisegnet.models.alignment import Position, coordinates, crop_to_align, derivation, stamp_to_align
from minisegnet.models.fcn import fcn8s, fcn16s, fcn32s
from minisegnet.models.segnet import segnet
from minisegnet.models.unet import unet

IMAGE = (1, 1, 61, 74)
AT_ITS_PLACE = (Position(Fraction(1), Fraction(0)),) * 2


def image_graph():
    graph = Graph("test")
    return graph, graph.input("image", channels=1)


def means(graph):
    """The graph with every convolution a plain mean of its window, so that a ramp stays a ramp."""
    for layer in graph.layers.values():
        if type(layer) is Conv2d:
            layer.weight.data[...] = 1 / layer.weight.data[0].size
    return graph.astype("float64")


LAYERS = {
    "convolution": [Conv2d(1, 1, (3, 5), padding=(1, 0))],
    "strided": [Conv2d(1, 1, (4, 3), stride=(2, 3), padding=(0, 1))],
    "dilated": [Conv2d(1, 1, 3, padding=1, dilation=(2, 3))],
    "pooling": [AvgPool2d(2, ceil_mode=True), AvgPool2d(3, stride=2)],
    "even stamps": [AvgPool2d(2), BilinearConvTranspose2d(1, 4, 2, padding=1)],
    "odd stamps": [AvgPool2d(3, stride=2), BilinearConvTranspose2d(1, (3, 7), (2, 4), padding=(1, 0))],
    "resized": [UpsampleBilinear2d(3)],
    "cropped": [Conv2d(1, 1, 2), Conv2d(1, 1, 4, stride=2, padding=1), BilinearConvTranspose2d(1, 16, 8)],
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_ramp_is_found_where_its_pixels_lie(name):
    """In an image whose value is the row, every value within is the row at which it lies."""
    graph, x = image_graph()
    x = graph.chain("body", x, *LAYERS[name])
    graph.output("end", ReLU(), x)
    means(graph)
    shape = graph.output_shape(IMAGE)
    for axis, place in zip((2, 3), coordinates(graph, IMAGE)["end"], strict=True):
        ramp = np.arange(IMAGE[axis], dtype=float).reshape([-1 if a == axis else 1 for a in range(4)])
        y = graph.predict(np.ascontiguousarray(np.broadcast_to(ramp, IMAGE)))[0, 0]
        line = y.mean(axis=1) if axis == 2 else y.mean(axis=0)
        lies = np.array([float(place.scale * i + place.offset) for i in range(shape[axis])])
        other = y[:, shape[3] // 2] if axis == 2 else y[shape[2] // 2]  # a line in the middle, away from the sides
        within = np.flatnonzero(np.isclose(other, lies, atol=1e-9))
        assert len(within) > 0.6 * len(line), f"only {len(within)} of {len(line)} lie at {place}: {other} for {lies}"
        assert within.max() - within.min() == len(within) - 1  # all but the edges, which padding pulls to zero


def test_composition_by_hand():
    graph, x = image_graph()
    x = graph.chain("body", x, Conv2d(1, 1, 3), MaxPool2d(2), Conv2d(1, 1, 3, stride=2, padding=1))
    places = coordinates(graph, IMAGE)
    assert [places[f"body.{i}"][0] for i in range(3)] == [(1, 1), (2, Fraction(3, 2)), (4, Fraction(3, 2))]
    assert all(type(number) is Fraction for place in places.values() for number in place[0])


# ------------------------------------------------------------------------------------------------------ the papers


@pytest.mark.parametrize(
    ("build", "crops"),
    [
        (fcn32s, {"score": 19}),
        (fcn16s, {"crop16": 5, "score": 27}),
        (fcn8s, {"crop16": 5, "crop8": 9, "score": 31}),
    ],
)
def test_the_papers_crops_come_out_of_the_derivation(build, crops):
    graph = build(2, width=1, as_published=True)
    found = {name: layer for name, layer in graph.layers.items() if isinstance(layer, Crop)}
    assert {name: (layer.top, layer.left) for name, layer in found.items()} == {n: (c, c) for n, c in crops.items()}
    text = derivation(graph)
    told = re.findall(r"^(\w+): \w+ laid on \w+: \(.*\) / \d+ = (\d+)$", text, re.MULTILINE)
    assert {name: int(crop) for name, crop in told} == crops
    assert re.search(r"^features\.0 +Conv2d +image +3 +1 +100 +1 +-99$", text, re.MULTILINE)
    assert re.search(r"^classifier\.0 +Conv2d +features\.30 +7 +1 +0 +32 +12\.5$", text, re.MULTILINE)


def test_unets_centre_crops_are_those_of_the_derivation():
    text = derivation(unet(2, 1, width=1, depth=4, valid=True, batch_norm=False), (1, 1, 572, 572))
    assert re.findall(r"^(crop\d): .* = (\d+)$", text, re.MULTILINE) == [
        ("crop3", "4"), ("crop2", "16"), ("crop1", "40"), ("crop0", "88"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("graph", "size"),
    [(unet(2, 1, 1, 3), (61, 74)), (unet(2, 1, 1, 2, upsampling="bilinear"), (9, 30)), (segnet(2, 1, 1), (64, 96))],
    ids=["U-Net", "U-Net, bilinear", "SegNet"],
)
def test_networks_of_padded_convolutions_score_each_pixel_at_its_place(graph, size):
    assert coordinates(graph, (1, 1, *size))[graph.outputs[0].name] == AT_ITS_PLACE


def test_derivation_as_a_table():
    graph, image = image_graph()
    down = graph.chain("down", image, Conv2d(1, 1, (3, 5), padding=(1, 2)), ReLU(), MaxPool2d(3, stride=2))
    up = graph.add("up", BilinearConvTranspose2d(1, 3, 2), down)
    cropped = graph.add("crop", CenterCrop(), image, size_of=up)
    graph.output("both", Concat(), up, cropped)
    assert derivation(graph, (1, 1, 9, 9)) == (
        "test: row i of a value lies at row (scale i + offset) of the image\n"
        "\n"
        "node    layer                    reads     kernel  stride  padding  scale  offset\n"
        "---------------------------------------------------------------------------------\n"
        "image   input                                                           1       0\n"
        "down.0  Conv2d                   image       3, 5       1     1, 2      1       0\n"
        "down.2  MaxPool2d                down.0         3       2        0      2       1\n"
        "up      BilinearConvTranspose2d  down.2         3       2        0      1       0\n"
        "crop    crop 0                   image                                  1       0\n"
        "both    Concat                   up, crop                               1       0\n"
        "---------------------------------------------------------------------------------\n"
        "crop: image laid on up: (0 - 0) / 1 = 0"
    )
    graph, image = image_graph()
    wide = graph.add("wide", Conv2d(1, 1, 3, padding=4), image)
    graph.output("askew", Crop(3, 1), wide, size_of=image)
    assert derivation(graph).splitlines()[-2:] == [
        "askew: wide laid on image row: (0 - (-3)) / 1 = 3",
        "askew: wide laid on image column: (0 - (-3)) / 1 = 3, but it is cut at 1",
    ]
    graph, image = image_graph()
    graph.output("third", UpsampleBilinear2d(3), image)
    lines = derivation(graph).splitlines()
    assert lines[-3].split() == ["third", "UpsampleBilinear2d", "image", "1/3", "-1/3"]
    assert lines[-1] == "nothing is cropped"


# ------------------------------------------------------------------------------------------- lining up, and errors


def test_the_crop_that_lines_up():
    graph, image = image_graph()
    x = graph.add("valid", Conv2d(1, 1, (5, 3)), image)
    assert crop_to_align(graph, image, x, IMAGE) == (2, 1)
    same = graph.add("crop", Crop(2, 1), image, size_of=x)
    graph.output("sum", Add(), same, x)
    assert coordinates(graph, IMAGE)["sum"] == (Position(Fraction(1), Fraction(2)), Position(Fraction(1), Fraction(1)))


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        ([MaxPool2d(2)], (4, 1)),
        ([MaxPool2d(2), MaxPool2d(2)], (8, 2)),
        ([Conv2d(1, 1, 3, stride=2, padding=1)], (3, 1)),
        ([Conv2d(1, 1, 3, stride=2)], (3, 0)),
        ([MaxPool2d(3, 2), MaxPool2d(3, 2)], (7, 0)),
        ([MaxPool2d(3, 2), MaxPool2d(2, 2)], (7, 1)),
    ],
)
def test_the_stamp_that_lines_up(layers, wanted):
    graph, image = image_graph()
    x = graph.chain("down", image, *layers)
    kernel, padding = stamp_to_align(graph, x, image)
    assert (kernel, padding) == wanted
    graph.output("up", BilinearConvTranspose2d(1, kernel, 2 ** len(layers), padding), x)
    assert coordinates(graph)["up"] == AT_ITS_PLACE


def test_paths_that_do_not_meet():
    graph, image = image_graph()
    one = graph.add("one", MaxPool2d(2), image)
    two = graph.add("two", Conv2d(1, 1, 3, stride=2, padding=1), image)
    graph.output("sum", Add(), one, two)
    with pytest.raises(ShapeError) as caught:
        coordinates(graph, (1, 1, 8, 8))
    for part in ("node 'sum'", "row i of 'one' lies at row 2 i + 0.5", "that of 'two' at 2 i + 0", "crop_to_align"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (MaxPool2d(2), "at row 2 i + 0.5 of the image, that of 'image' at 1 i + 0: no crop changes the scale"),
        (Conv2d(1, 1, 2), "a crop would have to begin at -0.5, inside a pixel; change the kernel"),
        (Conv2d(1, 1, 5), "a crop would have to begin 2 before the first; crop the other one instead"),
        (Conv2d(1, 1, (1, 5)), "column i of 'x' lies at column 1 i + 2 of the image"),
    ],
    ids=str,
)
def test_crops_that_there_are_not(layer, message):
    graph, image = image_graph()
    x = graph.add("x", layer, image)
    with pytest.raises(ShapeError, match=re.escape(message)):
        crop_to_align(graph, x, image)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([UpsampleBilinear2d(2)], "a stride of 0.5 is no whole number"),
        ([UpsampleBilinear2d(2), MaxPool2d(3)], "a stride of 1.5 is no whole number"),
        ([UpsampleBilinear2d(2), MaxPool2d(3, stride=2)], "0.25 apart, and kernels shift by halves"),
        ([Conv2d(1, 1, 7), MaxPool2d(2)], "stamps of 4 would begin 2 after the first; crop the other one"),
        ([Conv2d(1, 1, (3, 1)), MaxPool2d(2)], "lies on 'image' differently down and across"),
    ],
    ids=str,
)
def test_stamps_that_there_are_not(layers, message):
    graph, image = image_graph()
    x = graph.chain("x", image, *layers)
    with pytest.raises(ShapeError, match=re.escape(message)):
        stamp_to_align(graph, x, image)


def test_layers_that_have_no_places():
    graph, image = image_graph()
    graph.output("flat", Flatten(), image)
    with pytest.raises(ShapeError, match=r"node 'flat' Flatten.*does not say where it looks"):
        coordinates(graph, IMAGE)


def test_several_inputs_lie_on_one_another():
    graph, image = image_graph()
    other = graph.input("other", channels=2)
    graph.output("both", Concat(), image, other)
    assert coordinates(graph)["both"] == coordinates(graph, [(1, 1, 5, 5), (1, 2, 5, 5)])["both"] == AT_ITS_PLACE
