"""Whole networks pass the gradient check: U-Net in both its forms and backends, and graphs of every shape."""

import copy

import numpy as np
import pytest
from networks import NETWORKS, built

import minisegnet
from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, Conv2d, Dropout, MaxPool2d, ReLU
from minisegnet.models.unet import unet
from minisegnet.teaching import check_graph

BOUND = 1e-6

UNETS = {
    "padded": ({}, (2, 3, 4, 4)),
    "padded, odd size": ({"dropout": 0.5}, (1, 3, 3, 5)),
    "padded, bilinear, no batch norm": ({"upsampling": "bilinear", "batch_norm": False}, (1, 3, 4, 4)),
    "valid, as in the paper": ({"valid": True, "batch_norm": False, "dropout": 0.5}, (1, 3, 18, 18)),
}


@pytest.mark.parametrize("form", UNETS)
@pytest.mark.parametrize(("backend", "width", "elements"), [("numpy", 3, 2), ("reference", 1, 1)])
def test_unet_whole(form, backend, width, elements):
    options, shape = UNETS[form]
    graph = unet(2, width=width, depth=1, **options)
    images = np.random.default_rng(0).standard_normal(shape)
    with minisegnet.backend(backend):
        report = check_graph(graph, images, bound=BOUND, elements=elements, directions=elements)
    assert report.ok, report
    assert [array.name for array in report.arrays] == ["image", *graph.parameters]
    assert report.worst.error < BOUND


@pytest.mark.parametrize("training", [True, False])
def test_a_deeper_unet(training):
    graph = unet(3, in_channels=1, width=4, depth=2, seed=1)
    graph.train() if training else graph.eval()
    report = check_graph(graph, np.random.default_rng(1).standard_normal((2, 1, 8, 8)), bound=BOUND, elements=1)
    assert report.ok, report


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", range(2))
def test_every_form_of_graph(name, seed):
    """Fan-out, skips, several inputs and outputs, shared layers, a node that nothing reads."""
    graph, inputs, _ = built(name, seed)
    report = check_graph(graph, *inputs, upstream_seed=seed, bound=BOUND)
    assert report.ok, report


def test_a_graph_is_left_as_it_was():
    graph = Graph("small")
    x = graph.chain("body", graph.input("image", channels=1), Conv2d(1, 2, 3), BatchNorm2d(2), Dropout(0.5))
    graph.output("score", Conv2d(2, 1, 1), x).initialise(0)
    graph.parameters["score.weight"].grad[...] = 3
    before = copy.deepcopy(graph)
    images = np.random.default_rng(0).standard_normal((2, 1, 4, 5)).astype("float32")
    assert check_graph(graph, images).ok
    for name, array in before.arrays().items():
        np.testing.assert_array_equal(graph.arrays()[name], array, name)
        assert graph.arrays()[name].dtype == array.dtype
    assert (graph.parameters["score.weight"].grad == 3).all()
    assert graph.layers["body.2"].calls == before.layers["body.2"].calls


def test_black_images_sit_on_kinks_and_are_right():
    """Zeros under fresh biases: every unit is at its ReLU's kink, of either sign at once, and every pool in a tie."""
    graph = Graph("kinks")
    x = graph.chain("one", graph.input("image", channels=1), Conv2d(1, 3, 3, padding=1), ReLU(), MaxPool2d(2))
    x = graph.chain("two", x, Conv2d(3, 3, 3, padding=1), ReLU())
    graph.output("score", Conv2d(3, 2, 1), x).initialise(0)
    for seed in range(2):
        report = check_graph(graph, np.zeros((1, 1, 6, 6)), upstream_seed=seed, elements=10)
        assert report.ok, report
        assert {kink.array for kink in report.kinks} >= {"image", "one.0.bias"}


class WrongAtZero(ReLU):
    """Right everywhere but on the kink itself."""

    def forward(self, x):
        return np.maximum(x, 0), x

    def backward(self, dy, x):
        return dy * np.where(x == 0, 3.0, x > 0)


def test_what_is_wrong_on_kinks_alone_is_not_excused():
    graph = Graph("kinks")
    x = graph.chain("one", graph.input("image", channels=1), Conv2d(1, 3, 3, padding=1), WrongAtZero())
    graph.output("score", Conv2d(3, 2, 1), x).initialise(0)
    report = check_graph(graph, np.zeros((1, 1, 6, 6)))
    assert not report.ok and "one.1 WrongAtZero(): x" in str(report), report
