"""Mask R-CNN by our kernels: in the emulator, and on a device that stands in for CuPy's, beside NumPy."""

import numpy as np
import pytest
from conftest import FLOAT32_BOUND, assert_close, skip_without_compiler
from stand_in_cupy import installed, ndarray

from minisegnet.cuda import arrays
from minisegnet.detection.batch import Targets
from minisegnet.models import mask_rcnn

SETTINGS = {
    "anchor_sizes": ((8,), (16,)), "rpn_samples": 24, "roi_samples": 12, "candidates_per_level": (40, 40),
    "proposals_per_image": (30, 20), "score_threshold": 0.0, "detections_per_image": 7, "aligned": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def compiler():
    skip_without_compiler("emulator")


def network():
    return mask_rcnn(
        3, "laptop", width=4, strides=(4, 8), pyramid_channels=8, top=False, box_head_width=12, mask_head_width=8,
        mask_convolutions=1, settings=SETTINGS, seed=2,
    )  # fmt: skip


def images_and_targets(seed=1):
    rng = np.random.default_rng(seed)
    images = [rng.random((3, *size), np.float32) for size in ((40, 32), (32, 48))]
    masks = np.zeros((2, 40, 32), bool)
    masks[0, 5:17, 4:15], masks[1, 20:33, 9:29] = True, True
    boxes = np.array([[4, 5, 15, 17], [9, 20, 29, 33]], np.float32)
    nothing = Targets(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros((0, 32, 48), bool))
    return images, [Targets(boxes, np.array([1, 2]), masks), nothing]


def one_step(detector):
    """The losses and every gradient."""
    images, targets = images_and_targets()
    detector.train().zero_grad()
    with detector.computing():
        losses = detector.losses(images, targets, np.random.default_rng(7))
        detector.backward()
    return losses, {name: arrays.to_host(parameter.grad) for name, parameter in detector.parameters.items()}


@pytest.mark.parametrize("device", ["emulator", "cuda"])
def test_a_step_gives_what_it_gives_on_numpy(device, monkeypatch):
    losses, gradients = one_step(network())
    if device == "cuda":
        installed(monkeypatch)
    detector = network().to(device)
    if device == "cuda":
        assert all(isinstance(parameter.data, ndarray) for parameter in detector.parameters.values())
    again, by_kernels = one_step(detector)
    assert set(losses) == {"rpn_objectness", "rpn_box", "classifier", "box", "mask"} and all(losses.values())
    for name, loss in losses.items():
        assert again[name] == pytest.approx(loss, rel=FLOAT32_BOUND), name
    for name, gradient in gradients.items():
        assert_close(by_kernels[name], gradient, FLOAT32_BOUND)


@pytest.mark.parametrize("device", ["emulator", "cuda"])
def test_it_finds_what_it_finds_on_numpy(device, monkeypatch):
    images, _ = images_and_targets()
    wanted = network().detect(images)
    if device == "cuda":
        installed(monkeypatch)
    found = network().to(device).detect(images)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
        assert len(one) == 7
        for name in ("boxes", "scores", "masks"):
            assert_close(getattr(one, name), getattr(other, name), 1e-4)


def test_the_stages_of_a_network_on_a_device_lie_in_the_computers_memory(monkeypatch):
    installed(monkeypatch)
    images, targets = images_and_targets()
    stages = network().to("cuda").stages(images[0], targets[0], np.random.default_rng(3))
    assert all(isinstance(level.features, np.ndarray) for level in stages.levels)
    assert stages.mask_probabilities.shape == (7, 28, 28)
