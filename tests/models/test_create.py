"""Networks by name, as checkpoints and the command line ask for them."""

import numpy as np
import pytest

from minisegnet import models
from minisegnet.errors import OptionError


def test_create_builds_what_the_function_builds():
    created = models.create("unet", num_classes=3, in_channels=1, width=2, depth=2, seed=4)
    built = models.unet(3, 1, 2, 2, seed=4)
    assert list(created.nodes) == list(built.nodes)
    for name, array in built.state_dict().items():
        np.testing.assert_array_equal(created.state_dict()[name], array, name)


def test_create_builds_classifiers_by_their_encoder():
    created = models.create("laptop_classifier", num_classes=3, width=2)
    built = models.CLASSIFIERS["laptop"](3, width=2)
    shapes = [{name: array.shape for name, array in graph.arrays().items()} for graph in (created, built)]
    assert shapes[0] == shapes[1]


def test_every_model_has_a_function():
    assert models.MODELS
    for name, build in models.MODELS.items():
        assert getattr(models, name) is build


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("vgg", {}, "unknown model 'vgg': choose one of full_resolution, .*unet, unet_2015, faster_rcnn, mask_rcnn$"),
        ("", {}, "unknown model ''"),
        ("laptop", {}, "unknown model 'laptop'"),
        ("unet", {}, r"unet\(num_classes.*missing a required argument: 'num_classes'"),
        ("unet", {"num_classes": 2, "layers": 3}, r"unet\(num_classes.*unexpected keyword argument 'layers'"),
        ("unet_2015", {"width": 3}, r"unet_2015\(.*unexpected keyword argument 'width'"),
        ("unet", {"num_classes": 2, "depth": 0}, "depth must be at least 1"),
    ],
)
def test_create_says_what_it_does_not_know(name, arguments, message):
    with pytest.raises(OptionError, match=message):
        models.create(name, **arguments)
