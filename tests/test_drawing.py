"""The picture shows every node, each on the row of its resolution, and no arrow runs through a box."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyArrowPatch
from networks import NETWORKS, chain, small_unet, two_streams, unpooling

from minisegnet.diagram import arrange, halvings, words_for
from minisegnet.drawing import crosses, draw, place, route
from minisegnet.errors import GraphError
from minisegnet.graph import Graph
from minisegnet.layers import (
    AvgPool2d,
    BedOfNails2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    MaxPool2d,
    MaxUnpool2d,
    NearestUnpool2d,
    PadToMultiple,
    ReLU,
    UpsampleBilinear2d,
)
from minisegnet.models import unet

PICTURES = {name: (build, shapes) for name, (build, shapes) in NETWORKS.items()} | {
    "U-Net of depth 4": (lambda: unet(2, width=4), [(1, 3, 64, 64)]),
    "the paper's U-Net": (lambda: unet(2, 1, 4, valid=True, upsampling="bilinear", dropout=0.5), [(1, 1, 572, 572)]),
}
pictures = pytest.mark.parametrize("name", PICTURES)


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@pictures
def test_every_block_is_told_with_its_shape(name):
    build, shapes = PICTURES[name]
    graph = build()
    told = texts(draw(graph, input_shape=shapes))
    assert graph.name in told
    for node in graph.nodes.values():
        assert node.name in told or node.name.rpartition(".")[0] in told, node.name
    known = graph.shapes(*shapes)
    for block in arrange(graph):
        assert " \N{MULTIPLICATION SIGN} ".join(map(str, known[block.nodes[-1].name][1:])) in told


@pictures
def test_no_text_leaves_its_box_and_no_boxes_overlap(name):
    build, shapes = PICTURES[name]
    figure = draw(build(), input_shape=shapes)
    renderer = FigureCanvasAgg(figure).get_renderer()
    legend_and_bands = figure.axes[0].texts[: len({block.level for block in arrange(build())})]
    boxes, _ = place(arrange(build()), build().shapes(*shapes))
    dpi = figure.dpi
    for box in boxes:
        extents = [
            text.get_window_extent(renderer)
            for text in figure.axes[0].texts
            if text not in legend_and_bands
            and abs(text.get_position()[0] - box.x) < 1e-6
            and abs(text.get_position()[1] - box.y) < box.height / 2
        ]
        assert len(extents) == len(box.lines)
        for extent in extents:
            assert (box.x - box.width / 2) * dpi <= extent.x0 and extent.x1 <= (box.x + box.width / 2) * dpi
    width, height = figure.get_size_inches()
    for i, a in enumerate(boxes):
        assert a.width / 2 < a.x < width - a.width / 2 and a.height / 2 < a.y < height - a.height / 2
        for b in boxes[:i]:
            assert abs(a.x - b.x) >= (a.width + b.width) / 2 or abs(a.y - b.y) >= (a.height + b.height) / 2


@pictures
def test_no_arrow_runs_through_a_box(name):
    build, shapes = PICTURES[name]
    boxes, bands = place(arrange(build()), build().shapes(*shapes))
    places = {box.block: box for box in boxes}
    arrows = 0
    for target in boxes:
        for source, indices in target.block.reads:
            way = route(places[source], target, boxes, bands, indices)
            others = [box for box in boxes if box not in (places[source], target)]
            assert not any(crosses(way, box) for box in others), (source.label, target.block.label)
            arrows += 1
    assert arrows >= len(boxes) - 2


def test_a_unet_is_a_u():
    blocks = {block.label: block for block in arrange(unet(2, width=4, depth=3))}
    for level in range(3):
        encoder, decoder = blocks[f"encoder{level}"], blocks[f"decoder{level}"]
        assert encoder.level == decoder.level == blocks[f"concat{level}"].level == level
        assert blocks[f"pool{level}"].level == level + 1 and blocks[f"pool{level}"].column == encoder.column
        assert encoder.column < blocks["bottom"].column < decoder.column
    assert blocks["bottom"].level == 3
    assert {block.lane for block in blocks.values()} == {0}
    boxes, _ = place(list(blocks.values()), {})
    heights = [box.y for box in sorted(boxes, key=lambda box: box.block.level)]
    assert heights == sorted(heights, reverse=True)


def test_streams_stand_beside_each_other():
    blocks = {block.label: block for block in arrange(two_streams())}
    assert blocks["image"].column == blocks["neighbour"].column == 0
    assert blocks["image"].lane != blocks["neighbour"].lane
    assert blocks["coarse"].level == 1 and blocks["finer"].level == 0


def test_chains_are_gathered_up_to_where_something_else_reads():
    graph = Graph("Chains")
    x = graph.chain("a", graph.input("image", 1), Conv2d(1, 1, 3), ReLU(), Conv2d(1, 1, 3), ReLU())
    y = graph.chain("b", x, Conv2d(1, 1, 1), MaxPool2d(2), ReLU())
    z = graph.chain("c", y, ReLU(), ReLU(), ReLU())
    graph.output("sum", Concat(), graph.handle("c.0"), z)
    blocks = {block.label: [node.name for node in block.nodes] for block in arrange(graph)}
    dash = "\N{EN DASH}"
    assert blocks == {
        "image": ["image"], "a": ["a.0", "a.1", "a.2", "a.3"], "b.0": ["b.0"], f"b.1{dash}2": ["b.1", "b.2"],
        "c.0": ["c.0"], f"c.1{dash}2": ["c.1", "c.2"], "sum": ["sum"],
    }  # fmt: skip
    captions = {block.label: block.caption for block in arrange(graph)}
    assert captions["a"] == ["2 times:", "conv 3\N{MULTIPLICATION SIGN}3", "ReLU"]
    assert captions[f"c.1{dash}2"] == ["2 times:", "ReLU"] and captions["image"] == []


def test_indices_are_drawn_dashed():
    arrows = [patch for patch in draw(unpooling()).axes[0].patches if isinstance(patch, FancyArrowPatch)]
    assert sorted(arrow.get_linestyle() != "-" for arrow in arrows) == [False] * 5 + [True]


@pytest.mark.parametrize(
    "layer, change, words",
    [
        (Conv2d(1, 1, 3, stride=2, dilation=3), 1, "conv 3x3 stride 2 dilated 3"),
        (Conv2d(1, 1, (3, 1)), 0, "conv 3x1"),
        (MaxPool2d(4), 2, "max pool 4x4"),
        (AvgPool2d(3, stride=1), 0, "average pool 3x3"),
        (MaxPool2d((2, 1)), 0.5, "max pool 2x1"),
        (ConvTranspose2d(1, 1, 4, stride=2), -1, "transposed conv 4x4"),
        (MaxUnpool2d(), -1, "max unpool"),
        (NearestUnpool2d(4), -2, "nearest unpool x4"),
        (BedOfNails2d((2, 1)), -0.5, "bed of nails x2x1"),
        (UpsampleBilinear2d(8), -3, "bilinear x8"),
        (PadToMultiple(16), 0, "pad to x16"),
        (Dropout(0.5), 0, "dropout 0.5"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_layers_in_a_few_words(layer, change, words):
    assert halvings(layer) == change
    assert words_for(layer).replace("\N{MULTIPLICATION SIGN}", "x") == words


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_picture_is_saved_where_a_path_is_given(ending, tmp_path):
    path = tmp_path / f"net.{ending}"
    figure = small_unet().draw(path, (1, 3, 8, 8))
    assert path.stat().st_size > 5000
    if ending == "png":
        from PIL import Image

        pixels = np.asarray(Image.open(path).convert("L"))
        width, height = figure.get_size_inches()
        assert pixels.shape == pytest.approx((height * 150, width * 150), abs=1)
        assert (pixels < 128).mean() > 0.005  # ink


def test_without_a_shape_the_boxes_tell_channels():
    told = texts(chain().draw())
    assert {"3 channels", "4 channels", "2 channels", "body", "score"} <= set(told)


def test_a_graph_may_be_drawn_before_it_has_an_output_but_not_without_an_input():
    graph = Graph("Begun")
    with pytest.raises(GraphError, match="Begun has no input"):
        graph.draw()
    graph.input("image", 3)
    assert "image" in texts(graph.draw())


def test_drawing_opens_no_window_and_needs_no_pyplot():
    code = "import sys; from networks import chain; chain().draw(); print('matplotlib.pyplot' in sys.modules)"
    path = [*sys.path, str(__file__).rpartition("/")[0]]
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "False"
