"""The table's numbers are those counted by hand, and its layout is torchinfo's."""

import re

import pytest
from networks import NETWORKS, two_streams, unpooling

from minisegnet.errors import GraphError, ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, Conv2d, ConvTranspose2d, Linear, MaxPool2d, ReLU
from minisegnet.models import unet


def counted():
    graph = Graph("Counted")
    x = graph.input("image", channels=3)
    x = graph.chain("encoder.block", x, Conv2d(3, 8, 3, stride=2, padding=1), BatchNorm2d(8), ReLU())
    x, _ = graph.add("pool", MaxPool2d(2, return_indices=True), x)
    return graph.output("score", ConvTranspose2d(8, 2, (4, 2), stride=4, padding=(0, 1), output_padding=(0, 2)), x)


# By hand, for a batch of 2 images of 3 x 32 x 48: the convolution makes 2 x 8 x 16 x 24 values, the pooling
# 2 x 8 x 8 x 12, the transposed convolution 2 x 2 x 32 x 46 (columns: 11 x 4 - 2 + 1 + 2 + 1).
BY_HAND = {
    "Conv2d (encoder.block.0)": ("[2, 8, 16, 24]", 3 * 8 * 9 + 8, 2 * 16 * 24 * (3 * 8 * 9 + 8), 2 * 8 * 16 * 24 * 4),
    "BatchNorm2d (encoder.block.1)": ("[2, 8, 16, 24]", 16, 2 * 8 * 16 * 24, 2 * 8 * 16 * 24 * 4),
    "ReLU (encoder.block.2)": ("[2, 8, 16, 24]", None, None, 2 * 8 * 16 * 24 * 4),
    "MaxPool2d (pool)": ("[2, 8, 8, 12]", None, None, 2 * 8 * 8 * 12 * (4 + 4)),
    "ConvTranspose2d (score)": (
        "[2, 2, 32, 46]", 8 * 2 * 8 + 2, 2 * 8 * 12 * (8 * 2 * 8) + 2 * 32 * 46 * 2, 2 * 2 * 32 * 46 * 4
    ),
}  # fmt: skip


def rows_of(table):
    """The cells of each row, under its first cell without the branches of the tree."""
    lines = [line.lstrip("├─│└ ") for line in table.splitlines() if not line.startswith("=")]
    cells = [re.split(r"\s{3,}", line) for line in lines]
    return {row[0]: row[1:] for row in cells}


def test_the_numbers_are_those_counted_by_hand():
    table = counted().summary((2, 3, 32, 48))
    rows = rows_of(table)
    for row, (shape, parameters, multiply_adds, memory) in BY_HAND.items():
        told = ["--" if count is None else f"{count:,}" for count in (parameters, multiply_adds)]
        assert rows[row] == [shape, *told, f"{memory / 1e6:.2f}"], row
    total = [sum(row[i] or 0 for row in BY_HAND.values()) for i in (1, 2, 3)]
    input_bytes = 2 * 3 * 32 * 48 * 4
    for line in (
        f"Total params: {total[0]:,}",
        f"Trainable params: {total[0]:,}",
        "Non-trainable params: 0",
        f"Total mult-adds (k): {total[1] / 1e3:.2f}",
        f"Input size (MB): {input_bytes / 1e6:.2f}",
        f"Forward pass size (MB): {total[2] / 1e6:.2f}",
        f"Params size (MB): {total[0] * 4 / 1e6:.2f}",
        f"Estimated total size (MB): {(input_bytes + total[2] + total[0] * 4) / 1e6:.2f}",
    ):
        assert line in table.splitlines()


def test_the_layout():
    lines = counted().summary((2, 3, 32, 48)).splitlines()
    rule = lines[0]
    assert set(rule) == {"="} and max(map(len, lines[:-1])) == len(rule)
    assert [i for i, line in enumerate(lines) if line == rule] == [0, 2, 12, 17, 22]
    assert [re.match(r"[├─│└ ]*[^ ]+( \(\S+\))?", line).group() for line in lines[3:12]] == [
        "Counted",
        "├─Input (image)",
        "├─Chain (encoder)",
        "│    └─Chain (encoder.block)",
        "│    │    └─Conv2d (encoder.block.0)",
        "│    │    └─BatchNorm2d (encoder.block.1)",
        "│    │    └─ReLU (encoder.block.2)",
        "├─MaxPool2d (pool)",
        "├─ConvTranspose2d (score)",
    ]
    assert rows_of("\n".join(lines))["Chain (encoder)"] == ["[2, 8, 16, 24]", "--", "--", "--"]
    assert "10**6 bytes" in lines[-1]


def test_frozen_parameters_stand_in_brackets():
    graph = counted()
    graph.parameters["encoder.block.0.weight"].trainable = False
    assert rows_of(graph.summary((2, 3, 32, 48)))["Conv2d (encoder.block.0)"][1] == "224"
    graph.parameters["encoder.block.0.bias"].trainable = False
    table = graph.summary((2, 3, 32, 48))
    assert rows_of(table)["Conv2d (encoder.block.0)"][1] == "(224)"
    assert {"Total params: 370", "Trainable params: 146", "Non-trainable params: 224"} <= set(table.splitlines())


def test_a_shared_layer_has_its_parameters_once_and_its_work_each_time():
    table = two_streams().summary([(1, 3, 6, 8), (1, 3, 6, 8)])
    rows = rows_of(table)
    work = f"{6 * 8 * (3 * 4 * 9 + 4):,}"
    assert rows["Conv2d (colour)"][1:3] == ["112", work] and rows["Conv2d (other)"][1:3] == ["(recursive)", work]
    assert "Total params: 364" in table  # 112 + 148 (unread) + 98 (coarse) + 6 (fine)
    assert rows["Two streams"][0] == "[1, 2, 3, 4], [1, 2, 6, 8]"


def test_double_precision_takes_twice_the_memory_but_for_indices():
    shape, single = (1, 3, 4, 4), rows_of(unpooling().summary((100, 3, 40, 40)))
    double = rows_of(unpooling().astype("float64").summary((100, 3, 40, 40)))
    assert single["MaxPool2d (pool)"][-1] == f"{100 * 4 * 20 * 20 * 8 / 1e6:.2f}"
    assert double["MaxPool2d (pool)"][-1] == f"{100 * 4 * 20 * 20 * 12 / 1e6:.2f}"
    assert double["Conv2d (middle)"][-1] == f"{100 * 4 * 20 * 20 * 8 / 1e6:.2f}"
    assert "MaxUnpool2d (unpool)" in rows_of(unpooling().summary(shape))


def test_linear_layers_count_each_row():
    graph = Graph("Rows")
    graph.output("score", Linear(5, 3), graph.input("features", channels=5))
    table = graph.summary((4, 5))
    assert rows_of(table)["Linear (score)"] == ["[4, 3]", "18", "72", "0.00"] and "Total mult-adds: 72" in table


def test_the_papers_unet_costs_what_its_figure_says():
    """Channels and sizes are read off figure 1 of Ronneberger et al. 2015, for one channel in and two classes out."""
    table = unet(2, 1, 64, 4, valid=True, batch_norm=False).summary((1, 1, 572, 572))
    convolutions = [  # channels in, channels out, size of the output
        (1, 64, 570), (64, 64, 568), (64, 128, 282), (128, 128, 280), (128, 256, 138), (256, 256, 136),
        (256, 512, 66), (512, 512, 64), (512, 1024, 30), (1024, 1024, 28), (1024, 512, 54), (512, 512, 52),
        (512, 256, 102), (256, 256, 100), (256, 128, 198), (128, 128, 196), (128, 64, 390), (64, 64, 388),
    ]  # fmt: skip
    ups = [(1024, 512, 28), (512, 256, 52), (256, 128, 100), (128, 64, 196)]  # ..., size of the input
    parameters = sum((9 * c + 1) * o for c, o, _ in convolutions) + sum((4 * c + 1) * o for c, o, _ in ups) + 2 * 65
    work = sum((9 * c + 1) * o * size**2 for c, o, size in convolutions) + 2 * 65 * 388**2
    work += sum((4 * c * size**2 + (2 * size) ** 2) * o for c, o, size in ups)
    assert f"Total params: {parameters:,}" in table and f"Total mult-adds (G): {work / 1e9:.2f}" in table
    assert rows_of(table)["U-Net"][0] == "[1, 2, 388, 388]"


@pytest.mark.parametrize("name", NETWORKS)
def test_every_node_has_a_row(name):
    build, shapes = NETWORKS[name]
    graph = build()
    rows = rows_of(graph.summary(shapes))
    kinds = {node.name: type(node.layer).__name__ if node.layer else "Input" for node in graph.nodes.values()}
    assert {f"{kind} ({name})" for name, kind in kinds.items()} <= set(rows)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="input 'image' has 3 channels"):
        counted().summary((1, 1, 32, 32))
    with pytest.raises(GraphError, match="the number of input shapes is 1"):
        counted().summary([(1, 3, 32, 32), (1, 3, 32, 32)])
