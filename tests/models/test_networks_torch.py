"""PyTorch's numbers for the lecture's networks: each written again in its functions, on the same weights."""

import numpy as np
import pytest
from conftest import assert_close

from minisegnet.models.deconvnet import deconvnet
from minisegnet.models.encoder_decoder import UPSAMPLINGS, encoder_decoder
from minisegnet.models.full_resolution import full_resolution
from minisegnet.models.segnet import segnet, segnet_basic

VGG = (2, 2, 3, 3, 3)  # convolutions of each level


class Twin:
    """The networks in PyTorch's functions, in training mode, on weights by name."""

    def __init__(self, parameters):
        self.torch = pytest.importorskip("torch")
        self.F = self.torch.nn.functional
        self.weights = {name: self.torch.tensor(p.data, requires_grad=True) for name, p in parameters.items()}

    # What the networks are made of.

    def convolution(self, name, x, padding=0, transposed=False, stride=1):
        operation = self.F.conv_transpose2d if transposed else self.F.conv2d
        return operation(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"), stride, padding)

    def normalised(self, name, x):
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return self.F.batch_norm(x, None, None, weight, bias, training=True)

    def block(self, chain, x, padding, first=0, relu=True, transposed=False):
        """Convolution and batch norm, at the places `first` and `first + 1` of a chain, and ReLU."""
        x = self.normalised(f"{chain}.{first + 1}", self.convolution(f"{chain}.{first}", x, padding, transposed))
        return self.F.relu(x) if relu else x

    def max_pool(self, x):
        return self.F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)

    def max_unpool(self, x, indices, before):
        return self.F.max_unpool2d(x, indices, 2, output_size=before.shape[2:])

    def vgg(self, x, batch_norm=True):
        """The last value, and of each level the value before its pooling with the indices."""
        levels, number = [], 0
        for convolutions in VGG:
            for _ in range(convolutions):
                x = self.convolution(f"features.{number}", x, 1)
                if batch_norm:
                    number += 1
                    x = self.normalised(f"features.{number}", x)
                x = self.F.relu(x)
                number += 2
            before = x
            x, indices = self.max_pool(before)
            number += 1
            levels.append((indices, before))
        return x, levels

    # The networks.

    def full_resolution(self, x, depth):
        for layer in range(depth):
            x = self.block(f"layer{layer}", x, 1)
        return self.convolution("score", x)

    def encoder_decoder(self, x, depth, upsampling):
        levels = []
        for level in range(depth):
            before = self.block(f"encoder{level}", x, 1)
            x, indices = self.max_pool(before)
            if upsampling == "nearest":
                x = self.F.avg_pool2d(before, 2, ceil_mode=True)
            levels.append((indices, before))
        x = self.block("bottom", x, 1)
        for level in reversed(range(depth)):
            indices, before = levels[level]
            H, W = before.shape[2:]
            if upsampling == "max_unpool":
                x = self.max_unpool(x, indices, before)
            elif upsampling == "nearest":
                x = self.F.interpolate(x, (H, W), mode="nearest")
            elif upsampling == "bilinear":
                x = self.F.interpolate(x, (H, W), mode="bilinear", align_corners=False)
            elif upsampling == "bed_of_nails":
                nails = self.torch.zeros_like(before)
                nails[:, :, ::2, ::2] = x
                x = nails
            else:
                x = self.convolution(f"up{level}.0", x, 1, transposed=True, stride=2)[:, :, :H, :W]
            x = self.block(f"decoder{level}", x, 1)
        return self.convolution("score", x)

    def segnet_basic(self, x, padding):
        pools = []
        for level in range(1, 5):
            before = self.block(f"encoder{level}", x, padding)
            x, indices = self.max_pool(before)
            pools.append((indices, before))
        for level in range(4, 0, -1):
            x = self.block(f"decoder{level}", self.max_unpool(x, *pools[level - 1]), padding, relu=False)
        return self.convolution("score", x)

    def segnet(self, x, batch_norm):
        x, levels = self.vgg(x, batch_norm)
        for number in range(5, 0, -1):
            x = self.max_unpool(x, *levels[number - 1])
            for i in range(VGG[number - 1] - (number == 1)):  # the thirteenth gives the scores
                if batch_norm:
                    x = self.block(f"decoder{number}", x, 1, first=3 * i)
                else:
                    x = self.F.relu(self.convolution(f"decoder{number}.{2 * i}", x, 1))
        return self.convolution("score", x, 1)

    def deconvnet(self, x):
        x, levels = self.vgg(x)
        x = self.block("fc7", self.block("fc6", x, 0), 0)
        x = self.block("fc6_deconv", x, 0, transposed=True)
        for number in range(5, 0, -1):
            x = self.max_unpool(x, *levels[number - 1])
            for i in range(VGG[number - 1]):
                x = self.block(f"deconv{number}", x, 1, first=3 * i, transposed=True)
        return self.convolution("score", x)


def check_pytorch_agrees(graph, network, shape, **options):
    """The scores, and the gradients by the images and by every parameter, in float64."""
    graph.astype("float64")
    rng = np.random.default_rng(8)
    for parameter in graph.parameters.values():  # biases and scales too
        parameter.data += 0.1 * rng.standard_normal(parameter.data.shape)
    twin = Twin(graph.parameters)
    x = rng.standard_normal(shape)
    score = graph.forward(x)
    dy = rng.standard_normal(score.shape) / score[:, 0].size  # as of a mean over pixels: gradients of about 1, beside
    # which those by biases that batch norm takes away again are rounding
    dx = graph.backward(dy)

    image = twin.torch.tensor(x, requires_grad=True)
    wanted = getattr(twin, network)(image, **options)
    wanted.backward(twin.torch.tensor(dy))
    assert score.shape == (shape[0], 3, *shape[2:])
    assert_close(score, wanted.detach().numpy(), 1e-9, "score")
    assert_close(dx, image.grad.numpy(), 1e-9, "gradient by the image")
    for name, parameter in graph.parameters.items():
        assert_close(parameter.grad, twin.weights[name].grad.numpy(), 1e-9, f"gradient by {name}")


@pytest.mark.torch
@pytest.mark.parametrize("size", [(8, 12), (7, 13), (1, 2)])
def test_full_resolution(size):
    check_pytorch_agrees(full_resolution(3, 2, width=4, depth=3), "full_resolution", (2, 2, *size), depth=3)


@pytest.mark.torch
@pytest.mark.parametrize("size", [(16, 24), (13, 23), (1, 10)])
@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
def test_encoder_decoder(upsampling, size):
    graph = encoder_decoder(3, 2, width=3, depth=3, upsampling=upsampling)
    check_pytorch_agrees(graph, "encoder_decoder", (2, 2, *size), depth=3, upsampling=upsampling)


@pytest.mark.torch
@pytest.mark.parametrize(("size", "kernel_size"), [((32, 48), 7), ((27, 45), 7), ((18, 23), 3)])
def test_segnet_basic(size, kernel_size):
    graph = segnet_basic(3, 1, width=4, kernel_size=kernel_size)
    check_pytorch_agrees(graph, "segnet_basic", (2, 1, *size), padding=kernel_size // 2)


@pytest.mark.torch
@pytest.mark.parametrize("size", [(32, 64), (45, 51)])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_segnet(batch_norm, size):
    graph = segnet(3, 3, width=2, batch_norm=batch_norm)
    check_pytorch_agrees(graph, "segnet", (3, 3, *size), batch_norm=batch_norm)


@pytest.mark.torch
@pytest.mark.parametrize(("side", "size"), [(32, (32, 32)), (64, (64, 64)), (64, (77, 129))])
def test_deconvnet(side, size):
    """Of the size that its middle is made for, and larger."""
    check_pytorch_agrees(deconvnet(3, 3, width=2, size=side, middle=6), "deconvnet", (4, 3, *size))
