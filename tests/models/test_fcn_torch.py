"""FCN against the same networks written in PyTorch, on the same weights: scores and every gradient."""

import numpy as np
import pytest
from conftest import assert_close

from minisegnet.models.fcn import fcn8s, fcn16s, fcn32s

BUILDERS = {32: fcn32s, 16: fcn16s, 8: fcn8s}
VGG = (2, 2, 3, 3, 3)  # convolutions before each pooling
PUBLISHED_CROPS = {32: {1: 19}, 16: {16: 5, 1: 27}, 8: {16: 5, 8: 9, 1: 31}}  # by the stride they are made at


class Twin:
    """The network in PyTorch's functions, on weights by name."""

    def __init__(self, weights):
        self.weights = weights

    def convolution(self, name, x, **options):
        from torch.nn import functional as F

        return F.conv2d(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"), **options)

    def vgg(self, x, first_padding):
        """Pooled values by stride; convolutions and their ReLUs and the poolings are counted on."""
        from torch.nn import functional as F

        features, number = {}, 0
        for level, convolutions in enumerate(VGG, start=1):
            for _ in range(convolutions):
                x = F.relu(self.convolution(f"features.{number}", x, padding=1 if number else first_padding))
                number += 2
            x = features[2**level] = F.max_pool2d(x, 2, ceil_mode=True)
            number += 1
        return features

    def laptop(self, x):
        from torch.nn import functional as F

        features = {}
        for level in range(1, 6):
            for place in (0, 3) if level > 1 else (0,):
                x = self.convolution(f"level{level}.{place}", x, padding=1, stride=1 if place else 2)
                scale, shift = (self.weights[f"level{level}.{place + 1}.{name}"] for name in ("weight", "bias"))
                x = F.relu(F.batch_norm(x, None, None, scale, shift, training=True))
            features[2**level] = x
        return features

    def head(self, x, padding):
        from torch.nn import functional as F

        x = F.relu(self.convolution("classifier.0", x, padding=padding))
        return F.relu(self.convolution("classifier.3", x))

    def upsample(self, start, end, x, padding):
        from torch.nn import functional as F

        return F.conv_transpose2d(x, self.weights[f"upscore{start}to{end}.weight"], None, start // end, padding)


def published(twin, image, finest):
    """As the paper's own files have it: padding 100, nothing padded after, crops at 5, 9, 19, 27, 31."""
    crops = PUBLISHED_CROPS[finest]
    features = twin.vgg(image, 100)
    x, stride = twin.convolution("score32", twin.head(features[32], 0)), 32
    while stride > finest:
        x = twin.upsample(stride, stride // 2, x, 0)
        stride //= 2
        top, (height, width) = crops[stride], x.shape[2:]
        x = x + twin.convolution(f"score{stride}", features[stride])[:, :, top : top + height, top : top + width]
    x, top, (H, W) = twin.upsample(stride, 1, x, 0), crops[1], image.shape[2:]
    return x[:, :, top : top + H, top : top + W]


def lined_up(twin, image, finest, features, paddings):
    """Without crops: stamps are padded so that they begin at the finer value's first row.

    paddings  of stamps that double, and of the last; odd stamps (laptop) also take a mirrored last row and column
    """
    from torch.nn import functional as F

    def upsample(end, x, padding):
        if padding[1]:
            x = F.pad(x, (0, 1, 0, 1), mode="reflect")
        return twin.upsample(stride, end, x, padding[0])

    doubling, last = paddings
    x, stride = twin.convolution("score32", features[32]), 32
    while stride > finest:
        finer = twin.convolution(f"score{stride // 2}", features[stride // 2])
        x = upsample(stride // 2, x, doubling)[:, :, : finer.shape[2], : finer.shape[3]] + finer
        stride //= 2
    return upsample(1, x, last)[:, :, : image.shape[2], : image.shape[3]]


FORMS = {
    "vgg16": ({"width": 2, "head": 5}, (2, 3, 70, 97)),
    "vgg16, as published": ({"width": 2, "head": 5, "as_published": True}, (1, 3, 45, 70)),
    "laptop": ({"encoder": "laptop", "width": 2}, (2, 3, 70, 97)),
}


def twin_in_pytorch(form, weights, image, finest):
    twin = Twin(weights)
    if form == "vgg16, as published":
        return published(twin, image, finest)
    if form == "vgg16":
        features = twin.vgg(image, 1)
        features[32] = twin.head(features[32], 3)
        return lined_up(twin, image, finest, features, ((1, False), (finest // 2, False)))
    return lined_up(twin, image, finest, twin.laptop(image), ((1, True), (finest - 1, True)))


@pytest.mark.torch
@pytest.mark.parametrize("finest", BUILDERS)
@pytest.mark.parametrize("form", FORMS)
def test_pytorch_agrees(form, finest):
    torch = pytest.importorskip("torch")
    options, shape = FORMS[form]
    graph = BUILDERS[finest](3, fixed="none", dropout=0.0, seed=1, **options).astype("float64")
    rng = np.random.default_rng(2)
    for parameter in graph.parameters.values():  # scores and biases too, which start at zero
        parameter.data += 0.1 * rng.standard_normal(parameter.data.shape)
    x = rng.standard_normal(shape)
    score = graph.forward(x)
    dy = rng.standard_normal(score.shape)
    dx = graph.backward(dy)

    weights = {name: torch.tensor(p.data, requires_grad=True) for name, p in graph.parameters.items()}
    image = torch.tensor(x, requires_grad=True)
    wanted = twin_in_pytorch(form, weights, image, finest)
    wanted.backward(torch.tensor(dy))
    assert_close(score, wanted.detach().numpy(), 1e-9, "score")
    assert_close(dx, image.grad.numpy(), 1e-9, "gradient by the image")
    for name, parameter in graph.parameters.items():
        assert_close(parameter.grad, weights[name].grad.numpy(), 1e-9, f"gradient by {name}")
