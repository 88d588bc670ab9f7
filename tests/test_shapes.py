"""The arithmetic of sizes: against examples, against counting window by window, and against PyTorch."""

import itertools
from functools import partial

import numpy as np
import pytest

from minisegnet import shapes
from minisegnet.errors import OptionError, ShapeError

SIZES = [
    # the lecture's and the papers' own
    (shapes.conv2d((1, 3, 572, 572), (64, 3, 3, 3), (64,), 1, 0, 1), (1, 64, 570, 570)),  # U-Net's first
    (shapes.conv_transpose2d((1, 1024, 28, 28), (1024, 512, 2, 2), None, 2, 0, 0, 1), (1, 512, 56, 56)),
    (shapes.conv2d((1, 512, 7, 7), (4096, 512, 7, 7), None, 1, 0, 1), (1, 4096, 1, 1)),  # fc6 of VGG-16
    (shapes.conv_transpose2d((1, 21, 16, 16), (21, 21, 64, 64), None, 32, 0, 0, 1), (1, 21, 544, 544)),  # FCN-32s
    (shapes.pool2d((1, 64, 360, 480), 2), (1, 64, 180, 240)),
    (shapes.pool2d((1, 64, 45, 60), 2), (1, 64, 22, 30)),
    (shapes.pool2d((1, 64, 45, 60), 2, ceil_mode=True), (1, 64, 23, 30)),
    (shapes.pool2d((1, 64, 112, 112), 3, 2, 1), (1, 64, 56, 56)),
    # each option
    (shapes.conv2d((2, 3, 7, 9), (4, 3, 3, 2), (4,), (2, 1), (1, 2), (1, 3)), (2, 4, 4, 10)),
    (shapes.conv_transpose2d((2, 4, 3, 3), (4, 1, 3, 2), None, (2, 3), (1, 0), (1, 2), (1, 2)), (2, 1, 6, 11)),
    (shapes.conv2d((0, 3, 7, 9), (4, 3, 3, 3), None, 1, 1, 1), (0, 4, 7, 9)),
    (shapes.linear((5, 4), (3, 4), (3,)), (5, 3)),
    (shapes.pool2d((1, 2, 8, 9), (2, 3), (1, 2), (1, 0), (2, 1)), (1, 2, 8, 4)),
    (shapes.sized((2, 3, 4, 5), 7), (2, 3, 7, 7)),
    (shapes.sized((2, 3, 4, 5), [7, 8]), (2, 3, 7, 8)),
    (shapes.bed_of_nails2d((2, 3, 4, 5), (2, 3)), (2, 3, 8, 15)),
    (shapes.bed_of_nails2d((2, 3, 4, 5), 2, (7, 11)), (2, 3, 7, 11)),
    (shapes.reflection_pad2d((2, 3, 4, 5), (1, 2, 3, 4)), (2, 3, 11, 8)),
    (shapes.concat([(2, 3, 4, 5), (2, 1, 4, 5), (2, 0, 4, 5)], 1), (2, 4, 4, 5)),
    (shapes.concat([(2, 3), (2, 3)], -1), (2, 6)),
    (shapes.concat([(2, 3), (2, 3)], -2), (4, 3)),
    (shapes.crop((2, 3, 4, 5), 1, 2, 3, 3), (2, 3, 3, 3)),
    (shapes.add((2, 3, 4, 5), [2, 3, 4, 5]), (2, 3, 4, 5)),
]


@pytest.mark.parametrize("found, wanted", SIZES)
def test_examples(found, wanted):
    assert found == wanted and all(type(size) is int for size in found)


def test_windows_are_those_that_fit():
    """Counted one by one: each start, a stride after the last, whose window ends inside the padded image."""
    for size, kernel, stride, padding, dilation in itertools.product(
        range(1, 8), (1, 2, 3), (1, 2, 3), (0, 1, 2), (1, 2)
    ):
        starts = range(-padding, size + padding, stride)
        count = sum(start + dilation * (kernel - 1) < size + padding for start in starts)
        assert max(shapes.window(size, kernel, stride, padding, dilation), 0) == count


def test_ceil_mode_adds_windows_that_start_inside():
    """Counted one by one: a window may hang over the edge, if it starts on the image or on the padding before it."""
    for size, kernel, stride, padding in itertools.product(range(1, 9), (1, 2, 3, 4), (1, 2, 3, 5), (0, 1, 2)):
        if 2 * padding > kernel or size + 2 * padding < kernel:
            continue
        reach = size + 2 * padding - kernel  # the last start that needs no more, counted from the padding's edge
        starts = [start for start in range(0, reach + stride, stride) if start < size + padding]
        found = shapes.pool2d((1, 1, size, 10), (kernel, 1), (stride, 1), (padding, 0), 1, True)
        assert found == (1, 1, len(starts), 10), (size, kernel, stride, padding)


def test_convolution_takes_a_transposed_convolution_back_to_its_size():
    for size, kernel, stride, padding, extra in itertools.product(
        (1, 2, 5), (1, 2, 3, 4), (1, 2, 3), (0, 1), (0, 1, 2)
    ):
        if extra >= stride or (size - 1) * stride + kernel + extra <= 2 * padding:
            continue
        up = shapes.conv_transpose2d((1, 2, size, size), (2, 3, kernel, kernel), None, stride, padding, extra, 1)
        if up[2] + 2 * padding >= kernel:
            assert shapes.conv2d(up, (2, 3, kernel, kernel), None, stride, padding, 1) == (1, 2, size, size)


def test_pair():
    assert shapes.pair(3) == shapes.pair((3, 3)) == shapes.pair([3, np.int64(3)]) == shapes.pair(np.uint8(3)) == (3, 3)
    for wrong in (1.0, "2", None, (1,), (1, 2, 3), (1, None), np.array([1, 2])):
        with pytest.raises(OptionError, match="stride must be an int or a pair of ints"):
            shapes.pair(wrong, "stride")
    with pytest.raises(OptionError, match=r"stride must be at least 1; got \(2, 0\)"):
        shapes.pair((2, 0), "stride", 1)


def test_sides():
    assert shapes.sides(2) == (2, 2, 2, 2)
    assert shapes.sides([1, 2, 3, np.int32(4)]) == (1, 2, 3, 4)
    for wrong in (-1, 1.5, (1, 2), (1, 2, 3, -4), None, "1234"):
        with pytest.raises(OptionError, match="padding must be an int or"):
            shapes.sides(wrong)


def test_a_kernel_of_no_pixels():
    with pytest.raises(ShapeError, match="weight must have four dimensions"):
        shapes.conv2d((1, 1, 4, 4), (1, 1, 0, 3), None, 1, 0, 1)


@pytest.mark.torch
@pytest.mark.parametrize("seed", range(5))
def test_sizes_agree_with_torch(seed):
    """A hundred draws of every option; what PyTorch refuses is refused here too."""
    import torch

    nn = torch.nn.functional
    rng = np.random.default_rng(seed)
    found, wanted = [], []
    for _ in range(100):
        lows, highs = (1, 1, 1, 0, 1, 0), (12, 5, 4, 3, 4, 4)
        drawn = [tuple(int(i) for i in rng.integers(low, high, 2)) for low, high in zip(lows, highs, strict=True)]
        size, kernel, stride, padding, dilation, extra = drawn
        ceil = bool(rng.integers(2))
        x, weight = torch.zeros(1, 2, *size), torch.zeros(2, 2, *kernel)
        sizes = tuple(x.shape), tuple(weight.shape), None
        pooling = kernel, stride, padding
        # PyTorch measures the padding of a dilated window by the window undilated; ours may be half of the dilated one
        dilated = kernel, stride, tuple(min(p, k // 2) for p, k in zip(padding, kernel, strict=True)), dilation, ceil
        ours = [
            partial(shapes.conv2d, *sizes, stride, padding, dilation),
            partial(shapes.conv_transpose2d, *sizes, stride, padding, extra, dilation),
            partial(shapes.pool2d, sizes[0], *dilated),
            partial(shapes.pool2d, sizes[0], *pooling, 1, ceil),
        ]
        theirs = [
            partial(nn.conv2d, x, weight, None, stride, padding, dilation),
            partial(nn.conv_transpose2d, x, weight, None, stride, padding, extra, 1, dilation),
            partial(nn.max_pool2d, x, *dilated),
            partial(nn.avg_pool2d, x, *pooling, ceil),
        ]
        drawn = (
            f"size {size}, kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation}, {extra}, {ceil}"
        )
        found += [(answer(function, (ShapeError, OptionError)), drawn) for function in ours]
        wanted += [(answer(function, RuntimeError), drawn) for function in theirs]
    assert [
        f"{one[0]} for {other[0]}: {one[1]}" for one, other in zip(found, wanted, strict=True) if one != other
    ] == []
    assert sum(shape is not None for shape, _ in found) > 150


def answer(function, refusals):
    """The shape that a function returns, or of what it returns; None where it refuses."""
    try:
        returned = function()
    except refusals:
        return None
    return tuple(getattr(returned, "shape", returned))
