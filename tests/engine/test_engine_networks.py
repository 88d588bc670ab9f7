"""Every network of the project, compiled, against its own passes."""

import numpy as np
import pytest
from agreement import assert_agrees

from minisegnet import models
from minisegnet.engine import kernels
from minisegnet.models import CLASSIFIERS

WIDTHS = {"squeezenet1_1": 8}
ENCODERS = sorted(models.ENCODERS)


def lively(graph):
    """With other weights in place of those that start at zero and let no gradient through."""
    rng = np.random.default_rng(3)
    for parameter in graph.parameters.values():
        if not parameter.data.any():
            parameter.data[...] = rng.uniform(-0.3, 0.3, parameter.data.shape)
    return graph


def agrees(graph, size, images=2, workers=1, **options):
    return assert_agrees(lively(graph), (images, 3, *size), workers=workers, bound=1e-10, **options)


@pytest.mark.parametrize("upsampling", models.encoder_decoder.__globals__["UPSAMPLINGS"])
def test_encoder_decoder(upsampling):
    agrees(models.encoder_decoder(3, width=4, depth=2, upsampling=upsampling), (21, 35))


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (21, 35)),
        ({"batch_norm": False, "upsampling": "bilinear", "dropout": 0.3}, (21, 35)),
        ({"pad": None, "upsampling": "bilinear"}, (20, 36)),
        ({"running_statistics": False}, (21, 35)),
        ({"valid": True, "dropout": 0.3}, (60, 44)),
        ({"valid": True, "batch_norm": False, "upsampling": "bilinear"}, (44, 60)),
    ],
    ids=str,
)
def test_unet(options, size):
    agrees(models.unet(3, width=4, depth=2, **options), size)


def test_full_resolution():
    agrees(models.full_resolution(3, width=4, depth=3), (21, 35))


@pytest.mark.parametrize("kernel_size", [3, 5, 7])
def test_segnet_basic(kernel_size):
    agrees(models.segnet_basic(3, width=4, kernel_size=kernel_size), (21, 35))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_segnet(batch_norm):
    agrees(models.segnet(3, width=4, batch_norm=batch_norm), (37, 51))


def test_deconvnet():
    agrees(models.deconvnet(3, width=4, size=32, middle=8), (32, 40))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_fcn_on_every_encoder(encoder):
    agrees(models.fcn8s(3, encoder=encoder, width=WIDTHS.get(encoder, 4)), (37, 51))


@pytest.mark.parametrize("build", [models.fcn32s, models.fcn16s, models.fcn8s], ids=lambda build: build.__name__)
def test_fcn(build):
    agrees(build(3, width=4, head=0, fixed="none"), (37, 51))


@pytest.mark.parametrize("build", [models.fcn32s, models.fcn8s], ids=lambda build: build.__name__)
def test_fcn_as_published(build):
    agrees(build(3, width=2, head=4, fixed="all", as_published=True), (25, 38))


@pytest.mark.parametrize("encoder", sorted(CLASSIFIERS))
def test_classifiers(encoder):
    options = {"size": (37, 51)} if encoder.startswith("vgg") else {}
    graph = CLASSIFIERS[encoder](5, width=WIDTHS.get(encoder, 4), **options)
    agrees(graph, (37, 51))
    agrees(models.fully_convolutional(graph, (37, 51)), (70, 83))


@pytest.mark.parametrize(("images", "workers", "to_inputs"), [(1, 3, True), (3, 2, True), (4, 2, False)])
@pytest.mark.parametrize(
    "build",
    [
        lambda: models.unet(3, width=4, depth=2, dropout=0.3),
        lambda: models.encoder_decoder(3, width=4, depth=2, upsampling="transposed"),
        lambda: models.segnet_basic(3, width=4, kernel_size=3),
        lambda: models.fcn8s(3, encoder="resnet18", width=4),
    ],
    ids=["unet", "encoder_decoder", "segnet_basic", "fcn8s"],
)
@pytest.mark.parametrize("few", [0, 2**17], ids=["kernels shared out", "kernels by each"])
def test_workers(monkeypatch, build, images, workers, to_inputs, few):
    monkeypatch.setattr(kernels, "FEW_WEIGHTS", few)
    agrees(build(), (37, 51), images, workers, to_inputs=to_inputs)


def test_evaluation():
    """Inference, with normalisation folded into what stands before it."""
    for graph in (models.fcn8s(3, encoder="resnet18", width=4), models.unet(3, width=4, depth=2, dropout=0.5)):
        lively(graph).astype(np.float64)
        x = np.random.default_rng(4).standard_normal((2, 3, 37, 51))
        graph.forward(x)  # moves the running statistics
        want = graph.predict(x)
        got = graph.compile(x.shape, training=False).predict(x)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-10 * np.abs(want).max())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_network_without_running_statistics_predicts_by_the_images_own(workers):
    graph = lively(models.unet(3, width=4, depth=2, running_statistics=False)).astype(np.float64)
    rng = np.random.default_rng(4)
    with graph.compile((1, 3, 20, 36), workers=workers, training=False) as compiled:
        for scale, shift in ((1, 0), (5, 3)):
            x = scale * rng.standard_normal((1, 3, 20, 36)) + shift
            np.testing.assert_allclose(compiled.predict(x), graph.predict(x), atol=1e-10)
