"""Proposals against torchvision's region proposal network, and the images that must not break them."""

import dataclasses

import numpy as np
import pytest
from conftest import assert_close
from torchvision_twin import import_torchvision

from minisegnet.detection.anchors import anchors
from minisegnet.detection.proposals import propose
from minisegnet.detection.settings import DetectionSettings
from minisegnet.errors import BoxError, ShapeError

SETTINGS = DetectionSettings(
    anchor_sizes=((8,), (16,), (32,)),
    candidates_per_level=(60, 25),
    proposals_per_image=(50, 20),
    smallest_proposal=2.0,
)
SHAPES = [(16, 20), (8, 10), (4, 5)]
BATCH = (64, 80)
SIZES = [(64, 80), (41, 55)]


def answers(rng, dtype="float64", images=2, spread=0.5):
    """What a head might say: objectness and deltas of every level."""
    objectness = [rng.normal(size=(images, 3, *shape)).astype(dtype) * 3 for shape in SHAPES]
    deltas = [rng.normal(size=(images, 12, *shape)).astype(dtype) * spread for shape in SHAPES]
    return objectness, deltas, anchors(SHAPES, BATCH, SETTINGS.anchor_sizes, SETTINGS.aspect_ratios, np.dtype(dtype))


@pytest.mark.torch
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_as_torchvision(dtype, bound, training, seed):
    import torch

    detection = import_torchvision().models.detection
    objectness, deltas, levels = answers(np.random.default_rng(seed), dtype)
    network = detection.rpn.RegionProposalNetwork(
        detection.anchor_utils.AnchorGenerator(SETTINGS.anchor_sizes, (SETTINGS.aspect_ratios,) * 3),
        lambda features: ([torch.from_numpy(o) for o in objectness], [torch.from_numpy(d) for d in deltas]),
        0.7, 0.3, 256, 0.5, {"training": 60, "testing": 25}, {"training": 50, "testing": 20}, 0.7,
    ).train(training)  # fmt: skip
    network.min_size = SETTINGS.smallest_proposal
    images = detection.image_list.ImageList(torch.zeros(2, 3, *BATCH), SIZES)
    features = {str(i): torch.zeros(2, 1, *shape, dtype=getattr(torch, dtype)) for i, shape in enumerate(SHAPES)}
    kept = {}
    network.filter_proposals = lambda *given: kept.setdefault("both", type(network).filter_proposals(network, *given))
    network(images, features, [{"boxes": torch.tensor([[4.0, 4, 20, 20]], dtype=getattr(torch, dtype))}] * 2)
    boxes, scores = kept["both"]
    found = propose(objectness, deltas, levels, SIZES, SETTINGS, training)
    for one, wanted_boxes, wanted_scores in zip(found, boxes, scores, strict=True):
        assert len(one.boxes) == (50 if training else 20)
        assert_close(one.boxes, wanted_boxes.numpy(), bound)
        assert_close(one.scores, wanted_scores.numpy(), bound)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_what_proposals_say_of_themselves(training, seed):
    objectness, deltas, levels = answers(np.random.default_rng(seed))
    for one, (H, W) in zip(propose(objectness, deltas, levels, SIZES, SETTINGS, training), SIZES, strict=True):
        assert (one.boxes >= 0).all() and (one.boxes[:, [0, 2]] <= W).all() and (one.boxes[:, [1, 3]] <= H).all()
        assert (one.boxes[:, 2:] - one.boxes[:, :2] >= SETTINGS.smallest_proposal).all()
        assert (np.diff(one.scores) <= 0).all()
        assert np.bincount(one.candidate_levels).max() <= SETTINGS.candidates_per_level[0 if training else 1]
        candidates = {
            (*box, score, level)
            for box, score, level in zip(
                one.candidates.tolist(), one.candidate_scores.tolist(), one.candidate_levels.tolist(), strict=True
            )
            for box in [tuple(box)]
        }
        kept = zip(one.boxes.tolist(), one.scores.tolist(), one.levels.tolist(), strict=True)
        assert {(*box, score, level) for box, score, level in kept} <= candidates


def test_without_deltas_the_best_anchor_comes_first():
    objectness, deltas, levels = answers(np.random.default_rng(0), spread=0)
    objectness[1][0, 2, 3, 4] = 30
    [first, _] = propose(objectness, deltas, levels, SIZES, SETTINGS, training=True)
    anchor = levels[1].reshape(8, 10, 3, 4)[3, 4, 2]
    assert first.boxes[0].tolist() == np.clip(anchor, 0, [80, 64, 80, 64]).tolist()
    assert first.levels[0] == 1
    assert first.levels.dtype == np.int32


def test_equal_scores_go_by_the_order_of_the_anchors():
    objectness, deltas, levels = answers(np.random.default_rng(0), images=1, spread=0)
    settings = dataclasses.replace(SETTINGS, proposal_nms=1.0, candidates_per_level=(7, 7), smallest_proposal=1e-3)
    [found] = propose([o * 0 for o in objectness], deltas, levels, SIZES[:1], settings, training=True)
    wanted = [np.clip(level[:7], 0, [80, 64, 80, 64]) for level in levels]
    assert_close(found.candidates, np.concatenate(wanted), 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fewer_anchors_than_asked_for(dtype):
    objectness, deltas, levels = answers(np.random.default_rng(1), dtype)
    settings = dataclasses.replace(SETTINGS, candidates_per_level=(10**6,) * 2, proposals_per_image=(10**6,) * 2)
    for one in propose(objectness, deltas, levels, SIZES, settings, training=False):
        assert 0 < len(one.boxes) < len(one.candidates) <= sum(map(len, levels))
        assert one.boxes.dtype == one.scores.dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_boxes_outside_the_image(dtype):
    objectness, deltas, levels = answers(np.random.default_rng(2), dtype)
    for delta in deltas:
        delta.reshape(2, 3, 4, *delta.shape[2:])[:, :, 0] = 1000
    for one in propose(objectness, deltas, levels, SIZES, SETTINGS, training=True):
        assert one.boxes.shape == one.candidates.shape == (0, 4)
        assert one.boxes.dtype == one.scores.dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_answers_stay_finite(dtype):
    objectness, deltas, levels = answers(np.random.default_rng(3), dtype, spread=1e6)
    for one in propose([o * 1e6 for o in objectness], deltas, levels, SIZES, SETTINGS, training=True):
        assert np.isfinite(one.boxes).all() and np.isfinite(one.scores).all()


def test_no_image():
    objectness, deltas, levels = answers(np.random.default_rng(0), images=0)
    assert propose(objectness, deltas, levels, [], SETTINGS, training=True) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_no_numbers(value):
    objectness, deltas, levels = answers(np.random.default_rng(0))
    objectness[1][1, 0, 2, 3] = value
    with pytest.raises(BoxError, match=r"objectness of level 1 are NaN or infinite for 1 of .*lower learning rate"):
        propose(objectness, deltas, levels, SIZES, SETTINGS, training=True)
    objectness[1][1, 0, 2, 3] = 0
    deltas[2][0, 5, 1, 1] = value
    with pytest.raises(BoxError, match=r"deltas of level 2 are NaN"):
        propose(objectness, deltas, levels, SIZES, SETTINGS, training=True)


def test_levels_that_do_not_fit():
    objectness, deltas, levels = answers(np.random.default_rng(0))
    with pytest.raises(ShapeError, match="anchors of 2"):
        propose(objectness, deltas, levels[:2], SIZES, SETTINGS, training=True)
    with pytest.raises(ShapeError, match="level 0 has 150 anchors for 2 images"):
        propose(objectness, deltas, [levels[0][:150], *levels[1:]], SIZES, SETTINGS, training=True)
    with pytest.raises(ShapeError, match="for 1 images"):
        propose(objectness, deltas, levels, SIZES[:1], SETTINGS, training=True)
