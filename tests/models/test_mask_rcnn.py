"""The networks of Faster R-CNN and Mask R-CNN: outputs, names, anchors, options, and gradients of every part."""

import inspect
import json

import numpy as np
import pytest

from minisegnet.errors import CheckpointError, GraphError, OptionError
from minisegnet.interop import IMAGENET, load_pretrained
from minisegnet.layers import BatchNorm2d
from minisegnet.models.classifiers import resnet18_classifier
from minisegnet.models.detector_heads import box_head, mask_head
from minisegnet.models.faster_rcnn import faster_rcnn
from minisegnet.models.mask_rcnn import mask_rcnn
from minisegnet.teaching import check_graph

SMALL = {"encoder": "laptop", "width": 2, "pyramid_channels": 3, "box_head_width": 5, "in_channels": 2}
SMALL_MASKS = {**SMALL, "mask_head_width": 3, "mask_convolutions": 2}
VARIANTS = {
    "pyramid": {},
    "pyramid without top": {"top": False},
    "fine pyramid": {"strides": [2, 4, 8, 16]},
    "two levels": {"strides": [4, 8]},
    "single map": {"pyramid_channels": None},
    "single map of stride 8": {"pyramid_channels": None, "strides": [8]},
    "resnet18": {"encoder": "resnet18", "strides": [4, 8, 16]},
    "resnet50": {"encoder": "resnet50", "width": 1, "strides": [4, 8], "frozen_norm": True},
    "vgg16": {"encoder": "vgg16", "strides": [8, 16]},
}
every_variant = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)


def images(seed, *shape, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@every_variant
def test_outputs_of_every_level(options):
    detector = faster_rcnn(3, **{**SMALL, **options})
    outputs = detector.dense.predict(images(1, 1, 2, 64, 96, dtype=np.float32))
    strides, levels = detector.strides, len(detector.settings.anchor_sizes)
    assert len(outputs) == len(strides) + 2 * levels
    features, objectness, deltas = outputs[: len(strides)], outputs[len(strides) : -levels], outputs[-levels:]
    assert all(stride == 64 / x.shape[2] == 96 / x.shape[3] for x, stride in zip(features, strides, strict=True))
    assert len({x.shape[1] for x in features}) == 1
    for scores, moves, x in zip(objectness, deltas, [*features, None][:levels], strict=True):
        count = detector.settings.anchors_per_place
        assert scores.shape[1] == count and moves.shape[1] == 4 * count
        assert scores.shape[2:] == moves.shape[2:] == (scores if x is None else x).shape[2:]


@every_variant
def test_nothing_is_computed_for_nothing(options):
    detector = faster_rcnn(3, **{**SMALL, **options})
    read = {handle.node.name for node in detector.dense.layer_nodes() for handle in node.inputs}
    ends = {node.name for node in detector.dense.outputs}
    assert all(node.name in read | ends for node in detector.dense.layer_nodes())


def test_anchors_follow_from_the_strides():
    assert mask_rcnn(2, **SMALL_MASKS).settings.anchor_sizes == ((32,), (64,), (128,), (256,), (512,))
    assert mask_rcnn(2, **SMALL_MASKS, strides=[2, 4], top=False).settings.anchor_sizes == ((16,), (32,))
    single = faster_rcnn(2, **{**SMALL, "pyramid_channels": None})
    assert single.strides == (16,)
    assert single.settings.anchor_sizes == ((128, 256, 512),)
    assert single.settings.anchors_per_place == 9
    chosen = {"anchor_sizes": [[6, 9], [12, 18]], "aspect_ratios": [1.0], "roi_samples": 9}
    chosen = mask_rcnn(2, **SMALL_MASKS, strides=[4, 8], top=False, settings=chosen).settings
    assert (chosen.anchors_per_place, chosen.roi_samples) == (2, 9)


def test_one_head_at_every_level():
    dense = faster_rcnn(2, **SMALL).dense
    convolutions = [node for node in dense.layer_nodes() if node.name.startswith("rpn.head.conv.0.0")]
    assert len(convolutions) == 5
    assert len({id(node.layer) for node in convolutions}) == 1
    assert [name for name in dense.parameters if name.startswith("rpn")] == [
        f"rpn.head.{layer}.{array}" for layer in ("conv.0.0", "cls_logits", "bbox_pred") for array in ("weight", "bias")
    ]


def test_arguments_can_be_written_as_json():
    arguments = {
        **SMALL_MASKS, "num_classes": 3, "strides": (4, 8), "top": False, "frozen_norm": True, "norm_eps": 0.0,
        "seed": 4, "settings": {"anchor_sizes": [[8], [16]], "rpn_samples": 32, "aligned": True},
    }  # fmt: skip
    assert arguments.keys() <= inspect.signature(mask_rcnn).parameters.keys()
    first, again = mask_rcnn(**arguments), mask_rcnn(**json.loads(json.dumps(arguments)))
    assert first.settings == again.settings and first.strides == again.strides
    state = again.state_dict()
    assert all((array == state[name]).all() for name, array in first.state_dict().items())


@pytest.mark.parametrize("build", [faster_rcnn, mask_rcnn])
def test_weights_follow_from_the_seed(build):
    def weights(seed):
        return build(2, **SMALL, seed=seed).state_dict()["rpn.head.cls_logits.weight"]

    assert (weights(1) == weights(1)).all()
    assert (weights(1) != weights(2)).any()
    assert weights(1).std() == pytest.approx(0.01, rel=0.7)
    one = build(2, **SMALL, seed=5)
    drawn = one.state_dict()
    again = one.initialise(6).initialise(5).state_dict()
    assert all((array == drawn[name]).all() for name, array in again.items())


@pytest.mark.parametrize("frozen", [True, False])
def test_normalisation(frozen):
    detector = mask_rcnn(2, **SMALL_MASKS, frozen_norm=frozen, norm_eps=1e-3).train()
    norms = [layer for layer in detector.layers.values() if isinstance(layer, BatchNorm2d)]
    assert norms
    for norm in norms:
        assert norm.eps == 1e-3
        assert norm.training is not frozen
        assert all(parameter.trainable is not frozen for parameter in norm.parameters.values())


def test_masks_are_told_by_name():
    boxes, masks = faster_rcnn(3, **SMALL), mask_rcnn(3, **SMALL_MASKS)
    assert boxes.arrays().keys() < masks.arrays().keys()
    with pytest.raises(CheckpointError, match="mask_head"):
        boxes.load_state_dict(masks.state_dict())
    frozen = masks.freeze("backbone.body")
    assert frozen and all(name.startswith("backbone.body") for name in frozen)
    assert not any(p.trainable for name, p in masks.parameters.items() if name.startswith("backbone.body"))
    with pytest.raises(GraphError, match=r"rpn\.head"):
        masks.freeze("encoder")


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_classes": 1}, "background"),
        ({"encoder": "resnet"}, "resnet18"),
        ({"strides": [4, 16]}, "twice"),
        ({"strides": [8, 4]}, "twice"),
        ({"strides": []}, "twice"),
        ({"strides": [32, 64]}, "laptop has levels of strides 2, 4, 8, 16, 32"),
        ({"encoder": "squeezenet1_1", "width": 16, "strides": [4, 8]}, "without padding"),
        ({"pyramid_channels": None, "strides": [4, 8]}, "pyramid_channels"),
        ({"pyramid_channels": 0}, "pyramid_channels"),
        ({"settings": {"anchor_sizes": [[8]]}}, "5 levels"),
        ({"settings": {"anchor": 8}}, "anchor_sizes"),
        ({"settings": {"roi_samples": 0}}, "roi_samples"),
        ({"box_head_width": 0}, "box_head_width"),
        ({"mask_head_width": -1}, "mask_head_width"),
        ({"mask_convolutions": 0}, "mask_convolutions"),
        ({"in_channels": 0}, "in_channels"),
        ({"norm_eps": -1e-5}, "norm_eps"),
    ],
)
def test_options_that_do_not_fit(options, words):
    with pytest.raises(OptionError, match=words):
        mask_rcnn(**{"num_classes": 2, **SMALL_MASKS, **options})


# --------------------------------------------------------------------------------------------------- pretrained weights


@pytest.fixture(scope="module")
def published():
    """A small Mask R-CNN on a body of the published width."""
    return mask_rcnn(2, "resnet18", pyramid_channels=3, box_head_width=5, mask_head_width=3, strides=[4, 8])


def test_an_encoder_goes_into_a_detector(published):
    weights = resnet18_classifier(10, seed=3).state_dict()
    done = load_pretrained(published, weights, partial=True)
    assert done.normalisation == IMAGENET
    body = {name for name in published.arrays() if name.startswith("backbone.body.")}
    assert set(done.loaded) == body
    for name in body:
        assert (published.arrays()[name] == weights[name.removeprefix("backbone.body.")]).all()


def test_names_of_before_2022(published):
    """As in torchvision's published files, which count no batches."""
    state = {name: array for name, array in published.state_dict().items() if "num_batches" not in name}
    former = {
        "backbone.fpn.inner_blocks.1.0": "backbone.fpn.inner_blocks.1",
        "backbone.fpn.layer_blocks.0.0": "backbone.fpn.layer_blocks.0",
        "rpn.head.conv.0.0": "rpn.head.conv",
        "roi_heads.mask_head.3.0": "roi_heads.mask_head.mask_fcn4",
    }
    for present, name in former.items():
        for array in ("weight", "bias"):
            state[f"{name}.{array}"] = np.full_like(state.pop(f"{present}.{array}"), 7)
    done = load_pretrained(published, state)
    assert done.normalisation == IMAGENET
    for present in former:
        assert (published.parameters[f"{present}.bias"].data == 7).all()


# ---------------------------------------------------------------------------------------------------------- gradients


def test_gradients_of_the_box_head():
    graph = box_head(3, 4, 5, width=6).initialise(1)
    scale_up(graph)
    check_graph(graph, images(2, 3, 3, 4, 4)).raise_if_wrong()


def test_gradients_of_the_mask_head():
    graph = mask_head(3, 4, width=3, convolutions=2).initialise(1)
    scale_up(graph)
    check_graph(graph, images(3, 2, 3, 4, 4)).raise_if_wrong()


@pytest.mark.parametrize("options", [{"strides": [2, 4, 8]}, {"pyramid_channels": None, "strides": [4]}])
def test_gradients_of_the_dense_part(options):
    """Of an encoder, the pyramid and the head of region proposals, which stands at every level."""
    graph = faster_rcnn(2, **{**SMALL, **options}).dense
    scale_up(graph)
    check_graph(graph, images(4, 1, 2, 16, 24), elements=8).raise_if_wrong()


def scale_up(graph):
    """Weights that start small as large as the others, so that a mistake in what is behind them shows."""
    rng = np.random.default_rng(0)
    for parameter in graph.parameters.values():
        if parameter.data.std() < 0.05:
            parameter.data[...] += rng.standard_normal(parameter.data.shape) * 0.3
