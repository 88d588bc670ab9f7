"""U-Net: the paper's sizes and parameters, any size by padding, and PyTorch's numbers on the same weights."""

import copy
import pickle
import re

import numpy as np
import pytest
from conftest import assert_close

from minisegnet.errors import DtypeError, OptionError, ShapeError
from minisegnet.models import unet, unet_2015

SMALL = {"num_classes": 3, "width": 2, "depth": 2}


def parameter_count(graph):
    return sum(parameter.data.size for parameter in graph.parameters.values())


def counted_by_formula(num_classes, in_channels, width, depth, batch_norm, upsampling):
    def convolution(given, made, kernel, bias=True):
        return given * made * kernel**2 + made * bias

    def double(given, made):
        total = convolution(given, made, 3, not batch_norm) + convolution(made, made, 3, not batch_norm)
        return total + 2 * 2 * made * batch_norm

    widths = [width * 2**level for level in range(depth + 1)]
    total = sum(double(given, made) for given, made in zip([in_channels, *widths], widths, strict=False))
    kernel = 2 if upsampling == "transposed" else 1
    total += sum(convolution(2 * w, w, kernel) + double(2 * w, w) for w in widths[:-1])
    return total + convolution(width, num_classes, 1)


# --------------------------------------------------------------------------------------------------- the paper's form


def test_the_papers_sizes_and_parameters():
    graph = unet_2015()
    assert graph.output_shape((1, 1, 572, 572)) == (1, 2, 388, 388)
    assert parameter_count(graph) == 31_030_658
    shapes = graph.shapes((1, 1, 572, 572))  # the numbers in the paper's figure 1
    for node, shape in {
        "encoder0.1": (1, 64, 570, 570), "encoder0.3": (1, 64, 568, 568), "pool0": (1, 64, 284, 284),
        "encoder3.3": (1, 512, 64, 64), "bottom.3": (1, 1024, 28, 28), "up3": (1, 512, 56, 56),
        "concat3": (1, 1024, 56, 56), "decoder3.3": (1, 512, 52, 52), "concat0": (1, 128, 392, 392),
    }.items():  # fmt: skip
        assert shapes[node] == shape, node


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (251, 255), (187, 573)])
def test_valid_convolutions_name_the_nearest_size_that_fits(depth, size):
    graph = unet(2, 1, width=1, depth=depth, valid=True, batch_norm=False)

    def fits(side):
        try:
            graph.output_shape((1, 1, side, side))
        except ShapeError:
            return False
        return True

    fitting = [side for side in range(1, 700) if fits(side)]
    assert set(np.diff(fitting)) == {2**depth}
    with pytest.raises(ShapeError, match=f"got {size[0]} x {size[1]}") as caught:
        graph.output_shape((1, 1, *size))
    nearest = tuple(int(n) for n in re.search(r"nearest that fits is (\d+) x (\d+)", str(caught.value)).groups())
    for given, told in zip(size, nearest, strict=True):
        assert told in fitting
        assert abs(told - given) == min(abs(side - given) for side in fitting)
    assert min(graph.output_shape((1, 1, *nearest))) >= 1


def test_the_smallest_valid_image_runs():
    graph = unet(2, 1, width=1, depth=2, valid=True, batch_norm=False)
    assert graph.predict(np.ones((1, 1, 44, 48), np.float32)).shape == (1, 2, 4, 8)


# --------------------------------------------------------------------------------------------------- the padded form


@pytest.mark.parametrize("upsampling", ["transposed", "bilinear"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (4, 8), (7, 5), (37, 51), (16, 17)])
def test_padding_takes_any_size(size, upsampling):
    graph = unet(3, 2, width=2, depth=2, upsampling=upsampling)
    x = np.random.default_rng(1).standard_normal((2, 2, *size)).astype(np.float32)
    assert graph.output_shape(x.shape) == (2, 3, *size)
    score = graph.forward(x)
    assert score.shape == (2, 3, *size)
    assert np.isfinite(score).all()
    assert graph.backward(np.ones_like(score)).shape == x.shape


def test_the_deepest_usual_net_takes_250_by_256():
    assert unet(2, width=1).output_shape((1, 3, 250, 256)) == (1, 2, 250, 256)


def test_padding_changes_nothing_where_the_size_fits():
    x = np.random.default_rng(2).standard_normal((1, 3, 8, 12)).astype(np.float32)
    np.testing.assert_array_equal(unet(**SMALL).predict(x), unet(**SMALL, pad=None).predict(x))


def test_without_padding_the_message_says_what_to_do():
    graph = unet(2, width=1, depth=4, pad=None)
    wanted = "U-Net of depth 4 needs height and width divisible by 16: got 250 x 256; pass pad='reflect' or resize"
    with pytest.raises(ShapeError) as caught:
        graph.forward(np.zeros((1, 3, 250, 256), np.float32))
    assert str(caught.value) == wanted
    with pytest.raises(ShapeError, match="divisible by 16: got 256 x 250"):
        graph.output_shape((1, 3, 256, 250))
    assert graph.output_shape((1, 3, 240, 256)) == (1, 2, 240, 256)


# -------------------------------------------------------------------------------------------------- options, weights


@pytest.mark.parametrize("upsampling", ["transposed", "bilinear"])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(("width", "depth"), [(1, 1), (3, 2), (2, 4)])
@pytest.mark.parametrize("valid", [False, True])
def test_depth_width_and_parameters(width, depth, batch_norm, upsampling, valid):
    graph = unet(4, 2, width, depth, valid, batch_norm, upsampling)
    assert parameter_count(graph) == counted_by_formula(4, 2, width, depth, batch_norm, upsampling)
    side = {1: 18, 2: 44, 4: 188}[depth] if valid else 64
    shapes = graph.shapes((1, 2, side, side))
    last = max((name for name in shapes if name.startswith("bottom.")), key=lambda name: int(name.split(".")[1]))
    assert shapes[last][1] == width * 2**depth
    assert any("running_mean" in name for name in graph.state_dict()) == batch_norm
    assert shapes["score" if valid else "unpad"][1] == 4


def test_keys_of_the_state_are_stable():
    keys = unet(2, width=1, depth=1).state_dict()
    names = []
    for chain in ("encoder0", "bottom", "up0", "decoder0"):
        if chain == "up0":
            names += ["up0.weight", "up0.bias"]
            continue
        for place in (0, 3):
            names.append(f"{chain}.{place}.weight")
            norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
            names += [f"{chain}.{place + 1}.{name}" for name in norm]
    assert sorted(keys) == sorted([*names, "score.weight", "score.bias"])
    plain = unet(2, width=1, depth=1, batch_norm=False, upsampling="bilinear", dropout=0.5).state_dict()
    wanted = [f"{chain}.{place}" for chain in ("encoder0", "bottom", "decoder0") for place in (0, 2)]
    wanted += ["up0.1", "score"]
    assert sorted(plain) == sorted(f"{name}.{kind}" for name in wanted for kind in ("weight", "bias"))


def test_the_seed_makes_the_weights():
    one, same, other = (unet(**SMALL, seed=seed).state_dict() for seed in (5, 5, 6))
    for name in one:
        np.testing.assert_array_equal(one[name], same[name], name)
    drawn = [name for name in one if name.endswith("weight") and one[name].ndim == 4]
    assert len(drawn) == 13
    for name in drawn:
        assert (one[name] != other[name]).mean() > 0.99, name


def test_dropout_stands_at_the_end_of_the_encoder():
    graph = unet(**SMALL, batch_norm=False, dropout=0.5)
    names = list(graph.nodes)
    assert names[names.index("dropout") - 1] == "bottom.3"
    assert names[names.index("dropout") + 1] == "up1"
    assert "dropout" not in unet(**SMALL).nodes
    x = np.random.default_rng(3).standard_normal((1, 3, 16, 16)).astype(np.float32)
    assert (graph.forward(x) != graph.forward(x)).any()
    np.testing.assert_array_equal(graph.predict(x), graph.predict(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"upsampling": "nearest"}, "upsampling must be one of transposed, bilinear; got 'nearest'"),
        ({"pad": "zeros"}, "pad must be 'reflect' or None; got 'zeros'"),
        ({"depth": 0}, "depth must be at least 1; got 0"),
        ({"width": -1}, "width must be at least 1; got -1"),
        ({"num_classes": 0}, "num_classes must be at least 1; got 0"),
        ({"in_channels": 0}, "in_channels must be at least 1; got 0"),
        ({"depth": 1.5}, "depth must be an int; got 1.5"),
        ({"width": "8"}, "width must be an int; got '8'"),
        ({"dropout": 1.5}, "p is the probability of a zero"),
        ({"dropout": -0.1}, "p is the probability of a zero"),
        ({"seed": -1}, "a seed is a whole number of at least 0; got -1"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_options_it_does_not_know(arguments, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        unet(**({"num_classes": 2, "width": 1} | arguments))


def test_images_it_does_not_take():
    graph = unet(**SMALL)
    with pytest.raises(ShapeError, match="has 3 channels"):
        graph.forward(np.zeros((1, 1, 8, 8), np.float32))
    with pytest.raises(ShapeError):
        graph.forward(np.zeros((1, 3, 0, 0), np.float32))
    with pytest.raises(DtypeError, match="uint8"):
        graph.forward(np.zeros((1, 3, 8, 8), np.uint8))


@pytest.mark.parametrize("options", [{}, {"pad": None}, {"valid": True}], ids=["padded", "no padding", "valid"])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda graph: pickle.loads(pickle.dumps(graph))])
def test_a_copy_computes_and_checks_the_same(options, duplicate):
    graph = unet(**SMALL, **options)
    twin = duplicate(graph)
    x = np.random.default_rng(4).standard_normal((1, 3, 44, 48)).astype(np.float32)
    np.testing.assert_array_equal(twin.predict(x), graph.predict(x))
    twin.parameters["score.bias"].data += 1  # the copy has weights of its own
    assert not np.array_equal(twin.predict(x), graph.predict(x))
    if options:
        with pytest.raises(ShapeError, match="of depth 2"):
            twin.output_shape((1, 3, 45, 48))


# ----------------------------------------------------------------------------------------------------------- PyTorch


def twin_in_pytorch(weights, x, depth, valid, batch_norm, upsampling):
    """The same network in PyTorch's functions, on weights by name; training mode."""
    import torch
    from torch.nn import functional as F

    def convolution(name, x, padding=0):
        return F.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), padding=padding)

    def double(name, x):
        for place in (0, 3) if batch_norm else (0, 2):
            x = convolution(f"{name}.{place}", x, 0 if valid else 1)
            if batch_norm:
                norm = f"{name}.{place + 1}"
                x = F.batch_norm(x, None, None, weights[f"{norm}.weight"], weights[f"{norm}.bias"], training=True)
            x = F.relu(x)
        return x

    def middle(x, size):
        top, left = (x.shape[2] - size[0]) // 2, (x.shape[3] - size[1]) // 2
        return x[:, :, top : top + size[0], left : left + size[1]]

    size = x.shape[2:]
    if not valid:
        rows, columns = -size[0] % 2**depth, -size[1] % 2**depth
        frame = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        x = F.pad(x, frame, mode="reflect")
    skips = []
    for level in range(depth):
        skips.append(double(f"encoder{level}", x))
        x = F.max_pool2d(skips[-1], 2)
    x = double("bottom", x)
    for level in reversed(range(depth)):
        if upsampling == "transposed":
            x = F.conv_transpose2d(x, weights[f"up{level}.weight"], weights[f"up{level}.bias"], stride=2)
        else:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = convolution(f"up{level}.1", x)
        x = double(f"decoder{level}", torch.cat([middle(skips[level], x.shape[2:]), x], 1))
    x = convolution("score", x)
    return x if valid else middle(x, size)


@pytest.mark.torch
@pytest.mark.parametrize("upsampling", ["transposed", "bilinear"])
@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch norm"])
@pytest.mark.parametrize(("valid", "size"), [(False, (13, 22)), (False, (16, 8)), (True, (52, 44))])
def test_pytorch_agrees(valid, size, batch_norm, upsampling):
    import torch

    depth = 2
    graph = unet(3, 2, 3, depth, valid, batch_norm, upsampling, seed=7).astype("float64")
    rng = np.random.default_rng(8)
    for parameter in graph.parameters.values():  # biases and scales too
        parameter.data += 0.1 * rng.standard_normal(parameter.data.shape)
    x = rng.standard_normal((2, 2, *size))
    score = graph.forward(x)
    dy = rng.standard_normal(score.shape)
    dx = graph.backward(dy)

    weights = {name: torch.tensor(p.data, requires_grad=True) for name, p in graph.parameters.items()}
    image = torch.tensor(x, requires_grad=True)
    wanted = twin_in_pytorch(weights, image, depth, valid, batch_norm, upsampling)
    wanted.backward(torch.tensor(dy))
    assert_close(score, wanted.detach().numpy(), 1e-9, "score")
    assert_close(dx, image.grad.numpy(), 1e-9, "gradient by the image")
    for name, parameter in graph.parameters.items():
        assert_close(parameter.grad, weights[name].grad.numpy(), 1e-9, f"gradient by {name}")
