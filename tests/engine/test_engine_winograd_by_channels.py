"""Winograd's convolution with channels in place of rows: few tiles and many kernels."""

import pytest
from agreement import assert_agrees
from test_engine_large_kernels import BATCHES, kind_of, network

from minisegnet import models
from minisegnet.engine.convolution import WinogradConvolution
from minisegnet.engine.winograd_by_channels import WinogradByChannels
from minisegnet.layers import Conv2d, ConvTranspose2d


@pytest.fixture(params=[64, 3])
def by_channels(request, monkeypatch):
    """Every convolution that fits counts as one of few tiles; some channels at once."""
    monkeypatch.setattr("minisegnet.engine.forms.WEIGHTS_TO_SHARE", 1)
    monkeypatch.setattr("minisegnet.engine.winograd_by_channels.CHANNELS", request.param)


TILED = [(Conv2d, 2, 0), (Conv2d, 3, 0), (Conv2d, 3, 1), (Conv2d, 3, 2), (Conv2d, 4, 1), (Conv2d, 5, 2)]
TILED += [(ConvTranspose2d, 2, 0), (ConvTranspose2d, 3, 1), (ConvTranspose2d, 3, 0), (ConvTranspose2d, 5, 1)]


@pytest.mark.parametrize(("images", "workers", "size"), BATCHES)
@pytest.mark.parametrize(("kind", "kernel", "padding"), TILED)
def test_kernels_and_paddings(kind, kernel, padding, images, workers, size, by_channels):
    graph, shape = network(kind(5, 7, kernel, padding=padding)), (images, 3, *size)
    assert kind_of(graph, shape) is WinogradByChannels
    assert_agrees(graph, shape, workers=workers)


def test_more_workers_than_channels(by_channels):
    assert_agrees(network(Conv2d(2, 3, 3, padding=1)), (4, 3, 9, 10), workers=4)


UNET = {"depth": 2}


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize(("name", "arguments"), [("unet", UNET), ("unet", {**UNET, "valid": True}), ("segnet", {})])
def test_networks(name, arguments, workers, by_channels):
    graph = models.create(name, num_classes=3, width=4, **arguments)
    assert_agrees(graph, (4, graph.inputs[0].channels, 44, 60), workers=workers, bound=1e-10, to_inputs=False)


def test_many_kernels_for_few_tiles_are_shared_by_channels():
    for size, kind in (((60, 64), WinogradByChannels), ((68, 64), WinogradConvolution)):
        assert kind_of(network(Conv2d(242, 242, 3, padding=1)), (1, 3, *size)) is kind
