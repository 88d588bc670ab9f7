"""Transposed convolutions in the engine whose stamps overlap, or leave gaps."""

import numpy as np
import pytest
from agreement import assert_agrees

from minisegnet.engine.overlapping_stamps import OverlappingStamps, phases
from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, BilinearConvTranspose2d, Concat, Conv2d, ConvTranspose2d, ReLU

BATCHES = [(1, 3, (21, 35)), (3, 2, (10, 7))]  # images, workers, size


def stamped(layer, *followers, joined=False):
    graph = Graph("stamped")
    x = graph.add("first", Conv2d(3, layer.in_channels, 3, padding=1), graph.input("image", channels=3))
    if joined:
        sizes = {"a": layer.in_channels // 2, "b": layer.in_channels - layer.in_channels // 2}.items()
        halves = [graph.add(name, Conv2d(layer.in_channels, channels, 1), x) for name, channels in sizes]
        x = graph.add("joined", Concat(), *halves)
    x = graph.chain("stamps", x, layer, *followers)
    return graph.output("score", Conv2d(layer.out_channels, 2, 3, padding=1), x).initialise(1)


LAYERS = [
    lambda: ConvTranspose2d(4, 5, 4, 2, 1),
    lambda: ConvTranspose2d(4, 3, 3, 2, 1, 1),
    lambda: ConvTranspose2d(4, 2, 16, 8, 4),
    lambda: ConvTranspose2d(4, 3, (3, 5), (1, 3), (0, 2), (0, 1)),
    lambda: ConvTranspose2d(4, 3, 2, 3, output_padding=2),
    lambda: ConvTranspose2d(4, 3, 3, 2, 2, 1, dilation=2),
    lambda: ConvTranspose2d(4, 3, 3, (2, 3), 1, 0, dilation=(3, 2), bias=False),
    lambda: ConvTranspose2d(4, 3, 7, 3, 6),
    lambda: ConvTranspose2d(4, 3, 1, 2),
    lambda: ConvTranspose2d(4, 3, 2, 2, output_padding=1),
    lambda: ConvTranspose2d(4, 3, 2, 2, padding=1),
    lambda: ConvTranspose2d(4, 3, 2, padding=2),
    lambda: ConvTranspose2d(4, 3, 3, padding=4),
    lambda: ConvTranspose2d(4, 3, 5, padding=5),
    lambda: BilinearConvTranspose2d(2, 64, 32, 16),
    lambda: BilinearConvTranspose2d(4, 15, 8),
]


@pytest.mark.parametrize(("images", "workers", "size"), BATCHES)
@pytest.mark.parametrize("build", LAYERS, ids=[repr(build()) for build in LAYERS])
def test_any_kernel_stride_and_padding(build, images, workers, size):
    assert_agrees(stamped(build()), (images, 3, *size), workers=workers)


@pytest.mark.parametrize("build", LAYERS[:6], ids=[repr(build()) for build in LAYERS[:6]])
@pytest.mark.parametrize("joined", [False, True])
def test_what_follows_is_computed_in_the_same_blocks(build, joined):
    layer = build()
    graph = stamped(layer, BatchNorm2d(layer.out_channels), ReLU(), joined=joined)
    assert_agrees(graph, (3, 3, 10, 7), workers=2)
    kinds = [type(step) for step in graph.compile((3, 3, 10, 7)).plan.steps]
    assert OverlappingStamps in kinds and len(kinds) == (6 if joined else 4)  # with two halves, or without


def test_fixed_weights_stay():
    layer = BilinearConvTranspose2d(4, 4, 2, 1, fixed=True)
    graph = stamped(layer)
    assert_agrees(graph, (2, 3, 9, 6), workers=2)
    assert not layer.weight.grad.any()


def test_a_trained_bias_beside_a_fixed_weight():
    layer = ConvTranspose2d(4, 3, 4, 2, 1)
    layer.weight.trainable = False
    graph = stamped(layer)
    assert_agrees(graph, (2, 3, 9, 6))
    assert layer.bias.grad.any() and not layer.weight.grad.any()


@pytest.mark.parametrize(("kernel", "padding"), [(16, 4), (16, 0), (64, 16)])
def test_phases_of_bilinear_stamps_are_two_groups(kernel, padding):
    assert len(phases(kernel, kernel // 2, padding, 1)) == (2 if padding else 1)


@pytest.mark.parametrize("options", [(5, 3, 2, 1), (3, 4, 0, 1), (4, 3, 1, 2), (2, 4, 1, 2)])
def test_phases_join_what_the_definition_joins(options):
    """Tap k joins line i of the input to line stride i + dilation k - padding of the output."""
    kernel, stride, padding, dilation = options
    joined = {(i, stride * i + dilation * k - padding, k) for i in range(-20, 20) for k in range(kernel)}
    found = set()
    for group in phases(*options):
        for phase, taps in zip(range(stride)[group.phases], group.taps, strict=True):
            for offset, k in zip(group.offsets, taps, strict=True):
                found |= {(q + offset, stride * q + phase, int(k)) for q in range(-30, 30)}
    inside = range(-20, 20)
    assert {triple for triple in found if triple[0] in inside} == joined
    assert np.all([np.diff(group.taps, axis=0) == 1 for group in phases(*options) if len(group.taps) > 1])
