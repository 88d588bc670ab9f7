"""Every network learns four small images by heart; FCNs that upsample by interpolation, as far as that can go.

What a network gets wrong on the four images that it is trained on is not for lack of data: it shows a network that is
put together wrongly, or one whose scores are too coarse.
"""

import numpy as np
import pytest

from minisegnet.data import open_dataset
from minisegnet.layers import CrossEntropyLoss, Parameter
from minisegnet.metrics import ConfusionMatrix
from minisegnet.models.deconvnet import deconvnet
from minisegnet.models.encoder_decoder import UPSAMPLINGS, encoder_decoder
from minisegnet.models.fcn import fcn8s, fcn16s, fcn32s
from minisegnet.models.full_resolution import full_resolution
from minisegnet.models.segnet import segnet, segnet_basic
from minisegnet.models.unet import unet
from minisegnet.training.optimisers import Adam

CLASSES = 5

NETWORKS = {
    "full_resolution": lambda: full_resolution(CLASSES, width=16, depth=5),
    "segnet_basic": lambda: segnet_basic(CLASSES, width=16, kernel_size=5),
    "segnet": lambda: segnet(CLASSES, width=12),
    "deconvnet": lambda: deconvnet(CLASSES, width=12, size=32, middle=64),
    "unet": lambda: unet(CLASSES, width=16, depth=2),
    "fcn16s, upsampling learnt": lambda: fcn16s(CLASSES, encoder="laptop", width=16, fixed="none"),
    "fcn8s, upsampling learnt": lambda: fcn8s(CLASSES, encoder="laptop", width=16, fixed="none"),
} | {
    f"encoder_decoder, {upsampling}": lambda upsampling=upsampling: encoder_decoder(
        CLASSES, width=16, depth=2, upsampling=upsampling
    )
    for upsampling in UPSAMPLINGS
}

# What each FCN can reach on the four images of 64 x 64 when its last upsampling is interpolation: mean IoU of the best
# scores, as `best_scores` finds them. Scores 32 pixels apart cannot follow the outline of an object of 20 pixels.
CEILINGS = {"fcn32s": (fcn32s, 0.397), "fcn16s": (fcn16s, 0.594), "fcn8s": (fcn8s, 0.796)}


def four_images(size):
    samples = open_dataset("shapes:easy", size=size, count=4)
    return np.stack([sample.image for sample in samples]), np.stack([sample.labels for sample in samples])


def mean_iou(scores, labels):
    confusion = ConfusionMatrix(CLASSES)
    confusion.update(scores.argmax(axis=1), labels)
    return confusion.mean_iou


def training(scores, backward, optimiser, labels, steps):
    """Move the parameters for some steps, and yield the loss and the mean IoU before each.

    Batch normalisation goes by the statistics of the batch, which here are those of all the data that there is; the
    running ones hold the unbiased variance, 4/3 of it where DeconvNet has four values of a channel.
    """
    loss_layer = CrossEntropyLoss()
    for _ in range(steps):
        values = scores()
        loss, cache = loss_layer.forward(values, labels)
        yield float(loss), mean_iou(values, labels)
        optimiser.zero_grad()
        backward(loss_layer.backward(1.0, cache))
        optimiser.step()


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_four_images_are_learnt_by_heart(build):
    images, labels = four_images(32)
    graph = build()
    steps = training(lambda: graph.forward(images), graph.backward, Adam(graph.parameters, 1e-2), labels, 300)
    reached = []
    for _, iou in steps:
        reached.append(iou)
        if iou > 0.98:
            break
    assert reached[-1] > 0.98, reached[::10]
    assert reached[0] < 0.3


@pytest.mark.parametrize("name", CEILINGS)
def test_fcn_reaches_what_its_last_upsampling_allows(name):
    build, stated = CEILINGS[name]
    images, labels = four_images(64)
    floor, ceiling = best_scores(name, build, labels)
    assert ceiling == pytest.approx(stated, abs=0.01)
    graph = build(CLASSES, encoder="laptop", width=8)
    steps = training(lambda: graph.forward(images), graph.backward, Adam(graph.parameters, 2e-2), labels, 70)
    losses, ious = zip(*steps, strict=True)
    assert min(losses) > floor * 0.97  # nothing passes the least there is, which the descent ends a little above
    assert min(losses) < floor * 1.1
    assert max(ious) > ceiling - 0.02


def best_scores(name, build, labels):
    """The least loss, and the mean IoU there, of any scores at the network's stride upsampled as the network does.

    The upsampled scores are linear in the scores, and the loss is convex in them: descent finds the least there is.
    """
    graph, stride = build(1, encoder="laptop", width=1), int(name[3:-1])
    size = labels.shape[1:]
    grid = [side // stride for side in size]
    nodes = list(graph.nodes)
    behind = nodes[nodes.index("score32" if stride == 32 else f"fuse{stride}") + 1 :]
    impulses = np.eye(grid[0] * grid[1], dtype=np.float32).reshape(-1, 1, *grid)
    for node in behind:
        layer = graph.layers[node]
        impulses, _ = layer.forward(impulses, size) if node == "score" else layer.forward(impulses)
    stamps = impulses.reshape(len(impulses), -1)  # what each score adds to each pixel

    scores = Parameter((len(labels), CLASSES, len(stamps)))

    def backward(dy):
        scores.accumulate(dy.reshape(len(labels), CLASSES, -1) @ stamps.T)

    def upsampled():
        return (scores.data @ stamps).reshape(len(labels), CLASSES, *size)

    *_, last = training(upsampled, backward, Adam({"scores": scores}, 0.3), labels, 300)
    return last
