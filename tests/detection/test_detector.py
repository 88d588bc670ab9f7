"""The detector at work: detections, batches of different sizes, stages, its state, and the engine beside the layers."""

import dataclasses

import numpy as np
import pytest
from conftest import assert_close

from minisegnet.detection.batch import Targets, padded
from minisegnet.detection.detections import Detections, detections_of
from minisegnet.detection.heads import filled_up
from minisegnet.detection.settings import DetectionSettings
from minisegnet.errors import BoxError, CheckpointError, GraphError, OptionError
from minisegnet.models.faster_rcnn import faster_rcnn
from minisegnet.models.mask_rcnn import mask_rcnn

SMALL = {"encoder": "laptop", "width": 2, "pyramid_channels": 4, "box_head_width": 6, "strides": [4, 8, 16]}
SETTINGS = {
    "anchor_sizes": [[8], [16], [32], [64]], "rpn_samples": 40, "roi_samples": 24, "canonical_size": 40,
    "proposals_per_image": [100, 60], "score_threshold": 0.3,
}  # fmt: skip
MASKS = {"mask_head_width": 4, "mask_convolutions": 1}


def detector_of(build=mask_rcnn, dtype=np.float64, settings=SETTINGS, num_classes=3, **options):
    """A small detector whose last layers say something."""
    options = {**SMALL, **(MASKS if build is mask_rcnn else {}), "settings": settings, **options}
    detector = build(num_classes, **options).astype(dtype).eval()
    rng = np.random.default_rng(0)
    for name, parameter in detector.parameters.items():
        if any(part in name for part in ("cls_logits", "bbox_pred", "cls_score", "mask_fcn_logits")):
            parameter.data[...] = 0.5 * rng.standard_normal(parameter.data.shape)
    return detector


def images_of(*sizes, dtype=np.float64, seed=1):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((3, *size)).astype(dtype) for size in sizes]


def targets_of(*sizes):
    targets = []
    for H, W in sizes:
        masks = np.zeros((2, H, W), bool)
        masks[0, 2 : H // 2, 3 : W // 2] = masks[1, H // 3 :, W // 3 : W - 4] = True
        boxes = np.array([[3, 2, W // 2, H // 2], [W // 3, H // 3, W - 4, H]], np.float64)
        targets.append(Targets(boxes, np.array([1, 2]), masks))
    return targets


def assert_same(found, wanted, bound):
    assert (found.labels == wanted.labels).all()
    for name in ("boxes", "scores", "masks"):
        if getattr(wanted, name) is not None:
            assert_close(getattr(found, name), getattr(wanted, name), bound, name)


# ---------------------------------------------------------------------------------------------------------- detections


def test_class_and_box_by_hand():
    """Each class has its own box of each proposal; those of one class suppress one another, across classes none."""
    settings = DetectionSettings(score_threshold=0.2, box_weights=(1, 1, 1, 1))
    proposals = np.array([[10.0, 10, 30, 30], [11, 10, 31, 30], [60, 20, 90, 50]])
    scores = np.log(np.array([[0.1, 0.5, 0.4], [0.1, 0.6, 0.3], [0.85, 0.1, 0.05]]))
    deltas = np.zeros((3, 3, 4))
    deltas[:, 2, 0] = (0, 0.1, 0)  # the second proposal's box of class 2 lies 2 pixels further to the right
    found = detections_of(scores, deltas.reshape(3, 12), proposals, (48, 80), settings)
    assert found.labels.tolist() == [1, 2]
    np.testing.assert_allclose(found.scores, [0.6, 0.4])
    np.testing.assert_allclose(found.boxes, [[11, 10, 31, 30], [10, 10, 30, 30]])
    lower = dataclasses.replace(settings, score_threshold=0.04, detection_nms=0.99)
    found = detections_of(scores, deltas.reshape(3, 12), proposals, (48, 80), lower)
    np.testing.assert_allclose(found.scores, [0.6, 0.5, 0.4, 0.3, 0.1, 0.05])
    np.testing.assert_allclose(found.boxes[4], [60, 20, 80, 48])  # clipped
    np.testing.assert_allclose(found.boxes[3], [13, 10, 33, 30])
    few = dataclasses.replace(lower, detections_per_image=2)
    assert detections_of(scores, deltas.reshape(3, 12), proposals, (48, 80), few).scores.tolist() == [0.6, 0.5]
    large = dataclasses.replace(lower, smallest_detection=20.5)
    assert len(detections_of(scores, deltas.reshape(3, 12), proposals, (48, 80), large)) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("build", [faster_rcnn, mask_rcnn])
def test_detections(build, dtype):
    detector = detector_of(build, dtype)
    sizes = [(48, 64), (60, 40)]
    for found, (H, W) in zip(detector.detect(images_of(*sizes, dtype=dtype)), sizes, strict=True):
        R = len(found)
        assert R > 3
        assert found.boxes.shape == (R, 4) and found.boxes.dtype == found.scores.dtype == dtype
        assert (np.diff(found.scores) <= 0).all() and found.scores.min() > 0.3
        assert found.labels.dtype == np.int32 and set(found.labels.tolist()) <= {1, 2}
        assert (found.boxes >= 0).all() and (found.boxes <= [W, H, W, H]).all()
        if build is faster_rcnn:
            with pytest.raises(GraphError, match="mask_rcnn"):
                found.pasted((H, W))
            continue
        assert found.masks.shape == (R, 28, 28) and found.masks.dtype == dtype
        assert (found.masks >= 0).all() and (found.masks <= 1).all() and found.masks.std() > 0
        pasted, instances = found.pasted((H, W)), found.as_instances((H, W))
        assert pasted.shape == (R, H, W) and pasted.any()
        assert ((instances > 0) == pasted.any(axis=0)).all()
        first = instances[pasted[0]]
        assert first.size == 0 or (first == 1).all()


def test_a_mask_is_that_of_the_detected_class():
    detector = detector_of()
    bias = detector.parameters["roi_heads.mask_predictor.mask_fcn_logits.bias"].data
    detector.parameters["roi_heads.mask_predictor.mask_fcn_logits.weight"].data.fill(0)
    bias[...] = (5, 1, -1)
    (found,) = detector.detect(images_of((48, 64)))
    assert set(found.labels.tolist()) == {1, 2}
    for mask, label in zip(found.masks, found.labels, strict=True):
        np.testing.assert_allclose(mask, 1 / (1 + np.exp(-bias[label])))


def test_each_image_by_itself_as_in_a_batch():
    """Images of one size, whatever they are beside."""
    detector = detector_of()
    images = images_of((48, 64), (48, 64), (48, 64))
    together = detector.detect(images)
    assert len({len(found) for found in together}) > 1
    for image, found in zip(images, together, strict=True):
        assert_same(detector.detect([image])[0], found, 1e-9)
    for found, again in zip(together, detector.detect(np.stack(images)), strict=True):
        assert_same(again, found, 1e-15)


def test_padding_is_beyond_the_image():
    batch = padded(images_of((5, 9), (17, 3)), 16, 3, np.float64)
    assert batch.images.shape == (2, 3, 32, 16)
    assert batch.sizes == [(5, 9), (17, 3)]
    assert not batch.images[0, :, 5:].any() and not batch.images[0, :, :, 9:].any()
    assert (batch.images[1, :, :17, :3] == images_of((5, 9), (17, 3))[1]).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 100), (7, 13), (129, 5)])
def test_images_of_any_size(size):
    for found in detector_of().detect(images_of(size, (20, 20))):
        assert np.isfinite(found.boxes).all()
        found.pasted(size)


def test_no_detection():
    (found,) = detector_of(settings={**SETTINGS, "score_threshold": 1.0}).detect(images_of((48, 64)))
    assert len(found) == 0
    assert found.boxes.shape == (0, 4) and found.labels.dtype == np.int32 and found.masks.shape == (0, 28, 28)
    assert found.pasted((48, 64)).shape == (0, 48, 64)
    assert not found.as_instances((48, 64)).any()


def test_hundreds_of_detections():
    settings = {
        **SETTINGS, "score_threshold": 0.0, "detection_nms": 1.0, "proposal_nms": 1.0, "detections_per_image": 500,
        "proposals_per_image": [1000, 1000],
    }  # fmt: skip
    (found,) = detector_of(settings=settings).detect(images_of((96, 96)))
    assert len(found) == 500
    assert found.pasted((96, 96)).shape == (500, 96, 96)


def test_detecting_changes_nothing():
    detector = detector_of().train()
    state = detector.state_dict()
    images, targets = images_of((48, 64)), targets_of((48, 64))
    detector.losses(images, targets, np.random.default_rng(0))
    moved = detector.state_dict()
    assert any((moved[name] != array).any() for name, array in state.items() if "running" in name)
    detector.detect(images)
    detector.stages(images[0])
    assert detector.training
    assert all((array == moved[name]).all() for name, array in detector.state_dict().items())
    detector.backward()  # still goes back


# -------------------------------------------------------------------------------------------------------------- stages


@pytest.mark.parametrize("build", [faster_rcnn, mask_rcnn])
def test_stages(build):
    detector = detector_of(build)
    (image,), (target,) = images_of((44, 60)), targets_of((44, 60))
    stages = detector.stages(image, target, np.random.default_rng(2))
    assert [level.stride for level in stages.levels] == [(4, 4), (8, 8), (16, 16), (24, 32)]
    for level, size in zip(stages.levels, SETTINGS["anchor_sizes"], strict=True):
        h, w, count = level.objectness.shape
        assert level.anchors.shape == (h, w, count, 4) and level.features.shape == (4, h, w)
        assert ((level.objectness > 0) & (level.objectness < 1)).all()
        centre = (level.anchors[1, 1, 1, :2] + level.anchors[1, 1, 1, 2:]) / 2
        assert centre.tolist() == [level.stride[1], level.stride[0]]
        assert level.anchors[0, 0, 1].tolist() == [-size[0] / 2, -size[0] / 2, size[0] / 2, size[0] / 2]
    (found,) = detector.detect([image])
    assert_close(stages.detections.boxes, found.boxes, 1e-15)
    assert stages.region.levels.shape == found.labels.shape
    assert (stages.mask_probabilities is None) == (build is faster_rcnn)
    if build is mask_rcnn:
        assert (stages.detections.masks == found.pasted((44, 60))).all()
        assert stages.region.output_size == (14, 14)
    before = {tuple(box) for box in stages.before_nms.boxes.tolist()}
    assert {tuple(box) for box in stages.proposals.boxes.tolist()} < before
    assert stages.sampled.boxes.shape == (24, 4) and set(stages.sampled.matches.tolist()) == {-1, 0, 1}
    assert (stages.truth.labels == target.labels).all()
    without = detector.stages(image)
    assert without.sampled is None and without.truth is None


# --------------------------------------------------------------------------------------------------------------- state


def test_it_answers_what_training_asks_of_a_graph():
    detector = detector_of(frozen_norm=False)
    graphs = [detector.dense, detector.box_head, detector.mask_head]
    for name in ("parameters", "buffers"):
        assert len(getattr(detector, name)) == sum(len(getattr(graph, name)) for graph in graphs)
    assert detector.arrays().keys() == detector.parameters.keys() | detector.buffers.keys()
    assert detector.dtype == np.float64 and detector.astype(np.float32).dtype == np.float32
    detector.train()
    assert detector.training and all(graph.training for graph in graphs)
    with detector.evaluating():
        assert not any(layer.training for layer in detector.layers.values())
    assert all(layer.training for layer in detector.layers.values())
    detector.parameters["rpn.head.cls_logits.weight"].grad.fill(1)
    detector.zero_grad()
    assert not any(parameter.grad.any() for parameter in detector.parameters.values())
    detector.reseed(3)
    assert "parameters" in repr(detector)


def test_states_go_from_one_to_another():
    one, other = detector_of(seed=1), detector_of(seed=2)
    images = images_of((48, 64))
    state = one.state_dict()
    other.load_state_dict(state)
    assert_same(other.detect(images)[0], one.detect(images)[0], 1e-15)
    state["rpn.head.cls_logits.weight"] = np.zeros((2, 2))
    with pytest.raises(CheckpointError, match="cls_logits"):
        other.load_state_dict(state)
    del state["rpn.head.cls_logits.weight"]
    with pytest.raises(CheckpointError, match="cls_logits"):
        other.load_state_dict(state)


# -------------------------------------------------------------------------------------------------------------- engine

BUILDS = {
    "laptop pyramid": {},
    "resnet18 pyramid": {"encoder": "resnet18", "width": 3},
    "resnet50, frozen norm": {"encoder": "resnet50", "width": 1, "frozen_norm": True, "strides": [4, 8]},
    "single map": {"pyramid_channels": None, "strides": [8]},
}
ANCHORS = {"resnet50, frozen norm": [[8], [16], [32]], "single map": [[8, 16, 32]]}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", BUILDS)
def test_the_engine_agrees(name, workers):
    """Losses, gradients, statistics and detections, also when a plan is used a second time with another count."""
    settings = {**SETTINGS, "anchor_sizes": ANCHORS.get(name, SETTINGS["anchor_sizes"])}
    detector = detector_of(settings=settings, **BUILDS[name])
    sizes = [(48, 64), (60, 40)]
    images, targets = images_of(*sizes), targets_of(*sizes)
    without = [Targets(*(array[:0] for array in targets[0])), targets[1]]  # no object in the first image
    start = detector.state_dict()

    def steps():
        detector.load_state_dict(start)
        detector.train().zero_grad()
        told = []
        for seed, chosen in enumerate((targets, without)):
            told.append(detector.losses(images, chosen, np.random.default_rng(seed)))
            detector.backward(0.7)
        gradients = {name: parameter.grad.copy() for name, parameter in detector.parameters.items()}
        return told, gradients, detector.state_dict(), detector.detect(images)

    losses, gradients, state, found = steps()
    with detector.accelerated(workers) as same:
        assert same is detector
        for told, theirs, moved, seen in (steps(), steps()):
            for one, other in zip(told, losses, strict=True):
                assert one == pytest.approx(other, rel=1e-10)
            for name, gradient in gradients.items():
                assert_close(theirs[name], gradient, 1e-10, name)
            for name, array in state.items():
                assert_close(moved[name], array, 1e-10, name)
            for one, other in zip(seen, found, strict=True):
                assert len(other) > 0
                assert_same(one, other, 1e-9)
    assert detector._engine is None
    assert steps()[0] == losses


@pytest.mark.parametrize("frozen", [("backbone", "rpn"), ("backbone.body",), ("roi_heads",)])
@pytest.mark.parametrize("workers", [1, 2])
def test_the_engine_leaves_alone_what_is_frozen(frozen, workers):
    detector = detector_of().train()
    for beginning in frozen:
        detector.freeze(beginning)
    images, targets = images_of((48, 64)), targets_of((48, 64))
    with detector.accelerated(workers):
        detector.losses(images, targets, np.random.default_rng(0))
        detector.backward()
    for name, parameter in detector.parameters.items():
        assert bool(parameter.grad.any()) is not name.startswith(frozen), name


def test_the_engine_sees_no_region_and_no_object():
    detector = detector_of(settings={**SETTINGS, "smallest_proposal": 1e4})
    empty = Targets(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros((0, 48, 64), bool))
    with detector.accelerated(1):
        losses = detector.losses(images_of((48, 64)), [empty], np.random.default_rng(0))
        detector.backward()
        assert losses["classifier"] == losses["box"] == losses["mask"] == 0 < losses["rpn_objectness"]
        assert len(detector.detect(images_of((48, 64)))[0]) == 0


def test_few_plans_serve_all_counts():
    counts = {len(filled_up(np.ones((count, 1, 2, 2)))) for count in range(1, 513)}
    assert counts == {16, 32, 64, 128, 256, 512}
    x = filled_up(np.ones((17, 2, 3, 3), np.float32))
    assert x.dtype == np.float32 and x[:17].all() and not x[17:].any()


def test_detections_hold_together():
    found = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int32))
    assert len(found) == 0
    with pytest.raises(GraphError):
        found.as_instances((4, 4))


def test_a_diverged_head_is_told():
    detector = detector_of()
    detector.parameters["roi_heads.box_predictor.cls_score.bias"].data[1] = np.nan
    with pytest.raises(BoxError, match="Has training diverged"):
        detector.detect(images_of((48, 64)))


@pytest.mark.parametrize("workers", [1, 2])
def test_without_running_statistics_brightness_and_contrast_do_not_matter(workers):
    detector = detector_of(running_statistics=False)
    assert not detector.buffers
    (image,) = images_of((48, 64))
    found, brighter = (detector.detect([one])[0] for one in (image, 3 * image))
    assert_same(brighter, found, 1e-3)  # but for eps
    with detector.accelerated(workers):
        assert_same(detector.detect([image])[0], found, 1e-9)


def test_frozen_statistics_must_be_there():
    with pytest.raises(OptionError, match="choose one"):
        detector_of(running_statistics=False, frozen_norm=True)


def test_the_summary_counts_every_parameter_once():
    detector = detector_of()
    told = detector.summary((1, 3, 64, 64))
    counts = [graph.summary(shape) for graph, shape in (
        (detector.dense, (1, 3, 64, 64)), (detector.box_head, (1, 4, 7, 7)), (detector.mask_head, (1, 4, 14, 14)),
    )]  # fmt: skip
    assert all(table in told for table in counts)
