"""Right backward passes are never called wrong: every operation, on both backends, kinks and all."""

import numpy as np
import pytest
from cases import cases

import minisegnet
from minisegnet import functional as F
from minisegnet.errors import ShapeError
from minisegnet.teaching import check_loss, check_operation


@pytest.mark.parametrize("case", cases(dtypes=["float64"], layouts=False))
def test_every_operation(float64_backend, case):
    arrays, options = case.draw()
    inputs = [arrays] if case.operation == "concat" else arrays
    if not any(arrays[i].size for i in case.differentiable):
        with pytest.raises(ShapeError, match="no float array with elements"):
            check_operation(case.operation, *inputs, **options)
        return
    report = check_operation(case.operation, *inputs, **options, elements=12, upstream_seed=case.seed)
    assert report.ok, report
    assert [array.shape for array in report.arrays] == [arrays[i].shape for i in case.differentiable]


# What students feed: numbers with ties and zeros, of one value, large, small, after a ReLU.
STYLES = {
    "normal": lambda normal: normal,
    "whole": lambda normal: np.round(1.5 * normal),
    "zero": lambda normal: 0 * normal,
    "constant": lambda normal: 0 * normal + 1.7,
    "large": lambda normal: 1000 * normal,
    "small": lambda normal: normal / 1000,
    "after a relu": lambda normal: np.maximum(normal, 0),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("seed", range(3))
def test_every_kind_of_numbers(style, seed):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return STYLES[style](rng.standard_normal(shape))

    x, labels = draw(2, 3, 5, 6), rng.integers(0, 3, (2, 5, 6))
    calls = [
        ("conv2d", x, draw(2, 3, 3, 2), draw(2), {"stride": 2, "padding": 1}),
        ("conv_transpose2d", x, draw(3, 2, 3, 2), draw(2), {"stride": 2, "padding": 1}),
        ("linear", draw(3, 4), draw(2, 4), draw(2), {}),
        ("max_pool2d", x, 2, {}),
        ("max_pool2d", x, 3, {"stride": 1, "padding": 1}),
        ("avg_pool2d", x, 3, {"stride": 2, "padding": 1}),
        ("upsample_bilinear2d", x, (9, 4), {}),
        ("reflection_pad2d", x, 2, {}),
        ("concat", [x, draw(2, 1, 5, 6)], {}),
        ("batch_norm2d", x, draw(3), draw(3), {}),
        ("relu", x, {}),
        ("sigmoid", x, {}),
        ("softmax", x, {}),
        ("dropout", x, {"p": 0.4, "seed": seed}),
        ("softmax_cross_entropy", x, labels, {"class_weight": np.array([0.1, 1, 2]), "ignore_index": 1}),
        ("softmax_cross_entropy", x, labels, {"reduction": "none"}),
        ("binary_cross_entropy_with_logits", x, rng.random(x.shape), {}),
        ("smooth_l1", x, draw(*x.shape), {"reduction": "sum"}),
        ("dice", x, labels, {"ignore_index": 0}),
    ]
    for name, *inputs, options in calls:
        report = check_operation(name, *inputs, **options, upstream_seed=seed, elements=24)
        assert report.ok, f"{style} numbers, seed {seed}\n{report}"


def test_relu_at_zero_is_a_kink_and_right():
    x = np.array([-1.0, 0.0, 2.0, 0.0])
    report = check_operation("relu", x).raise_if_wrong()
    assert [kink.index for kink in report.kinks] == [(1,), (3,)]
    for kink in report.kinks:
        assert min(abs(kink.least), abs(kink.greatest)) == 0 and kink.least < kink.greatest
    assert "x[1] sits on a kink" in str(report)


@pytest.mark.parametrize("slope", [0.0, 0.25, 1.0])
def test_any_slope_between_those_of_the_kink_is_right(slope):
    def backward(dy, x):
        return dy * np.where(x == 0, slope, x > 0)

    report = check_operation(lambda x: (np.maximum(x, 0), x), backward, np.zeros((3, 4)))
    assert report.ok and len(report.kinks) == 12, report


def test_ties_in_max_pooling_are_kinks_and_right():
    report = check_operation("max_pool2d", np.ones((1, 1, 4, 4)), 3, stride=1).raise_if_wrong()
    assert len(report.kinks) == 16


def test_smooth_l1_has_no_kink():
    x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    report = check_loss("smooth_l1", x, np.zeros(5)).raise_if_wrong()
    assert report.kinks == []


def test_l1_has_one_where_it_meets_its_target():
    def forward(x, target):
        return np.abs(x - target).sum(), np.where(x < target, -1, 1)

    report = check_loss(forward, lambda dy, sign: dy * sign, np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 5.0]))
    assert report.ok and [kink.index for kink in report.kinks] == [(1,)], report


def test_a_tie_between_two_inputs():
    """Credit to either is right, and half to each; to both is wrong, though each alone lies between the slopes."""

    def check(of_first, of_second):
        def backward(dy, cache):
            first, second = cache
            tie = first == second
            return dy * np.where(tie, of_first, first > second), dy * np.where(tie, of_second, second > first)

        x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        other = np.array([[1.0, 0.0, 3.0], [7.0, 5.0, 6.5]])
        return check_operation(lambda x, other: (np.maximum(x, other), (x, other)), backward, x, other)

    for shares in [(1, 0), (0, 1), (0.25, 0.75)]:
        report = check(*shares)
        assert report.ok and len(report.kinks) == 6, report
    report = check(1, 1)
    assert not report.ok and "each array by itself is right" in str(report)


def test_the_upstream_gradient_is_not_the_input():
    """default_rng(0) for x and for dy would give the same numbers, and x in place of dy would pass."""
    seen = []

    def forward(x):
        return 2 * x, x

    def backward(dy, x):
        seen.append(dy)
        return 2 * dy

    x = np.random.default_rng(0).standard_normal((3, 4))
    check_operation(forward, backward, x, upstream_seed=0).raise_if_wrong()
    assert not np.isclose(seen[0], x).any() and len(np.unique(seen[0])) == 12


def test_a_replacement_in_force_is_what_is_checked():
    x = np.random.default_rng(0).standard_normal((2, 3))
    with minisegnet.replace(relu_forward=lambda x: (np.maximum(x, 0), x > 0), relu_backward=lambda dy, mask: dy * mask):
        assert check_operation("relu", x).ok
    with minisegnet.replace(relu_forward=lambda x: (np.maximum(x, 0), x > 0), relu_backward=lambda dy, mask: dy * 1):
        assert check_operation("relu", x).wrong == ["x"]
    assert check_operation("relu", x).ok


def test_steep_and_curved_functions():
    """Steps that are small for one function are large for another."""
    rng = np.random.default_rng(0)
    functions = {
        "square root near zero": (np.sqrt, lambda x: 0.5 / np.sqrt(x), rng.uniform(1e-4, 1e-2, 20)),
        "logarithm": (np.log, lambda x: 1 / x, rng.uniform(1e-3, 1, 20)),
        "exponential": (np.exp, np.exp, rng.uniform(-5, 10, 20)),
        "fast sine": (lambda x: np.sin(1000 * x), lambda x: 1000 * np.cos(1000 * x), rng.uniform(-1, 1, 20)),
        "large numbers": (lambda x: x + 1e5, np.ones_like, rng.uniform(-1, 1, 20)),
    }
    for name, (function, slope, x) in functions.items():
        report = check_operation(
            lambda x, function=function: (function(x), x), lambda dy, x, slope=slope: dy * slope(x), x
        )
        assert report.ok, f"{name}\n{report}"
        report = check_operation(
            lambda x, function=function: (function(x), x), lambda dy, x, slope=slope: dy * slope(x) * (1 + 1e-5), x
        )
        assert not report.ok, f"{name}, off by 1e-5\n{report}"


def test_float64_in_place_of_float32_is_remarked():
    def backward(dy, x):
        dx = np.zeros(x.shape)
        dx[...] = 2 * x * dy
        return dx

    report = check_operation(lambda x: (x * x, x), backward, np.arange(3.0))
    assert report.ok and "for float32 inputs the gradient of x is float64" in str(report), report
    report = check_operation(lambda x: (x * np.array(2.0).reshape(1), x), lambda dy, x: 2 * dy, np.arange(3.0))
    assert report.ok and "for float32 inputs y is float64" in str(report), report


def test_arrays_of_ours_may_be_given_by_name():
    rng = np.random.default_rng(0)
    x, weight, bias = rng.standard_normal((2, 4)), rng.standard_normal((3, 4)), rng.standard_normal(3)
    for arrays, named in [((x, weight), {"bias": bias}), ((x,), {"bias": bias, "weight": weight})]:
        report = check_operation("linear", *arrays, **named).raise_if_wrong()
        assert [array.name for array in report.arrays] == ["x", "weight", "bias"]
    assert [array.name for array in check_operation("linear", x, weight).raise_if_wrong().arrays] == ["x", "weight"]


def test_float32_inputs_are_checked_in_float64():
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 4)).astype("float32"), rng.standard_normal((3, 4)).astype("float32")
    report = check_operation(F.linear_forward, F.linear_backward, x, weight).raise_if_wrong()
    assert report.worst.error < 1e-8 and x.dtype == weight.dtype == np.float32
