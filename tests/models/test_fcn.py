"""FCN: any size on any encoder, every score at its pixel, staging from coarse to fine, what is learnt and what not."""

import copy
import pickle
import re

import numpy as np
import pytest

from minisegnet.errors import OptionError, ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import BilinearConvTranspose2d, Conv2d, CrossEntropyLoss
from minisegnet.layers.score import bilinear
from minisegnet.models.alignment import coordinates
from minisegnet.models.encoders import ENCODERS
from minisegnet.models.fcn import SMALLEST, fcn8s, fcn16s, fcn32s
from minisegnet.teaching import check_graph

BUILDERS = {32: fcn32s, 16: fcn16s, 8: fcn8s}
NARROW = {"squeezenet1_1": 4}  # the others can be 1 wide
FORMS = [(encoder, False) for encoder in ENCODERS] + [("vgg16", True), ("vgg16_bn", True)]


def narrow(finest, encoder="vgg16", num_classes=2, **options):
    return BUILDERS[finest](num_classes, encoder=encoder, **{"width": NARROW.get(encoder, 1)} | options)


def stirred(graph, seed=0, dtype="float64"):
    """The graph with scores and biases that are not zero, and upsampling that is not quite bilinear."""
    rng = np.random.default_rng(seed)
    for parameter in graph.parameters.values():
        parameter.data += 0.3 * rng.standard_normal(parameter.data.shape).astype("float32")
    return graph.astype(dtype)


# ------------------------------------------------------------------------------------------------ sizes and places


@pytest.mark.parametrize("finest", BUILDERS)
@pytest.mark.parametrize(("encoder", "as_published"), FORMS)
def test_every_size_lines_up(encoder, as_published, finest):
    graph = narrow(finest, encoder, as_published=as_published)
    smallest = SMALLEST.get(encoder, 1)
    for height in range(smallest, smallest + 71):
        shape = (1, 3, height, smallest + 70 - height // 2)
        assert graph.output_shape(shape) == (1, 2, *shape[2:])
    assert coordinates(graph, shape)["score"] == ((1, 0), (1, 0))


@pytest.mark.parametrize("encoder", SMALLEST)
def test_smaller_images_are_refused(encoder):
    smallest = SMALLEST[encoder]
    for finest in BUILDERS:
        message = f"FCN-{finest}s on {encoder} needs images of at least {smallest} x {smallest}: got {smallest - 1} x"
        with pytest.raises(ShapeError, match=message):
            narrow(finest, encoder).forward(np.zeros((1, 3, smallest - 1, 40), np.float32))
    alone = Graph("encoder")
    ENCODERS[encoder](alone, alone.input("image", 3), width=NARROW[encoder])
    with pytest.raises(ShapeError, match="leaves nothing of an image"):  # so the bound is no larger than need be
        alone.shapes((1, 3, smallest - 1, 40))


def test_images_without_pixels_are_refused():
    for encoder in ENCODERS:
        with pytest.raises(ShapeError):
            narrow(8, encoder).output_shape((1, 3, 0, 40))


@pytest.mark.parametrize(
    ("encoder", "as_published"),
    [("vgg16", False), ("vgg16", True), ("resnet18", False), ("squeezenet1_1", False), ("laptop", False)],
)
@pytest.mark.parametrize("size", [(17, 29), (40, 33)])
def test_there_and_back(encoder, as_published, size):
    graph = stirred(narrow(8, encoder, 3, in_channels=1, as_published=as_published), dtype="float32").eval()
    x = np.random.default_rng(1).standard_normal((2, 1, *size)).astype(np.float32)
    score = graph.forward(x)
    assert score.shape == (2, 3, *size)
    assert np.isfinite(score).all()
    assert graph.backward(np.ones_like(score)).shape == x.shape


@pytest.mark.parametrize("finest", BUILDERS)
@pytest.mark.parametrize(
    ("encoder", "as_published", "size"),
    [("vgg16", False, (64, 96)), ("vgg16", True, (58, 26)), ("laptop", False, (65, 33)), ("resnet18", False, (33, 65))],
)
def test_symmetric_filters_score_a_mirrored_image_by_mirrored_scores(encoder, as_published, size, finest):
    """At sizes where the windows come out even; a path that lay one pixel off would show."""
    graph = stirred(narrow(finest, encoder, as_published=as_published)).eval()
    for layer in graph.layers.values():
        if "weight" in layer.parameters and layer.parameters["weight"].data.ndim == 4:
            weight = layer.parameters["weight"].data
            weight += weight[:, :, ::-1].copy()
            weight += weight[:, :, :, ::-1].copy()
            if isinstance(layer, BilinearConvTranspose2d):
                layer.initialise(None)
    x = np.random.default_rng(2).standard_normal((1, 3, *size))
    score = graph.predict(x)
    assert score.std() > 1e-6
    for axis in (2, 3):
        mirrored = np.flip(graph.predict(np.ascontiguousarray(np.flip(x, axis))), axis)
        np.testing.assert_allclose(mirrored, score, rtol=0, atol=1e-9 * np.abs(score).max())


@pytest.mark.parametrize(("encoder", "first"), [("vgg16", 16), ("laptop", 0), ("squeezenet1_1", 23)])
def test_one_score_everywhere_is_interpolated_to_itself(encoder, first):
    """From the first centre on, to the last row and column; before it, it fades to no class's gain."""
    graph = narrow(32, encoder)
    graph.parameters["score32.bias"].data[...] = (1, -2)
    score = graph.predict(np.zeros((1, 3, 100, 130), np.float32))
    np.testing.assert_allclose(score[0, 0, first:, first:], 1, rtol=1e-5)
    np.testing.assert_allclose(score[0, 1], -2 * score[0, 0], rtol=1e-5)
    assert (score[0, 0] > 0).all()


# ------------------------------------------------------------------------------------------------ layers and weights


def test_layers_of_the_paper():
    graph = fcn8s(21, width=8)
    shapes = {name: array.shape for name, array in graph.state_dict().items()}
    assert shapes["classifier.0.weight"] == (512, 64, 7, 7)
    assert shapes["classifier.3.weight"] == (512, 512, 1, 1)
    assert shapes["score32.weight"] == (21, 512, 1, 1)
    assert shapes["score16.weight"] == (21, 64, 1, 1)
    assert shapes["score8.weight"] == (21, 32, 1, 1)
    assert shapes["upscore32to16.weight"] == shapes["upscore16to8.weight"] == (21, 21, 4, 4)
    assert shapes["upscore8to1.weight"] == (21, 21, 16, 16)
    assert not any(name.startswith("upscore") and name.endswith("bias") for name in shapes)
    assert {name for name in shapes if name.startswith("features")} == {
        f"features.{i}.{kind}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28) for kind in ("weight", "bias")
    }


def test_the_head_is_vggs_unless_asked_for():
    assert "classifier.0" not in narrow(32, "laptop").nodes
    assert "classifier.0" not in narrow(32, head=0).nodes
    graph = narrow(32, "laptop", head=5)
    assert graph.layers["classifier.0"].describe() == "Conv2d(8, 5, 7, padding=3)"
    assert graph.layers["classifier.3"].describe() == "Conv2d(5, 5, 1)"
    assert graph.layers["score32"].in_channels == 5


def test_an_encoder_that_ends_at_stride_16_is_pooled_once_more():
    for finest in BUILDERS:
        assert narrow(finest, "squeezenet1_1").nodes["score32"].inputs[0].node.name == "pool32"
    assert "pool32" not in narrow(32, "laptop").nodes


@pytest.mark.parametrize(("encoder", "as_published"), FORMS)
def test_what_the_three_share_has_one_name_and_shape(encoder, as_published):
    shapes = {
        finest: {name: a.shape for name, a in narrow(finest, encoder, as_published=as_published).arrays().items()}
        for finest in BUILDERS
    }
    for finer, coarser in ((16, 32), (8, 16)):
        added = {f"score{finer}.weight", f"score{finer}.bias", f"upscore{coarser}to{finer}.weight"}
        assert set(shapes[finer]) - set(shapes[coarser]) == added | {f"upscore{finer}to1.weight"}
        assert set(shapes[coarser]) - set(shapes[finer]) == {f"upscore{coarser}to1.weight"}
        for name in set(shapes[finer]) & set(shapes[coarser]):
            assert shapes[finer][name] == shapes[coarser][name]


def test_it_starts_from_zero_scores_and_bilinear_upsampling():
    graph = narrow(8, num_classes=3)
    weights = graph.state_dict()
    for stride in (32, 16, 8):
        assert not weights[f"score{stride}.weight"].any() and not weights[f"score{stride}.bias"].any()
    for name, (kernel, stride) in {"upscore32to16": (4, 2), "upscore16to8": (4, 2), "upscore8to1": (16, 8)}.items():
        wanted = np.zeros((3, 3, kernel, kernel))
        wanted[range(3), range(3)] = bilinear(kernel, stride)
        np.testing.assert_allclose(weights[f"{name}.weight"], wanted, rtol=1e-6)
    assert weights["features.0.weight"].std() > 0.1
    assert not graph.predict(np.random.default_rng(3).standard_normal((1, 3, 32, 40)).astype("float32")).any()


def test_the_seed_makes_the_weights():
    one, same, other = (narrow(16, seed=seed).state_dict() for seed in (5, 5, 6))
    for name in one:
        np.testing.assert_array_equal(one[name], same[name], name)
    drawn = [name for name in one if re.match(r"(features|classifier)\..*weight", name)]
    assert len(drawn) == 15
    assert all((one[name] != other[name]).any() for name in drawn)


def staged(finer, coarser):
    """The finer network, with every weight that it shares with the coarser."""
    given = coarser.state_dict()
    finer.load_state_dict({name: given.get(name, array) for name, array in finer.state_dict().items()})
    return finer


@pytest.mark.parametrize(("finer", "coarser"), [(16, 32), (8, 16)])
@pytest.mark.parametrize("encoder", ["laptop", "vgg16"])
def test_a_finer_net_starts_as_the_coarser_one(encoder, finer, coarser):
    """Whose scores it upsamples in two steps. Away from the edges these are the same where every coarse centre is a
    fine one too (laptop, offset 0); where the fine centres lie beside it (VGG, half a pixel), peaks are cut a little.
    """
    size = (150, 190)
    start = stirred(narrow(coarser, encoder, 4), 4).eval()
    for name, layer in start.layers.items():
        if name.startswith("upscore"):
            layer.initialise(None)
    x = np.random.default_rng(5).standard_normal((1, 3, *size))
    before = start.predict(x)
    after = staged(narrow(finer, encoder, 4).astype("float64"), start).eval().predict(x)
    within = (slice(None), slice(None), slice(coarser, -coarser), slice(coarser, -coarser))
    before, after = before[within], after[within]
    spread = before.std(axis=(2, 3), keepdims=True)
    if encoder == "laptop":
        np.testing.assert_allclose(after, before, rtol=0, atol=1e-9 * np.abs(before).max())
    else:
        assert np.abs(after - before).mean() < 0.12 * spread.mean()
        assert (after.argmax(axis=1) == before.argmax(axis=1)).mean() > 0.94
    assert (spread > 0).all()  # there was something to keep


# ------------------------------------------------------------------------------------------------ what is learnt


@pytest.mark.parametrize("finest", BUILDERS)
@pytest.mark.parametrize("fixed", ["none", "last", "all"])
def test_fixed_upsampling_is_not_trained(fixed, finest):
    graph = stirred(narrow(finest, "laptop", 3, fixed=fixed)).train()
    upsampling = [name for name in graph.parameters if name.startswith("upscore")]
    assert len(upsampling) == {32: 1, 16: 2, 8: 3}[finest]
    held = {"none": [], "last": upsampling[-1:], "all": upsampling}[fixed]
    assert upsampling[-1] == f"upscore{finest}to1.weight"
    assert [name for name, parameter in graph.parameters.items() if not parameter.trainable] == held
    rng = np.random.default_rng(6)
    score = graph.forward(rng.standard_normal((2, 3, 48, 64)))
    graph.backward(rng.standard_normal(score.shape))
    assert [name for name, parameter in graph.parameters.items() if not parameter.grad.any()] == held


def test_scores_learn_from_zero():
    """At first only the scores' own weights have a gradient; after one step so has all before them."""
    graph = narrow(8, "laptop", width=2, num_classes=3, fixed="all").train()
    rng = np.random.default_rng(7)
    x, labels = rng.standard_normal((2, 3, 64, 64)).astype("float32"), rng.integers(0, 3, (2, 64, 64))
    loss = CrossEntropyLoss()
    moved, losses = [], []
    for _ in range(2):
        graph.zero_grad()
        value, cache = loss.forward(graph.forward(x), labels)
        graph.backward(loss.backward(np.float32(1), cache))
        losses.append(float(value))
        moved.append({name for name, parameter in graph.parameters.items() if parameter.grad.any()})
        for parameter in graph.parameters.values():
            parameter.data -= parameter.grad * np.float32(0.05)
    assert moved[0] == {f"score{stride}.{kind}" for stride in (32, 16, 8) for kind in ("weight", "bias")}
    assert {name for name, parameter in graph.parameters.items() if parameter.trainable} == moved[1]
    assert losses[1] < losses[0]


GRADIENTS = {
    "vgg16": ({"num_classes": 2, "head": 2}, (1, 3, 35, 40)),
    "vgg16, as published": ({"num_classes": 2, "head": 2, "as_published": True, "fixed": "none"}, (1, 3, 12, 20)),
    "laptop": ({"encoder": "laptop", "num_classes": 3, "width": 2, "fixed": "none"}, (1, 3, 37, 66)),
    "squeezenet1_1": ({"encoder": "squeezenet1_1", "num_classes": 2, "fixed": "none"}, (1, 3, 24, 51)),
}


@pytest.mark.parametrize(
    ("name", "finest"),
    [("laptop", 32), ("laptop", 16), *((name, 8) for name in GRADIENTS), ("vgg16, as published", 16)],
)
def test_gradients(name, finest):
    options, shape = GRADIENTS[name]
    graph = stirred(narrow(finest, **options), 8)
    report = check_graph(graph, np.random.default_rng(9).standard_normal(shape), elements=1, directions=1)
    assert report.ok, report
    trained = [name for name, parameter in graph.parameters.items() if parameter.trainable]
    assert {"image", *trained} <= {array.name for array in report.arrays}


# ------------------------------------------------------------------------------------------------ options, copies


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": "alexnet"}, "unknown encoder 'alexnet': choose one of vgg16, vgg16_bn, resnet18"),
        ({"fixed": True}, "fixed must be one of none, last, all; got True"),
        ({"num_classes": 0}, "num_classes must be a whole number of at least 1; got 0"),
        ({"in_channels": 1.5}, "in_channels must be a whole number of at least 1; got 1.5"),
        ({"width": 0}, "width must be a whole number of at least 1; got 0"),
        ({"head": -1}, "head is the channels of the fully connected layers, or 0 for none; got -1"),
        ({"head": "4096"}, "head must be an int; got '4096'"),
        ({"dropout": 1.5}, "p is the probability of a zero"),
        ({"seed": -1}, "a seed is a whole number of at least 0; got -1"),
        ({"encoder": "laptop", "as_published": True}, "as_published=True is the paper's network, VGG with its head"),
        ({"head": 0, "as_published": True}, "got encoder='vgg16', head=0: leave as_published out"),
    ],
    ids=str,
)
def test_options_it_does_not_know(arguments, message):
    for build in BUILDERS.values():
        with pytest.raises(OptionError, match=re.escape(message)):
            build(**{"num_classes": 2, "width": 1} | arguments)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda graph: pickle.loads(pickle.dumps(graph))])
def test_a_copy_computes_and_checks_the_same(duplicate):
    graph = stirred(narrow(8, "squeezenet1_1"), dtype="float32")
    twin = duplicate(graph)
    x = np.random.default_rng(10).standard_normal((1, 3, 30, 41)).astype(np.float32)
    np.testing.assert_array_equal(twin.predict(x), graph.predict(x))
    assert not twin.parameters["upscore8to1.weight"].trainable
    with pytest.raises(ShapeError, match="at least 17 x 17: got 16 x 41"):
        twin.output_shape((1, 3, 16, 41))


def test_dropout_follows_both_layers_of_the_head():
    graph = narrow(32, dropout=0.25)
    assert [name for name, layer in graph.layers.items() if type(layer).__name__ == "Dropout"] == [
        "classifier.2", "classifier.5",
    ]  # fmt: skip
    assert graph.layers["classifier.2"].p == graph.layers["classifier.5"].p == 0.25
    assert type(graph.layers["classifier.3"]) is Conv2d
