"""Pasting masks: beside PyTorch's sampling of the mask with zeros around it, at borders, and for boxes of no size."""

import numpy as np
import pytest

from minisegnet.detection.paste import paste, paste_as_instances, windows


def by_sampling(mask, box, size):
    """Each pixel centre's place in the box, sampled bilinearly with zeros around the mask."""
    import torch

    x1, y1, x2, y2 = box
    y = 2 * (np.arange(size[0]) + 0.5 - y1) / (y2 - y1) - 1
    x = 2 * (np.arange(size[1]) + 0.5 - x1) / (x2 - x1) - 1
    grid = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=2)
    sampled = torch.nn.functional.grid_sample(
        torch.tensor(mask)[None, None], torch.tensor(grid)[None], mode="bilinear", align_corners=False
    )
    return sampled[0, 0].numpy()


def probabilities(masks, boxes, size):
    """The whole image's, put together from the windows."""
    whole = np.zeros((len(masks), *size))
    for image, (rows, columns, there) in zip(whole, windows(masks, boxes, size), strict=True):
        image[rows, columns] = there
    return whole


@pytest.mark.torch
@pytest.mark.parametrize("seed", range(6))
def test_beside_sampling(seed):
    rng = np.random.default_rng(seed)
    size, m = (23, 31), int(rng.integers(1, 15))
    corners = rng.uniform(-12, 34, (9, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.2, 30, (9, 2))], axis=1)
    boxes[0] = (4, 5, 5, 18)  # one pixel wide
    boxes[1] = (-3, -2, 40, 30)  # around all of the image
    masks = rng.random((9, m, m))
    for mask, box, ours, pasted in zip(
        masks, boxes, probabilities(masks, boxes, size), paste(masks, boxes, size), strict=True
    ):
        wanted = by_sampling(mask, box, size)
        np.testing.assert_allclose(ours, wanted, atol=1e-12)
        assert (pasted == (wanted > 0.5)).all()
    assert paste(masks, boxes, size).any()


def test_a_full_mask_fills_its_box():
    """To the pixel for a box on whole pixels; the edge moves with the box by parts of a pixel."""
    masks = np.ones((1, 28, 28))
    wanted = np.zeros((20, 30), bool)
    wanted[3:15, 4:21] = True
    assert (paste(masks, np.array([[4.0, 3, 21, 15]]), (20, 30))[0] == wanted).all()
    columns = [int(paste(masks, np.array([[x, 3, 21.0, 15]]), (20, 30)).sum() / 12) for x in (3.4, 3.6, 4.4, 4.6)]
    assert columns == [18, 17, 17, 16]


@pytest.mark.torch
def test_near_torchvision():
    """Torchvision rounds the box to whole pixels and makes it one larger: the same object, give or take its edge."""
    from torchvision_twin import import_torchvision

    import_torchvision()
    import torch
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    y, x = np.mgrid[0:28, 0:28] - 13.5
    mask = (1 / (1 + np.exp((np.hypot(x, y) - 11) / 2)))[None]
    boxes = np.array([[10.3, 20.6, 70.2, 65.9]])
    theirs = paste_masks_in_image(torch.tensor(mask)[:, None], torch.tensor(boxes), (80, 90))[:, 0].numpy() > 0.5
    ours = paste(mask, boxes, (80, 90))
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.95


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 9, 4, 4), (50, 50, 60, 60), (-20, -20, -9, -9), (3, 4, 8, 4)])
def test_boxes_with_nothing_in_the_image(box):
    masks, boxes = np.ones((1, 14, 14), np.float32), np.array([box], np.float32)
    assert not paste(masks, boxes, (20, 20)).any()
    assert not paste_as_instances(masks, boxes, (20, 20)).any()


def test_no_mask_at_all():
    masks, boxes = np.zeros((0, 28, 28)), np.zeros((0, 4))
    assert paste(masks, boxes, (7, 9)).shape == (0, 7, 9)
    assert (paste_as_instances(masks, boxes, (7, 9)) == 0).all()


def test_the_best_has_a_pixel_that_several_claim():
    masks = np.ones((3, 5, 5))
    boxes = np.array([[2.0, 2, 6, 6], [4, 4, 9, 9], [2, 2, 6, 6]])
    instances = paste_as_instances(masks, boxes, (10, 10))
    assert instances.dtype == np.int32
    assert (instances[2:6, 2:6] == 1).all()
    assert (instances == 2).sum() == 25 - 4
    assert not (instances == 3).any()  # all of it is the first one's
