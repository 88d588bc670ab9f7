"""A graph's parameters: their names, how they start, how they are saved and loaded."""

import copy
import pickle

import numpy as np
import pytest
from networks import NETWORKS, assert_equal, built, gradients, several, small_unet, two_streams

from minisegnet.errors import CheckpointError, OptionError
from minisegnet.graph import Graph
from minisegnet.layers import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    ReLU,
)

networks = pytest.mark.parametrize("name", NETWORKS)


def test_parameters_stand_in_order_and_a_shared_layer_once():
    graph = two_streams()
    assert list(graph.layers) == ["colour", "unread", "concat", "coarse", "finer", "fine"]
    wanted = [f"{node}.{name}" for node in ("colour", "unread", "coarse", "fine") for name in ("weight", "bias")]
    assert list(graph.parameters) == list(graph.state_dict()) == wanted
    assert graph.parameters["colour.weight"] is graph.nodes["other"].layer.weight


def test_a_state_holds_pytorchs_names():
    graph = Graph("net")
    x = graph.chain("features", graph.input("image", 3), Conv2d(3, 4, 3, bias=False), BatchNorm2d(4), ReLU())
    graph.output("classifier", Conv2d(4, 2, 1), x)
    batch_norm = [f"features.1.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
    assert list(graph.state_dict()) == [
        "features.0.weight", *batch_norm, "features.1.num_batches_tracked", "classifier.weight", "classifier.bias"
    ]  # fmt: skip
    assert list(graph.buffers) == [*batch_norm[2:], "features.1.num_batches_tracked"]


@pytest.mark.torch
def test_a_state_loads_into_the_same_network_in_pytorch():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    theirs = nn.Sequential()
    theirs.add_module("body", nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout()))
    theirs.add_module("score", nn.Conv2d(4, 2, 1))
    graph, (image,), _ = built("chain", seed=13)
    graph.forward(image)
    theirs.load_state_dict({name: torch.tensor(array) for name, array in graph.state_dict().items()})
    wanted = theirs.eval()(torch.tensor(image)).detach().numpy()
    np.testing.assert_allclose(graph.predict(image), wanted, rtol=1e-4, atol=1e-5)


@networks
def test_a_state_is_a_copy_that_loads_in_place(name):
    graph, inputs, _ = built(name, seed=14)
    other, _, _ = built(name, seed=15)
    graph.forward(*inputs)
    state, held = graph.state_dict(), other.arrays()
    other.load_state_dict(state)
    assert_equal(other.state_dict(), state)
    assert all(other.arrays()[key] is array for key, array in held.items())
    for array in graph.arrays().values():
        array[...] = 0
    assert_equal(other.state_dict(), state)


def test_loading_another_networks_state_names_every_key_and_loads_nothing():
    graph, _, _ = built("chain", seed=16)
    before = graph.state_dict()
    state = graph.state_dict() | {"extra.weight": np.ones(1), "score.weight": np.ones((3, 4, 1, 1))}
    del state["body.1.running_var"], state["score.bias"]
    state["body.0.bias"] = np.full(4, 7.0)
    with pytest.raises(CheckpointError) as raised:
        graph.load_state_dict(state)
    for part in (
        "does not fit Chain",
        "2 missing: body.1.running_var, score.bias",
        "1 unexpected: extra.weight",
        "score.weight is (3, 4, 1, 1), wanted (2, 4, 1, 1)",
    ):
        assert part in str(raised.value)
    assert_equal(graph.state_dict(), before)


def test_weights_are_a_function_of_the_seed_and_the_nodes_names():
    first, again, other = (small_unet().initialise(seed).state_dict() for seed in (1, 1, 2))
    assert_equal(first, again)
    for name, array in first.items():
        if name.endswith("weight") and array.ndim == 4:
            assert not np.array_equal(array, other[name])
    swapped = Graph("swapped")
    image = swapped.input("image", 3)
    swapped.output("second", Conv2d(3, 4, 3), image)
    swapped.output("encoder.0", Conv2d(3, 4, 3), image)
    weights = swapped.initialise(1).state_dict()
    np.testing.assert_array_equal(weights["encoder.0.weight"], first["encoder.0.weight"])
    assert not np.array_equal(weights["second.weight"], weights["encoder.0.weight"])


def test_initialise_starts_statistics_anew_and_astype_draws_the_same():
    graph, inputs, _ = built("chain", seed=17)
    start = graph.state_dict()
    graph.forward(*inputs)
    assert graph.buffers["body.1.num_batches_tracked"] == 1
    assert_equal(graph.initialise(17).state_dict(), start)
    double = graph.astype("float64").initialise(17).state_dict()
    for name, array in start.items():
        np.testing.assert_array_equal(double[name].astype(array.dtype), array)
        assert double[name].dtype == ("int64" if name.endswith("tracked") else "float64")


def test_reseed_repeats_the_masks_and_touches_nothing_else():
    graph = Graph("dropouts")
    x = graph.chain("body", graph.input("image", 1), Dropout(), Conv2d(1, 1, 1), Dropout())
    graph.output("last", Dropout(), x)
    image = np.ones((1, 1, 8, 8), "float32")
    state = graph.state_dict()
    graph.reseed(3)
    first, second = graph.forward(image), graph.forward(image)
    assert len({layer.seed for layer in graph.layers.values() if isinstance(layer, Dropout)}) == 3
    graph.reseed(3)
    np.testing.assert_array_equal(graph.forward(image), first)
    np.testing.assert_array_equal(graph.forward(image), second)
    assert not np.array_equal(first, second)
    assert_equal(graph.state_dict(), state)


@pytest.mark.parametrize("seed", [-1, 1.5, None])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(OptionError, match="a seed is a whole number of at least 0; got"):
        small_unet().initialise(seed)


@networks
def test_a_graph_can_be_copied_and_pickled(name):
    graph, inputs, dys = built(name, seed=18)
    wanted = None
    for twin in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        outputs = several(twin.forward(*inputs))
        twin.backward(dys)
        wanted = wanted or outputs
        for y, other in zip(outputs, wanted, strict=True):
            np.testing.assert_array_equal(y, other)
    assert not any(grad.any() for grad in gradients(graph).values())
