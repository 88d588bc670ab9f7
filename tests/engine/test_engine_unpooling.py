"""Max-pooling by windows of 2 x 2 in the engine, and its unpooling: which pixel won, odd sizes, ties, who reads it."""

import numpy as np
import pytest
from agreement import assert_agrees, assert_near

from minisegnet import models
from minisegnet.engine.pooling import MaxPooling
from minisegnet.engine.unpooling import MaxUnpooling
from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, Conv2d, CrossEntropyLoss, MaxPool2d, MaxUnpool2d, ReLU
from minisegnet.layers.base import Layer

BATCHES = [(1, 3), (2, 1), (3, 2)]  # images, workers


def down_and_up(ceil_mode=True, levels=2):
    """SegNet's way with indices, between normalised convolutions of five channels."""
    graph = Graph("down and up")
    x = graph.input("image", channels=3)
    pools, channels = [], 3
    for level in range(levels):
        x = graph.chain(f"down{level}", x, Conv2d(channels, 5, 3, padding=1), BatchNorm2d(5), ReLU())
        before, channels = x, 5
        x, indices = graph.add(f"pool{level}", MaxPool2d(2, return_indices=True, ceil_mode=ceil_mode), before)
        pools.append((indices, before))
    for level in reversed(range(levels)):
        indices, before = pools[level]
        x = graph.add(f"unpool{level}", MaxUnpool2d(2), x, indices, size_of=before)
        x = graph.chain(f"up{level}", x, Conv2d(5, 5, 3, padding=1), BatchNorm2d(5))
    return graph.output("score", Conv2d(5, 2, 1), x).initialise(1)


@pytest.mark.parametrize(("images", "workers"), BATCHES)
@pytest.mark.parametrize("ceil_mode", [True, False])
@pytest.mark.parametrize("size", [(21, 35), (12, 14), (5, 6)])
def test_down_and_up(size, ceil_mode, images, workers):
    assert_agrees(down_and_up(ceil_mode), (images, 3, *size), workers=workers)


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_with_images_of_their_own(workers):
    assert_agrees(down_and_up(), (6, 3, 13, 10), workers=workers, to_inputs=False)


def with_ties(rng, size):
    """Few different numbers, and some that are none."""
    x = rng.integers(-2, 3, size).astype(float)
    for odd in (np.nan, np.inf, -np.inf, -0.0):
        x[rng.random(size) < 0.06] = odd
    return x


@pytest.mark.parametrize(("images", "workers"), [(1, 1), (2, 3)])
@pytest.mark.parametrize("size", [(9, 13), (8, 8)])
def test_the_first_of_equals_wins_and_the_first_nan(size, images, workers):
    graph = Graph("pooling alone")
    image = graph.input("image", channels=6)
    y, indices = graph.add("pool", MaxPool2d(2, return_indices=True, ceil_mode=True), image)
    unpooled = graph.add("unpool", MaxUnpool2d(2), y, indices, size_of=image)
    graph.output("pooled", Conv2d(6, 6, 1), y)
    graph.output("unpooled", Conv2d(6, 6, 1), unpooled).initialise(1)
    with np.errstate(invalid="ignore"):
        assert_agrees(graph, (images, 6, *size), workers=workers, sample=with_ties)


class OwnUse(Layer):
    """A user's layer that reads the indices."""

    def forward(self, x, indices):
        return x * (indices % 2), indices

    def backward(self, dy, indices):
        return dy * (indices % 2)

    def output_shape(self, x, indices):
        return x


def read_by(*layers):
    """A pooling whose indices these layers read; unpoolings may be to the size of a wider image."""
    graph = Graph("indices")
    image, wide = graph.input("image", channels=3), graph.input("wide", channels=1)
    before = graph.add("before", Conv2d(3, 4, 3, padding=1), image)
    y, indices = graph.add("pool", MaxPool2d(2, return_indices=True), before)
    for number, (layer, size_of) in enumerate(layers):
        sizes = {} if size_of is None else {"size_of": {"before": before, "wide": wide}[size_of]}
        x = graph.add(f"reader{number}", layer, y, indices, **sizes)
        graph.output(f"score{number}", Conv2d(4, 2, 1), x)
    return graph.initialise(2)


@pytest.mark.parametrize(
    ("layers", "ordinary"),
    [
        ([(MaxUnpool2d(2), "before"), (MaxUnpool2d(2), None)], []),
        ([(MaxUnpool2d(2), "before"), (MaxUnpool2d(2), "wide")], ["pool", "reader0", "reader1"]),
        ([(MaxUnpool2d(2), "before"), (OwnUse(), None)], ["pool", "reader0", "reader1"]),
    ],
    ids=["unpoolings alone", "another size", "a layer of the user's"],
)
def test_indices_that_others_read_are_a_poolings_own(layers, ordinary):
    """Then the ordinary operations make them and read them."""
    shapes = (2, 3, 12, 14), (2, 1, 15, 40)
    assert assert_agrees(read_by(*layers), *shapes, workers=2, fused=False) == ordinary


@pytest.mark.parametrize("training", [True, False])
def test_winners_take_a_byte_and_are_kept_where_they_are_read(training):
    graph = down_and_up(levels=1)
    with graph.compile((2, 3, 21, 35), training=training) as compiled:
        pooling, unpooling = (
            next(step for step in compiled.plan.steps if isinstance(step, kind)) for kind in (MaxPooling, MaxUnpooling)
        )
        assert pooling.winners is unpooling.winners
        assert pooling.winners.dtype == np.uint8
        x = np.random.default_rng(3).standard_normal((2, 3, 21, 35), np.float32)
        assert_near(compiled.predict(x), graph.predict(x), 1e-5)


def test_a_prediction_needs_no_winners():
    graph = Graph("pool")
    graph.output("pool", MaxPool2d(2), graph.input("image", channels=3))
    with graph.compile((1, 3, 8, 8), training=False) as compiled:
        (pooling,) = (step for step in compiled.plan.steps if isinstance(step, MaxPooling))
        assert pooling.winners is None


@pytest.mark.parametrize("kernel_size", [3, 5, 7, 9])
def test_segnet_basic(kernel_size):
    assert_agrees(models.segnet_basic(3, width=3, kernel_size=kernel_size), (1, 3, 37, 50), workers=2, bound=1e-11)


def test_a_step_of_training():
    graph = models.segnet_basic(3, width=4).astype(np.float64)
    rng = np.random.default_rng(4)
    x, labels = rng.standard_normal((2, 3, 21, 35)), rng.integers(0, 3, (2, 21, 35))
    loss = CrossEntropyLoss()
    state = graph.state_dict()
    value, cache = loss.forward(graph.forward(x), labels)
    graph.zero_grad()
    graph.backward(loss.backward(1.0, cache), to_inputs=False)
    want = {name: parameter.grad.copy() for name, parameter in graph.parameters.items()}
    graph.load_state_dict(state)
    graph.zero_grad()
    with graph.compile((2, 3, 21, 35), loss=loss, workers=2) as compiled:
        assert compiled.step(x, labels) == pytest.approx(float(value), rel=1e-12)
    for name, parameter in graph.parameters.items():
        assert_near(parameter.grad, want[name], 1e-11, name)
