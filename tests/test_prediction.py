"""Predictions at every pixel of an image of any size: whole, in tiles, and over the symmetries of the square."""

import numpy as np
import pytest

from minisegnet import functional
from minisegnet.errors import DataError, DtypeError, OptionError, ShapeError
from minisegnet.graph import Graph
from minisegnet.layers import Conv2d
from minisegnet.models import unet
from minisegnet.prediction import predict_labels, predict_probabilities

SIZES = [(1, 1), (1, 9), (9, 1), (5, 7), (23, 40), (37, 18)]


def padded_unet(depth=2, **options):
    return unet(3, 2, width=2, depth=depth, seed=1, **options)


def valid_unet(depth):
    return unet(3, 2, width=2, depth=depth, valid=True, batch_norm=False, seed=2)


def pointwise():
    """A network in which no pixel sees another: its tiles must give what the whole gives."""
    graph = Graph("pointwise")
    x = graph.input("image", channels=2)
    graph.output("score", Conv2d(2, 3, 1), x)
    return graph.initialise(4)


def image_of(size, seed=3):
    return np.random.default_rng(seed).standard_normal((2, *size)).astype(np.float32)


def mirrored(length, before, after):
    """Indices -before to length + after - 1, folded into 0 to length - 1 by mirrors at the first and last."""
    period = max(2 * (length - 1), 1)
    indices = np.arange(-before, length + after) % period
    return np.minimum(indices, period - indices) if length > 1 else np.zeros_like(indices)


def probabilities(graph, image):
    return functional.softmax_forward(graph.predict(image[None]))[0][0]


def by_one_large_image(graph, image, depth):
    """What a valid U-Net says when the whole image, mirrored at the edge, is fed at once."""
    lost = 16 if depth == 1 else 40 if depth == 2 else 88  # pixels that its convolutions take
    _, H, W = image.shape
    rest = [next(r for r in range(3 * lost) if _fits(graph, side + lost + r)) for side in (H, W)]
    rows, columns = (mirrored(side, lost // 2, lost // 2 + r) for side, r in zip((H, W), rest, strict=True))
    return probabilities(graph, np.ascontiguousarray(image[:, rows][:, :, columns]))[:, :H, :W]


def _fits(graph, side):
    try:
        graph.output_shape((1, 2, side, side))
    except ShapeError:
        return False
    return True


# ----------------------------------------------------------------------------------------------------------- whole


@pytest.mark.parametrize("size", SIZES)
def test_whole_is_the_softmax_of_the_scores(size):
    graph, image = padded_unet(), image_of(size)
    result = predict_probabilities(graph, image)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, probabilities(graph, image))
    np.testing.assert_array_equal(predict_probabilities(graph, image, tile=64), result)  # one tile holds it all


def test_without_padding_the_image_is_mirrored_to_a_size_that_fits():
    image = image_of((9, 14))
    rows, columns = mirrored(9, 0, 3), mirrored(14, 0, 2)
    graph = padded_unet(pad=None)
    wanted = probabilities(graph, np.ascontiguousarray(image[:, rows][:, :, columns]))[:, :9, :14]
    np.testing.assert_array_equal(predict_probabilities(graph, image), wanted)


def test_labels_are_the_most_probable_classes():
    graph, image = pointwise(), image_of((23, 40))
    labels = predict_labels(graph, image, tile=16, symmetries=True)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, predict_probabilities(graph, image, 16, True).argmax(0))
    assert len(np.unique(labels)) == 3


def test_prediction_leaves_graph_and_image_alone():
    graph, image = padded_unet(), image_of((13, 9))
    state, before = graph.state_dict(), image.copy()
    predict_probabilities(graph, image, tile=8, symmetries=True)
    assert graph.training
    np.testing.assert_array_equal(image, before)
    for name, array in graph.state_dict().items():
        np.testing.assert_array_equal(array, state[name], name)


def test_an_image_of_any_strides():
    graph, image = padded_unet(), image_of((14, 9))
    turned = image.transpose(0, 2, 1)
    wanted = predict_probabilities(graph, np.ascontiguousarray(turned))
    np.testing.assert_array_equal(predict_probabilities(graph, turned), wanted)


# ----------------------------------------------------------------------------------- the paper's overlapping tiles


@pytest.mark.parametrize("tile", [None, 1, 4, 10, 17])
@pytest.mark.parametrize(
    ("depth", "size"), [*((1, size) for size in SIZES), *((2, size) for size in SIZES), (3, (1, 9)), (3, (11, 19))]
)
def test_tiles_of_a_valid_unet_join_without_a_seam(depth, size, tile):
    graph, image = valid_unet(depth), image_of(size)
    result = predict_probabilities(graph, image, tile=tile)
    assert result.shape == (3, *size)
    np.testing.assert_allclose(result, by_one_large_image(graph, image, depth), atol=2e-6)


def test_a_valid_unet_sees_the_mirror_image_beyond_the_edge():
    """A wrong frame (zeros, or the edge pixel repeated) must show: the mirrored image predicts the mirrored classes."""
    graph, image = valid_unet(1), image_of((12, 12))
    wanted = by_one_large_image(graph, image, 1)
    framed = probabilities(graph, np.pad(image, [(0, 0), (8, 8), (8, 8)]))
    assert np.abs(framed - wanted).max() > 1e-3
    np.testing.assert_allclose(predict_probabilities(graph, image, tile=4), wanted, atol=2e-6)


# ------------------------------------------------------------------------------------------- tiles of padded networks


@pytest.mark.parametrize("tile", [1, 2, 3, 5, 8, 16, 31])
@pytest.mark.parametrize("size", SIZES)
def test_tiles_put_every_pixel_in_its_place(size, tile):
    image = image_of(size)
    wanted = probabilities(pointwise(), image)
    np.testing.assert_allclose(predict_probabilities(pointwise(), image, tile=tile), wanted, atol=1e-6)


@pytest.mark.parametrize("pad", ["reflect", None])
@pytest.mark.parametrize("size", [(1, 30), (9, 9), (20, 33)])
def test_probabilities_of_tiles_sum_to_one(size, pad):
    graph = padded_unet(pad=pad)
    result = predict_probabilities(graph, image_of(size), tile=8)
    assert result.shape == (3, *size)
    np.testing.assert_allclose(result.sum(0), 1, atol=1e-5)


def test_tiles_are_no_larger_than_asked_and_keep_context():
    """A tile's own edge, where a padded network sees zeros, is not kept."""
    seen = []

    class Watched(Conv2d):
        def forward(self, x):
            seen.append(x.shape)
            return super().forward(x)

    graph = Graph("watched")
    graph.output("score", Watched(2, 3, 5, padding=2), graph.input("image", channels=2))
    graph.initialise(5)
    image = image_of((40, 24))
    result = predict_probabilities(graph, image, tile=16)
    assert set(seen) == {(1, 2, 16, 16)}
    wanted = probabilities(graph, image)
    np.testing.assert_allclose(result[:, 2:-2, 2:-2], wanted[:, 2:-2, 2:-2], atol=1e-6)


def test_a_direction_that_fits_is_not_cut():
    """An image as high as one tile: cut into columns alone, so rows are as in the whole."""
    graph = Graph("tall")
    graph.output("score", Conv2d(2, 3, (9, 1), padding=(4, 0)), graph.input("image", channels=2))
    graph.initialise(6)
    image = image_of((16, 50))
    wanted = probabilities(graph, image)
    np.testing.assert_allclose(predict_probabilities(graph, image, tile=16), wanted, atol=1e-6)


# ---------------------------------------------------------------------------------------------------------- symmetries


def eight(image):
    """The turns and mirror images of (C, H, W), each with the function that undoes it."""
    for quarters in range(4):
        yield np.rot90(image, quarters, (1, 2)), lambda p, q=quarters: np.rot90(p, -q, (1, 2))
        flipped = np.rot90(image, quarters, (1, 2))[:, ::-1]
        yield flipped, lambda p, q=quarters: np.rot90(p[:, ::-1], -q, (1, 2))


@pytest.mark.parametrize("tile", [None, 8])
@pytest.mark.parametrize("size", [(1, 9), (13, 13), (12, 21)])
@pytest.mark.parametrize("net", [padded_unet, lambda: valid_unet(1)], ids=["padded", "valid"])
def test_symmetries_are_the_mean_over_eight(net, size, tile):
    graph, image = net(), image_of(size)
    seen = [(turned, back(predict_probabilities(graph, turned, tile))) for turned, back in eight(image)]
    assert min(size) == 1 or len({turned.tobytes() for turned, _ in seen}) == 8
    wanted = np.mean([p for _, p in seen], 0)
    result = predict_probabilities(graph, image, tile, symmetries=True)
    assert (result.dtype, result.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_allclose(result, wanted, atol=1e-6)
    assert np.abs(result - predict_probabilities(graph, image, tile)).max() > 1e-4  # it does something


@pytest.mark.parametrize("size", [(9, 9), (12, 21)])
def test_with_symmetries_turning_the_image_turns_the_prediction(size):
    graph, image = padded_unet(), image_of(size)
    result = predict_probabilities(graph, image, symmetries=True)
    for turn in (lambda a: np.rot90(a, 1, (1, 2)), lambda a: a[:, ::-1], lambda a: a[:, :, ::-1]):
        turned = predict_probabilities(graph, np.ascontiguousarray(turn(image)), symmetries=True)
        np.testing.assert_allclose(turned, turn(result), atol=1e-6)


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(value):
    image = image_of((6, 6))
    image[1, 2, 3] = value
    with pytest.raises(DataError, match="NaN or infinity at 1 values"):
        predict_probabilities(padded_unet(), image)


@pytest.mark.parametrize("shape", [(2, 0, 0), (2, 0, 5), (0, 4, 4), (4, 4), (1, 2, 4, 4)], ids=str)
def test_arrays_that_are_no_image(shape):
    with pytest.raises(DataError, match="channels, height, width") as caught:
        predict_probabilities(padded_unet(), np.zeros(shape, np.float32))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("graph", [padded_unet(), valid_unet(2)], ids=["padded", "valid"])
def test_other_channels_than_the_networks(graph):
    with pytest.raises(ShapeError, match=r"2 channels; got 3.*\(3, 4, 4\)"):
        predict_probabilities(graph, np.zeros((3, 4, 4), np.float32))


def test_other_types_than_the_networks():
    for dtype in (np.uint8, np.float64):
        with pytest.raises(DtypeError, match=np.dtype(dtype).name):
            predict_probabilities(padded_unet(), np.zeros((2, 4, 4), dtype))


@pytest.mark.parametrize("tile", [0, -8])
def test_tiles_without_pixels(tile):
    with pytest.raises(OptionError, match=f"at least 1.*got {tile}"):
        predict_probabilities(padded_unet(), image_of((4, 4)), tile=tile)


def test_a_network_that_fits_no_size():
    def refuse(shape):
        raise ShapeError("this network takes nothing")

    graph = Graph("never")
    graph.output("score", Conv2d(2, 3, 1), graph.input("image", channels=2, check=refuse))
    with pytest.raises(ShapeError, match=r"no output of 4 pixels.*takes nothing"):
        predict_probabilities(graph, image_of((4, 4)))
