"""Objects that a mirror at the image's edge shows a second time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from minisegnet.data.sample import Sample

_TOUCHING = np.ones((3, 3), bool)  # also at a corner


def mirrored_objects(sample: Sample, outside: np.ndarray) -> Sample:
    """A number of its own for each mirror image that stands apart from its object, with the object's class.

    outside  (H, W) bool: pixels that come from beyond the image, where it is mirrored

    One number for both would make one box around them and all that lies between. A mirror image that touches its object
    makes one thing with it, in the picture as in the numbers. Without object_classes, numbers only keep the pixels of
    neighbours apart, and the sample stays as it is.
    """
    if sample.instances is None or sample.object_classes is None or not outside.any():
        return sample
    instances = sample.instances.copy()
    copied: list[int] = []  # the number of the object that each new one mirrors
    for layer in instances.reshape(-1, *outside.shape):
        windows = ndimage.find_objects(layer)
        for number in np.setdiff1d(layer[outside], 0):
            window = windows[number - 1]
            parts, count = ndimage.label(layer[window] == number, _TOUCHING)
            seen = np.setdiff1d(parts[~outside[window]], 0)
            kept = seen if len(seen) else [1]
            for part in np.setdiff1d(np.arange(1, count + 1), kept):
                copied.append(int(number))
                layer[window][parts == part] = len(sample.object_classes) + len(copied)
    chosen = np.concatenate([np.arange(len(sample.object_classes)), np.array(copied, int) - 1])
    crowd = None if sample.object_crowd is None else sample.object_crowd[chosen]
    return replace(sample, instances=instances, object_classes=sample.object_classes[chosen], object_crowd=crowd)
