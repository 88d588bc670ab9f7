"""Labels outside the classes, met by a kernel where no host has looked: flagged, and told when the host asks."""

import numpy as np
import pytest

from minisegnet import emulator
from minisegnet.cuda import loss
from minisegnet.errors import LabelError

pytestmark = pytest.mark.skipif(emulator.compiler_found() is None, reason="the emulator needs g++ or clang++")

OPTIONS = [("softmax_cross_entropy", {}), ("softmax_cross_entropy", {"reduction": "sum"}), ("dice", {})]


def drawn():
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, 3, 30, 20)).astype(np.float32), rng.integers(0, 3, (2, 30, 20)).astype(np.int32)


@pytest.mark.parametrize("stray", [3, -1, 2**31 - 1, -(2**31) + 1])
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_the_loss_is_no_number_and_the_first_stray_label_is_told(name, options, stray):
    logits, labels = drawn()
    labels[1, 4, 7] = labels[1, 29, 19] = stray
    y, saved = getattr(loss, f"{name}_forward")(logits, labels, **options)
    assert np.isnan(y)
    with pytest.raises(LabelError, match=rf"{name}: label {stray} at \(1, 4, 7\) is outside the classes 0 to 2"):
        loss.check_labels(name, saved)


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_what_a_stray_label_leaves_behind_is_no_harm_to_the_weights(name, options):
    logits, labels = drawn()
    labels[1, 4, 7] = 5
    _, saved = getattr(loss, f"{name}_forward")(logits, labels, **options)
    dlogits = getattr(loss, f"{name}_backward")(np.float32([1.5])[0:1].reshape(()), saved)
    assert np.isfinite(dlogits).all()
    assert not dlogits[1, :, 4, 7].any() and dlogits[0].any()


def test_the_loss_of_each_pixel_is_no_number_at_the_stray_one_alone():
    logits, labels = drawn()
    labels[0, 2, 3] = 9
    y, saved = loss.softmax_cross_entropy_forward(logits, labels, reduction="none")
    assert np.argwhere(np.isnan(y)).tolist() == [[0, 2, 3]]
    with pytest.raises(LabelError, match=r"label 9 at \(0, 2, 3\)"):
        loss.check_labels("softmax_cross_entropy", saved)


@pytest.mark.parametrize(("name", "options"), OPTIONS)
@pytest.mark.parametrize("dtype", ["int32", "int64", "int16", "uint8"])
def test_labels_inside_and_ignored_ones_are_no_strays(name, options, dtype):
    logits, labels = drawn()
    labels[1, 4, 7] = 127
    y, saved = getattr(loss, f"{name}_forward")(logits, labels.astype(dtype), ignore_index=127, **options)
    assert np.isfinite(y)
    loss.check_labels(name, saved)


@pytest.mark.parametrize("ignore_index", [2**40, -(2**31), 2**32 + 1])
def test_an_ignored_label_may_be_any_integer(ignore_index):
    """2^32 + 1, cut to 32 bits, would be class 1."""
    logits, labels = drawn()
    labels = labels.astype(np.int64)
    kept, _ = loss.softmax_cross_entropy_forward(logits, labels, ignore_index=ignore_index, reduction="none")
    labels[0, 2, 3] = ignore_index
    y, saved = loss.softmax_cross_entropy_forward(logits, labels, ignore_index=ignore_index, reduction="none")
    loss.check_labels("softmax_cross_entropy", saved)
    assert y[0, 2, 3] == 0 and (y != kept).sum() == 1
