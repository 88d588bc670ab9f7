"""Steps that update the parameters: to the bit what a step, then the optimiser's, would have made of them."""

import numpy as np
import pytest
from test_engine_large_kernels import network
from test_engine_networks import lively

from minisegnet import models
from minisegnet.engine.engine import Engine
from minisegnet.graph import Graph
from minisegnet.layers import BatchNorm2d, Concat, Conv2d, ConvTranspose2d, CrossEntropyLoss, Flatten, Linear, ReLU
from minisegnet.training import SGD, Adam, AdamW

SEED = 11
STEPS = 3
OPTIMISERS = {
    "sgd": lambda parameters: SGD(parameters, 0.05, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda parameters: SGD(parameters, 0.05, momentum=0.9, nesterov=True),
    "adam": lambda parameters: Adam(parameters, 0.01, weight_decay=0.01),
    "adamw": lambda parameters: AdamW(parameters, 0.01),
}


def batches(graph, shape, steps=STEPS):
    """Images and labels, as of float32."""
    rng = np.random.default_rng(SEED)
    scores = graph.output_shape(shape)
    for _ in range(steps):
        labels = rng.integers(0, scores[1], (scores[0], *scores[2:]))
        yield rng.standard_normal(shape, np.float32), labels


def trained(graph, shape, optimiser, fused, **options):
    """What STEPS steps leave, as bytes by name, the losses among it; the parameters that were given whole."""
    losses = []
    for parameter in graph.parameters.values():
        parameter.grad[...] = 7  # left there by somebody
    with Engine(graph, CrossEntropyLoss(), **options) as engine:
        for images, labels in batches(graph, shape):
            if fused:
                losses.append(engine.step(images, labels, optimiser=optimiser))
            else:
                graph.zero_grad()
                losses.append(engine.step(images, labels))
                optimiser.step()
        given_whole = engine.plan(shape).given_whole
    arrays = {**graph.arrays(), **optimiser.state, "losses": np.array(losses)}
    return {name: array.tobytes() for name, array in arrays.items()}, given_whole


def assert_same(build, shape, make, **options):
    """Both ways end in the same bits; returns the names of what was updated at once, and the graph."""
    one, other = build(), build()
    before = one.parameters[next(iter(one.parameters))].data.copy()
    fused, at_once = trained(one, shape, make(one.parameters), True, **options)
    apart, _ = trained(other, shape, make(other.parameters), False, **options)
    assert [name for name in apart if fused[name] != apart[name]] == []
    assert not np.array_equal(before, one.parameters[next(iter(one.parameters))].data)
    return {name for name, p in one.parameters.items() if any(p is other for other in at_once)}, one


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("make", OPTIMISERS.values(), ids=OPTIMISERS)
def test_a_network(make, workers):
    build = lambda: models.unet(3, width=4, depth=2, dropout=0.2)  # noqa: E731
    names, graph = assert_same(build, (2, 3, 21, 35), make, workers=workers)
    weights = {f"{n}.weight" for n, layer in graph.layers.items() if isinstance(layer, Conv2d | ConvTranspose2d)}
    assert names == weights


OTHERS = {
    "segnet_basic": (lambda: models.segnet_basic(3, width=4), (1, 3, 64, 64)),
    "full_resolution": (lambda: models.full_resolution(3, width=4, depth=3), (2, 3, 21, 35)),
    "encoder_decoder": (lambda: models.encoder_decoder(3, width=4, depth=2), (2, 3, 21, 35)),
    "fcn": (lambda: lively(models.fcn8s(3, encoder="vgg16", width=4)), (1, 3, 64, 32)),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("workers", [1, 2])
def test_other_networks(name, workers):
    build, shape = OTHERS[name]
    assert assert_same(build, shape, OPTIMISERS["sgd"], workers=workers)[0]


LAYERS = {
    "tiles": (lambda: Conv2d(5, 7, 3, padding=1), {}),
    "turned": (lambda: ConvTranspose2d(5, 7, 3, padding=1), {}),
    "quarters": (lambda: Conv2d(5, 7, 7, padding=3), {}),
    "strides": (lambda: Conv2d(5, 7, 3, stride=2, padding=1), {}),
    "product": (lambda: Conv2d(5, 7, 1), {}),
    "stamps": (lambda: ConvTranspose2d(5, 7, 2, stride=2), {}),
    "overlapping stamps": (lambda: ConvTranspose2d(5, 7, 4, stride=2, padding=1), {}),
    "tiles by channels": (lambda: Conv2d(5, 7, 3, padding=1), {"WEIGHTS_TO_SHARE": 1}),
    "turned by channels": (lambda: ConvTranspose2d(5, 7, 3, padding=1), {"WEIGHTS_TO_SHARE": 1}),
    "large": (lambda: Conv2d(5, 7, 7, padding=3), {"MANY_WEIGHTS": 1}),
    "large and turned": (lambda: ConvTranspose2d(5, 7, 7, padding=3), {"MANY_WEIGHTS": 1}),
}


@pytest.fixture
def few_at_once(monkeypatch):
    """Parts of a parameter come one by one, and are themselves cut."""
    monkeypatch.setattr("minisegnet.engine.winograd_by_channels.CHANNELS", 3)
    monkeypatch.setattr("minisegnet.engine.large_kernels.KERNELS", (2, 2))
    monkeypatch.setattr("minisegnet.training.optimisers.PIECE", 100)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("frozen_norm", [False, True])
@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, joined, frozen_norm, workers, few_at_once, monkeypatch):
    """Behind other layers, which need the gradient that is made of the weight as it was before."""
    layer, constants = LAYERS[name]
    for constant, value in constants.items():
        monkeypatch.setattr(f"minisegnet.engine.forms.{constant}", value)

    def build():
        graph = network(layer(), BatchNorm2d(7), ReLU(), joined=joined)
        if frozen_norm:
            graph.layers["layer.1"].freeze()
        return graph

    names, _ = assert_same(build, (2, 3, 9, 10), OPTIMISERS["adam"], workers=workers)
    assert "layer.0.weight" in names


def test_fully_connected():
    def build():
        graph = Graph("classifier")
        x = graph.chain("first", graph.input("image", channels=3), Conv2d(3, 4, 3, padding=1), ReLU(), Flatten())
        x = graph.chain("middle", x, Linear(4 * 6 * 5, 9), ReLU())
        return graph.output("score", Linear(9, 3), x).initialise(1)

    names, _ = assert_same(build, (4, 3, 6, 5), OPTIMISERS["sgd"])
    assert {"middle.0.weight", "score.weight"} <= names


def test_large_kernels_whose_gradient_comes_in_several_parts_for_each(monkeypatch):
    monkeypatch.setattr("minisegnet.engine.forms.MANY_WEIGHTS", 1)
    monkeypatch.setattr("minisegnet.engine.large_kernels.PIXELS", 30)
    names, _ = assert_same(lambda: network(Conv2d(5, 7, 7, padding=3)), (2, 3, 9, 10), OPTIMISERS["sgd"])
    assert "layer.weight" not in names


def shared_layers():
    """One layer at two nodes, and two layers of one weight."""
    graph = Graph("shared")
    image = graph.input("image", channels=4)
    twice, other, same = (Conv2d(4, 4, 3, padding=1) for _ in range(3))
    same.parameters["weight"] = same.weight = other.weight
    x = graph.add("second", twice, graph.add("relu", ReLU(), graph.add("first", twice, image)))
    x = graph.add("joined", Concat(), graph.add("other", other, x), graph.add("same", same, x))
    x = graph.add("alone", Conv2d(8, 4, 3, padding=1), x)
    return graph.output("score", Conv2d(4, 3, 1), x).initialise(1)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_weight_that_stands_at_several_nodes(workers):
    names, _ = assert_same(shared_layers, (2, 4, 9, 10), OPTIMISERS["sgd"], workers=workers)
    assert names == {"alone.weight"}


def test_frozen_layers_and_an_optimiser_of_some_parameters():
    def built():
        graph = models.unet(3, width=4, depth=2)
        graph.freeze("encoder0")
        some = {name: p for name, p in graph.parameters.items() if name.startswith(("encoder0", "decoder"))}
        return graph, Adam(some, 0.01)

    (one, fused), (other, apart) = built(), built()
    start = one.state_dict()
    got, at_once = trained(one, (2, 3, 8, 12), fused, True)
    want, _ = trained(other, (2, 3, 8, 12), apart, False)
    assert [name for name in want if got[name] != want[name]] == []
    assert any(parameter is one.parameters["decoder0.0.weight"] for parameter in at_once)
    for name, parameter in one.parameters.items():
        assert np.array_equal(parameter.data, start[name]) != name.startswith("decoder"), name
        if name.startswith(("encoder1", "bottom", "up", "score")):  # theirs to do with as they like
            assert parameter.grad.any(), name


def test_layers_that_run_as_they_are():
    ordinary = {"encoder1.0": "ordinary", "up0": "ordinary"}
    build = lambda: models.unet(3, width=4, depth=2)  # noqa: E731
    names, graph = assert_same(build, (2, 3, 8, 12), OPTIMISERS["sgd"], algorithms=ordinary)
    weights = {n for n, layer in graph.layers.items() if isinstance(layer, Conv2d | ConvTranspose2d)} - {"score"}
    assert names == {f"{name}.weight" for name in weights - set(ordinary)}


def test_a_gradient_that_is_used_at_once_is_kept_nowhere():
    graph = models.unet(3, width=4, depth=2)
    for parameter in graph.parameters.values():
        parameter.grad[...] = 7
    optimiser = SGD(graph.parameters, 0.1)
    with Engine(graph, CrossEntropyLoss()) as engine:
        for images, labels in batches(graph, (2, 3, 8, 12), 1):
            engine.step(images, labels, optimiser=optimiser)
        at_once = engine.plan((2, 3, 8, 12)).given_whole
    for name, parameter in graph.parameters.items():
        assert (parameter.grad == 7).all() == any(parameter is other for other in at_once), name


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_changes_no_weight(fault, workers):
    graph = models.unet(3, width=4, depth=2)
    optimiser = Adam(graph.parameters, 0.1)
    with Engine(graph, CrossEntropyLoss(), workers) as engine, np.errstate(all="ignore"):
        for number, (images, labels) in enumerate(batches(graph, (2, 3, 8, 12), 2)):
            if number:
                graph.parameters["score.bias"].data[0] = fault
            before = {**graph.state_dict(), **optimiser.state_dict()}
            loss = engine.step(images, labels, optimiser=optimiser)
    assert not np.isfinite(loss)
    after = {**graph.arrays(), **optimiser.state}
    for name in [*graph.parameters, *optimiser.state]:
        np.testing.assert_array_equal(after[name], before[name], name)


@pytest.mark.parametrize("workers", [1, 2])
def test_after_a_loss_that_is_not_finite_training_goes_on(workers):
    shape, found = (2, 3, 8, 12), []
    for fused in (True, False):
        graph = models.unet(3, width=4, depth=2)
        optimiser = SGD(graph.parameters, 0.1, momentum=0.9)
        bias = graph.parameters["score.bias"].data
        with Engine(graph, CrossEntropyLoss(), workers) as engine, np.errstate(all="ignore"):
            for number, (images, labels) in enumerate(batches(graph, shape)):
                right = bias.copy()
                if number == 1:
                    bias[0] = np.nan
                if fused:
                    engine.step(images, labels, optimiser=optimiser)
                else:
                    graph.zero_grad()
                    engine.step(images, labels)
                    if number != 1:
                        optimiser.step()
                if number == 1:
                    bias[...] = right
        found.append({**graph.arrays(), **optimiser.state})
    for name, array in found[0].items():
        assert np.isfinite(array).all() and array.tobytes() == found[1][name].tobytes(), name


class Clipped(SGD):
    """Looks at all gradients before it updates anything."""

    def step(self):
        norm = np.sqrt(sum(float((p.grad.astype(np.float64) ** 2).sum()) for p in self.parameters.values()))
        for parameter in self.parameters.values():
            parameter.grad *= min(1, 0.1 / norm)
        super().step()


def changed(parameters):
    """An optimiser whose step was exchanged, as a tool that looks on would do it."""
    optimiser = SGD(parameters, 0.1, momentum=0.9)
    step = optimiser.step

    def recorded():
        assert all(parameter.grad.any() for name, parameter in parameters.items() if name.endswith("weight"))
        step()

    optimiser.step = recorded
    return optimiser


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("make", [lambda parameters: Clipped(parameters, 0.1, momentum=0.9), changed])
def test_an_optimiser_with_a_step_of_its_own_finds_every_gradient(make, workers):
    assert_same(lambda: models.unet(3, width=4, depth=2), (2, 3, 8, 12), make, workers=workers)
