"""The checkpoint of a small network, made without training."""

import numpy as np

from minisegnet.trained import Recipe
from minisegnet.training import save_checkpoint
from minisegnet.training.loop import prefixed


def save_small_checkpoint(path, channels=3, classes=("ground", "cat", "dog"), seed=5, **options):
    """Save an untrained U-Net, with statistics drawn at random so that all classes are predicted; return its recipe."""
    rng = np.random.default_rng(seed)
    network = {"num_classes": len(classes), "in_channels": channels, "width": 4, "depth": 2, "seed": seed}
    recipe = Recipe(
        model="unet",
        arguments={**network, **options},
        classes=list(classes),
        palette=rng.integers(0, 256, (len(classes), 3)).tolist(),
        ignore_index=255,
        channels=channels,
        mean=rng.uniform(0.3, 0.6, channels).tolist(),
        std=rng.uniform(0.2, 0.3, channels).tolist(),
    )
    graph = recipe.build()
    for name, array in graph.arrays().items():
        if name.endswith(("running_mean", "bias")):
            array[...] = rng.normal(0, 0.3, array.shape)
    save_checkpoint(path, prefixed("model", graph.arrays()), recipe.metadata)
    return recipe
