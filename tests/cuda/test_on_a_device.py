"""Arrays that lie on a device: the same launches as in the emulator, in operations, networks and training steps.

A stand-in takes CuPy's place. It launches as CuPy does and lets the emulator compute; whatever treats one of its arrays
as NumPy's fails. So the same bits must come out as from NumPy arrays, and no value may be copied back on the way.
"""

import math

import numpy as np
import pytest
from cases import cases
from conftest import skip_without_compiler
from networks import NETWORKS, built, several
from stand_in_cupy import CUDARuntimeError, installed, ndarray

import minisegnet
from minisegnet import functional
from minisegnet.cuda import arrays, modules
from minisegnet.errors import BackendError, DtypeError, GraphError, KernelError, LabelError, OptionError, ShapeError
from minisegnet.interop import load_pretrained
from minisegnet.layers import Conv2d, CrossEntropyLoss, DiceLoss, Flatten
from minisegnet.models import create
from minisegnet.prediction import predict_probabilities
from minisegnet.training import SGD, Adam, AdamW


@pytest.fixture
def cupy(monkeypatch):
    skip_without_compiler("emulator")
    yield installed(monkeypatch)
    modules._function.cache_clear()


def placed(values, place):
    """Arrays, in lists too, put somewhere; all else as it is."""
    if isinstance(values, list):
        return [placed(value, place) for value in values]
    return place(values) if isinstance(values, np.ndarray) else values


# ---------------------------------------------------------------------------------------------------------- operations


@pytest.mark.parametrize("case", cases(dtypes=["float32"]))
def test_the_device_gives_what_the_emulator_gives(cupy, case):
    """Through the contract, whatever backend is in force for NumPy arrays."""
    given, options = case.draw()
    with minisegnet.backend("emulator"):
        outputs, saved = case.forward(functional, given, options)
        dy = case.draw_upstream(outputs[0].shape)
        wanted = [*outputs, *case.backward(functional, dy, saved)]

    options = {name: placed(value, ndarray) for name, value in options.items()}
    with minisegnet.backend("reference"):
        outputs, saved = case.forward(functional, placed(given, ndarray), options)
        found = [*outputs, *case.backward(functional, ndarray(dy), saved)]

    assert saved.maker.name == "cuda" and not cupy.copied_back
    assert len(found) == len(wanted)
    for array, other in zip(found, wanted, strict=True):
        if other is None:
            assert array is None
        else:
            assert type(array) is ndarray and array.dtype == other.dtype and array.shape == other.shape
            assert array.values.tobytes() == other.tobytes()


def test_a_number_as_the_gradient_by_a_loss(cupy):
    x, target = np.float32([[1, 2]]), np.float32([[0, 5]])
    _, cache = functional.smooth_l1_forward(ndarray(x), ndarray(target))
    with minisegnet.backend("emulator"):
        wanted = functional.smooth_l1_backward(2.0, functional.smooth_l1_forward(x, target)[1])
    for dloss in (2, 2.0, np.float64(2)):
        assert functional.smooth_l1_backward(dloss, cache).values.tobytes() == wanted.tobytes()
    assert not cupy.copied_back


X = np.ones((1, 2, 4, 4), np.float32)
LABELS = np.zeros((1, 4, 4), np.int32)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: functional.relu_forward(ndarray(X.astype("f8"))), DtypeError, "kernels compute in float32, and x is"),
        (lambda: functional.add_forward(ndarray(X), X), BackendError, "b lies in the computer's memory and a on <CUDA"),
        (lambda: functional.add_forward(X, ndarray(X)), BackendError, "b lies on <CUDA Device 0> and a in the comp"),
        (lambda: functional.dice_forward(ndarray(X), LABELS), BackendError, "labels lies in the computer's memory"),
        (lambda: functional.dice_forward(ndarray(X), ndarray(X)), DtypeError, "labels must be a NumPy array of integ"),
        (
            lambda: functional.relu_backward(X, functional.relu_forward(ndarray(X))[1]),
            BackendError,
            "dy lies in the com",
        ),
        (lambda: functional.relu_backward(ndarray(X), functional.relu_forward(X)[1]), BackendError, "dy lies on <CUDA"),
        (lambda: functional.relu_backward(ndarray(X[:, :1]), functional.relu_forward(ndarray(X))[1]), ShapeError, "dy"),
        (lambda: functional.conv2d_forward(ndarray(X), ndarray(X[:, :1])), ShapeError, "channels"),
    ],
)
def test_what_does_not_fit_is_told(cupy, call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_your_own_function_stands_in_on_a_device_too(cupy):
    def forward(x):
        return ndarray(2 * x.values), None

    def backward(dy, saved):
        return ndarray(2 * dy.values)

    with minisegnet.replace(relu_forward=forward, relu_backward=backward):
        y, cache = functional.relu_forward(ndarray(X))
        assert (functional.relu_backward(y, cache).values == 4).all()
    with (
        minisegnet.replace(relu_forward=lambda x: (x.values, None), relu_backward=backward),
        pytest.raises(DtypeError, match="output of your relu_forward must be a CuPy array"),
    ):
        functional.relu_forward(ndarray(X))


@pytest.mark.parametrize("layer", [CrossEntropyLoss(), DiceLoss()])
def test_a_label_outside_the_classes_is_told_when_the_loss_is_no_number(cupy, layer):
    labels = LABELS.copy()
    labels[0, 2, 1] = 7
    loss, cache = layer.forward(ndarray(X), ndarray(labels))
    assert not cupy.copied_back and math.isnan(float(arrays.to_host(loss)))
    with pytest.raises(LabelError, match=r"label 7 at \(0, 2, 1\) is outside the classes 0 to 1"):
        functional.check_labels(cache)
    functional.check_labels(layer.forward(ndarray(X), ndarray(LABELS))[1])
    functional.check_labels(layer.forward(X, LABELS)[1])  # looked at beforehand


# ------------------------------------------------------------------------------------------------------------ networks


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_on_the_device_gives_what_it_gives_on_the_emulator(cupy, name):
    results = []
    for device in ("emulator", "cuda"):
        graph, inputs, dys = built(name, seed=1)
        assert graph.to(device) is graph and graph.device == device
        before = len(cupy.copied_back)
        outputs = graph.forward(*map(graph.placed, inputs))
        dinputs = graph.backward(tuple(map(graph.placed, dys)))
        steps = list(graph.steps(*map(graph.placed, inputs), dy=tuple(map(graph.placed, dys))))
        assert len(cupy.copied_back) == before
        held = {f"output {i}": y for i, y in enumerate(several(outputs))}
        held |= {f"input {i}": dx for i, dx in enumerate(several(dinputs))}
        held |= {f"gradient {key}": parameter.grad for key, parameter in graph.parameters.items()}
        held |= {
            f"{i} {key}": dx for i, step in enumerate(steps) for key, dx in step.gradients.items() if key[1] != "x"
        }
        results.append({key: arrays.to_host(array) for key, array in held.items()} | graph.state_dict())
    assert results[0].keys() == results[1].keys()
    for key, wanted in results[0].items():
        assert results[1][key].tobytes() == wanted.tobytes(), key


def test_a_network_goes_to_the_device_and_comes_back(cupy):
    graph, (image,), _ = built("small U-Net", seed=2)
    state, wanted = graph.state_dict(), graph.predict(image)
    graph.to("cuda")
    for parameter in graph.parameters.values():
        assert type(parameter.data) is type(parameter.grad) is ndarray
    counts = [buffer for name, buffer in graph.buffers.items() if "num_batches" in name]
    assert counts and all(type(count) is np.ndarray for count in counts), "counts stay where Python reads them"
    assert {key: array.tobytes() for key, array in graph.state_dict().items()} == {
        key: array.tobytes() for key, array in state.items()
    }
    changed = {key: 2 * array for key, array in state.items()}
    graph.load_state_dict(changed)
    graph.load_state_dict({key: ndarray(array) for key, array in changed.items()})
    graph.to("cpu").predict(image)
    for key, array in graph.state_dict().items():
        np.testing.assert_array_equal(array, changed[key])
    graph.load_state_dict(state)
    np.testing.assert_array_equal(graph.predict(image), wanted)


def test_a_layer_added_later_joins_the_others(cupy):
    graph, _, _ = built("small U-Net", seed=2)
    graph.to("cuda").output("more", Conv2d(8, 1, 1), graph.handle("concat"))
    assert type(graph.parameters["more.weight"].data) is ndarray


def test_flatten_lays_out_what_lies_on_the_device(cupy):
    y, cache = Flatten().forward(ndarray(X))
    assert y.shape == (1, 32) and Flatten().backward(y, cache).shape == X.shape


def test_a_graph_says_where_its_arrays_must_lie(cupy):
    graph, (image,), (dy,) = built("small U-Net", seed=3)
    with pytest.raises(
        BackendError, match=r"input 'image' lies on <CUDA.*parameters in the comp.*graph\.placed\(image"
    ):
        graph.forward(ndarray(image))
    graph.to("cuda")
    with pytest.raises(
        BackendError, match=r"input 'image' lies in the comp.*parameters on <CUDA.*graph\.placed\(image"
    ):
        graph.forward(image)
    graph.forward(ndarray(image))
    with pytest.raises(BackendError, match=r"node 'unpad'.*dy lies in the computer's memory"):
        graph.backward(dy)
    with pytest.raises(GraphError, match=r"initialise it before to\('cuda'\)"):
        graph.initialise(0)
    with pytest.raises(OptionError, match="a device is one of cpu, emulator, cuda; got 'gpu'"):
        graph.to("gpu")


def test_a_machine_without_a_device_says_so(cupy):
    graph, _, _ = built("chain", seed=0)
    cupy.devices = 0
    with pytest.raises(
        KernelError, match="CuPy finds no device; see whether nvidia-smi lists one, or use the emulator"
    ):
        graph.to("cuda")

    def no_driver():
        raise CUDARuntimeError("cudaErrorInsufficientDriver")

    cupy.cuda.runtime.getDeviceCount = no_driver
    with pytest.raises(KernelError, match="looking for a device failed on the device: cudaErrorInsufficientDriver"):
        graph.to("cuda")
    assert graph.device == "cpu"


# ------------------------------------------------------------------------------------------------------ training steps


@pytest.mark.parametrize(
    "optimiser",
    [
        lambda parameters: SGD(parameters, 0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
        lambda parameters: Adam(parameters, 0.01, weight_decay=0.01),
        lambda parameters: AdamW(parameters, 0.01),
    ],
    ids=["SGD", "Adam", "AdamW"],
)
def test_a_training_step_copies_back_nothing_but_the_loss_on_request(cupy, optimiser):
    states = []
    for device in ("emulator", "cuda"):
        graph = create("unet", num_classes=3, width=4, depth=1, dropout=0.3, seed=4).to(device)
        loss = CrossEntropyLoss([1, 2, 0.5], ignore_index=255).rebind(graph.placed)
        steps = optimiser(graph.parameters)
        rng = np.random.default_rng(0)
        before = len(cupy.copied_back)
        for _ in range(2):
            images = rng.standard_normal((2, 3, 6, 8)).astype(np.float32)
            labels = rng.choice([0, 1, 2, 255], (2, 6, 8)).astype(np.int32)
            with graph.computing():
                value, cache = loss.forward(graph.forward(graph.placed(images)), graph.placed(labels))
                graph.zero_grad()
                graph.backward(loss.backward(1.0, cache), to_inputs=False)
                steps.step()
        assert len(cupy.copied_back) == before
        states.append({"loss": arrays.to_host(value)} | graph.state_dict() | steps.state_dict())
    for key, wanted in states[0].items():
        assert states[1][key].tobytes() == wanted.tobytes(), key


def test_an_optimiser_s_state_goes_into_one_on_the_device(cupy):
    graph = create("unet", num_classes=2, width=2, depth=1, seed=0)
    state = {key: array + 1 for key, array in SGD(graph.parameters, 0.1, momentum=0.9).state_dict().items()}
    on_device = SGD(graph.to("cuda").parameters, 0.1, momentum=0.9)
    on_device.load_state_dict(state)
    for key, array in on_device.state_dict().items():
        np.testing.assert_array_equal(array, state[key])


def test_an_optimiser_made_before_the_network_moved_says_so(cupy):
    graph = create("unet", num_classes=2, width=2, depth=1, seed=0)
    optimiser = SGD(graph.parameters, 0.1)
    graph.to("cuda")
    with pytest.raises(BackendError, match=r"state in the computer's memory and .* lies on <CUDA.*after graph\.to"):
        optimiser.step()


def test_prediction_brings_images_there_and_probabilities_back(cupy):
    graph = create("unet", num_classes=3, width=2, depth=1, seed=0)
    image = np.random.default_rng(0).standard_normal((3, 12, 10)).astype(np.float32)
    wanted = predict_probabilities(graph.to("emulator"), image, tile=8)
    found = predict_probabilities(graph.to("cuda"), image, tile=8)
    assert type(found) is np.ndarray and found.tobytes() == wanted.tobytes()


def test_pretrained_weights_go_into_a_network_on_the_device(cupy):
    graph, other = (create("unet", num_classes=2, width=2, depth=1, seed=seed) for seed in (0, 1))
    wanted = other.state_dict()
    load_pretrained(graph.to("cuda"), wanted)
    for key, array in graph.state_dict().items():
        np.testing.assert_array_equal(array, wanted[key])
