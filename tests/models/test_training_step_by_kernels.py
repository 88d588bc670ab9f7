"""One training step of every network by CUDA kernels equals NumPy's: loss, gradients, weights, running statistics."""

import numpy as np
import pytest
from conftest import BACKENDS, skip_without_compiler
from networks import by_node

from minisegnet.cuda.arrays import to_host
from minisegnet.layers import CrossEntropyLoss
from minisegnet.models import create
from minisegnet.models.encoder_decoder import UPSAMPLINGS
from minisegnet.training import SGD, Adam, AdamW

# Errors relative to the largest value of a node: float32's 6e-8 after tens of layers, each with sums of hundreds, and
# batch norm's division by standard deviations of a few values.
BOUND = 1e-5

SMALL = {"num_classes": 3, "width": 4}
NETWORKS = {
    "unet": ("unet", {**SMALL, "depth": 2, "dropout": 0.3}, (2, 3, 12, 16)),
    "unet of an odd size": ("unet", {**SMALL, "depth": 2, "upsampling": "bilinear"}, (1, 3, 13, 11)),
    "unet as in the paper": ("unet", {**SMALL, "depth": 2, "valid": True, "batch_norm": False}, (1, 3, 44, 44)),
    "segnet_basic": ("segnet_basic", SMALL, (2, 3, 17, 19)),
    "fcn8s": ("fcn8s", {"num_classes": 3, "encoder": "squeezenet1_1"}, (1, 3, 64, 48)),
    **{
        f"encoder_decoder, {name}": ("encoder_decoder", {**SMALL, "depth": 2, "upsampling": name}, (2, 3, 12, 8))
        for name in UPSAMPLINGS
    },
}  # fmt: skip
OPTIMISERS = {
    "SGD": lambda parameters: SGD(parameters, 0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "Adam": lambda parameters: Adam(parameters, 0.01, eps=0.01),  # of a gradient near 0, the sign alone would count
    "AdamW": lambda parameters: AdamW(parameters, 0.01, eps=0.01),
}


def one_step(name, device, optimiser):
    """Loss, gradients and state after one step, by name, all from seeds."""
    model, options, shape = NETWORKS[name]
    graph = create(model, **options, seed=1).to("cpu")
    rng = np.random.default_rng(2)
    for parameter in graph.parameters.values():  # FCN's scores start at 0, from where nothing flows back
        if not parameter.data.any():
            parameter.data[...] = 0.1 * rng.standard_normal(parameter.data.shape)
    images = rng.standard_normal(shape).astype(np.float32)
    _, classes, height, width = graph.output_shape(shape)
    labels = rng.choice([*range(classes), 255], (shape[0], height, width)).astype(np.int32)
    graph.to(device).train().reseed(3)
    loss = CrossEntropyLoss([1, 2, 0.5], ignore_index=255).rebind(graph.placed)
    update = OPTIMISERS[optimiser](graph.parameters)
    with graph.computing():
        value, cache = loss.forward(graph.forward(graph.placed(images)), graph.placed(labels))
        dimages = graph.backward(loss.backward(1.0, cache))
        trained = {key: parameter for key, parameter in graph.parameters.items() if parameter.trainable}
        gradients = {key: to_host(parameter.grad).copy() for key, parameter in trained.items()}
        update.step()
    found = {"loss": to_host(value), "dimages": to_host(dimages)}
    found |= {f"gradient of {node}": array for node, array in by_node(gradients).items()}
    state = graph.state_dict() | update.state_dict()
    return found | {f"after the step: {key}": array for key, array in state.items()}


@pytest.mark.parametrize("device", [name for name in BACKENDS if name not in ("reference", "numpy")])
@pytest.mark.parametrize(
    ("name", "optimiser"), [*((name, "SGD") for name in NETWORKS), ("unet", "Adam"), ("segnet_basic", "AdamW")]
)
def test_a_training_step_is_numpys(name, device, optimiser):
    skip_without_compiler(device)
    wanted, found = one_step(name, "cpu", optimiser), one_step(name, device, optimiser)
    assert found.keys() == wanted.keys()
    assert all(array.any() for key, array in wanted.items() if key.startswith("gradient"))
    for key, array in wanted.items():
        assert found[key].dtype == array.dtype and found[key].shape == array.shape
        error = np.abs(found[key] - array).max() / max(np.abs(array).max(), 1e-3)
        assert error < BOUND, f"{key}: {error:.1e}"
