"""The encoders beside twins in PyTorch, on weights of PyTorch's making: keys, every activation, every gradient."""

import numpy as np
import pytest
from conftest import assert_close

from minisegnet.layers import Dropout
from minisegnet.models.classifiers import CLASSIFIERS

pytestmark = pytest.mark.torch

PUBLISHED = {  # torchvision's figures, with 1000 classes at 224 x 224
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "squeezenet1_1": 1_235_496,
}
SMALL = {"vgg16": 2, "vgg16_bn": 2, "resnet18": 3, "resnet34": 2, "resnet50": 2, "squeezenet1_1": 16}


def classifier_of(name, num_classes, in_channels, width, size):
    sized = {"size": size} if name.startswith("vgg") else {}
    return CLASSIFIERS[name](num_classes, in_channels, width, **sized).astype("float64")


def pair_of(name, num_classes, in_channels, width, size, seed):
    """A graph and its twin on the same weights, both in evaluation mode."""
    from torch_encoders import twin_of

    twin = twin_of(name, num_classes, in_channels, width, size, seed).eval()
    graph = classifier_of(name, num_classes, in_channels, width, size).eval()
    graph.load_state_dict({key: value.numpy() for key, value in twin.state_dict().items()})
    return graph, twin


def assert_every_activation_agrees(graph, twin, x):
    import torch
    from torch_encoders import activations

    wanted = activations(twin, torch.tensor(x))
    assert set(wanted) == {node.name for node in graph.layer_nodes()}
    for step in graph.steps(x):
        assert_close(step.output, wanted[step.node], 1e-9, step.node)
        assert np.ptp(step.output) > 0, f"{step.node} shows nothing"


def gradients_of(twin, x, dy):
    """The twin's score, and the gradients by the image and by each parameter."""
    import torch

    image = torch.tensor(x, requires_grad=True)
    score = twin(image)
    score.backward(torch.tensor(dy))
    by_parameter = {name: parameter.grad.numpy() for name, parameter in twin.named_parameters()}
    return score.detach().numpy(), image.grad.numpy(), by_parameter


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize(("in_channels", "batch"), [(3, 1), (1, 2)])
def test_every_activation_at_a_small_width(name, in_channels, batch):
    size = (67, 101)  # no layer halves these evenly
    graph, twin = pair_of(name, 5, in_channels, SMALL[name], size, seed=1)
    x = np.random.default_rng(2).standard_normal((batch, in_channels, *size))
    assert_every_activation_agrees(graph, twin, x)


@pytest.mark.parametrize("name", PUBLISHED)
def test_keys_parameters_and_every_activation_at_the_published_width(name):
    import torch
    from torch_encoders import TWINS

    graph, twin = pair_of(name, 10, 3, 64, (64, 64), seed=3)
    with torch.device("meta"):  # shapes alone: the classifier of 224 x 224 would fill a gigabyte
        published = TWINS[name](1000, 3, 64, (224, 224))
    assert sum(parameter.numel() for parameter in published.parameters()) == PUBLISHED[name]
    state, wanted = graph.state_dict(), published.state_dict()
    assert set(state) == set(wanted)
    last = {"vgg": "classifier.6", "res": "fc", "squ": "classifier.1"}[name[:3]]
    for key, array in state.items():
        shape = tuple(wanted[key].shape)
        if key.startswith(f"{last}."):  # 10 classes in place of 1000
            shape = (10, *shape[1:])
        if name.startswith("vgg") and key == "classifier.0.weight":  # of 2 x 2 places in place of 7 x 7
            shape = (4096, shape[1] // 49 * 4)
        assert array.shape == shape, key
    assert_every_activation_agrees(graph, twin, np.random.default_rng(4).standard_normal((1, 3, 64, 64)))


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_gradient_with_the_running_statistics(name):
    graph, twin = pair_of(name, 5, 3, SMALL[name], (64, 64), seed=5)
    rng = np.random.default_rng(6)
    x, dy = rng.standard_normal((2, 3, 64, 64)), rng.standard_normal((2, 5))
    score, dx, gradients = gradients_of(twin, x, dy)
    assert_close(graph.forward(x), score, 1e-9, "score")
    assert_close(graph.backward(dy), dx, 1e-9, "gradient by the image")
    assert set(graph.parameters) == set(gradients)
    for key, parameter in graph.parameters.items():
        assert_close(parameter.grad, gradients[key], 1e-9, f"gradient by {key}")
        assert parameter.grad.any(), f"no gradient reaches {key}"


@pytest.mark.parametrize("name", ["vgg16_bn", "resnet18", "resnet50"])
def test_every_gradient_and_statistic_in_training(name):
    import torch

    graph, twin = pair_of(name, 5, 3, SMALL[name], (64, 64), seed=7)
    graph.train()
    twin.train()
    for layer in graph.layers.values():  # the two draw different masks
        if isinstance(layer, Dropout):
            layer.eval()
    for module in twin.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    rng = np.random.default_rng(8)
    x, dy = rng.standard_normal((4, 3, 64, 64)), rng.standard_normal((4, 5))
    score, dx, gradients = gradients_of(twin, x, dy)
    assert_close(graph.forward(x), score, 1e-9, "score")
    assert_close(graph.backward(dy), dx, 1e-9, "gradient by the image")
    for key, parameter in graph.parameters.items():
        assert_close(parameter.grad, gradients[key], 1e-9, f"gradient by {key}")
        assert parameter.grad.any(), f"no gradient reaches {key}"
    state = twin.state_dict()
    for key, buffer in graph.buffers.items():
        assert_close(buffer, state[key].numpy(), 1e-9, key)
