"""What the losses promise about ignored pixels, weights, reductions and extreme scores."""

import numpy as np
import pytest
from conftest import assert_close

LOSSES_OF_LABELS = ["softmax_cross_entropy", "dice"]


def drawn(seed, shape=(2, 3, 4, 5)):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape), rng.integers(0, shape[1], (shape[0], *shape[2:])), rng


def run(backend, name, *arguments, dloss=1.5, **options):
    loss, cache = getattr(backend, f"{name}_forward")(*arguments, **options)
    return loss, getattr(backend, f"{name}_backward")(dloss, cache)


@pytest.mark.parametrize("name", LOSSES_OF_LABELS)
@pytest.mark.parametrize("rubbish", [np.nan, np.inf, 1e30])
def test_what_stands_at_ignored_pixels_is_of_no_account(backend, name, rubbish):
    logits, labels, rng = drawn(0)
    ignored = rng.random(labels.shape) < 0.4
    labels[ignored] = 255
    loss, gradient = run(backend, name, logits, labels, ignore_index=255)
    logits[np.broadcast_to(ignored[:, None], logits.shape)] = rubbish
    loss_too, gradient_too = run(backend, name, logits, labels, ignore_index=255)
    assert loss == loss_too
    assert np.array_equal(gradient, gradient_too)
    assert (gradient_too.transpose(0, 2, 3, 1)[ignored] == 0).all()


@pytest.mark.parametrize("name", LOSSES_OF_LABELS)
def test_nan_where_it_counts_is_not_hidden(backend, name):
    logits, labels, _ = drawn(8)
    logits[1, 2, 0, 3] = np.nan
    loss, _ = run(backend, name, logits, labels, ignore_index=(labels[1, 0, 3] + 1) % 3)
    assert np.isnan(loss)


@pytest.mark.parametrize("name", LOSSES_OF_LABELS)
def test_an_ignored_class_is_as_if_its_pixels_were_not_there(backend, name):
    """Class weights of zero, or an image without those pixels, give cross-entropy the same."""
    logits, labels, _ = drawn(1, (30, 4))
    loss, gradient = run(backend, name, logits, labels, ignore_index=2)
    kept = labels != 2
    loss_too, gradient_too = run(backend, name, logits[kept], labels[kept])
    assert_close(loss, loss_too, 1e-14)
    assert_close(gradient[kept], gradient_too, 1e-14)
    if name == "softmax_cross_entropy":
        weighted, _ = run(backend, name, logits, labels, class_weight=np.array([1.0, 1, 0, 1]))
        assert_close(weighted, loss, 1e-14)


@pytest.mark.parametrize("name", LOSSES_OF_LABELS)
def test_scores_may_all_be_shifted(backend, name):
    logits, labels, rng = drawn(2)
    loss, gradient = run(backend, name, logits, labels)
    shifted, _ = run(backend, name, logits + 100 * rng.standard_normal((2, 1, 4, 5)), labels)
    assert_close(shifted, loss, 1e-12)
    assert_close(gradient.sum(1), np.zeros(labels.shape), 1e-12, "so the slopes of a pixel add up to nothing")


@pytest.mark.parametrize("weights", [{}, {"class_weight": np.array([0.5, 2, 1])}])
def test_reductions_agree(backend, weights):
    logits, labels, rng = drawn(3)
    weights = {**weights, "pixel_weight": rng.uniform(0, 3, labels.shape)}
    used = weights["pixel_weight"] * weights.get("class_weight", np.ones(3))[labels]
    each, _ = backend.softmax_cross_entropy_forward(logits, labels, **weights, reduction="none")
    total, d_total = run(backend, "softmax_cross_entropy", logits, labels, **weights, reduction="sum")
    mean, d_mean = run(backend, "softmax_cross_entropy", logits, labels, **weights)
    assert_close(total, np.asarray(each.sum()), 1e-14)
    assert_close(mean, np.asarray(each.sum() / used.sum()), 1e-14)
    assert_close(d_mean, d_total / used.sum(), 1e-14)


def test_equal_weights_cancel_in_the_mean(backend):
    logits, labels, _ = drawn(4)
    plain, _ = run(backend, "softmax_cross_entropy", logits, labels)
    heavy, _ = run(backend, "softmax_cross_entropy", logits, labels, pixel_weight=np.full(labels.shape, 7.0))
    assert_close(heavy, plain, 1e-14)


def test_class_weights_of_two_classes_alone(backend):
    """Weight goes by the label, not by the prediction."""
    logits = np.zeros((1, 2, 1, 2))
    labels, class_weight = np.array([[[0, 1]]]), np.array([1.0, 9])
    loss, _ = backend.softmax_cross_entropy_forward(logits, labels, class_weight, reduction="none")
    assert_close(loss, np.log(2) * np.array([[[1.0, 9]]]), 1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_scores_give_finite_losses_and_gradients(backend, dtype):
    logits = np.array([[1e4, -1e4], [-1e4, 1e4], [0, 1e4]], dtype)
    with np.errstate(all="raise", under="ignore"):
        loss, gradient = run(
            backend, "softmax_cross_entropy", logits, np.array([1, 1, 0]), reduction="none", dloss=np.ones(3, dtype)
        )
        assert loss.tolist() == [2e4, 0, 1e4]
        assert gradient.tolist() == [[1, -1], [0, 0], [-1, 1]]
        targets = np.array([[1, 1], [0, 1], [1, 0]], dtype)
        loss, gradient = run(
            backend, "binary_cross_entropy_with_logits", logits, targets, reduction="none", dloss=np.ones((3, 2), dtype)
        )
        assert_close(loss, np.array([[0, 1e4], [0, 0], [np.log(2), 1e4]], dtype), 1e-7)
        assert gradient.tolist() == [[0, -1], [0, 0], [-0.5, 1]]


@pytest.mark.parametrize("name", LOSSES_OF_LABELS)
@pytest.mark.parametrize("options", [{"ignore_index": 0}, {}])
def test_no_pixels_at_all(backend, name, options):
    """All ignored, or a batch of none: cross-entropy is 0; every dice overlap is smooth / smooth, so dice is too."""
    logits = np.random.default_rng(5).standard_normal((2 if options else 0, 3, 2, 2)).astype(np.float32)
    labels = np.zeros((len(logits), 2, 2), np.int64)
    loss, gradient = run(backend, name, logits, labels, **options)
    assert loss == 0 and loss.dtype == np.float32
    assert gradient.shape == logits.shape and (gradient == 0).all()


def test_dice_of_nothing_without_smoothing_counts_every_overlap_as_0(backend):
    logits, labels, _ = drawn(6)
    loss, gradient = run(backend, "dice", logits, np.full_like(labels, 9), ignore_index=9, smooth=0)
    assert loss == 1 and (gradient == 0).all()


@pytest.mark.parametrize("smooth, wanted", [(0, 2 / 3), (1, 0)])
def test_dice_of_a_perfect_prediction_of_one_class_in_three(backend, smooth, wanted):
    """Smoothing brings the two classes that do not occur near 0; without, each is lost. Gradients stay finite."""
    labels = np.ones((1, 4, 4), np.int32)
    logits = np.full((1, 3, 4, 4), -1e4)
    logits[:, 1] = 1e4
    loss, gradient = run(backend, "dice", logits, labels, smooth=smooth)
    assert_close(loss, np.asarray(wanted, float), 1e-12)
    assert np.isfinite(gradient).all()


def test_dice_gradient_stays_finite_where_probabilities_underflow(backend):
    """1e-200 squared would be 0, and 0 / 0 no number."""
    logits = np.zeros((1, 2, 1, 2))
    logits[:, 1] = 460
    loss, gradient = run(backend, "dice", logits, np.ones((1, 1, 2), int), smooth=0.0)
    assert_close(loss, np.asarray(0.5), 1e-12)
    assert np.isfinite(gradient).all()


def test_smooth_l1_meets_its_lines_without_a_step(backend):
    for beta in (0.5, 1.0, 3.0):
        near, far = beta * (1 - 1e-9), beta * (1 + 1e-9)
        x, dloss = np.array([near, far, -far]), np.ones(3)
        loss, gradient = run(backend, "smooth_l1", x, np.zeros(3), beta=beta, reduction="none", dloss=dloss)
        assert_close(loss, np.full(3, beta / 2), 1e-8)
        assert_close(gradient, np.array([1.0, 1, -1]), 1e-8)


@pytest.mark.parametrize("dloss", [2, 2.0, np.float64(2), np.float32(2), np.array(2, np.float32)])
def test_the_gradient_by_a_loss_may_be_a_number(backend, dloss):
    logits, labels, _ = drawn(7)
    logits = logits.astype(np.float32)
    _, gradient = run(backend, "softmax_cross_entropy", logits, labels, dloss=dloss)
    _, wanted = run(backend, "softmax_cross_entropy", logits, labels, dloss=np.array(2, np.float32))
    assert gradient.dtype == np.float32 and np.array_equal(gradient, wanted)
