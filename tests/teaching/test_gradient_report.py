"""The report of a gradient check reads like this."""

import numpy as np
import pytest

from minisegnet import functional as F
from minisegnet.errors import BackendError, MinisegnetError
from minisegnet.teaching import GradientError, check_layer, check_operation
from minisegnet.teaching.hints import factor, places, rearranged

X, WEIGHT, BIAS = np.arange(6.0).reshape(2, 3), np.array([[1.0, 0, 2]]), np.array([4.0])


def wrong_backward(dy, cache):
    dx, dweight, dbias = F.linear_backward(dy, cache)
    return dx, 2 * dweight, np.array([dbias, dbias])


def test_a_right_one():
    lines = str(check_operation("linear", X, WEIGHT, BIAS, upstream_seed=3)).splitlines()
    assert lines[0] == "linear: every gradient is right (relative error allowed 1e-06; dy drawn with seed 3)"
    assert lines[1].split() == ["gradient", "of", "shape", "elements", "error"]
    assert [line.split()[0] for line in lines[2:]] == ["x", "weight", "bias"]
    assert all(line.endswith("right") for line in lines[2:])
    assert lines[2].startswith("  x            (2, 3)  6 of 6    ")


def test_a_wrong_one():
    report = check_operation(F.linear_forward, wrong_backward, X, WEIGHT, BIAS, upstream_seed=3)
    assert report.wrong == ["weight", "bias"] and report.worst.array == "weight"
    lines = str(report).splitlines()
    assert lines[0].startswith("linear: WRONG (")
    assert lines[3].split()[0] == "weight" and lines[3].endswith("5.0e-01  WRONG")
    worst = report.worst
    told = f"backward says {worst.analytic:.6g}, differences say {worst.numeric:.6g}"
    assert lines[4] == f"      at {list(worst.index)} {told}" and worst.analytic == pytest.approx(2 * worst.numeric)
    assert (
        lines[5]
        == "      backward gives 2 times the right value everywhere: is a division by the batch size 2 missing?"
    )
    assert lines[7] == "      the gradient must have the array's shape (1,); got (2, 1): sum over the batch"


def test_many_kinks_are_counted():
    text = str(check_operation("relu", np.zeros(10)))
    assert text.count("sits on a kink") == 3 and "and 7 more elements of x on kinks" in text


def test_it_raises_itself():
    report = check_operation(F.linear_forward, wrong_backward, X, WEIGHT, BIAS)
    with pytest.raises(GradientError, match="weight") as caught:
        report.raise_if_wrong()
    assert isinstance(caught.value, AssertionError) and isinstance(caught.value, MinisegnetError)
    right = check_operation("linear", X, WEIGHT, BIAS)
    assert right.raise_if_wrong() is right


def test_the_seed_tells_one_check_from_another():
    first, again, other = (str(check_operation("linear", X, WEIGHT, BIAS, upstream_seed=seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_what_cannot_be_called_says_so():
    with pytest.raises(BackendError, match="there is no operation 'conv3d'; choose one of conv2d"):
        check_operation("conv3d", X)
    with pytest.raises(BackendError, match="the forward and the backward function"):
        check_operation(F.relu_forward, X)
    with pytest.raises(MinisegnetError, match="a layer"):
        check_layer(None, X)


def test_hints():
    rng = np.random.default_rng(0)
    right = rng.standard_normal((3, 3))
    flat = right.reshape(-1)
    assert factor(-flat, flat, 1) == "the sign is flipped everywhere"
    assert factor(0.25 * flat, flat, 4).endswith("divided by the batch size 4 once too often?")
    assert factor(1.5 * flat, flat, 4) == "backward gives 1.5 times the right value everywhere"
    assert factor(flat + 1, flat, 4) == ""
    assert "dimensions 0 and 1 are exchanged" in rearranged(right.T, right)
    assert "180 degrees" in rearranged(right[::-1, ::-1], right)
    assert rearranged(right + 1, right) == ""
    wrong = np.zeros((3, 3), bool)
    wrong[:, 2] = True
    assert places(np.arange(9), wrong.reshape(-1), (3, 3)) == "it is wrong only where the index in dimension 1 is 2"
    assert places(np.arange(9), ~wrong.reshape(-1), (3, 3)) == "it is right only where the index in dimension 1 is 2"
    wrong[0, 0] = True
    assert places(np.arange(9), wrong.reshape(-1), (3, 3)) == "4 of the 9 elements looked at are wrong"
