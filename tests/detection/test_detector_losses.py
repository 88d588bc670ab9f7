"""The five losses: by hand, of scenes that are hard to count, and their gradient along random directions."""

import numpy as np
import pytest

from minisegnet.detection.batch import Targets
from minisegnet.detection.boxes import of_masks
from minisegnet.detection.detector import Samples
from minisegnet.detection.losses import box_loss, class_loss, mask_loss, objectness_loss, proposal_losses
from minisegnet.detection.targets import AnchorTargets
from minisegnet.errors import DtypeError, GraphError, LabelError, ShapeError
from minisegnet.models.faster_rcnn import faster_rcnn
from minisegnet.models.mask_rcnn import mask_rcnn

LOSSES = ["rpn_objectness", "rpn_box", "classifier", "box", "mask"]
SMALL = {
    "encoder": "laptop", "width": 2, "pyramid_channels": 4, "box_head_width": 6, "strides": [4, 8, 16],
    "settings": {"anchor_sizes": [[8], [16], [32], [64]], "rpn_samples": 40, "roi_samples": 24, "canonical_size": 40},
}  # fmt: skip
SMALL_MASKS = {**SMALL, "mask_head_width": 4, "mask_convolutions": 1}


def detector_of(num_classes=3, seed=0, dtype=np.float64):
    """A small Mask R-CNN whose last layers say something, and with biases, so that no ReLU is given zeros."""
    detector = mask_rcnn(num_classes, **SMALL_MASKS, seed=seed).astype(dtype)
    rng = np.random.default_rng(seed)
    for name, parameter in detector.parameters.items():
        if any(part in name for part in ("cls_logits", "bbox_pred", "cls_score", "mask_fcn_logits")):
            parameter.data[...] = 0.3 * rng.standard_normal(parameter.data.shape)
        if name.endswith("bias"):
            parameter.data[...] += 0.1 * rng.standard_normal(parameter.data.shape)
    return detector


def targets_of(masks, labels):
    return Targets(of_masks(masks, np.float64), np.asarray(labels, np.int64), masks)


def scene(rng, size, boxes, labels):
    """An image and its objects, each some of the pixels of its box."""
    masks = np.zeros((len(boxes), *size), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    return rng.standard_normal((3, *size)), targets_of(masks, labels)


def two_images(rng):
    first = scene(rng, (48, 64), [(4, 6, 30, 40), (40, 10, 60, 30), (0, 30, 12, 48)], [1, 2, 1])
    second = scene(rng, (60, 40), [(10, 20, 34, 50)], [2])
    return [list(pair) for pair in zip(first, second, strict=True)]


# ------------------------------------------------------------------------------------------------------------ by hand


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_objectness_loss_by_hand():
    logits = np.array([2.0, -1.0, 0.5, 7.0])
    loss = objectness_loss(logits, np.array([2, 0]), np.array([True, False]))
    assert loss.value == pytest.approx((np.log1p(np.exp(-0.5)) + np.log1p(np.exp(2.0))) / 2)
    np.testing.assert_allclose(loss.gradient, [sigmoid(2.0) / 2, 0, (sigmoid(0.5) - 1) / 2, 0])


def test_box_loss_by_hand():
    deltas = np.zeros((3, 4))
    deltas[1] = (0.05, 0, 3, 0)
    loss = box_loss(deltas, np.array([1]), np.zeros((1, 4)), 8, 0.5)
    assert loss.value == pytest.approx((0.05**2 / (2 * 0.5) + 3 - 0.25) / 8)
    np.testing.assert_allclose(loss.gradient[1], np.array([0.05 / 0.5, 0, 1, 0]) / 8)
    assert not loss.gradient[[0, 2]].any()


def test_class_loss_by_hand():
    scores = np.array([[1.0, 2, 0], [0, 0, 5]])
    loss = class_loss(scores, np.array([1, 0], np.int32))
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert loss.value == pytest.approx(-(np.log(shares[0, 1]) + np.log(shares[1, 0])) / 2)
    np.testing.assert_allclose(loss.gradient, (shares - [[0, 1, 0], [1, 0, 0]]) / 2, atol=1e-15)


def test_mask_loss_is_that_of_the_own_class():
    rng = np.random.default_rng(1)
    logits, targets = rng.standard_normal((2, 3, 4, 4)), rng.random((2, 4, 4))
    loss = mask_loss(logits, np.array([2, 1]), targets)
    own = sigmoid(np.stack([logits[0, 2], logits[1, 1]]))
    assert loss.value == pytest.approx(-(targets * np.log(own) + (1 - targets) * np.log(1 - own)).mean())
    assert loss.gradient[[0, 1], [2, 1]].any()
    assert not loss.gradient[0, :2].any() and not loss.gradient[1, [0, 2]].any()


def test_losses_of_nothing_are_zero():
    """Not the mean of nothing, which is no number."""
    nothing = np.zeros(0, np.int64)
    for loss in (
        objectness_loss(np.ones(5), nothing, nothing.astype(bool)),
        box_loss(np.ones((5, 4)), nothing, np.zeros((0, 4)), 0, 1.0),
        class_loss(np.zeros((0, 3)), nothing),
        mask_loss(np.zeros((0, 3, 4, 4)), nothing, np.zeros((0, 4, 4))),
    ):
        assert loss.value == 0
        assert not loss.gradient.any()


def test_anchors_are_numbered_through_levels_and_images():
    """Each anchor's logit and delta is where the region proposal head says it, and its gradient goes back there."""
    rng = np.random.default_rng(2)
    shapes, A = [(3, 4), (2, 2)], 2
    objectness = [rng.standard_normal((2, A, h, w)) for h, w in shapes]
    deltas = [rng.standard_normal((2, 4 * A, h, w)) for h, w in shapes]
    # The anchors: second image, first level, row 1, column 3, anchor 1; first image, second level, row 1, column 0,
    # anchor 0.
    of_second, of_first = (1 * 4 + 3) * A + 1, 3 * 4 * A + (1 * 2 + 0) * A + 0
    none = np.zeros(0, np.int64)
    samples = [
        AnchorTargets(none, np.array([of_first]), none, np.zeros((0, 4))),
        AnchorTargets(np.array([of_second]), none, np.zeros(1, np.int32), np.full((1, 4), 9.0)),
    ]
    losses, gradients = proposal_losses(objectness, deltas, samples, beta=1.0)
    yes, no = objectness[0][1, 1, 1, 3], objectness[1][0, 0, 1, 0]
    assert losses["rpn_objectness"] == pytest.approx((np.log1p(np.exp(-yes)) + np.log1p(np.exp(no))) / 2)
    assert losses["rpn_box"] == pytest.approx((9 - deltas[0][1, 4:, 1, 3] - 0.5).sum() / 2)
    assert [gradient.shape for gradient in gradients] == [level.shape for level in (*objectness, *deltas)]
    assert [np.count_nonzero(gradient) for gradient in gradients] == [1, 1, 4, 0]
    assert gradients[0][1, 1, 1, 3] == pytest.approx((sigmoid(yes) - 1) / 2)
    np.testing.assert_allclose(gradients[2][1, 4:, 1, 3], -0.5)


# ------------------------------------------------------------------------------------------------------ whole detectors


@pytest.mark.parametrize("seed", range(3))
def test_the_whole_loss_along_random_directions(seed):
    """d/dt of the sum of the losses at parameters + t direction, what was sampled held fixed."""
    rng = np.random.default_rng(seed)
    detector = detector_of(seed=seed).train()
    images, targets = two_images(rng)
    detector.losses(images, targets, rng)
    samples = detector.samples
    detector.zero_grad()
    detector.losses(images, targets, rng, samples)
    detector.backward()
    parameters = detector.parameters
    start = {name: parameter.data.copy() for name, parameter in parameters.items()}
    for part in ("backbone", "rpn", "roi_heads.box", "roi_heads.mask", ""):
        directions = {name: rng.standard_normal(x.shape) for name, x in start.items() if name.startswith(part)}
        analytic = sum((parameters[name].grad * direction).sum() for name, direction in directions.items())

        def along(t, directions=directions):
            for name, direction in directions.items():
                parameters[name].data[...] = start[name] + t * direction
            total = sum(detector.losses(images, targets, rng, samples).values())
            for name in directions:
                parameters[name].data[...] = start[name]
            return total

        slopes = [(along(step) - along(-step)) / (2 * step) for step in (1e-6, 1e-7, 1e-8)]  # a kink spares one of them
        assert min(abs(slope - analytic) for slope in slopes) <= 1e-6 * max(1, abs(analytic)), (part, slopes, analytic)
        assert abs(analytic) > 1e-3


def test_backward_scales_and_adds_up():
    rng = np.random.default_rng(3)
    detector = detector_of()
    images, targets = two_images(rng)
    detector.losses(images, targets, rng)
    samples = detector.samples
    detector.backward()
    once = {name: parameter.grad.copy() for name, parameter in detector.parameters.items()}
    detector.losses(images, targets, rng, samples)
    detector.backward(-0.5)
    for name, parameter in detector.parameters.items():
        np.testing.assert_allclose(parameter.grad, once[name] / 2, rtol=1e-9, atol=1e-12)
    with pytest.raises(GraphError, match="losses"):
        detector.backward()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_types_are_kept(dtype):
    rng = np.random.default_rng(4)
    detector = detector_of(dtype=dtype)
    images, targets = two_images(rng)
    losses = detector.losses([image.astype(dtype) for image in images], targets, rng)
    detector.backward()
    assert list(losses) == LOSSES
    assert all(type(loss) is float and 0 < loss < 20 for loss in losses.values())
    assert all(parameter.grad.dtype == dtype and parameter.grad.any() for parameter in detector.parameters.values())
    assert all(one.boxes.dtype == one.deltas.dtype == dtype for one in detector.samples.regions)


def test_no_object_in_any_image():
    """All anchors and regions are background: nothing to place and no mask to draw."""
    rng = np.random.default_rng(5)
    detector = detector_of()
    empty = targets_of(np.zeros((0, 48, 64), bool), [])
    losses = detector.losses(rng.standard_normal((2, 3, 48, 64)), [empty, empty], rng)
    detector.backward()
    assert losses["rpn_box"] == losses["box"] == losses["mask"] == 0
    assert losses["rpn_objectness"] > 0.1 and losses["classifier"] > 0.1
    gradients = {name: parameter.grad for name, parameter in detector.parameters.items()}
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())
    for name, gradient in gradients.items():
        untouched = "mask" in name or "bbox_pred" in name
        assert bool(gradient.any()) is not untouched, name


def test_an_image_without_objects_beside_one_with_them():
    rng = np.random.default_rng(6)
    detector = detector_of()
    images, targets = two_images(rng)
    targets[0] = targets_of(np.zeros((0, 48, 64), bool), [])
    losses = detector.losses(images, targets, rng)
    detector.backward()
    assert all(0 < loss < 20 for loss in losses.values())
    assert not detector.samples.regions[0].labels.any()
    assert detector.samples.regions[1].labels.any()


def hard_scenes():
    everywhere = np.arange(300)
    rows, columns = 2 * (everywhere // 20) % 46, 3 * (everywhere % 20)
    small = [(int(x), int(y), int(x) + 2, int(y) + 2) for x, y in zip(columns, rows, strict=True)]
    return {
        "one pixel wide": ([(20, 3, 21, 40), (3, 20, 60, 21)], [1, 2]),
        "one pixel": ([(33, 17, 34, 18)], [1]),
        "cut by the border": ([(0, 0, 5, 48), (58, 40, 64, 48)], [2, 2]),
        "the whole image": ([(0, 0, 64, 48)], [1]),
        "no area": ([(10, 10, 10, 30), (20, 20, 20, 20)], [1, 2]),
        "no area beside one": ([(10, 10, 10, 30), (20, 10, 50, 40)], [1, 2]),
        "one place twice": ([(20, 10, 50, 40), (20, 10, 50, 40)], [1, 2]),
        "300 objects": (small, [1 + i % 2 for i in everywhere]),
    }


@pytest.mark.parametrize("name", hard_scenes())
def test_hard_scenes(name):
    rng = np.random.default_rng(7)
    boxes, labels = hard_scenes()[name]
    detector = detector_of()
    image, target = scene(rng, (48, 64), boxes, labels)
    losses = detector.losses([image], [target], rng)
    detector.backward()
    assert all(0 <= loss < 20 for loss in losses.values())
    assert all(np.isfinite(parameter.grad).all() for parameter in detector.parameters.values())
    counted = [] if name == "no area" else ["rpn_box", "box", "mask"]
    assert all((losses[key] > 0) is (key in counted) for key in ("rpn_box", "box", "mask"))


def test_no_proposal_and_no_object_leaves_no_region():
    rng = np.random.default_rng(8)
    detector = mask_rcnn(3, **{**SMALL_MASKS, "settings": {**SMALL["settings"], "smallest_proposal": 1e4}})
    empty = targets_of(np.zeros((0, 48, 64), bool), [])
    image = rng.standard_normal((3, 48, 64)).astype(np.float32)
    losses = detector.losses([image], [empty], rng)
    detector.backward()
    assert losses["classifier"] == losses["box"] == losses["mask"] == 0
    assert losses["rpn_objectness"] > 0
    assert all(np.isfinite(parameter.grad).all() for parameter in detector.parameters.values())
    assert len(detector.detect([image])[0]) == 0


def test_faster_rcnn_has_four_losses_and_needs_no_masks():
    rng = np.random.default_rng(9)
    detector = faster_rcnn(3, **SMALL).astype(np.float64)
    images, targets = two_images(rng)
    losses = detector.losses(images, [Targets(target.boxes, target.labels) for target in targets], rng)
    detector.backward()
    assert list(losses) == LOSSES[:4]
    assert all(parameter.grad.any() for parameter in detector.parameters.values())


def test_the_same_chance_gives_the_same_step():
    images, targets = two_images(np.random.default_rng(10))
    detector = detector_of()
    first, again, other = (detector.losses(images, targets, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_nothing_goes_back_through_what_is_frozen():
    rng = np.random.default_rng(11)
    detector = detector_of()
    for beginning in ("backbone", "rpn.head"):
        detector.freeze(beginning)
    images, targets = two_images(rng)
    before = {name: buffer.copy() for name, buffer in detector.buffers.items()}
    detector.train().losses(images, targets, rng)
    detector.backward()
    for name, parameter in detector.parameters.items():
        assert parameter.grad.any() == name.startswith("roi_heads"), name
    assert all((buffer == before[name]).all() for name, buffer in detector.buffers.items())


@pytest.mark.parametrize(
    "change, problem, words",
    [
        ({"labels": np.array([3])}, LabelError, "image 1"),
        ({"labels": np.array([0])}, LabelError, "image 1"),
        ({"labels": np.array([1.0])}, LabelError, "image 1"),
        ({"labels": np.ones(2, int)}, ShapeError, "image 1"),
        ({"boxes": np.ones((1, 5))}, ShapeError, "image 1"),
        ({"boxes": np.full((1, 4), np.nan)}, ShapeError, "finite"),
        ({"masks": None}, ShapeError, "masks"),
        ({"masks": np.ones((2, 60, 40), bool)}, ShapeError, "masks"),
        ({"masks": np.ones((1, 40, 60), bool)}, ShapeError, "masks"),
        ({"masks": np.ones((1, 60, 40))}, DtypeError, "bool"),
    ],
)
def test_targets_that_do_not_fit(change, problem, words):
    rng = np.random.default_rng(12)
    images, targets = two_images(rng)
    targets[1] = targets[1]._replace(**change)
    with pytest.raises(problem, match=words):
        detector_of().losses(images, targets, rng)


@pytest.mark.parametrize(
    "change, problem, words",
    [
        (lambda images: images[:1], ShapeError, "2 for 1 images"),
        (lambda images: [], ShapeError, "at least one image"),
        (lambda images: [images[0].astype(np.float32), images[1]], DtypeError, "image 0"),
        (lambda images: [images[0], images[1][:2]], ShapeError, "image 1"),
        (lambda images: [images[0], images[1][:, :0]], ShapeError, "image 1"),
    ],
)
def test_images_that_do_not_fit(change, problem, words):
    rng = np.random.default_rng(12)
    images, targets = two_images(rng)
    with pytest.raises(problem, match=words):
        detector_of().losses(change(images), targets, rng)


def test_samples_handed_over_are_taken():
    rng = np.random.default_rng(13)
    detector = detector_of()
    images, targets = two_images(rng)
    detector.losses(images, targets, rng)
    handed = Samples(detector.samples.anchors, detector.samples.regions)
    state = rng.bit_generator.state
    losses = detector.losses(images, targets, rng, handed)
    assert detector.samples is handed
    assert rng.bit_generator.state == state  # nothing was drawn
    assert losses == detector.losses(images, targets, rng, handed)
