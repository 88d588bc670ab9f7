"""Graphs that nobody thought of: drawn at random of all layers, and held against their own passes, layer by layer."""

import numpy as np
import pytest
from agreement import assert_agrees, assert_near

from minisegnet import layers as L
from minisegnet.engine import forms
from minisegnet.engine.engine import Engine
from minisegnet.errors import ShapeError
from minisegnet.graph import Graph

SEEDS = 60
NODES = 12
LARGEST = 24, 50, 50  # values that a node may hold


class Drawing:
    """A graph in the making: each call of a method named for a layer adds a node that fits, or nothing."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.graph = Graph(f"random graph {seed}")
        N, height, width = self.whole(1, 4), self.whole(5, 30), self.whole(5, 30)
        self.values, self.shapes, self.pooled, self.shared = {}, [], [], {}
        for number in range(self.whole(1, 2)):
            shape = N, self.whole(1, 5), height, width
            self.shapes.append(shape)
            self.values[self.graph.input(f"image{number}", shape[1])] = shape
        kinds = [getattr(self, name) for name in vars(Drawing) if name[0].isupper()]
        kinds += 3 * [self.Conv2d, self.Conv2dAsInNetworks, self.ConvTranspose2d, self.MaxUnpool2d]
        while len(self.graph.nodes) < NODES:
            self.choice(kinds)(*self.choice(list(self.values.items())[-4:]))
        ends = [h for h in self.values if not any(h in node.inputs for node in self.graph.layer_nodes())]
        self.graph.outputs += [h.node for h in ends[-self.whole(1, 3) :]]
        if self.yes(0.2):
            self.graph.outputs.append(self.choice(self.graph.layer_nodes()))
        for layer in self.graph.layers.values():
            if layer.parameters and self.yes(0.1):
                layer.freeze()
        self.fill()

    def fill(self):
        for parameter in self.graph.parameters.values():
            parameter.data[...] = self.rng.normal(0, 0.4, parameter.data.shape)
        for name, buffer in self.graph.buffers.items():
            if name.endswith("running_mean"):
                buffer[...] = self.rng.normal(0, 0.3, buffer.shape)
            elif name.endswith("running_var"):
                buffer[...] = self.rng.uniform(0.4, 1.4, buffer.shape)

    def whole(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def choice(self, things):
        return things[self.whole(0, len(things) - 1)]

    def yes(self, probability=0.5):
        return bool(self.rng.random() < probability)

    def pair(self, low, high):
        """A number, or one for each direction."""
        return self.whole(low, high) if self.yes(0.7) else (self.whole(low, high), self.whole(low, high))

    def alike(self, fits):
        """A value whose shape fits."""
        return self.choice([handle for handle, shape in self.values.items() if fits(shape)])

    def add(self, layer, *handles, size_of=None):
        """A node of this layer, if it fits and is not too large; returns its handle."""
        sizes = {} if size_of is None else {"output_size": self.values[size_of][2:]}
        try:
            shape = layer.output_shape(*(self.values[handle] for handle in handles if not handle.position), **sizes)
        except TypeError:  # indices have the shape of what they go with
            shape = layer.output_shape(self.values[handles[0]], self.values[handles[0]], **sizes)
        except ShapeError:
            return None
        if any(size > most for size, most in zip(shape[1:], LARGEST, strict=True)):
            return None
        if isinstance(layer, L.BatchNorm2d) and np.prod(shape) == shape[1]:
            return None
        made = self.graph.add(f"node{len(self.graph.nodes)}", layer, *handles, size_of=size_of)
        handle = made[0] if isinstance(made, tuple) else made
        self.values[handle] = shape
        return made

    # ------------------------------------------------------------------------------------------- one for each layer

    def Conv2d(self, x, shape):
        options = {"stride": self.pair(1, 3), "padding": self.pair(0, 3), "dilation": self.pair(1, 2)}
        self.add(L.Conv2d(shape[1], self.whole(1, 8), self.pair(1, 7), bias=self.yes(), **options), x)

    def Conv2dAsInNetworks(self, x, shape):
        x = self.add(L.Conv2d(shape[1], self.whole(1, 8), 3, padding=1, bias=self.yes()), x)
        for layer in (L.BatchNorm2d(self.values[x][1]), L.ReLU()):
            x = self.add(layer, x) if x is not None and self.yes(0.8) else x

    def Conv2dTwice(self, x, shape):
        self.add(self.shared.setdefault(shape[1], L.Conv2d(shape[1], shape[1], 3, padding=1)), x)

    def ConvTranspose2d(self, x, shape):
        stride = self.whole(1, 3)
        options = {"padding": self.whole(0, 2), "output_padding": self.whole(0, stride - 1), "bias": self.yes()}
        self.add(L.ConvTranspose2d(shape[1], self.whole(1, 8), self.pair(1, 4), stride, **options), x)

    def MaxPool2d(self, x, shape):
        if min(shape[2:]) > 3:  # in smaller images a window may see nothing but padding
            options = {"padding": self.whole(0, 1), "dilation": self.whole(1, 2), "ceil_mode": self.yes()}
            self.add(L.MaxPool2d(self.whole(2, 3), self.whole(1, 3), **options), x)

    def MaxPool2dToUnpool(self, x, shape):
        if made := self.add(L.MaxPool2d(self.whole(2, 3), return_indices=True), x):
            self.pooled.append((*made, x))

    def MaxUnpool2d(self, x, shape):
        if self.pooled:
            y, indices, before = self.choice(self.pooled)
            self.add(L.MaxUnpool2d(), self.alike(lambda s: s == self.values[y]), indices, size_of=before)

    def AvgPool2d(self, x, shape):
        options = {"ceil_mode": self.yes(), "count_include_pad": self.yes()}
        self.add(L.AvgPool2d(self.whole(1, 3), self.whole(1, 3), **options), x)

    def GlobalAvgPool2d(self, x, shape):
        if self.yes(0.2):
            self.add(L.GlobalAvgPool2d(), x)

    def BatchNorm2d(self, x, shape):
        self.add(L.BatchNorm2d(shape[1], momentum=self.choice([0.1, None]), track_running_stats=self.yes(0.8)), x)

    def ReLU(self, x, shape):
        self.add(L.ReLU(), x)

    def Sigmoid(self, x, shape):
        self.add(L.Sigmoid(), x)

    def Softmax(self, x, shape):
        self.add(L.Softmax(self.whole(1, 3)), x)

    def Dropout(self, x, shape):
        self.add(L.Dropout(self.choice([0.0, 0.3, 0.6]), seed=self.whole(0, 99)), x)

    def Add(self, x, shape):
        self.add(L.Add(), x, self.alike(lambda s: s == shape))

    def Concat(self, x, shape):
        self.add(L.Concat(), x, *(self.alike(lambda s: s[2:] == shape[2:]) for _ in range(self.whole(1, 2))))

    def ConcatOfRows(self, x, shape):
        self.add(L.Concat(self.whole(2, 3)), x, self.alike(lambda s: s == shape))

    def PadToMultiple(self, x, shape):
        self.add(L.PadToMultiple(self.pair(1, 8)), x)

    def ReflectionPad2d(self, x, shape):
        self.add(L.ReflectionPad2d(self.whole(0, 3)), x)

    def CenterCrop(self, x, shape):
        self.add(L.CenterCrop(), x, size_of=self.alike(lambda s: s[2] <= shape[2] and s[3] <= shape[3]))

    def Crop(self, x, shape):
        small = self.alike(lambda s: s[2] <= shape[2] and s[3] <= shape[3])
        top, left = (self.whole(0, a - b) for a, b in zip(shape[2:], self.values[small][2:], strict=True))
        self.add(L.Crop(top, left), x, size_of=small)

    def NearestUnpool2d(self, x, shape):
        self.add(L.NearestUnpool2d(self.pair(1, 3)), x)

    def BedOfNails2d(self, x, shape):
        self.add(L.BedOfNails2d(self.pair(1, 3)), x)

    def UpsampleBilinear2d(self, x, shape):
        layer = L.UpsampleBilinear2d(self.pair(1, 3), align_corners=self.yes())
        self.add(layer, x, size_of=self.alike(lambda s: True) if self.yes(0.3) else None)


@pytest.fixture
def small_weights_count_as_many(monkeypatch):
    for name in ("MANY_WEIGHTS", "WEIGHTS_TO_TRANSFORM", "WEIGHTS_TO_SHARE"):
        monkeypatch.setattr(forms, name, 1)


def check(seed):
    drawing = Drawing(seed)
    graph, workers, to_inputs = drawing.graph, drawing.whole(1, 3), drawing.yes()
    options = {"workers": workers, "to_inputs": to_inputs, "fused": False, "bound": 1e-10}
    assert_agrees(graph, *drawing.shapes, **options)
    graph.eval()
    assert_agrees(graph, *drawing.shapes, **options)
    images = [drawing.rng.standard_normal(shape) for shape in drawing.shapes]
    wanted = graph.predict(*images)
    with Engine(graph, workers=workers) as engine:
        for got, want in zip(engine.predict(*images), wanted, strict=True):
            assert_near(got, want, 1e-10)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_random_graph(seed):
    check(seed)


@pytest.mark.parametrize("seed", range(SEEDS, 2 * SEEDS))
def test_a_random_graph_by_channels(seed, small_weights_count_as_many):
    check(seed)


@pytest.mark.parametrize("seed", range(2 * SEEDS, 3 * SEEDS))
def test_a_random_graph_by_algorithms_forced_at_random(seed, monkeypatch):
    """Whatever fits a convolution may be forced, whatever is forced on the others."""
    drawing = Drawing(seed)
    chosen = {}

    def chosen_at_random(builder, node):
        name = chosen.setdefault(node.name, drawing.choice(list(fitting := forms.algorithms_for(builder, node))))
        return fitting[name]

    monkeypatch.setattr(forms, "_chosen", chosen_at_random)
    workers = drawing.whole(1, 2)
    assert_agrees(drawing.graph, *drawing.shapes, workers=workers, to_inputs=False, fused=False, bound=1e-10)
    monkeypatch.undo()
    with Engine(drawing.graph, algorithms=chosen, workers=workers) as engine:
        table = engine.plan(*drawing.shapes).explain()
        assert all(name in table for name in chosen), table


def test_the_graphs_drawn_hold_every_layer():
    drawn = {type(layer).__name__ for seed in range(3 * SEEDS) for layer in Drawing(seed).graph.layers.values()}
    assert drawn >= {name for name in vars(Drawing) if name in L.__all__}
