"""Enlarging small images, which a detector wants to see larger."""

import numpy as np
import pytest

from minisegnet.data.sample import Sample
from minisegnet.data.transforms import Enlarge, Resize
from minisegnet.errors import OptionError


def sample(height, width):
    rng = np.random.default_rng(height + width)
    image = rng.random((3, height, width), np.float32)
    instances = rng.integers(0, 4, (height, width)).astype(np.int32)
    return Sample(image, (instances > 0).astype(np.int32), "random", instances)


@pytest.mark.parametrize(("size", "wanted"), [((10, 14), (20, 28)), ((15, 10), (30, 20)), ((9, 10), (20, 22))])
def test_the_shorter_side_grows_to_the_least(size, wanted):
    small = sample(*size)
    large = Enlarge(20)(small, np.random.default_rng(0))
    assert large.image.shape[1:] == large.instances.shape == large.labels.shape == wanted
    same = Resize(wanted)(small, np.random.default_rng(0))
    np.testing.assert_array_equal(large.image, same.image)
    np.testing.assert_array_equal(large.instances, same.instances)
    np.testing.assert_array_equal(Enlarge(20).image(small.image), large.image)


@pytest.mark.parametrize("size", [(20, 20), (21, 50)])
def test_an_image_that_is_large_enough_stays_as_it_is(size):
    given = sample(*size)
    assert Enlarge(20)(given, np.random.default_rng(0)) is given


def test_a_side_of_none_is_refused():
    with pytest.raises(OptionError, match="Enlarge: least must be at least 1"):
        Enlarge(0)
