"""Layers beside PyTorch's of the same name: state_dict keys, results, gradients, running statistics."""

import numpy as np
import pytest

from minisegnet import layers
from minisegnet.layers import BatchNorm2d

pytestmark = pytest.mark.torch

TABLE = {
    "conv": ("Conv2d", (3, 4, (3, 2)), {"stride": (2, 1), "padding": 1, "dilation": (1, 2)}, (2, 3, 7, 8)),
    "conv without bias": ("Conv2d", (3, 4, 3), {"bias": False}, (2, 3, 7, 8)),
    "transposed conv": (
        "ConvTranspose2d",
        (3, 4, (3, 4)),
        {"stride": 2, "padding": 1, "output_padding": (1, 0)},
        (2, 3, 5, 6),
    ),
    "linear": ("Linear", (5, 3), {}, (4, 5)),
    "batch norm": ("BatchNorm2d", (3,), {"eps": 1e-3, "momentum": 0.3}, (2, 3, 4, 5)),
    "batch norm, cumulative": ("BatchNorm2d", (3,), {"momentum": None}, (2, 3, 4, 5)),
    "batch norm, untracked": ("BatchNorm2d", (3,), {"track_running_stats": False}, (2, 3, 4, 5)),
    "max pool": ("MaxPool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, (2, 3, 8, 9)),
    "average pool": ("AvgPool2d", (3, 2, 1), {"ceil_mode": True, "count_include_pad": False}, (2, 3, 8, 9)),
    "relu": ("ReLU", (), {}, (2, 3, 4, 5)),
    "sigmoid": ("Sigmoid", (), {}, (2, 3, 4, 5)),
    "softmax": ("Softmax", (), {"dim": 1}, (2, 3, 4, 5)),
    "reflection pad": ("ReflectionPad2d", ((1, 2, 3, 0),), {}, (2, 3, 4, 5)),
}


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize("case", TABLE)
def test_a_layer_equals_pytorchs(case, torch):
    name, arguments, options, shape = TABLE[case]
    rng = np.random.default_rng(1)
    theirs = getattr(torch.nn, name)(*arguments, **options).double()
    ours = getattr(layers, name)(*arguments, **options).astype("float64")
    for parameter in theirs.parameters():
        parameter.data = torch.tensor(rng.standard_normal(tuple(parameter.shape)))
    state = theirs.state_dict()
    ours.load_state_dict({key: value.numpy() for key, value in state.items()})
    assert list(ours.state_dict()) == list(state)
    for _ in range(3):  # the running statistics need more than one batch
        x = rng.standard_normal(shape)
        torch_x = torch.tensor(x, requires_grad=True)
        y, cache = ours.forward(x)
        torch_y = theirs(torch_x)
        np.testing.assert_allclose(y, torch_y.detach().numpy(), rtol=1e-9, atol=1e-12)
        dy = rng.standard_normal(y.shape)
        torch_y.backward(torch.tensor(dy))
        np.testing.assert_allclose(ours.backward(dy, cache), torch_x.grad.numpy(), rtol=1e-9, atol=1e-12)
    for key, parameter in theirs.named_parameters():
        np.testing.assert_allclose(ours.parameters[key].grad, parameter.grad.numpy(), rtol=1e-9, atol=1e-12)
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[key], value.numpy(), rtol=1e-9, atol=1e-12)
        assert ours.state_dict()[key].dtype == value.numpy().dtype
    theirs.eval()
    ours.eval()
    np.testing.assert_allclose(ours.forward(x)[0], theirs(torch.tensor(x)).detach().numpy(), rtol=1e-9, atol=1e-12)


def test_max_unpooling_inverts_pooling_as_pytorch_does(torch):
    rng = np.random.default_rng(2)
    for given, size in (((6, 8), None), ((7, 9), (7, 9))):
        x = rng.standard_normal((2, 3, *given))
        (y, indices), _ = layers.MaxPool2d(2, return_indices=True).forward(x)
        torch_y, torch_indices = torch.nn.MaxPool2d(2, return_indices=True)(torch.tensor(x))
        np.testing.assert_array_equal(indices, torch_indices.numpy())
        ours, _ = layers.MaxUnpool2d(2).forward(y, indices, size)
        theirs = torch.nn.MaxUnpool2d(2)(torch_y, torch_indices, output_size=size)
        np.testing.assert_array_equal(ours, theirs.numpy())


def test_class_weights_are_a_buffer_as_in_pytorch(torch):
    weight = [1.0, 2.0, 0.5]
    theirs = torch.nn.CrossEntropyLoss(torch.tensor(weight), ignore_index=2)
    ours = layers.CrossEntropyLoss(weight, ignore_index=2)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    rng = np.random.default_rng(3)
    logits, labels = rng.standard_normal((2, 3, 4, 5)).astype("float32"), rng.integers(0, 3, (2, 4, 5))
    loss, _ = ours.forward(logits, labels)
    assert float(loss) == pytest.approx(float(theirs(torch.tensor(logits), torch.tensor(labels))), rel=1e-5)


def test_one_value_a_channel_is_refused_as_by_pytorch(torch):
    x = np.zeros((1, 3, 1, 1), "float32")
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        torch.nn.BatchNorm2d(3)(torch.tensor(x))
    with pytest.raises(ValueError, match="more than one value a channel"):
        BatchNorm2d(3).forward(x)


def test_batch_norm_that_tracks_nothing_evaluates_by_the_batch_as_pytorch_does(torch):
    rng = np.random.default_rng(3)
    ours, theirs = (kind(3, track_running_stats=False).eval() for kind in (BatchNorm2d, torch.nn.BatchNorm2d))
    x = rng.standard_normal((2, 3, 4, 5)) * 3 + 7
    y, _ = ours.astype("float64").forward(x)
    np.testing.assert_allclose(y, theirs.double()(torch.tensor(x)).detach().numpy(), rtol=1e-9, atol=1e-12)
