"""Parity with torchvision's Mask R-CNN on ResNet-50 and a feature pyramid, on the same random weights, in float64.

The sampled anchors and regions are handed over, so that chance plays no part: features, the region proposal network,
proposals, heads, the five losses and the gradient of every parameter, then the detections. The body is of the published
width; the pyramid and the heads are narrow, which changes no equation, and loads of arithmetic.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from conftest import assert_close
from torchvision_twin import import_torchvision

from minisegnet.detection.batch import Targets
from minisegnet.detection.boxes import of_masks
from minisegnet.detection.detector import Samples
from minisegnet.detection.targets import roi_targets, rpn_targets
from minisegnet.interop.pretrained import load_pretrained
from minisegnet.models.faster_rcnn import faster_rcnn
from minisegnet.models.mask_rcnn import mask_rcnn

pytestmark = pytest.mark.torch

BOUND = 1e-8
NUM_CLASSES = 4
CHANNELS, BOX_WIDTH, MASK_WIDTH = 8, 24, 6
LOSSES = {
    "rpn_objectness": "loss_objectness",
    "rpn_box": "loss_rpn_box_reg",
    "classifier": "loss_classifier",
    "box": "loss_box_reg",
    "mask": "loss_mask",
}
SETTINGS = {  # ours, and torchvision's name for each
    "candidates_per_level": [60, 50],
    "proposals_per_image": [90, 80],
    "rpn_samples": 64,
    "roi_samples": 48,
    "score_threshold": 0.25,
    "detections_per_image": 30,
}
OPTIONS = {
    "rpn_pre_nms_top_n_train": 60,
    "rpn_pre_nms_top_n_test": 50,
    "rpn_post_nms_top_n_train": 90,
    "rpn_post_nms_top_n_test": 80,
    "rpn_batch_size_per_image": 64,
    "box_batch_size_per_image": 48,
    "box_score_thresh": 0.25,
    "box_detections_per_img": 30,
}
ANCHOR_SIZES = [[8], [16], [32], [64], [128]]
# Fresh weights say nearly the same everywhere; these times as large, they tell places and classes apart.
SCALES = {"rpn.head.cls_logits": 60, "rpn.head.bbox_pred": 20, "roi_heads.box_predictor.cls_score": 4}


@pytest.fixture(scope="module")
def run():
    """One training step of both on the same weights, images and samples, with all that lies between."""
    twin = twin_of(seed=3)
    images, targets = scene(np.random.default_rng(4))
    theirs = record(twin, images, targets)
    ours = mask_rcnn(
        NUM_CLASSES, "resnet50", pyramid_channels=CHANNELS, box_head_width=BOX_WIDTH, mask_head_width=MASK_WIDTH,
        frozen_norm=True, settings={"anchor_sizes": ANCHOR_SIZES, **SETTINGS},
    ).astype(np.float64)  # fmt: skip
    load_pretrained(ours, {name: value.numpy() for name, value in twin.state_dict().items()})
    rng = np.random.default_rng(5)
    batch = ours.batch_of(images)
    seen = ours.seen_from(ours.dense.forward(batch.images), batch)
    proposals = ours.proposals_of(seen, batch, training=True)
    everywhere = np.concatenate(seen.anchors)
    samples = Samples(
        [
            rpn_targets(everywhere, target.boxes, ours.settings, rng, sampled)
            for target, sampled in zip(targets, theirs.anchors, strict=True)
        ],
        [
            roi_targets(proposed.boxes, target.boxes, target.labels, ours.settings, rng, sampled)
            for proposed, target, sampled in zip(proposals, targets, theirs.regions, strict=True)
        ],
    )
    losses = ours.losses(images, targets, rng, samples)
    ours.backward()
    return SimpleNamespace(
        ours=ours, twin=twin, theirs=theirs, images=images, batch=batch, seen=seen, proposals=proposals,
        samples=samples, losses=losses,
    )  # fmt: skip


def twin_of(seed):
    """torchvision's Mask R-CNN, in training, in float64, with weights and statistics that leave nothing at rest."""
    import_torchvision()
    import torch
    from torchvision.models import resnet50
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
    from torchvision.ops import FrozenBatchNorm2d

    torch.manual_seed(seed)
    layers = {f"layer{i}": str(i - 1) for i in range(1, 5)}
    body = resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    model = MaskRCNN(
        BackboneWithFPN(body, layers, [256, 512, 1024, 2048], CHANNELS),
        rpn_anchor_generator=AnchorGenerator(tuple(map(tuple, ANCHOR_SIZES)), ((0.5, 1.0, 2.0),) * 5),
        box_head=TwoMLPHead(CHANNELS * 49, BOX_WIDTH),
        box_predictor=FastRCNNPredictor(BOX_WIDTH, NUM_CLASSES),
        mask_head=MaskRCNNHeads(CHANNELS, (MASK_WIDTH,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(MASK_WIDTH, MASK_WIDTH, NUM_CLASSES),
        **OPTIONS,
    ).double()
    state = model.state_dict()
    for name, value in state.items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif ".bn" in name or ".downsample.1" in name:
            value.normal_(0.4 if name.endswith("weight") else 0.0, 0.1)
        elif name.endswith("bias"):
            value.normal_(0, 0.1)
    for name, scale in SCALES.items():
        state[f"{name}.weight"] *= scale
    return model.train()


def scene(rng):
    """Two images of different sizes with their objects."""
    images, targets = [], []
    for H, W, boxes in ((64, 96, [(8, 8, 40, 38), (50, 20, 90, 60), (0, 40, 20, 64)]), (80, 64, [(10, 30, 60, 75)])):
        images.append(rng.standard_normal((3, H, W)))
        masks = np.zeros((len(boxes), H, W), bool)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
            mask[y1:y2, x1:x2] = rng.random((y2 - y1, x2 - x1)) < 0.8
        labels = rng.integers(1, NUM_CLASSES, len(boxes))
        targets.append(Targets(of_masks(masks, np.float64), labels, masks))
    return images, targets


def record(twin, images, targets):
    """A training step of torchvision's, and what goes between its parts."""
    import torch

    seen = SimpleNamespace()

    # Images are laid into one batch as they are, neither resized nor normalised, and masks stay as they come.
    twin.transform.normalize = lambda image: image
    twin.transform.resize = lambda image, target=None: (image, target)
    twin.transform.postprocess = lambda result, sizes, original: result

    def keep(module, name, of=lambda output: output):
        module.register_forward_hook(lambda _, __, output: setattr(seen, name, of(output)))

    def sampling(parent, name, of):
        sampler = parent.fg_bg_sampler

        def sampled(labels):
            answer = sampler(labels)
            setattr(seen, name, [of(*masks) for masks in zip(*answer, strict=True)])
            return answer

        parent.fg_bg_sampler = sampled

    def numbers(mask):
        return torch.where(mask)[0].numpy()

    keep(twin.backbone, "features", lambda output: [value.detach().numpy() for value in output.values()])
    keep(twin.rpn, "proposals", lambda output: [boxes.detach().numpy() for boxes in output[0]])
    keep(twin.rpn.head, "head", lambda output: [[level.detach().numpy() for level in levels] for levels in output])
    keep(twin.roi_heads.box_predictor, "box_head", lambda output: [value.detach().numpy() for value in output])
    keep(twin.roi_heads.mask_predictor, "masks", lambda output: output.detach().numpy())
    sampling(twin.rpn, "anchors", lambda positives, negatives: (numbers(positives), numbers(negatives)))
    sampling(twin.roi_heads, "regions", lambda positives, negatives: numbers(positives | negatives))

    given = [
        {
            "boxes": torch.tensor(target.boxes),
            "labels": torch.tensor(target.labels),
            "masks": torch.tensor(target.masks).to(torch.uint8),
        }
        for target in targets
    ]
    losses = twin([torch.tensor(image) for image in images], given)
    sum(losses.values()).backward()
    seen.losses = {name: float(value.detach()) for name, value in losses.items()}
    seen.gradients = {name: parameter.grad.numpy() for name, parameter in twin.named_parameters()}
    return seen


def test_features(run):
    for ours, theirs in zip(run.seen.features, run.theirs.features[:4], strict=True):
        assert_close(ours, theirs, BOUND)


def test_region_proposal_head(run):
    objectness, deltas = run.theirs.head
    for level in range(5):
        assert_close(run.seen.objectness[level], objectness[level], BOUND, f"objectness of level {level}")
        assert_close(run.seen.deltas[level], deltas[level], BOUND, f"deltas of level {level}")


def test_proposals(run):
    for ours, theirs in zip(run.proposals, run.theirs.proposals, strict=True):
        assert_close(ours.boxes, theirs, BOUND)
        assert 10 < len(theirs) <= 90


def test_heads(run):
    ours, regions = run.ours, [one.boxes for one in run.samples.regions]
    x, _ = ours.read_regions(run.seen.features, regions, 7)
    for name, y, wanted in zip(("scores", "deltas"), ours.box_head.predict(x), run.theirs.box_head, strict=True):
        assert_close(y, wanted, BOUND, name)
    found = [one.boxes[one.labels > 0] for one in run.samples.regions]
    x, _ = ours.read_regions(run.seen.features, found, 14)
    assert_close(ours.mask_head.predict(x), run.theirs.masks, BOUND, "masks")
    assert len(x) > 4


@pytest.mark.parametrize("name", LOSSES)
def test_losses(run, name):
    bound = 1e-6 if name == "rpn_objectness" else BOUND  # torchvision's labels are float32
    assert run.losses[name] == pytest.approx(run.theirs.losses[LOSSES[name]], rel=bound)
    assert run.losses[name] > 1e-3


def test_gradients_of_every_parameter(run):
    trained = {name: parameter for name, parameter in run.ours.parameters.items() if parameter.trainable}
    assert trained.keys() == run.theirs.gradients.keys()
    for name, parameter in trained.items():
        assert np.abs(run.theirs.gradients[name]).max() > 0, name
        assert_close(parameter.grad, run.theirs.gradients[name], BOUND, name)


def test_detections(run):
    import torch

    twin = run.twin.eval()
    with torch.no_grad():
        wanted = twin([torch.tensor(image) for image in run.images])
    for found, theirs in zip(run.ours.detect(run.images), wanted, strict=True):
        assert len(found) > 5
        assert_close(found.boxes, theirs["boxes"].numpy(), BOUND, "boxes")
        assert_close(found.scores, theirs["scores"].numpy(), BOUND, "scores")
        assert (found.labels == theirs["labels"].numpy()).all()
        assert_close(found.masks, theirs["masks"].numpy()[:, 0], BOUND, "masks")


def test_a_state_without_counts_of_batches_loads(run):
    state = {name: value for name, value in run.ours.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert len(state) < len(run.ours.arrays())
    theirs = {name: value.numpy() for name, value in run.twin.state_dict().items()}
    run.ours.load_state_dict(theirs)
    assert all((array == theirs[name]).all() for name, array in run.ours.arrays().items() if name in theirs)
    assert state.keys() == theirs.keys()


@pytest.mark.parametrize("with_masks", [True, False])
def test_published_names_and_shapes(with_masks):
    """The state of torchvision's own models, of full width, has the names and shapes of ours."""
    import_torchvision()
    import torch
    from torchvision.models import detection

    with torch.device("meta"):
        build = detection.maskrcnn_resnet50_fpn if with_masks else detection.fasterrcnn_resnet50_fpn
        theirs = build(weights=None, weights_backbone=None, num_classes=91).state_dict()
    ours = (mask_rcnn if with_masks else faster_rcnn)(91).arrays()
    assert {name: array.shape for name, array in ours.items()} == {
        name: tuple(value.shape) for name, value in theirs.items()
    }
