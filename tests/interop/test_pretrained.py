"""Filling a graph from weights by name: what is taken, what is told, and that nothing changes unless all fits."""

import numpy as np
import pytest
from conftest import assert_close

from minisegnet.errors import CheckpointError
from minisegnet.graph import Graph
from minisegnet.interop import IMAGENET, load_pretrained, read_weights
from minisegnet.interop.published import recognised
from minisegnet.layers import BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU
from minisegnet.training import save_checkpoint

IMAGES = np.random.default_rng(5).standard_normal((2, 3, 8, 8)).astype(np.float32)


def classifier(seed=1):
    """A convolution with batch normalisation, and two fully connected layers on its 2 x 4 x 4 values."""
    graph = Graph("classifier")
    x = graph.input("image", channels=3)
    x = graph.chain("features", x, Conv2d(3, 2, 3, padding=1), BatchNorm2d(2), ReLU(), MaxPool2d(2), Flatten())
    x = graph.chain("classifier", x, Linear(32, 5), ReLU())
    return graph.output("fc", Linear(5, 4), x).initialise(seed)


def segmenter(seed=2, in_channels=3):
    """The same with the fully connected layers as convolutions, and a score of other classes."""
    graph = Graph("segmenter")
    x = graph.input("image", channels=in_channels)
    x = graph.chain("features", x, Conv2d(in_channels, 2, 3, padding=1), BatchNorm2d(2), ReLU(), MaxPool2d(2))
    x = graph.chain("classifier", x, Conv2d(2, 5, 4), ReLU())
    return graph.output("score", Conv2d(5, 7, 1), x).initialise(seed)


def hidden(graph):
    """What the fully connected layer gives."""
    return next(step.output for step in graph.eval().steps(IMAGES) if step.node == "classifier.1")


def unchanged(graph, before):
    return all(np.array_equal(array, before[name]) for name, array in graph.arrays().items())


def refused(graph, weights, **options):
    before = graph.state_dict()
    with pytest.raises(CheckpointError) as error:
        load_pretrained(graph, weights, **options)
    assert unchanged(graph, before)
    return str(error.value)


def test_the_same_names(tmp_path):
    giver, taker = classifier(1), classifier(2)
    giver.forward(IMAGES)  # moves the running statistics
    np.savez(tmp_path / "weights.npz", **giver.state_dict())
    held = taker.arrays()
    done = load_pretrained(taker, tmp_path / "weights.npz")
    assert done.loaded == list(giver.arrays()) and done.missing == done.unexpected == [] and done.normalisation is None
    assert str(done) == "loaded 11 arrays"
    assert all(taker.arrays()[name] is array for name, array in held.items()), "arrays are filled, not rebound"
    assert unchanged(taker, giver.state_dict())
    np.testing.assert_array_equal(taker.predict(IMAGES), giver.predict(IMAGES))


def test_an_encoder_into_another_network_and_linear_into_convolution():
    giver, taker = classifier(), segmenter()
    before = taker.state_dict()
    done = load_pretrained(taker, giver.state_dict(), partial=True)
    assert done.loaded == [name for name in giver.arrays() if not name.startswith("fc.")]
    assert done.missing == ["score.weight", "score.bias"] and done.unexpected == ["fc.weight", "fc.bias"]
    assert str(done) == "loaded 9 arrays; 2 missing: score.weight, score.bias; 2 unexpected: fc.weight, fc.bias"
    np.testing.assert_array_equal(taker.arrays()["score.weight"], before["score.weight"])
    assert_close(hidden(taker)[:, :, 0, 0], hidden(giver), 1e-6)


def test_strict_loading_lists_everything_in_one_error():
    weights = classifier().state_dict()
    weights["features.0.weight"] = np.zeros((2, 4, 3, 3), np.float32)
    told = refused(segmenter(), weights)
    assert "2 missing: score.weight, score.bias; 2 unexpected: fc.weight, fc.bias" in told
    assert "1 of another shape or type: features.0.weight is (2, 4, 3, 3), wanted (2, 3, 3, 3)" in told
    assert "this state does not fit segmenter, so nothing was loaded" in told and "pass partial=True" in told


def test_another_shape_is_an_error_in_any_case():
    weights = classifier().state_dict()
    for shape in [(2, 3, 3), (3, 2, 3, 3), (54,), (1, 3, 3, 3), (27, 2), (2, 28)]:
        weights["features.0.weight"] = np.zeros(shape, np.float32)
        told = refused(segmenter(), weights, partial=True)
        assert f"1 of another shape or type: features.0.weight is {shape}, wanted (2, 3, 3, 3)" in told
        assert "partial" not in told and "build the network that the weights are of" in told


@pytest.mark.parametrize("array", [np.zeros(5, complex), np.array([None] * 5), np.array(["x"] * 5)])
def test_another_kind_of_number(array):
    assert f"classifier.0.bias holds {array.dtype}" in refused(segmenter(), {"classifier.0.bias": array}, partial=True)


def test_nothing_to_load_is_an_error(tmp_path):
    told = refused(segmenter(), {"layer.weight": np.zeros(3), "layer\x1b[2J.bias": np.zeros(3)}, partial=True)
    assert "nothing in this state has a name of segmenter" in told and "layer.weight, 'layer\\x1b[2J.bias'" in told
    assert "wanted features.0.weight, features.0.bias, features.1.weight, features.1.bias, " in told
    assert "nothing in this state" in refused(segmenter(), {}, partial=True)
    empty = Graph("empty")
    empty.output("relu", ReLU(), empty.input("image"))
    assert "nothing in this state" in refused(empty, {})
    (tmp_path / "weights.pth").write_bytes(b"no weights")
    assert "weights.pth is of no kind" in refused(segmenter(), tmp_path / "weights.pth", partial=True)


def test_running_statistics_without_their_count():
    weights = classifier().state_dict()
    del weights["features.1.num_batches_tracked"]
    graph = classifier(2)
    graph.forward(IMAGES)
    assert load_pretrained(graph, weights).missing == []
    assert graph.buffers["features.1.num_batches_tracked"] == 0
    del weights["features.1.running_var"]
    assert "2 missing: features.1.running_var, features.1.num_batches_tracked" in refused(graph, weights)


def test_names_of_a_network_in_parallel():
    giver, taker = classifier(1), classifier(2)
    load_pretrained(taker, {f"module.{name}": array for name, array in giver.state_dict().items()})
    assert unchanged(taker, giver.state_dict())


def test_float64_either_way():
    giver = classifier(1).astype(np.float64)
    taker = classifier(2)
    load_pretrained(taker, giver.state_dict())
    assert_close(taker.predict(IMAGES), giver.predict(IMAGES.astype(np.float64)).astype(np.float32), 1e-6)
    load_pretrained(giver, taker.state_dict())
    assert giver.dtype == np.float64 and unchanged(giver, taker.state_dict())


def test_weights_of_colours_and_grey_images():
    told = refused(segmenter(in_channels=1), segmenter().state_dict())
    assert "is (2, 3, 3, 3), wanted (2, 1, 3, 3) (weights for colours: build the network with in_channels=3" in told


# ------------------------------------------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("metadata, normalisation", [({"mean": [0.1], "std": [2]}, ([0.1], [2.0])), ({}, None)])
def test_a_checkpoints_own_normalisation(tmp_path, metadata, normalisation):
    giver, taker = classifier(1), classifier(2)
    arrays = {f"model/{name}": array for name, array in giver.arrays().items()}
    save_checkpoint(tmp_path / "best.npz", arrays, metadata)
    assert load_pretrained(taker, tmp_path / "best.npz").normalisation == normalisation
    assert unchanged(taker, giver.state_dict())


@pytest.mark.parametrize(
    "mean, std", [([0.1], []), ([], []), ("x", [1]), ([0.1], [0]), ([float("nan")], [1]), ([10**400], [1]), (1, 2)]
)
def test_a_normalisation_that_contradicts_itself(tmp_path, mean, std):
    arrays = {f"model/{name}": array for name, array in classifier().arrays().items()}
    save_checkpoint(tmp_path / "best.npz", arrays, {"mean": mean, "std": std})
    assert "best.npz is damaged: its metadata has no means" in refused(classifier(2), tmp_path / "best.npz")


# ------------------------------------------------------------------------------------------------ published encoders


def vgg(*convolutions):
    """Arrays under VGG's names; all but the first may have any shape here."""
    weights = {f"features.{i}.{name}": np.zeros(1, np.float32) for i in convolutions for name in ("weight", "bias")}
    return weights | {"features.0.weight": np.zeros((64, 3, 3, 3), np.float32)}


def resnet(*names):
    weights = {f"{name}.weight": np.zeros(1, np.float32) for name in names}
    return weights | {"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)}


SQUEEZENET_LAYERS = ["features.0", *(f"features.{i}.{part}" for i in (3, 4, 6, 7, 9, 10, 11, 12)
                                     for part in ("squeeze", "expand1x1", "expand3x3"))]  # fmt: skip


def squeezenet(*more):
    weights = {f"{layer}.{name}": np.zeros(1) for layer in [*SQUEEZENET_LAYERS, *more] for name in ("weight", "bias")}
    return weights | {"features.0.weight": np.zeros((64, 3, 3, 3), np.float32)}


VGG = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
RESNET = ("bn1", "layer1.0.conv1", "layer2.0.downsample.0", "layer2.0.downsample.1", "layer4.1.conv2", "layer4.1.bn2")


@pytest.mark.parametrize(
    "weights, known",
    [
        (vgg(*VGG), True),
        (vgg(*VGG) | {"classifier.6.weight": np.zeros((1000, 8))}, True),
        (vgg(0, 1, 40, 41) | {"features.41.running_var": 1, "features.41.num_batches_tracked": 1}, True),
        (resnet(*RESNET), True),
        (resnet(*RESNET, "layer4.2.conv3", "fc"), True),
        (squeezenet(), True),
        (squeezenet("classifier.1"), True),
        (vgg(*VGG) | {"score.weight": np.zeros(3)}, False),
        (vgg(*VGG[:-1]), False),
        (vgg(*VGG) | {"features.0.weight": np.zeros((32, 3, 3, 3))}, False),
        (vgg(*VGG) | {"features.0.weight": np.zeros((64, 1, 3, 3))}, False),
        (vgg(*VGG) | {"features.0.weight": np.zeros(())}, False),
        (resnet("layer1.0.conv1"), False),
        ({"layer4.1.conv2.weight": np.zeros(1)}, False),
        ({}, False),
    ],
)  # fmt: skip
def test_torchvisions_names_say_imagenet(weights, known):
    renamed, normalisation = recognised(weights)
    assert normalisation == (IMAGENET if known else None)
    assert renamed.keys() == weights.keys()


def caffes_squeezenet(rng):
    """Arrays of every name and shape that the converted file has, in its (BGR) order."""
    widths = {2: (64, 16), 3: (128, 16), 4: (128, 32), 5: (256, 32), 6: (256, 48), 7: (384, 48), 8: (384, 64),
              9: (512, 64)}  # fmt: skip
    shapes = {"conv1": (64, 3, 3, 3)}
    for fire, (given, squeezed) in widths.items():
        shapes[f"fire{fire}_squeeze1x1"] = (squeezed, given, 1, 1)
        shapes[f"fire{fire}_expand1x1"] = (4 * squeezed, squeezed, 1, 1)
        shapes[f"fire{fire}_expand3x3"] = (4 * squeezed, squeezed, 3, 3)
    weights = {f"{layer}_W": rng.standard_normal(shape).astype(np.float32) for layer, shape in shapes.items()}
    return weights | {f"{layer}_b": rng.standard_normal(shape[0]) for layer, shape in shapes.items()}


def test_caffes_squeezenet_takes_red_green_blue(tmp_path):
    rng = np.random.default_rng(11)
    held = caffes_squeezenet(rng)
    np.savez(tmp_path / "squeezenet.npz", **held)
    renamed, normalisation = recognised(read_weights(tmp_path / "squeezenet.npz"))
    assert renamed.keys() == squeezenet().keys()
    np.testing.assert_array_equal(renamed["features.12.squeeze.weight"], held["fire9_squeeze1x1_W"])
    np.testing.assert_array_equal(renamed["features.6.expand3x3.bias"], held["fire4_expand3x3_b"])

    graph = Graph("first convolution")
    graph.output("features.0", Conv2d(3, 64, 3, stride=2), graph.input("image", channels=3))
    done = load_pretrained(graph, tmp_path / "squeezenet.npz", partial=True)
    assert done.loaded == ["features.0.weight", "features.0.bias"] and done.normalisation == normalisation

    rgb = rng.random((1, 3, 9, 9)).astype(np.float32)
    mean, std = (np.reshape(values, (3, 1, 1)).astype(np.float32) for values in done.normalisation)
    blob = 255 * rgb[:, ::-1] - np.reshape(
        [104.006, 116.669, 122.679], (3, 1, 1)
    )  # what Caffe's network was trained on
    wanted = Conv2d(3, 64, 3, stride=2)
    wanted.load_state_dict({"weight": held["conv1_W"], "bias": held["conv1_b"]})
    assert_close(graph.predict((rgb - mean) / std), wanted.forward(blob.astype(np.float32))[0], 1e-5)


def test_names_like_caffes_that_are_not_all_its():
    held = caffes_squeezenet(np.random.default_rng(0)) | {"other": np.zeros(3)}
    assert recognised(held)[1] is None and "conv1_W" in recognised(held)[0]


# ------------------------------------------------------------------------------------------------------------ PyTorch


@pytest.mark.torch
def test_a_file_that_torch_saved_gives_torchs_outputs(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(4)
    features = torch.nn.Sequential(
        torch.nn.Conv2d(3, 2, 3, padding=1), torch.nn.BatchNorm2d(2), torch.nn.ReLU(), torch.nn.MaxPool2d(2)
    )
    head = torch.nn.Sequential(torch.nn.Linear(32, 5), torch.nn.ReLU())
    network = torch.nn.ModuleDict({"features": features, "classifier": head})
    features(torch.from_numpy(IMAGES))  # moves the running statistics
    network.eval()
    torch.save({"state_dict": torch.nn.DataParallel(network).state_dict(), "epoch": 3}, tmp_path / "weights.pth")
    with torch.no_grad():
        wanted = head(features(torch.from_numpy(IMAGES)).flatten(1)).numpy()
    graph = segmenter()
    done = load_pretrained(graph, tmp_path / "weights.pth", partial=True)
    assert done.missing == ["score.weight", "score.bias"] and done.unexpected == []
    assert_close(hidden(graph)[:, :, 0, 0], wanted, 1e-6)
