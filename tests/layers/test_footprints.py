"""Each layer's footprint, held against where its gradient says that it looks."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest

from minisegnet.errors import ShapeError
from minisegnet.layers import (
    Add,
    AvgPool2d,
    BatchNorm2d,
    BedOfNails2d,
    BilinearConvTranspose2d,
    CenterCrop,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Crop,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    MaxPool2d,
    MaxUnpool2d,
    NearestUnpool2d,
    PadToMultiple,
    ReflectionPad2d,
    ReLU,
    Softmax,
    UpsampleBilinear2d,
)
from minisegnet.layers.footprint import Footprint

SIZE = (13, 10)
LAYERS = [
    (Conv2d(2, 3, 3, padding=1), {}),
    (Conv2d(2, 3, (5, 2), stride=(2, 3), padding=(1, 0), dilation=(1, 2)), {}),
    (ConvTranspose2d(2, 3, 4, stride=2, padding=1), {}),
    (ConvTranspose2d(2, 3, (3, 2), stride=(3, 2), padding=(1, 0), output_padding=(2, 1), dilation=(2, 1)), {}),
    (BilinearConvTranspose2d(2, 5, 3, padding=2), {}),
    (AvgPool2d(3, stride=2, padding=1), {}),
    (AvgPool2d((2, 3), ceil_mode=True), {}),
    (GlobalAvgPool2d(), {}),
    (NearestUnpool2d(3), {}),
    (NearestUnpool2d(), {"output_size": (17, 25)}),
    (BedOfNails2d((2, 3)), {}),
    (UpsampleBilinear2d(2), {}),
    (UpsampleBilinear2d(3), {}),
    (UpsampleBilinear2d(), {"output_size": (17, 25)}),
    (UpsampleBilinear2d(), {"output_size": (5, 4)}),
    (UpsampleBilinear2d(align_corners=True), {"output_size": (17, 28)}),
    (CenterCrop(), {"output_size": (6, 7)}),
    (Crop(2, 3), {"output_size": (6, 7)}),
    (ReLU(), {}),
    (Softmax(), {}),
    (BatchNorm2d(2).eval(), {}),
    (Dropout(0.2), {}),
]


@pytest.mark.parametrize("layer, sizes", LAYERS, ids=lambda value: str(value))
def test_footprint_is_where_the_gradient_is(layer, sizes):
    """For every output row (and column), the rows with a gradient are the whole numbers of its footprint.

    Where a dilated kernel leaves holes, they are some of those, the first and last among them.
    """
    dilated = getattr(layer, "dilation", 1) != 1
    rng = np.random.default_rng(0)
    x = rng.random((1, 2, *SIZE), np.float32) + 0.1
    for parameter in layer.parameters.values():
        if not parameter.trainable or layer.__class__ is not BilinearConvTranspose2d:
            parameter.data[...] = rng.random(parameter.data.shape) + 0.5
    y, cache = layer.forward(x, **sizes)
    for axis, footprint in zip((2, 3), layer.footprints(x.shape, y.shape), strict=True):
        for i in range(y.shape[axis]):
            dy = np.zeros_like(y)
            row = tuple(i if a == axis else slice(None) for a in range(4))
            dy[row] = rng.random(dy[row].shape) * np.arange(1, 1 + y.shape[1]).reshape(-1, 1) + 0.1
            reached = np.abs(layer.backward(dy, cache)).max(axis=tuple(a for a in range(4) if a != axis)) > 0
            first, last = footprint.scale * i + footprint.first, footprint.scale * i + footprint.last
            inside = [j for j in range(x.shape[axis]) if first <= j <= last]
            found = np.flatnonzero(reached).tolist()
            if dilated:
                assert set(found) <= set(inside), f"axis {axis}, output {i}"
                assert {first, last} & set(inside) <= set(found), f"axis {axis}, output {i}"
            else:
                assert found == inside, f"axis {axis}, output {i}: {first} to {last}"


def test_mirrored_padding_looks_at_its_own_place_inside():
    """Within the image; what the mirror adds is read from elsewhere."""
    for layer, place in ((ReflectionPad2d((1, 2, 3, 4)), (3, 1)), (PadToMultiple((16, 8)), (1, 3))):
        x = np.random.default_rng(0).random((1, 1, *SIZE), np.float32)
        y, _ = layer.forward(x)
        vertical, horizontal = layer.footprints(x.shape, y.shape)
        assert (vertical, horizontal) == (Footprint.of(1, -place[0], -place[0]), Footprint.of(1, -place[1], -place[1]))
        np.testing.assert_array_equal(y[:, :, place[0] :, place[1] :][:, :, : SIZE[0], : SIZE[1]], x)


def test_pooling_and_unpooling_look_at_their_windows():
    pool = MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
    assert pool.footprints((1, 1, 9, 9), (1, 1, 5, 5)) == (Footprint.of(2, -1, 1),) * 2
    half = Fraction(1, 2)
    assert MaxUnpool2d(2).footprints((1, 1, 4, 4), (1, 1, 9, 8)) == (Footprint.of(half, -half, 0),) * 2
    with pytest.raises(ShapeError, match="build it as MaxUnpool2d"):
        MaxUnpool2d().footprints((1, 1, 4, 4), (1, 1, 8, 8))


@pytest.mark.parametrize("layer", [Add(), Concat()], ids=str)
def test_joins_look_at_their_own_place(layer):
    assert layer.footprints((1, 2, 5, 5), (1, 4, 5, 5)) == (Footprint.of(1, 0, 0),) * 2


def test_a_layer_that_does_not_say():
    class Own(Layer):
        pass

    for layer in (Own(), Linear(3, 2), Flatten()):
        with pytest.raises(ShapeError, match="does not say where it looks: give it a method footprints"):
            layer.footprints((1, 3, 4, 4), (1, 3, 4, 4))


def test_composition_is_one_layer_after_the_other():
    """Two convolutions in turn: what the second's rows read, the first's rows read in turn."""
    first, second = Footprint.of(2, -1, 3), Footprint.of(3, -2, 4)
    both = second.after(first)
    for i in range(-3, 4):
        rows = range(ceil(second.scale * i + second.first), floor(second.scale * i + second.last) + 1)
        read = {j for row in rows for j in range(2 * row - 1, 2 * row + 4)}
        assert (min(read), max(read)) == (both.scale * i + both.first, both.scale * i + both.last)
    assert both.offset == (both.first + both.last) / 2
